//! The PROXY protocol, versions 1 and 2 (haproxy.org, proxy-protocol.txt): who the client is, told before its first byte.
//!
//! Extensions (TLVs) of version 2 are passed over.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::rules::rules;

/// Source (the client) and destination (the address it connected to).
pub type Addresses = (SocketAddr, SocketAddr);

rules! {
    /// Why the bytes are not a PROXY protocol header.
    ProxyProtocolError {
        Missing "the connection must begin with a PROXY protocol header",
        Malformed "the PROXY protocol header is broken",
        TooLarge "the PROXY protocol header is longer than 2 KiB",
        Unsupported "the PROXY protocol header must be of version 1 or 2 and for TCP",
    }
}

const V1_START: &[u8] = b"PROXY ";
/// The longest line that version 1 allows, CRLF included.
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEADER_LEN: usize = 16;
/// What may follow the header of version 2. Load balancers send 36 bytes of addresses and some hundred of extensions.
const V2_REST_MAX: usize = 2048 - V2_HEADER_LEN;

/// Reads a header from all bytes received so far: its length, and the addresses unless the sender speaks for itself (`LOCAL`,
/// health checks) or does not know (`UNKNOWN`, Unix sockets). `None` if it is not complete.
pub fn parse(bytes: &[u8]) -> Result<Option<(usize, Option<Addresses>)>, ProxyProtocolError> {
    if starts_alike(bytes, V1_START) {
        return if bytes.len() < V1_START.len() { Ok(None) } else { parse_v1(bytes) };
    }
    if starts_alike(bytes, V2_SIGNATURE) {
        return parse_v2(bytes);
    }
    Err(ProxyProtocolError::Missing)
}

/// Whether the bytes begin with `start`, or may once more of them are there.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(usize, Option<Addresses>)>, ProxyProtocolError> {
    let window = bytes.get(..V1_MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if window.len() == V1_MAX { Err(ProxyProtocolError::Malformed) } else { Ok(None) };
    };
    let line = window.get(V1_START.len()..end).unwrap_or_default();
    match (window.get(end), window.get(end + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (Some(b'\r'), None) if window.len() < V1_MAX => return Ok(None),
        _ => return Err(ProxyProtocolError::Malformed),
    }
    let line = std::str::from_utf8(line).map_err(|_| ProxyProtocolError::Malformed)?;
    Ok(Some((end + 2, v1_addresses(line)?)))
}

fn v1_addresses(line: &str) -> Result<Option<Addresses>, ProxyProtocolError> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let is_v4 = match family {
        "TCP4" => true,
        "TCP6" => false,
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Ok(None),
        _ => return Err(ProxyProtocolError::Unsupported),
    };
    let mut address = || -> Option<IpAddr> {
        let address = words.next()?.parse::<IpAddr>().ok()?;
        (address.is_ipv4() == is_v4).then_some(address)
    };
    let (source, destination) = (address(), address());
    let mut port = || -> Option<u16> {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        plain.then(|| word.parse().ok()).flatten()
    };
    let (source_port, destination_port) = (port(), port());
    match (source, destination, source_port, destination_port, words.next()) {
        (Some(source), Some(destination), Some(source_port), Some(destination_port), None) => {
            Ok(Some((SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port))))
        }
        _ => Err(ProxyProtocolError::Malformed),
    }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(usize, Option<Addresses>)>, ProxyProtocolError> {
    let (Some(command), Some(family)) = (bytes.get(12), bytes.get(13)) else {
        // What can be judged already, is: the bytes may be all there will be.
        return match bytes.get(12) {
            Some(command) if !matches!(command, 0x20 | 0x21) => Err(ProxyProtocolError::Unsupported),
            _ => Ok(None),
        };
    };
    let address_len = match (command, family) {
        // LOCAL: the family is to be ignored.
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        (0x21, 0x31) => 216,
        _ => return Err(ProxyProtocolError::Unsupported),
    };
    let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) else { return Ok(None) };
    let rest_len = usize::from(u16::from_be_bytes([*high, *low]));
    if rest_len > V2_REST_MAX {
        return Err(ProxyProtocolError::TooLarge);
    }
    if rest_len < address_len {
        return Err(ProxyProtocolError::Malformed);
    }
    let Some(rest) = bytes.get(V2_HEADER_LEN..V2_HEADER_LEN + rest_len) else { return Ok(None) };
    let addresses = match (command, family) {
        (0x21, 0x11) => v2_addresses::<4>(rest),
        (0x21, 0x21) => v2_addresses::<16>(rest),
        _ => None,
    };
    Ok(Some((V2_HEADER_LEN + rest_len, addresses)))
}

/// Source, destination and both ports, the addresses of `N` bytes each.
fn v2_addresses<const N: usize>(rest: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let (source, rest) = rest.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    Some((
        SocketAddr::new(IpAddr::from(*source), u16::from_be_bytes(*source_port)),
        SocketAddr::new(IpAddr::from(*destination), u16::from_be_bytes(*destination_port)),
    ))
}

/// Appends a header of version 1; without addresses it says `UNKNOWN`.
pub fn encode_v1(out: &mut Vec<u8>, addresses: Option<Addresses>) {
    let written = match addresses.map(one_family) {
        None => write!(out, "PROXY UNKNOWN\r\n"),
        Some(Family::V4(source, destination, from, to)) => {
            write!(out, "PROXY TCP4 {source} {destination} {from} {to}\r\n")
        }
        Some(Family::V6(source, destination, from, to)) => {
            write!(out, "PROXY TCP6 {source} {destination} {from} {to}\r\n")
        }
    };
    written.expect("writing to memory must work");
}

/// Appends a header of version 2; without addresses it says `LOCAL`.
pub fn encode_v2(out: &mut Vec<u8>, addresses: Option<Addresses>) {
    out.extend_from_slice(V2_SIGNATURE);
    let ports = match addresses.map(one_family) {
        None => {
            out.extend_from_slice(&[0x20, 0x00, 0, 0]);
            return;
        }
        Some(Family::V4(source, destination, from, to)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            [from, to]
        }
        Some(Family::V6(source, destination, from, to)) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            [from, to]
        }
    };
    out.extend(ports.into_iter().flat_map(u16::to_be_bytes));
}

enum Family {
    V4(Ipv4Addr, Ipv4Addr, u16, u16),
    V6(Ipv6Addr, Ipv6Addr, u16, u16),
}

/// Both addresses in one family: IPv4 if both are (mapped ones too), else IPv6.
fn one_family((source, destination): Addresses) -> Family {
    let (from, to) = (source.port(), destination.port());
    let wide = |address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Family::V4(source, destination, from, to),
        (source, destination) => Family::V6(wide(source), wide(destination), from, to),
    }
}
