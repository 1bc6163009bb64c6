//! Support for the tests of links between machines: an authority, its certificates, and nodes that other machines
//! reach.
#![allow(dead_code)]

use crate::cli_support::node::{Node, secret_file};
use crate::cli_support::{Cli, text};
use decisiongraph_rpc::TlsFiles;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::path::{Path, PathBuf};

/// Secret of every node here.
pub const SECRET: &str = "correct horse battery staple brick";
/// Name that the certificates of nodes carry.
pub const NAME: &str = "decisiongraph";

/// An authority that signs certificates.
pub struct Authority {
    dir: tempfile::TempDir,
    certificate: Certificate,
    key: KeyPair,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("sound");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signs");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("writes");
        Authority { dir, certificate, key }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Issues a certificate for `name`, in files whose names begin with `file`.
    pub fn issue(&self, file: &str, name: &str) -> TlsFiles {
        self.issue_with(file, name, |_| {})
    }

    /// Issues a certificate that has expired.
    pub fn issue_expired(&self, file: &str, name: &str) -> TlsFiles {
        self.issue_with(file, name, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_with(&self, file: &str, name: &str, change: impl FnOnce(&mut CertificateParams)) -> TlsFiles {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("sound");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.certificate, &self.key).expect("signs");
        let files = TlsFiles {
            ca: self.path("ca.pem"),
            cert: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            name: NAME.to_owned(),
        };
        std::fs::write(&files.cert, certificate.pem()).expect("writes");
        private(&files.key, &key.serialize_pem());
        files
    }
}

/// Writes a file that only this user may read.
pub fn private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).expect("writes");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("sets");
}

/// Returns flags of a node that other machines reach at its own port.
pub fn listening(files: &TlsFiles) -> Vec<String> {
    let pairs = [
        ("--cluster-listen", "127.0.0.1:0"),
        ("--cluster-ca-file", text(&files.ca)),
        ("--cluster-cert-file", text(&files.cert)),
        ("--cluster-key-file", text(&files.key)),
    ];
    pairs.iter().flat_map(|(flag, value)| [(*flag).to_owned(), (*value).to_owned()]).collect()
}

/// Starts a node that other machines reach.
pub fn start(cli: &Cli, files: &TlsFiles, more: &[&str]) -> Node {
    let flags = listening(files);
    let flags: Vec<&str> = flags.iter().map(String::as_str).chain(more.iter().copied()).collect();
    Node::start(cli, &flags)
}

/// Returns flags of a program that reaches a node by TLS.
pub fn by_tls<'a>(address: &'a str, files: &'a TlsFiles, secret: &'a Path) -> Vec<&'a str> {
    let (ca, cert, key) = (text(&files.ca), text(&files.cert), text(&files.key));
    vec!["--node", address, "--tls-ca", ca, "--tls-cert", cert, "--tls-key", key, "--secret-file", text(secret)]
}

/// Writes the secret file of these nodes.
pub fn secret(cli: &Cli) -> PathBuf {
    secret_file(cli, "shared-secret", SECRET)
}

/// Returns the node's log so far.
pub fn log(cli: &Cli) -> String {
    std::fs::read_to_string(cli.path("node.log")).unwrap_or_default()
}

/// Returns addresses that no process listens at now. The nodes must know each other's address before they start.
pub fn free_addresses(count: usize) -> Vec<String> {
    let held: Vec<std::net::TcpListener> =
        (0..count).map(|_| std::net::TcpListener::bind("127.0.0.1:0").expect("binds")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").to_string()).collect()
}

/// Nodes on separate stores, linked by a list of addresses.
pub struct Linked {
    pub authority: Authority,
    pub addresses: Vec<String>,
    pub clis: Vec<Cli>,
    pub nodes: Vec<Option<Node>>,
}

/// Names of the nodes.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

impl Linked {
    /// Starts `count` nodes. Each knows all addresses, its own included.
    pub fn start(count: usize) -> Linked {
        let mut linked = Linked::none(count);
        (0..count).for_each(|index| linked.start_node(index, &[]));
        linked
    }

    /// Prepares `count` places without starting a node.
    pub fn none(count: usize) -> Linked {
        Linked {
            authority: Authority::new(),
            addresses: free_addresses(count),
            clis: (0..count).map(|_| Cli::new()).collect(),
            nodes: (0..count).map(|_| None).collect(),
        }
    }

    /// Starts (again) the node at this place.
    pub fn start_node(&mut self, index: usize, more: &[&str]) {
        let files = self.authority.issue(NAMES[index], NAME);
        self.start_node_as(index, &files, more);
    }

    /// Starts the node at this place with these certificates.
    pub fn start_node_as(&mut self, index: usize, files: &TlsFiles, more: &[&str]) {
        let peers = self.addresses.join(",");
        let own = ["--cluster-listen", &self.addresses[index], "--cluster-peers", &peers, "--name", NAMES[index]];
        let flags = listening(files);
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).skip(2).chain(own).chain(more.iter().copied()).collect();
        self.nodes[index] = Some(Node::start(&self.clis[index], &flags));
    }

    pub fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().expect("runs")
    }

    /// Returns the links of the node at this place, as that node sees them: name or address, state, last error.
    pub fn links(&self, index: usize) -> Vec<(String, String, String)> {
        let cluster = self.clis[index].json(&["cluster"]);
        let links = cluster["links"].as_array().cloned().unwrap_or_default();
        let word = |link: &serde_json::Value, name: &str| link[name].as_str().unwrap_or_default().to_owned();
        links.iter().map(|link| (word(link, "node"), word(link, "state"), word(link, "last_error"))).collect()
    }

    /// True when the node at `from` has a link in this state to the node named `to`.
    pub fn has(&self, from: usize, to: &str, state: &str) -> bool {
        self.links(from).iter().any(|(node, is, _)| node == to && is == state)
    }

    /// Waits until every node is linked to every other node and to no other address.
    pub fn wait_until_linked(&self) {
        let names = &NAMES[..self.nodes.len()];
        for (index, own) in names.iter().enumerate() {
            crate::cli_support::node::wait_until("everybody is linked", || {
                let links = self.links(index);
                let up = links.iter().filter(|(_, state, _)| state == "up").map(|(node, _, _)| node.as_str());
                let others = names.iter().filter(|name| *name != own);
                links.len() + 1 == self.nodes.len() && up.eq(others.copied())
            });
        }
    }
}
