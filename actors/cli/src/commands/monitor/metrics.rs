//! The page of metrics of a monitor: what its last look saw, as Prometheus text.
//!
//! *Guarantees.* A scrape is answered from memory, whatever the source does. Every series names the log. A finding
//! stands as long as the looks find it.

use super::round::Seen;
use decisiongraph_engine::telemetry::Telemetry;
use decisiongraph_http::{HttpBounds, HttpServer, Probes};
use decisiongraph_projections::Category;
use decisiongraph_protocol::{AdminError, ExitCode};
use decisiongraph_seal::Finding;
use prometheus::{Gauge, GaugeVec, Opts, Registry};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

/// The finding of a monitor that no pack has.
const SHRUNK: &str = "tree_shrunk";

/// A running page.
pub struct Metrics {
    size: Gauge,
    age: Gauge,
    looked: Gauge,
    verified: Gauge,
    findings: GaugeVec,
    last: Arc<LastLook>,
    server: HttpServer,
}

/// State of the last look, for probes: nothing, or why the log is not verified.
struct LastLook(Mutex<Option<String>>);

impl Probes for LastLook {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone().map_or(Ok(()), Err)
    }
}

impl Metrics {
    /// Serves the page on this address (port 0 takes a free port). `unavailable` when it cannot.
    pub async fn start(address: SocketAddr, origin: &str) -> Result<Metrics, AdminError> {
        let labels = HashMap::from([("origin".to_owned(), origin.to_owned())]);
        let registry = Registry::new_custom(Some("decisiongraph_monitor".to_owned()), Some(labels)).map_err(defect)?;
        let gauge = |name: &str, help: &str| -> Result<Gauge, AdminError> {
            let gauge = Gauge::new(name, help).map_err(defect)?;
            registry.register(Box::new(gauge.clone())).map_err(defect)?;
            Ok(gauge)
        };
        let size = gauge("checkpoint_size", "Events under the newest checkpoint that was verified.")?;
        let age = gauge("checkpoint_age_seconds", "Age of that checkpoint at the last look.")?;
        let looked = gauge("looked_timestamp_seconds", "Time of the last look that the source answered.")?;
        let verified = gauge("verified_timestamp_seconds", "Time of the last look without a finding.")?;
        let findings = Opts::new("findings", "1 for a finding of the last look that the source answered.");
        let findings = GaugeVec::new(findings, &["word"]).map_err(defect)?;
        registry.register(Box::new(findings.clone())).map_err(defect)?;
        Finding::ALL.iter().for_each(|finding| findings.with_label_values(&[finding.as_str()]).set(0.0));
        findings.with_label_values(&[SHRUNK]).set(0.0);
        let last = Arc::new(LastLook(Mutex::new(Some("the source was not checked yet".to_owned()))));
        let probes: Arc<dyn Probes> = Arc::clone(&last) as Arc<dyn Probes>;
        let server = HttpServer::start(address, probes, Telemetry::of_registry(registry), HttpBounds::default()).await;
        let server = server.map_err(|error| error.next("choose another address with --metrics, or leave it out"))?;
        Ok(Metrics { size, age, looked, verified, findings, last, server })
    }

    /// Returns the address of the page.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.server.address())
    }

    /// Shows a look.
    pub fn saw(&self, seen: &Seen) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.looked.set(now);
        self.findings.reset();
        Finding::ALL.iter().for_each(|finding| self.findings.with_label_values(&[finding.as_str()]).set(0.0));
        self.findings.with_label_values(&[SHRUNK]).set(0.0);
        if let Some(word) = seen.word() {
            self.findings.with_label_values(&[word]).set(1.0);
        }
        if let Some((size, age)) = seen.newest() {
            self.size.set(size as f64);
            self.age.set(age.as_secs_f64());
            self.verified.set(now);
        }
        let why = (seen.exit != ExitCode::OK).then(|| seen.lines().join("; "));
        self.tell(why);
    }

    /// Shows that the source did not answer.
    pub fn away(&self, why: &str) {
        self.tell(Some(why.to_owned()));
    }

    fn tell(&self, why: Option<String>) {
        *self.last.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = why;
    }
}

fn defect(error: prometheus::Error) -> AdminError {
    AdminError::new(Category::Internal, format!("the page of metrics cannot be made: {error}"))
}
