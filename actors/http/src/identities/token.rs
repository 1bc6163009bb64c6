//! Tokens: drawn once, shown once, and kept as a hash.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use decisiongraph_rpc::random_256;
use std::fmt;

/// Separates the hash of a token from every other use of BLAKE3 here.
const HASH_CONTEXT: &str = "decisiongraph 2026 http token";
/// Characters of a token's id.
const ID_CHARS: usize = 8;

/// Returns the hash under which a token is kept.
pub fn hash_of(token: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key(HASH_CONTEXT, token.as_bytes()))
}

/// A token that was just drawn: `dg_ID_SECRET`. Its text is in no file and in no log.
pub struct NewToken {
    /// Public part: names the token in logs and in the record of changes.
    pub id: String,
    text: String,
}

impl NewToken {
    /// Draws a token with 256 random bits. The prefix `dg_` lets a scanner for secrets find it.
    pub fn draw() -> NewToken {
        let id = blake3::Hash::from_bytes(random_256()).to_hex()[..ID_CHARS].to_owned();
        let text = format!("dg_{id}_{}", URL_SAFE_NO_PAD.encode(random_256()));
        NewToken { id, text }
    }

    /// Returns the token itself: shown once, to its holder.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// Returns the hash under which it is kept.
    pub fn hash(&self) -> String {
        hash_of(&self.text).to_hex().to_string()
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form_and_never_shows() {
        let (one, other) = (NewToken::draw(), NewToken::draw());
        assert_ne!(one.reveal(), other.reveal());
        let parts: Vec<&str> = one.reveal().splitn(3, '_').collect();
        assert_eq!((parts[0], parts[1], parts[2].len()), ("dg", one.id.as_str(), 43));
        assert!(!format!("{one:?}").contains(parts[2]));
        assert_eq!(one.hash(), hash_of(one.reveal()).to_hex().to_string());
        assert_ne!(one.hash(), blake3::hash(one.reveal().as_bytes()).to_hex().to_string());
    }
}
