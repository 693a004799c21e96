//! What is not forwarded: fields that concern one connection only (RFC 9110 section 7.6.1), testimony of senders who are not
//! trusted, what may not stand in a trailer section, and names that are not safe.
//!
//! Which name is which stands in the table of [`crate::known`].

use crate::fields::{Field, Fields};
use crate::known::{Known, Treatment, bits_of};
use crate::scan::list;

/// What the dropped fields said that matters beyond the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    /// `TE: trailers`: the sender keeps trailer fields. gRPC servers refuse calls without it.
    pub te_trailers: bool,
}

/// Drops the fields that concern one connection, and those that `Connection` names unless they are protected.
pub fn strip_hop_by_hop(fields: &mut Fields) -> HopByHop {
    strip(fields, is_hop_by_hop)
}

/// The same for a message that may become a tunnel: keeps `Upgrade` and writes the `Connection: upgrade` that belongs to it.
pub fn strip_hop_by_hop_but_upgrade(fields: &mut Fields) -> HopByHop {
    let hop = strip(fields, |known| is_hop_by_hop(known) && known != Known::Upgrade);
    fields.push_known(Known::Connection, b"upgrade");
    hop
}

fn strip(fields: &mut Fields, is_hop: impl Fn(Known) -> bool) -> HopByHop {
    let te_trailers =
        fields.get_all(Known::Te).flat_map(list).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    // Whether Upgrade goes is the caller's decision; `Connection: upgrade` only accompanies it.
    fields.doom_named_by(Known::Connection, |field| is_protected(field) || field.known == Known::Upgrade);
    fields.remove_doomed(is_hop);
    HopByHop { te_trailers }
}

fn is_hop_by_hop(known: Known) -> bool {
    known.treatment() == Treatment::HopByHop
}

/// Fields that a sender cannot have dropped by naming them in `Connection`.
fn is_protected(field: &Field<'_>) -> bool {
    match treatment(field) {
        Treatment::Protected | Treatment::Testimony => true,
        Treatment::HopByHop | Treatment::Plain | Treatment::Trailing => false,
    }
}

/// How a field is treated. A name that we do not know is testimony if it belongs to the family of `X-Forwarded-For`, to which
/// proxies add as they please (`-Ssl`, `-Scheme`, `-User`, `-Client-Cert`).
fn treatment(field: &Field<'_>) -> Treatment {
    const FAMILY: &[u8] = b"x-forwarded";
    match field.name.split_at_checked(FAMILY.len()) {
        Some((family, [] | [b'-', ..]))
            if field.known == Known::Other && family.eq_ignore_ascii_case(FAMILY) =>
        {
            Treatment::Testimony
        }
        _ => field.known.treatment(),
    }
}

/// Drops what a sender says about itself and the way it came: not to be believed of everybody.
pub fn drop_testimony(fields: &mut Fields) {
    const CANDIDATES: u128 = bits_of(Treatment::Testimony) | Known::Other.bit();
    if fields.may_have_any(CANDIDATES) {
        fields.retain(|field| treatment(field) != Treatment::Testimony);
    }
}

/// Drops the fields of a trailer section that may not stand there, whatever protocol it came by.
pub fn filter_trailers(trailers: &mut Fields) {
    trailers.retain(|field| treatment(field) == Treatment::Trailing);
    drop_underscore_names(trailers);
}

/// Drops fields with an underscore in their name and says how many. WSGI and CGI turn `-` into `_`, so that a server cannot tell
/// `X_Forwarded_For` from the `X-Forwarded-For` that we vouch for.
pub fn drop_underscore_names(fields: &mut Fields) -> usize {
    if !fields.underscores {
        return 0;
    }
    let before = fields.len();
    fields.retain(|field| field.known != Known::Other || !field.name.contains(&b'_'));
    fields.underscores = false;
    before - fields.len()
}
