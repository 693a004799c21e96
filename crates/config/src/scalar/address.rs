//! Addresses to listen on, and address ranges.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use model::gateway::{ListenAddress, Network};

use crate::decode::{Complaint, Json, Kind, Scalar};

/// Where a listener accepts. A relative path of a Unix socket is not resolved here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen(pub(crate) ListenAddress);

impl Scalar for Listen {
    fn kind() -> Kind {
        Kind {
            name: "address".into(),
            expected: "an address such as 0.0.0.0:8080, [::]:8080 or unix:/run/clearway.sock".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Listen(ListenAddress::Unix(unix_path(path, "unix:")?)));
        }
        match text.parse() {
            Ok(address) => Ok(Listen(ListenAddress::Tcp(address))),
            Err(_) => Err(address_hint(text, "0.0.0.0", Self::unlike())),
        }
    }
}

/// The path of `unix:/path` and `uwsgi+unix:/path`.
pub(crate) fn unix_path(path: &str, prefix: &str) -> Result<PathBuf, Complaint> {
    if path.is_empty() {
        return Err(Complaint::new("must name a socket file").hint(format!("write `{prefix}/run/app.sock`")));
    }
    if let Some(absolute) = path.strip_prefix("//") {
        let hint = format!("write `{prefix}/{}`", absolute.trim_start_matches('/'));
        return Err(Complaint::new(format!("must have its path directly after `{prefix}`")).hint(hint));
    }
    // sockaddr_un holds 108 bytes, the last one a NUL.
    if path.len() > 107 {
        return Err(Complaint::new("must have a path of at most 107 bytes"));
    }
    if path.contains('\0') {
        return Err(Complaint::new("must not hold a NUL"));
    }
    Ok(PathBuf::from(path))
}

/// Where the management interface accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManagementAddress(pub(crate) SocketAddr);

impl Scalar for ManagementAddress {
    fn kind() -> Kind {
        Kind {
            name: "IP address and port".into(),
            expected: "an IP address and a port such as 127.0.0.1:8081".into(),
            json: Json::Text(None),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        text.parse().map(ManagementAddress).map_err(|_| address_hint(text, "127.0.0.1", Self::unlike()))
    }
}

fn address_hint(text: &str, any: &str, complaint: Complaint) -> Complaint {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if is_port(text) {
        return complaint.hint(format!("write `{any}:{text}`"));
    }
    if text.contains("://") {
        return complaint.hint("leave the scheme away; TLS is switched on with `tls`");
    }
    if text.starts_with('/') || text.starts_with("./") {
        return complaint.hint(format!("write `unix:{text}`"));
    }
    if text.parse::<IpAddr>().is_ok() {
        let bracketed = if text.contains(':') { format!("[{text}]") } else { text.into() };
        return complaint.hint(format!("add a port: `{bracketed}:8080`"));
    }
    match text.rsplit_once(':') {
        Some(("" | "*", port)) if is_port(port) => complaint.hint(format!("write `{any}:{port}`")),
        Some(("localhost", port)) if is_port(port) => complaint.hint(format!("write `127.0.0.1:{port}`")),
        Some((host, port)) if is_port(port) && host.parse::<IpAddr>().is_err() => {
            complaint.hint("a listener needs an IP address of this machine, not a name")
        }
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            complaint.hint("a port is a number from 1 to 65535")
        }
        _ => complaint,
    }
}

/// An address range, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NetworkText(pub(crate) Network);

impl Scalar for NetworkText {
    fn kind() -> Kind {
        Kind {
            name: "network".into(),
            expected: "an IP address or a range such as 10.0.0.0/8".into(),
            json: Json::Text(Some("^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else { return Err(Self::unlike()) };
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match prefix {
            None => bits_max,
            Some(digits) => match digits.parse::<u8>() {
                Ok(bits) if bits <= bits_max => bits,
                _ => return Err(Complaint::new(format!("must have a prefix length from 0 to {bits_max}"))),
            },
        };
        let network = masked(address, prefix_bits);
        if network != address {
            // 10.1.2.3/8 means either one address or the range around it; guessing would trust too many or too few.
            return Err(Complaint::new(format!("must not set bits after the first {prefix_bits}")).hint(
                format!("write `{network}/{prefix_bits}` for the range, or `{address}` for the one address"),
            ));
        }
        Ok(NetworkText(Network { address, prefix_bits }))
    }
}

fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: &str| check(text, |Listen(address)| address.to_string(), expected);
        check("0.0.0.0:8080", "= 0.0.0.0:8080");
        check("[::]:8080", "= [::]:8080");
        check("unix:/run/a.sock", "= unix:/run/a.sock");
        let unlike = "! must be an address such as 0.0.0.0:8080, [::]:8080 or unix:/run/clearway.sock";
        check("8080", &format!("{unlike} (write `0.0.0.0:8080`)"));
        check(":8080", &format!("{unlike} (write `0.0.0.0:8080`)"));
        check("localhost:80", &format!("{unlike} (write `127.0.0.1:80`)"));
        check(
            "example.com:80",
            &format!("{unlike} (a listener needs an IP address of this machine, not a name)"),
        );
        check("::1", &format!("{unlike} (add a port: `[::1]:8080`)"));
        check("0.0.0.0:65536", &format!("{unlike} (a port is a number from 1 to 65535)"));
        check("/run/a.sock", &format!("{unlike} (write `unix:/run/a.sock`)"));
        check(
            "http://0.0.0.0:80",
            &format!("{unlike} (leave the scheme away; TLS is switched on with `tls`)"),
        );
        check("unix:///run/a.sock", "! must have its path directly after `unix:` (write `unix:/run/a.sock`)");
        check("unix:", "! must name a socket file (write `unix:/run/app.sock`)");
    }

    #[test]
    fn networks() {
        let show = |NetworkText(network)| format!("{}/{}", network.address, network.prefix_bits);
        let check = |text: &str, expected: &str| check(text, show, expected);
        check("10.0.0.0/8", "= 10.0.0.0/8");
        check("10.0.0.1", "= 10.0.0.1/32");
        check("::1", "= ::1/128");
        check("0.0.0.0/0", "= 0.0.0.0/0");
        check("::/0", "= ::/0");
        check(
            "10.1.2.3/8",
            "! must not set bits after the first 8 (write `10.0.0.0/8` for the range, or `10.1.2.3` for the one address)",
        );
        check("10.0.0.0/33", "! must have a prefix length from 0 to 32");
        check("example.com", "! must be an IP address or a range such as 10.0.0.0/8");
    }
}
