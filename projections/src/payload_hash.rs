//! `payload_hash = "sha256:" + hex(SHA-256(canonical payload form))`. Only the payload is hashed.

use crate::canonical_json::JsonError;
use crate::json_reader::{is_canonical, parse};
use sha2::{Digest, Sha256};

/// Returns `sha256:` and the 64 lower-case hex digits of the SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    tagged_hex(SHA256, &Sha256::digest(bytes))
}

/// True when `stored` is [`sha256_hex`] of this text, without writing that down.
fn is_hash_of(stored: &str, text: &str) -> bool {
    let Some(digits) = stored.strip_prefix(SHA256) else { return false };
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digest = Sha256::digest(text.as_bytes());
    pairs.len() == digest.len() && rest.is_empty() && pairs.iter().zip(&digest).all(|(pair, byte)| *pair == hex(*byte))
}

const SHA256: &str = "sha256:";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// Returns `tag` followed by `bytes` in lower-case hex.
pub fn tagged_hex(tag: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(tag.len() + bytes.len() * 2);
    out.push_str(tag);
    out.extend(bytes.iter().flat_map(|byte| hex(*byte)).map(char::from));
    out
}

fn hex(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// Result of a check of a stored payload against its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// It matches its hash, and holds no float.
    Sound,
    /// It does not match its hash.
    Differs,
    /// It matches its hash, but holds a float at this path.
    Float(String),
}

/// Checks that `stored_hash` is the hash of the payload in `text`, whatever spacing or key order `text` has.
///
/// A text that is already canonical, as an append stores it, is hashed as it is. Any other text is first written in
/// canonical form.
pub fn check(text: &str, stored_hash: &str) -> Result<Checked, JsonError> {
    if is_canonical(text)? {
        return Ok(if is_hash_of(stored_hash, text) { Checked::Sound } else { Checked::Differs });
    }
    let value = parse(text)?.value;
    if !is_hash_of(stored_hash, &value.to_payload_form()) {
        return Ok(Checked::Differs);
    }
    Ok(value.first_float("payload").map_or(Checked::Sound, Checked::Float))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_does_not_change_the_hash_but_content_does() {
        // Python: "sha256:" + hashlib.sha256('{"a":"é"}'.encode()).hexdigest()
        let hash = sha256_hex("{\"a\":\"é\"}".as_bytes());
        assert_eq!(check("{\"a\":\"é\"}", &hash), Ok(Checked::Sound));
        assert_eq!(check("{ \"a\" : \"\\u00e9\" }", &hash), Ok(Checked::Sound));
        assert_eq!(check("{\"a\":\"e\"}", &hash), Ok(Checked::Differs));
        for float in ["1.5", "NaN", "-Infinity"] {
            let text = format!("{{\"a\":{float}}}");
            assert_eq!(check(&text, &sha256_hex(text.as_bytes())), Ok(Checked::Float("payload.a".to_owned())));
        }
        let hash = sha256_hex(b"{}");
        for other in [
            &hash[1..],
            &hash[..70],
            &hash.to_uppercase(),
            &format!("{hash}0"),
            &format!("{hash}00"),
            &hash.replace('4', "5"),
        ] {
            assert_eq!(check("{}", other), Ok(Checked::Differs), "{other}");
        }
        assert_eq!(check("{}", &hash), Ok(Checked::Sound));
        assert_eq!(sha256_hex(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
