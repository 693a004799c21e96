//! AWS's signature, version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), for both sides:
//! requests to Bedrock, and requests of Bedrock's SDKs to Clearway.

use sha2::{Digest, Sha256};

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    pub method: &'a str,
    /// As it is sent, encoded once.
    pub path: &'a str,
    /// As it is sent, without `?`.
    pub query: &'a str,
    /// Lower case, in order.
    pub headers: &'a [(&'a str, &'a str)],
    /// In lower-case hexadecimal digits, or `UNSIGNED-PAYLOAD`.
    pub payload_sha256: &'a str,
    /// `20260102T030405Z`.
    pub time: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl Signed<'_> {
    /// The value of `Authorization`.
    pub fn authorization(&self, access_key: &str, secret: &str) -> String {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{}, SignedHeaders={}, Signature={}",
            self.scope(),
            names.join(";"),
            self.signature(secret),
        )
    }

    fn date(&self) -> &str {
        self.time.get(..8).unwrap_or_default()
    }

    fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }

    /// In lower-case hexadecimal digits.
    pub fn signature(&self, secret: &str) -> String {
        let text = format!(
            "AWS4-HMAC-SHA256\n{}\n{}\n{}",
            self.time,
            self.scope(),
            hex(&Sha256::digest(self.canonical().as_bytes()))
        );
        let mut key = hmac(format!("AWS4{secret}").as_bytes(), self.date().as_bytes());
        for part in [self.region, self.service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        hex(&hmac(&key, text.as_bytes()))
    }

    fn canonical(&self) -> String {
        let mut pairs: Vec<(&str, &str)> = self
            .query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .collect();
        pairs.sort_unstable();
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers: String = self
            .headers
            .iter()
            .map(|(name, value)| {
                format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" "))
            })
            .collect();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        // Every service but S3 has the path encoded a second time.
        let path = encode(self.path);
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{}",
            self.method,
            query.join("&"),
            names.join(";"),
            self.payload_sha256,
        )
    }
}

/// All but unreserved characters and `/` (RFC 3986 section 2.3).
pub fn encode(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `20260102T030405Z`.
pub fn time(unix_seconds: u64) -> String {
    let (days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Days to a date of the Gregorian calendar, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    const BLOCK: usize = 64;
    let mut block = [0u8; BLOCK];
    let shortened: [u8; 32];
    let key = if key.len() > BLOCK {
        shortened = Sha256::digest(key).into();
        &shortened[..]
    } else {
        key
    };
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get-vanilla-query-order-key-case` of AWS's own test suite.
    #[test]
    fn the_signature_is_that_of_awss_test_suite() {
        let signed = Signed {
            method: "GET",
            path: "/",
            query: "Param2=value2&Param1=value1",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")],
            payload_sha256: &sha256_hex(b""),
            time: "20150830T123600Z",
            region: "us-east-1",
            service: "service",
        };
        assert_eq!(
            signed.authorization("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=host;x-amz-date, \
             Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
    }

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_is_that_of_the_rfc() {
        assert_eq!(
            hex(&hmac(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "19700101T000000Z");
        assert_eq!(time(951_782_400), "20000229T000000Z");
        assert_eq!(time(1_440_938_160), "20150830T123600Z");
        assert_eq!(time(4_102_444_799), "20991231T235959Z");
    }
}
