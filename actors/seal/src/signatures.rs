//! The arithmetic of signatures, by the crypto library of the program: Ed25519 (RFC 8032) and ML-DSA-44 (FIPS 204).

use aws_lc_rs::signature::{ED25519, ML_DSA_44, UnparsedPublicKey, VerificationAlgorithm};
use decisiongraph_projections::seal::note::{KeyKind, Verify};

/// The check of signatures.
#[derive(Debug, Clone, Copy)]
pub struct Signatures;

impl Verify for Signatures {
    fn verify(&self, kind: KeyKind, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match kind {
            KeyKind::Log | KeyKind::Witness => &ED25519,
            KeyKind::WitnessMlDsa => &ML_DSA_44,
        };
        UnparsedPublicKey::new(algorithm, public).verify(message, signature).is_ok()
    }
}
