//! uwsgi packets as an application server decodes them (uwsgi-docs, Protocol.html).

use crate::message::Reader;
use crate::net::End;

/// The variables of a request, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet(pub Vec<(String, String)>);

impl Packet {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) async fn read(reader: &mut Reader<'_>) -> Result<Packet, End> {
        let head = reader.exactly(4).await?;
        assert_eq!((head[0], head[3]), (0, 0), "modifiers of a WSGI request");
        let size = u16::from_le_bytes([head[1], head[2]]);
        let bytes = reader.exactly(usize::from(size)).await?;
        let mut rest = bytes.as_slice();
        let mut string = || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (text, after) = after.split_at(usize::from(u16::from_le_bytes(*length)));
            rest = after;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let mut variables = Vec::new();
        while let Some(name) = string() {
            variables.push((name, string().expect("a variable must have a value")));
        }
        Ok(Packet(variables))
    }
}
