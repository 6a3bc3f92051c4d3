//! Digests as text.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 digest of `content`, as 64 lowercase hexadecimal digits.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content).iter().fold(String::with_capacity(64), |mut digits, byte| {
        // Writing to a String does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// Returns the first 128 bits of the SHA-256 digest of `content`, as 32 digits.
pub fn short_digest(content: impl AsRef<[u8]>) -> String {
    let mut digest = sha256(content);
    digest.truncate(32);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source of the digest: FIPS 180-2, appendix B.1.
    #[test]
    fn a_digest_is_lowercase_hexadecimal() {
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), of_abc);
        assert_eq!(short_digest("abc"), of_abc[..32]);
    }
}
