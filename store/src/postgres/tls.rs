//! TLS as the URL's `sslmode` and `sslrootcert` request it, with the meanings of libpq:
//!
//! | `sslmode` | encrypted | the server's certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default) | if the server can | not checked |
//! | `require` | yes | not checked; with `sslrootcert` like `verify-ca` |
//! | `verify-ca` | yes | signed by a trusted root |
//! | `verify-full` | yes | and issued to the host of the URL |
//!
//! Roots are those of the `sslrootcert` file, else the public roots that browsers trust.

use crate::{Result, StoreError};
use decisiongraph_projections::Category;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use tokio_postgres::config::SslMode;

/// Protection of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsChoice {
    /// Mode for the driver.
    pub(super) mode: SslMode,
    /// Proof that the server's certificate must give.
    pub(super) check: Check,
    /// A file of trusted roots.
    pub(super) roots: Option<String>,
}

/// Proof that a server's certificate must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// No proof: encryption only.
    Nothing,
    /// A trusted root signed it.
    Authority,
    /// A trusted root signed it, and it belongs to the host.
    Host,
}

impl TlsChoice {
    /// Removes `sslmode` and `sslrootcert` from a URL; the rest is the driver's.
    pub(super) fn take_from(url: &str) -> Result<(TlsChoice, String)> {
        let (head, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = ("prefer".to_owned(), None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = value.to_owned(),
                Some(("sslrootcert", value)) => roots = Some(percent_decoded(value)),
                _ => rest.push(pair),
            }
        }
        let (mode, check) = match (mode.as_str(), &roots) {
            ("disable", _) => (SslMode::Disable, Check::Nothing),
            ("prefer", _) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            ("require" | "verify-ca", _) => (SslMode::Require, Check::Authority),
            ("verify-full", _) => (SslMode::Require, Check::Host),
            _ => {
                return Err(StoreError::new(
                    Category::InvalidArgument,
                    "`sslmode` must be disable, prefer, require, verify-ca or verify-full",
                ));
            }
        };
        let url = if rest.is_empty() { head.to_owned() } else { format!("{head}?{}", rest.join("&")) };
        Ok((TlsChoice { mode, check, roots }, url))
    }

    /// Builds the client's side of the handshake.
    pub(super) fn client_config(&self) -> Result<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusted = || {
            WebPkiServerVerifier::builder_with_provider(Arc::new(self.root_store()?), provider.clone())
                .build()
                .map_err(|error| StoreError::new(Category::InvalidArgument, format!("`sslrootcert`: {error}")))
        };
        let verifier: Arc<dyn ServerCertVerifier> = match self.check {
            Check::Nothing => Arc::new(AnyHost { provider: provider.clone(), roots: None }),
            Check::Authority => Arc::new(AnyHost { provider: provider.clone(), roots: Some(trusted()?) }),
            Check::Host => trusted()?,
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::internal(format!("TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(config)
    }

    fn root_store(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        let Some(path) = &self.roots else {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            return Ok(store);
        };
        let refuse = |what: String| StoreError::new(Category::InvalidArgument, format!("`sslrootcert` {path}: {what}"));
        let file = std::fs::File::open(path).map_err(|error| refuse(error.to_string()))?;
        for certificate in CertificateDer::pem_reader_iter(std::io::BufReader::new(file)) {
            let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
            store.add(certificate).map_err(|error| refuse(error.to_string()))?;
        }
        if store.is_empty() { Err(refuse("holds no certificate".to_owned())) } else { Ok(store) }
    }
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push((hex(*high).unwrap_or_default() * 16 + hex(*low).unwrap_or_default()) as u8);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Checks as much of a certificate as a mode below `verify-full` promises: a trusted root's signature, or nothing.
#[derive(Debug)]
struct AnyHost {
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        // The name is checked last.
        match roots.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_gets_the_rest_of_the_url() {
        let (choice, url) =
            TlsChoice::take_from("postgres://h/d?sslmode=verify-full&sslrootcert=%2Fa%20b&user=u").expect("reads");
        assert_eq!(url, "postgres://h/d?user=u");
        assert_eq!((choice.mode, choice.check), (SslMode::Require, Check::Host));
        assert_eq!(choice.roots.as_deref(), Some("/a b"));
        let (choice, url) = TlsChoice::take_from("postgres://h/d").expect("reads");
        assert_eq!((choice.mode, choice.check, url.as_str()), (SslMode::Prefer, Check::Nothing, "postgres://h/d"));
        let (choice, _) = TlsChoice::take_from("postgres://h/d?sslmode=require&sslrootcert=x").expect("reads");
        assert_eq!(choice.check, Check::Authority);
        assert!(choice.client_config().is_err(), "the file does not exist");
        TlsChoice::take_from("postgres://h/d?sslmode=allow").expect_err("a mode that promises nothing");
    }
}
