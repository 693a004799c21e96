//! What the cookie of a sticky upstream says: a word for a target from which its address cannot be read.
//!
//! It is the same in every process and after every restart, so that instances agree without a common secret. Who can guess
//! an address can confirm the guess; nothing else is told.

use sha2::{Digest, Sha256};

/// What stands for a target, before it is written in hexadecimal digits.
pub(crate) fn token(upstream: &str, url: &str) -> u64 {
    let mut hasher = Sha256::new();
    for part in ["clearway-sticky", upstream, url] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().take(8).fold(0, |token, byte| token << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_upstream_and_target_and_never_changes() {
        let one = token("app", "http://10.0.0.1:8000");
        assert_eq!(one, token("app", "http://10.0.0.1:8000"));
        assert_eq!(one, 0x1f26_f4e8_d96b_d625, "clients keep it through restarts and versions");
        assert_ne!(one, token("app", "http://10.0.0.2:8000"));
        assert_ne!(one, token("apphttp://", "10.0.0.1:8000"));
    }
}
