//! A client of HTTP/1.1 for single requests: to a place of signed notes, and to a node's interface.
//!
//! *Guarantees.* A request ends within its deadline, whatever the other side does. The other side's certificate is
//! checked, with its host. Without TLS only this machine is reached. An answer has a bounded length.
//!
//! *Never here:* redirects, retries, connections that are kept.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Begin of the part of an address that names a file of certificates. It is never sent.
const CA: &str = "#ca=";

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The other side.
pub struct Web {
    host: String,
    port: u16,
    /// Host and port, as the address has them.
    authority: String,
    /// Path before every request's own, without a slash at its end.
    base: String,
    /// None without TLS.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Web {
    /// Reads an address: `https://HOST[:PORT][/PATH][#ca=FILE]`, or `http://` with a loopback host. With a file, its
    /// certificates are trusted, and no others.
    pub fn new(address: &str) -> Result<Web, String> {
        let (address, ca) = match address.split_once(CA) {
            Some((address, file)) => (address, Some(Path::new(file))),
            None => (address, None),
        };
        let uri: Uri = address.parse().map_err(|error| format!("{address} is not an address: {error}"))?;
        let authority = uri.authority().ok_or_else(|| format!("{address} names no host"))?;
        if authority.as_str().contains('@') {
            return Err("an address with a user is not supported".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let (tls, port) = match uri.scheme_str() {
            Some("https") => {
                let name = ServerName::try_from(host.clone()).map_err(|_| format!("{host} is not a host"))?;
                (Some((connector(ca)?, name)), 443)
            }
            Some("http") if is_loopback(&host) => (None, 80),
            _ => return Err(format!("{address} begins neither with https:// nor with http:// and this machine")),
        };
        Ok(Web {
            port: authority.port_u16().unwrap_or(port),
            authority: authority.as_str().to_owned(),
            base: uri.path().trim_end_matches('/').to_owned(),
            host,
            tls,
        })
    }

    /// Sends a request, and reads the answer. `path` begins with a slash.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header(HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        match tokio::time::timeout(deadline, self.exchange(request)).await {
            Ok(answer) => answer.map_err(|error| format!("{}: {error}", self.authority)),
            Err(_) => Err(format!("{}: no answer within {deadline:?}", self.authority)),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failed> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        match &self.tls {
            Some((tls, name)) => over(tls.connect(name.clone(), stream).await?, request).await,
            None => over(stream, request).await,
        }
    }
}

async fn over<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok::<_, Failed>(Answer { status: head.status, body })
    };
    tokio::pin!(answered, connection);
    tokio::select! {
        answer = &mut answered => answer,
        ended = &mut connection => {
            ended?;
            // The connection may end with the answer still to be read.
            answered.await
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Makes the client's side of TLS: with the public authorities, or with those of a file.
fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(&error))? {
                let certificate = certificate.map_err(|error| failed(&error))?;
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            if roots.is_empty() {
                return Err(failed(&"it holds no certificate"));
            }
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Writes a text as one segment of a path.
pub fn segment(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => written.push(char::from(byte)),
            other => written.push_str(&format!("%{other:02X}")),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_of_this_machine() {
        let web = Web::new("https://bucket.example:8443/seals/").expect("an address");
        assert_eq!((web.port, &*web.base, &*web.authority), (8443, "/seals", "bucket.example:8443"));
        for good in ["https://h", "http://127.0.0.1:4100", "http://[::1]:1/x", "http://localhost"] {
            assert!(Web::new(good).is_ok(), "{good}");
        }
        for wrong in ["http://h", "ftp://h", "h", "https://", "https://u:p@h/x", "https://h/x#ca=/nowhere"] {
            assert!(Web::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_segment_does_not_leave_its_path() {
        assert_eq!(segment("7f1c~2"), "7f1c~2");
        assert_eq!(segment("a/../b?c#d%e ä"), "a%2F..%2Fb%3Fc%23d%25e%20%C3%A4");
    }
}
