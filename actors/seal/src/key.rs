//! The private key of a deployment's seal: one line in a file, in the form of Go's note signers.
//!
//! ```text
//! PRIVATE+KEY+NAME+ID+BASE64(01 ‖ seed)
//! ```
//!
//! *Guarantees.* A new file is readable for its owner alone, and never replaces another. A file that others may read or
//! write, or that its group may write, is refused. The seed reaches no error and no `Debug` output.

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use decisiongraph_projections::seal::note::{KeyKind, VerifierKey, is_name, signature_line};
use decisiongraph_projections::seal::{base64, read_base64_of};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Longest key file, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024;
/// Permission bits that refuse a file: others have no access to it, and only its owner may write it.
const FORBIDDEN_MODE: u32 = 0o027;
const BEGIN: &str = "PRIVATE+KEY+";

/// Reason why there is no key. It never contains the key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, std::io::Error),
    /// Others have access.
    #[error("other users may read or write the key file {path}; `chmod 600` it", path = .0.display())]
    Open(PathBuf),
    /// The file holds something else.
    #[error("{path} is not a key file: it has one line PRIVATE+KEY+NAME+ID+BASE64", path = .0.display())]
    NotAKey(PathBuf),
    /// The list of rotations holds something else.
    #[error("{path} is not a list of key rotations", path = .0.display())]
    NotRotations(PathBuf),
    /// The name is empty, or has a space or `+`.
    #[error("a key's name is not empty and has neither spaces nor `+`")]
    Name,
    /// The system gave no random bytes, or the library refused the seed.
    #[error("the crypto library made no key")]
    Crypto,
}

/// A private key in memory. It signs for every origin of its deployment.
pub struct SigningKey {
    name: String,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Draws a key, and writes it to a new file.
    pub fn create(name: &str, path: &Path) -> Result<SigningKey, KeyError> {
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| KeyError::Crypto)?;
        let key = SigningKey::of_seed(name, &seed)?;
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(key.line(&seed).as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| KeyError::File(path.to_owned(), error))?;
        Ok(key)
    }

    /// Reads a key file.
    pub fn read(path: &Path) -> Result<SigningKey, KeyError> {
        let failed = |error| KeyError::File(path.to_owned(), error);
        let file = File::open(path).map_err(failed)?;
        let facts = file.metadata().map_err(failed)?;
        if facts.permissions().mode() & FORBIDDEN_MODE != 0 {
            return Err(KeyError::Open(path.to_owned()));
        }
        let mut line = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut line).map_err(failed)?;
        SigningKey::parse(&line).ok_or_else(|| KeyError::NotAKey(path.to_owned()))
    }

    /// Creates the key of a seed.
    pub fn of_seed(name: &str, seed: &[u8; 32]) -> Result<SigningKey, KeyError> {
        if !is_name(name) {
            return Err(KeyError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Crypto)?;
        Ok(SigningKey { name: name.to_owned(), pair })
    }

    fn parse(line: &str) -> Option<SigningKey> {
        let (name, rest) = line.strip_suffix('\n').unwrap_or(line).strip_prefix(BEGIN)?.split_once('+')?;
        let (_, raw) = rest.split_once('+')?;
        let raw: [u8; 33] = read_base64_of(raw).ok()?;
        let (kind, seed) = raw.split_first_chunk::<1>()?;
        let seed: [u8; 32] = seed.try_into().ok()?;
        let key = SigningKey::of_seed(name, &seed).ok()?;
        // The id is that of the public key: a line that was cut or changed does not fit.
        (kind[0] == KeyKind::Log as u8 && key.line(&seed).trim_end() == line.trim_end()).then_some(key)
    }

    fn line(&self, seed: &[u8; 32]) -> String {
        let id: String = self.verifier(&self.name).id().iter().map(|byte| format!("{byte:02x}")).collect();
        let raw = [&[KeyKind::Log as u8], seed.as_slice()].concat();
        format!("{BEGIN}{}+{id}+{}\n", self.name, base64(&raw))
    }

    /// Returns the name in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the public key, to hand to auditors, under the name of one log.
    pub fn verifier(&self, origin: &str) -> VerifierKey {
        VerifierKey::of_log(origin, self.pair.public_key().as_ref())
    }

    /// Signs a text under the name of a log; returns the signature line.
    pub fn sign(&self, origin: &str, text: &str) -> Result<String, KeyError> {
        let signature = self.pair.try_sign(text.as_bytes()).map_err(|_| KeyError::Crypto)?;
        let signature = signature.as_ref().try_into().map_err(|_| KeyError::Crypto)?;
        Ok(signature_line(&self.verifier(origin), signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signatures::Signatures;
    use decisiongraph_projections::seal::note::{Note, Signed, signed};
    use std::fs;

    #[test]
    fn a_key_file_is_private_is_read_again_and_never_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seal.key");
        let key = SigningKey::create("decisions.example.com", &path).expect("made");
        let text = fs::read_to_string(&path).expect("reads");
        assert!(text.starts_with("PRIVATE+KEY+decisions.example.com+") && text.lines().count() == 1);
        assert_eq!(fs::metadata(&path).expect("facts").permissions().mode() & 0o777, 0o600);
        assert!(matches!(SigningKey::create("other", &path), Err(KeyError::File(..))));
        let again = SigningKey::read(&path).expect("reads");
        assert_eq!((again.name(), again.verifier("a/b")), (key.name(), key.verifier("a/b")));
        let note = signed("a/b\n", &[key.sign("a/b", "a/b\n").expect("signed")]);
        assert_eq!(Note::parse(&note).expect("a note").signed_by(&again.verifier("a/b"), &Signatures), Ok(Signed::Yes));
        for mode in [0o644, 0o620, 0o602, 0o604, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            assert!(matches!(SigningKey::read(&path), Err(KeyError::Open(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_damaged_key_file_is_refused_and_the_seed_is_in_no_error() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seal.key");
        let key = SigningKey::create("a/b", &path).expect("made");
        let text = fs::read_to_string(&path).expect("reads");
        let secret = &text.trim_end()[text.len() - 21..];
        assert!(!format!("{key:?}").contains(secret));
        for wrong in [
            "",
            "PRIVATE+KEY+",
            &text[1..],
            &text[..text.len() - 9],
            &text.replace("a/b", "a/c"),
            &format!("{text}{text}"),
        ] {
            fs::write(&path, wrong).expect("writes");
            let error = SigningKey::read(&path).expect_err("refused");
            assert!(matches!(error, KeyError::NotAKey(_)), "{wrong}");
            assert!(!format!("{error} {error:?}").contains(secret));
        }
        assert!(matches!(SigningKey::create("a b", &path), Err(KeyError::Name)));
        assert!(matches!(SigningKey::read(directory.path()), Err(KeyError::Open(_) | KeyError::File(..))));
    }
}
