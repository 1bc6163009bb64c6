//! The secret that a node and its operators share, and the proofs made with it.
//!
//! *Guarantees.* It never appears in `Debug`, in an error or on the wire: only keyed hashes of fresh nonces do. A
//! program that listens in a node's place gets such a hash, and can try secrets on it at leisure. So a secret that is
//! short or plainly not random is refused.

use super::private_file;
use decisiongraph_projections::Category;
use decisiongraph_protocol::AdminError;
use std::fmt;
use std::path::Path;
use uuid::Uuid;

/// Shortest secret, in bytes: 128 random bits in hexadecimal.
pub const SECRET_BYTES_MIN: usize = 32;
/// Fewest different bytes of a secret.
const SECRET_DISTINCT_MIN: usize = 8;
/// Longest secret file, in bytes.
const SECRET_BYTES_MAX: u64 = 4096;
/// Environment variable that names the file with the secret.
pub const SECRET_FILE_VARIABLE: &str = "DECISIONGRAPH_SECRET_FILE";
/// Environment variable that holds the secret itself.
pub const SECRET_VARIABLE: &str = "DECISIONGRAPH_SECRET";
/// Separates the key from every other use of the same secret.
const KEY_CONTEXT: &str = "decisiongraph 2026 admin preamble";

/// A shared secret, kept as the key that is derived from it.
#[derive(Clone)]
pub struct Secret([u8; blake3::KEY_LEN]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Makes a secret from this text, without the white space around it. `invalid_argument` when it is plainly weak.
    pub fn new(text: &str) -> Result<Secret, AdminError> {
        let text = text.trim().as_bytes();
        if let Some(weakness) = weakness(text) {
            return Err(AdminError::new(Category::InvalidArgument, format!("the secret {weakness}"))
                .next("create one, and give it to the node and its clients: `head -c 32 /dev/urandom | base64`"));
        }
        Ok(Secret(blake3::derive_key(KEY_CONTEXT, text)))
    }

    /// Reads the secret in this file, which others must not be able to read.
    pub fn from_file(path: &Path) -> Result<Secret, AdminError> {
        let text = private_file::read(path, "secret", SECRET_BYTES_MAX)?;
        Secret::new(&text)
    }

    /// Reads the secret from `file`, else `DECISIONGRAPH_SECRET_FILE`, else `DECISIONGRAPH_SECRET`; `None` when none of
    /// them is given.
    pub fn resolve(file: Option<&Path>) -> Result<Option<Secret>, AdminError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(file) = file {
            return Secret::from_file(file).map(Some);
        }
        if let Some(file) = variable(SECRET_FILE_VARIABLE) {
            return Secret::from_file(Path::new(&file)).map(Some);
        }
        match variable(SECRET_VARIABLE) {
            Some(text) => Secret::new(&text.to_string_lossy()).map(Some),
            None => Ok(None),
        }
    }

    /// Computes the proof that only a holder of the secret can make of these two nonces in this role. Compare it as
    /// [`blake3::Hash`], whose equality takes the same time whatever differs.
    pub fn proof(&self, role: Role, ours: &Nonces) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(role.label()).update(&ours.client).update(&ours.server).update(&ours.protocol.to_be_bytes());
        hasher.finalize()
    }
}

/// Tells why this text cannot be hard to guess; `None` when it may be.
fn weakness(text: &[u8]) -> Option<String> {
    let mut distinct = text.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if text.len() < SECRET_BYTES_MIN {
        Some(format!("is shorter than {SECRET_BYTES_MIN} bytes"))
    } else if distinct.len() < SECRET_DISTINCT_MIN {
        Some(format!("has fewer than {SECRET_DISTINCT_MIN} different characters"))
    } else if (1..=text.len() / 2).any(|shift| text[shift..] == text[..text.len() - shift]) {
        Some("repeats itself".to_owned())
    } else {
        None
    }
}

/// Role of a proof's maker: a proof of one side is worthless to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The side that connects.
    Client,
    /// The side that listens.
    Server,
    /// Not a proof but a mask: covers the cookie on its way.
    Cookie,
}

impl Role {
    /// Returns the label of the role. All labels have the same length.
    fn label(self) -> &'static [u8; 6] {
        match self {
            Role::Client => b"client",
            Role::Server => b"server",
            Role::Cookie => b"cookie",
        }
    }
}

/// Values that make one preamble unlike every other.
#[derive(Debug, Clone, Copy)]
pub struct Nonces {
    /// Nonce drawn by the client.
    pub client: [u8; 32],
    /// Nonce drawn by the server.
    pub server: [u8; 32],
    /// Protocol that both sides speak.
    pub protocol: u32,
}

/// Draws 256 unguessable bits from three random UUIDs, 122 bits each.
pub fn random_256() -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for _ in 0..3 {
        hasher.update(Uuid::new_v4().as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_secret_never_shows() {
        let secret = Secret::new("correct horse battery staple brick\n").expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused_and_a_random_one_is_taken() {
        let repeated = "hunter2-".repeat(5);
        for weak in ["", "correct horse battery staple", &"a".repeat(99), &"0123456".repeat(9), &repeated] {
            let refused = Secret::new(weak).expect_err(weak);
            assert_eq!(refused.category, Category::InvalidArgument);
            assert!(refused.next.contains("/dev/urandom") && (weak.is_empty() || !refused.message.contains(weak)));
        }
        for _ in 0..1_000 {
            let hash = blake3::Hash::from_bytes(random_256()).to_hex();
            assert!(Secret::new(&hash[..SECRET_BYTES_MIN]).is_ok(), "{hash}");
        }
    }

    #[test]
    fn a_proof_is_of_one_secret_one_role_and_one_pair_of_nonces() {
        let nonces = Nonces { client: random_256(), server: random_256(), protocol: 2 };
        let secret = Secret::new("correct horse battery staple brick").expect("long enough");
        let same = Secret::new(" correct horse battery staple brick\n").expect("long enough");
        let other = Secret::new("correct horse battery staple brics").expect("long enough");
        let proof = secret.proof(Role::Client, &nonces);
        assert_eq!(proof, same.proof(Role::Client, &nonces));
        assert_ne!(proof, other.proof(Role::Client, &nonces));
        assert_ne!(proof, secret.proof(Role::Server, &nonces));
        assert_ne!(
            proof,
            secret.proof(Role::Client, &Nonces { client: nonces.server, server: nonces.client, ..nonces })
        );
        assert_ne!(proof, secret.proof(Role::Client, &Nonces { protocol: 1, ..nonces }));
    }

    #[test]
    fn a_secret_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("secret");
        std::fs::write(&file, "correct horse battery staple brick\n").expect("writes");
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("sets");
        mode(0o644);
        assert!(Secret::from_file(&file).expect_err("refused").next.contains("chmod 600"));
        mode(0o600);
        assert!(Secret::from_file(&file).is_ok());
    }
}
