//! TLS with real certificates. `verify-full` connects only to a server that the right authority certifies under the
//! right name.

use decisiongraph_projections::Category;
use decisiongraph_store::throwaway::Server;
use decisiongraph_store::{StoreError, StoreOptions, postgres};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use std::path::PathBuf;
use tokio_postgres::NoTls;

/// An authority that signs certificates of servers.
struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority { certificate: params.self_signed(&key).expect("signs"), key }
    }

    /// Issues certificate and key, PEM.
    fn issue(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("signs");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes the authority's certificate to a file.
    fn file(&self, directory: &tempfile::TempDir, name: &str) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, self.certificate.pem()).expect("writes");
        path
    }
}

/// Makes the server present this certificate from now on. The server writes the files itself, because it must own them.
async fn equip(server: &Server, (certificate, key): (String, String)) {
    let (client, connection) = tokio_postgres::connect(server.admin_url(), NoTls).await.expect("connects");
    tokio::spawn(connection);
    for (name, pem) in [("tls.crt", certificate), ("tls.key", key)] {
        let lines = format!(
            "SELECT line FROM regexp_split_to_table('{}', E'\\n') WITH ORDINALITY t(line, n) ORDER BY n",
            pem.trim()
        );
        let program = format!("rm -f {name}; umask 077; cat > {name}");
        client.batch_execute(&format!("COPY ({lines}) TO PROGRAM '{program}'")).await.expect("writes");
    }
    for setting in ["ssl_cert_file = 'tls.crt'", "ssl_key_file = 'tls.key'", "ssl = on"] {
        client.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.expect("sets");
    }
    drop(client);
    server.restart(decisiongraph_store::throwaway::StopMode::Fast).await.expect("restarts");
}

/// Opens a connection with the TLS settings of this URL and reads the schema status; returns the error of either.
async fn encrypted(url: &str) -> Result<(), StoreError> {
    let options = StoreOptions { pool_size: 1, ..StoreOptions::default() };
    let store = postgres::open(url, options).await?;
    store.schema_status().await.map(drop)
}

fn refused(ended: Result<(), StoreError>, part: &str) {
    let error = ended.expect_err("refused");
    assert_eq!(error.category, Category::Unavailable, "{error:?}");
    assert!(error.message.contains(part), "{}", error.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_accepts_the_right_server_and_names_why_it_refuses_another() {
    let server = Server::start().await.expect("starts");
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (right, wrong) = (ours.file(&directory, "ours.pem"), theirs.file(&directory, "theirs.pem"));
    let url =
        |mode: &str, roots: &PathBuf| format!("{}?sslmode={mode}&sslrootcert={}", server.admin_url(), roots.display());

    // A server without TLS: a client that asks for TLS gets no plain connection instead.
    for mode in ["require", "verify-ca", "verify-full"] {
        refused(encrypted(&url(mode, &right)).await, "TLS");
    }
    encrypted(&format!("{}?sslmode=prefer", server.admin_url())).await.expect("plain");

    equip(&server, ours.issue("127.0.0.1")).await;
    encrypted(&url("verify-full", &right)).await.expect("the right server");
    encrypted(&url("verify-ca", &right)).await.expect("the right server");
    refused(encrypted(&url("verify-full", &wrong)).await, "UnknownIssuer");
    refused(encrypted(&url("verify-ca", &wrong)).await, "UnknownIssuer");
    refused(encrypted(&format!("{}?sslmode=verify-full", server.admin_url())).await, "UnknownIssuer");
    encrypted(&format!("{}?sslmode=require", server.admin_url())).await.expect("encryption is all that is asked for");

    equip(&server, ours.issue("elsewhere.example")).await;
    refused(encrypted(&url("verify-full", &right)).await, "not valid for name");
    encrypted(&url("verify-ca", &right)).await.expect("whose certificate it is, is not asked");
}
