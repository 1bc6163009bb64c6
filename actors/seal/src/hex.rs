//! Bytes in lower-case hex.

use decisiongraph_projections::payload_hash::tagged_hex;
use decisiongraph_projections::seal::Malformed;

/// Writes bytes.
pub(crate) fn hex(bytes: &[u8]) -> String {
    tagged_hex("", bytes)
}

/// Reads exactly this many bytes; upper-case digits are refused.
pub(crate) fn unhex<const N: usize>(text: &str) -> Result<[u8; N], Malformed> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let fits = pairs.len() == N && rest.is_empty();
    let read = pairs.iter().zip(&mut bytes).all(|([high, low], byte)| match (digit(*high), digit(*low)) {
        (Some(high), Some(low)) => {
            *byte = high << 4 | low;
            true
        }
        _ => false,
    });
    if fits && read { Ok(bytes) } else { Err(Malformed("not bytes of the right number in lower-case hex")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        assert_eq!(unhex::<2>("00ff"), Ok([0, 255]));
        assert_eq!(hex(&[0, 255]), "00ff");
        for wrong in ["", "00f", "00FF", "00fg", "00ff0", "00ff00", " 0ff", "+0ff"] {
            assert!(unhex::<2>(wrong).is_err(), "{wrong}");
        }
    }
}
