//! `payload_hash = "sha256:" + hex(SHA-256(canonical payload form))`. Only the payload is hashed.

use crate::canonical_json::{JsonError, Parsed, parse};
use sha2::{Digest, Sha256};

/// `sha256:` and the 64 lower-case hex digits of the SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    tagged_hex("sha256:", &Sha256::digest(bytes))
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// `tag` followed by `bytes` in lower-case hex.
pub fn tagged_hex(tag: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(tag.len() + bytes.len() * 2);
    out.push_str(tag);
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

/// Whether `stored_hash` is the hash of the payload in `text`, whatever spacing or key order `text` has.
///
/// A text that is already canonical is hashed as it lies; any other is written in canonical form first. Returns the
/// parsed payload beside the answer, so that it need not be read twice.
pub fn check<'a>(text: &'a str, stored_hash: &str) -> Result<(Parsed<'a>, bool), JsonError> {
    let parsed = parse(text)?;
    let hash = if parsed.canonical {
        sha256_hex(text.as_bytes())
    } else {
        sha256_hex(parsed.value.to_payload_form().as_bytes())
    };
    let matches = hash == stored_hash;
    Ok((parsed, matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_does_not_change_the_hash_but_content_does() {
        // Python: "sha256:" + hashlib.sha256('{"a":"é"}'.encode()).hexdigest()
        let hash = sha256_hex("{\"a\":\"é\"}".as_bytes());
        assert!(check("{\"a\":\"é\"}", &hash).expect("JSON").1);
        assert!(check("{ \"a\" : \"\\u00e9\" }", &hash).expect("JSON").1);
        assert!(!check("{\"a\":\"e\"}", &hash).expect("JSON").1);
        assert_eq!(sha256_hex(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
