//! The files of `docs/operations/deploy`: they parse, name only existing things, and agree with the program and with
//! each other.
//!
//! The tests read them as text, without the tools that the files are written for.

use decisiongraph_cli::config::keys::{KEYS, Kind, OTHER_VARIABLES, VARIABLE_PREFIX};
use decisiongraph_cli::config::{NodeConfig, Source};
use decisiongraph_protocol::ExitCode;
use decisiongraph_runtime::node::NodeBounds;
use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time that a node takes beyond `drain_ms` (see `decisiongraph node --help`).
const DRAIN_MARGIN: Duration = Duration::from_secs(5);
const DATA_DIR: &str = "/var/lib/decisiongraph";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(name: &str) -> String {
    let path = repository().join("docs/operations/deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parses the documents of a YAML file, anchors and merges resolved.
fn yaml(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    documents.iter().map(json).collect()
}

fn json(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Sequence(items) => items.iter().map(json).collect(),
        Yaml::Mapping(pairs) => {
            let mut merged = Map::new();
            let (merges, own): (Vec<_>, Vec<_>) =
                pairs.iter().map(|(key, value)| (json(key), json(value))).partition(|(key, _)| key == "<<");
            for (_, value) in merges {
                merged.extend(value.as_object().expect("a merge of a mapping").clone());
            }
            merged.extend(own.into_iter().map(|(key, value)| (key.as_str().expect("a key").to_owned(), value)));
            Value::Object(merged)
        }
        other => panic!("not plain data: {other:?}"),
    }
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn services() -> Map<String, Value> {
    yaml("compose.yaml")[0]["services"].as_object().expect("services").clone()
}

fn is_node(name: &str) -> bool {
    name.starts_with("node-")
}

/// Returns the Kubernetes objects of this kind.
fn all_of(kind: &str) -> Vec<Value> {
    yaml("kubernetes.yaml").into_iter().filter(|object| object["kind"] == kind).collect()
}

/// Returns the only Kubernetes object of this kind.
fn kubernetes(kind: &str) -> Value {
    let found = all_of(kind);
    assert_eq!(found.len(), 1, "{kind}");
    found[0].clone()
}

fn container() -> Value {
    kubernetes("StatefulSet")["spec"]["template"]["spec"]["containers"][0].clone()
}

/// Returns the lines `KEY=value` of the systemd unit, in order.
fn unit() -> Vec<(String, String)> {
    let text = text("decisiongraph.service");
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

fn of_unit(key: &str) -> Vec<String> {
    unit().into_iter().filter(|(name, _)| name == key).map(|(_, value)| value).collect()
}

/// Returns the settings that each file contains for a node: place, variable, value.
fn settings() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for (name, service) in services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            found.push((format!("compose {name}"), variable.clone(), value.as_str().expect("text").to_owned()));
        }
    }
    for entry in container()["env"].as_array().expect("env") {
        // A value from another object is known in the cluster only.
        let value = entry["value"].as_str().unwrap_or("$elsewhere");
        found.push(("kubernetes".to_owned(), entry["name"].as_str().expect("a name").to_owned(), value.to_owned()));
    }
    for line in of_unit("Environment") {
        let (variable, value) = line.split_once('=').expect("an assignment");
        found.push(("unit".to_owned(), variable.to_owned(), value.to_owned()));
    }
    for line in text("Containerfile").lines() {
        let line = line.trim().trim_start_matches("ENV ").trim_end_matches(" \\");
        if let Some((variable, value)) = line.split_once('=').filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
            found.push(("image".to_owned(), variable.to_owned(), value.to_owned()));
        }
    }
    found
}

fn setting(place: &str, variable: &str) -> String {
    let mut found = settings().into_iter().filter(|(at, name, _)| at == place && name == variable);
    found.next().unwrap_or_else(|| panic!("{place} does not set {variable}")).2
}

/// Names the places in the files that configure a node.
fn places() -> Vec<String> {
    let nodes =
        services().keys().filter(|name| is_node(name)).map(|name| format!("compose {name}")).collect::<Vec<_>>();
    assert_eq!(nodes.len(), 3);
    nodes.into_iter().chain(["kubernetes".to_owned(), "unit".to_owned()]).collect()
}

fn port(address: &str) -> u16 {
    address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_else(|| panic!("no port: {address}"))
}

#[test]
fn only_variables_that_exist_are_named() {
    let known = |name: &str| KEYS.iter().any(|key| key.variable() == name) || OTHER_VARIABLES.contains(&name);
    let folder = std::fs::read_dir(repository().join("docs/operations/deploy")).expect("a folder");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("an entry").path()).collect();
    files.push(repository().join("docs/operations/DEPLOYMENT.md"));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("text");
        for word in text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_') {
            let named = word.starts_with(VARIABLE_PREFIX) && word != VARIABLE_PREFIX;
            assert!(!named || known(word), "{}: there is no {word}", file.display());
        }
    }
}

#[test]
fn each_value_is_one_that_its_key_takes() {
    let mut checked = BTreeSet::new();
    for (place, variable, value) in settings() {
        let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
            let other = OTHER_VARIABLES.contains(&variable.as_str()) || !variable.starts_with(VARIABLE_PREFIX);
            assert!(other, "{place}: {variable}");
            continue;
        };
        // Files are on other machines, and some values are only known there.
        if key.kind == Kind::File || value.contains(['$', '%']) {
            continue;
        }
        let env = |name: &str| match name {
            "HOME" => Some("/h".to_owned()),
            name => (name == variable).then(|| value.clone()),
        };
        let faults = NodeConfig::load(None, env, Vec::new()).err().unwrap_or_default();
        // Checked alone, a value may miss others that it needs.
        let own: Vec<_> = faults.iter().filter(|fault| fault.place != Source::Together).collect();
        assert!(own.is_empty(), "{place}: {own:?}");
        checked.insert(key.name);
    }
    assert!(checked.contains("metrics_listen") && checked.contains("database"), "{checked:?}");
}

#[test]
fn every_node_of_a_cluster_has_what_it_needs() {
    let needed = ["secret_file", "cluster_ca_file", "cluster_cert_file", "cluster_key_file", "cluster_listen", "name"];
    let mut names = BTreeSet::new();
    for place in places() {
        for name in needed {
            setting(&place, &format!("{VARIABLE_PREFIX}{}", name.to_uppercase()));
        }
        // A node that listens on every address must state its reachable address, with the same port.
        let listen = setting(&place, "DECISIONGRAPH_CLUSTER_LISTEN");
        assert_eq!(port(&setting(&place, "DECISIONGRAPH_CLUSTER_ADVERTISE")), port(&listen), "{place}");
        if place.starts_with("compose") {
            names.insert(setting(&place, "DECISIONGRAPH_NAME"));
            let host = place.trim_start_matches("compose ");
            assert_eq!(setting(&place, "DECISIONGRAPH_CLUSTER_ADVERTISE"), format!("{host}:{}", port(&listen)));
        }
    }
    assert_eq!(names.len(), 3, "two nodes never share a name");
}

#[test]
fn a_node_has_time_to_drain_before_it_is_killed() {
    let needed = NodeBounds::default().drain + DRAIN_MARGIN;
    let seconds = |text: &str| Duration::from_secs(text.trim_end_matches('s').parse().expect("seconds"));
    for (name, service) in services().into_iter().filter(|(name, _)| is_node(name)) {
        assert!(seconds(service["stop_grace_period"].as_str().expect("a period")) > needed, "{name}");
    }
    let grace = kubernetes("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
    assert!(Duration::from_secs(grace.expect("seconds")) > needed);
    assert!(seconds(&of_unit("TimeoutStopSec")[0]) > needed);
    assert!(text("Containerfile").lines().any(|line| line == "STOPSIGNAL SIGTERM"));
    assert_eq!(of_unit("KillSignal"), ["SIGTERM"]);
}

#[test]
fn the_unit_knows_the_exit_codes_and_is_told_how_the_node_fares() {
    let code = |code: ExitCode| vec![code.0.to_string()];
    assert_eq!(of_unit("RestartForceExitStatus"), code(ExitCode::GAVE_UP));
    assert_eq!(of_unit("RestartPreventExitStatus"), code(ExitCode::USAGE));
    assert_eq!((of_unit("Type"), of_unit("NotifyAccess")), (vec!["notify".to_owned()], vec!["main".to_owned()]));
    assert!(!of_unit("WatchdogSec").is_empty());
    // Each credential that is named is loaded.
    let loaded: Vec<String> = of_unit("LoadCredential");
    for value in of_unit("Environment") {
        if let Some((_, credential)) = value.split_once("%d/") {
            assert!(
                loaded.iter().any(|line| line.starts_with(&format!("{credential}:"))),
                "{credential} is not loaded"
            );
        }
    }
}

#[test]
fn ports_agree() {
    let metrics = KEYS.iter().find(|key| key.name == "metrics_listen").expect("a key").default_text();
    let (metrics, cluster) = (port(&metrics), port(&setting("kubernetes", "DECISIONGRAPH_CLUSTER_LISTEN")));
    let http = port(&KEYS.iter().find(|key| key.name == "http_listen").expect("a key").default_text());
    let exposed = format!("EXPOSE {metrics} {cluster} {http}");
    assert!(text("Containerfile").lines().any(|line| line == exposed), "{exposed}");
    for place in places() {
        assert_eq!(port(&setting(&place, "DECISIONGRAPH_CLUSTER_LISTEN")), cluster, "{place}");
        if place != "unit" {
            // A probe or a scraper comes from outside the container.
            assert_eq!(setting(&place, "DECISIONGRAPH_METRICS_LISTEN"), format!("0.0.0.0:{metrics}"), "{place}");
            assert_eq!(setting(&place, "DECISIONGRAPH_HTTP_LISTEN"), format!("0.0.0.0:{http}"), "{place}");
        }
    }
    let mut published = BTreeSet::new();
    for (name, service) in services() {
        for line in words(&service["ports"]) {
            let (outside, inside) = line.rsplit_once(':').expect("two ports");
            assert!(is_node(&name) && outside.starts_with("127.0.0.1:"), "{name} publishes {line}");
            assert!(inside == http.to_string() && published.insert(port(outside)), "{name}: {line}");
        }
    }
    assert_eq!(published.len(), 3);
    let container = container();
    let named = |name: &str| {
        let port = container["ports"].as_array().expect("ports").iter().find(|port| port["name"] == name);
        port.and_then(|port| port["containerPort"].as_u64()).unwrap_or_else(|| panic!("no port {name}"))
    };
    assert_eq!((named("metrics"), named("cluster")), (u64::from(metrics), u64::from(cluster)));
    assert_eq!(named("http"), u64::from(http));
    for service in all_of("Service") {
        for port in service["spec"]["ports"].as_array().expect("ports") {
            assert_eq!(Some(named(port["targetPort"].as_str().expect("a name"))), port["port"].as_u64());
        }
    }
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let get = &container[probe]["httpGet"];
        assert_eq!((get["path"].as_str(), get["port"].as_str()), (Some(path), Some("metrics")));
    }
    for rule in kubernetes("NetworkPolicy")["spec"]["ingress"].as_array().expect("rules") {
        for port in rule["ports"].as_array().expect("ports") {
            named(port["port"].as_str().expect("a name"));
        }
    }
}

#[test]
fn what_the_compose_file_refers_to_exists() {
    let compose = &yaml("compose.yaml")[0];
    let declared = |what: &str| compose[what].as_object().expect("a mapping").keys().cloned().collect::<BTreeSet<_>>();
    let (services, secrets, volumes) = (declared("services"), declared("secrets"), declared("volumes"));
    let made = text("secrets.sh");
    for secret in compose["secrets"].as_object().expect("secrets").values() {
        let file = secret["file"].as_str().and_then(|path| path.strip_prefix("./secrets/")).expect("of secrets.sh");
        let certificate = file.split_once('_').filter(|(_, kind)| matches!(*kind, "cert.pem" | "key.pem"));
        let command = certificate.map_or_else(|| file.to_owned(), |(whose, _)| format!("\ncertificate {whose} "));
        assert!(made.contains(&command), "secrets.sh does not make {file}");
    }
    for (name, service) in compose["services"].as_object().expect("services") {
        let given: BTreeSet<&str> = words(&service["secrets"]).into_iter().collect();
        assert!(given.iter().all(|secret| secrets.contains(*secret)), "{name}");
        let used = serde_json::to_string(service).expect("text");
        for path in used.split("/run/secrets/").skip(1) {
            let secret: String = path.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            assert!(given.contains(secret.as_str()), "{name} reads {secret} and is not given it");
        }
        for volume in words(&service["volumes"]) {
            let source = volume.split(':').next().expect("a source");
            let there = match source.strip_prefix("./") {
                Some(file) => repository().join(file).is_file(),
                None => volumes.contains(source),
            };
            assert!(there, "{name}: {volume}");
        }
        for needed in service["depends_on"].as_object().into_iter().flatten().map(|(needed, _)| needed) {
            assert!(services.contains(needed), "{name} waits for {needed}");
        }
    }
}

#[test]
fn what_the_kubernetes_objects_refer_to_exists() {
    let set = kubernetes("StatefulSet");
    assert_eq!(set["spec"]["serviceName"], all_of("Service")[0]["metadata"]["name"]);
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    assert!(all_of("Service").iter().all(|service| &service["spec"]["selector"] == labels));
    assert_eq!(&kubernetes("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&kubernetes("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels);
    let advertised = setting("kubernetes", "DECISIONGRAPH_CLUSTER_ADVERTISE");
    let service = set["spec"]["serviceName"].as_str().expect("a name");
    assert!(advertised.starts_with(&format!("$(DECISIONGRAPH_NAME).{service}:")), "{advertised}");

    for object in [&set, &kubernetes("Job")] {
        let pod = &object["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], kubernetes("ServiceAccount")["metadata"]["name"]);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        let claims = object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten();
        let claimed: Vec<&Value> = claims.map(|claim| &claim["metadata"]["name"]).collect();
        let volumes = pod["volumes"].as_array().expect("volumes");
        let volumes: Vec<&Value> = volumes.iter().map(|volume| &volume["name"]).chain(claimed).collect();
        let containers = pod["containers"].as_array().into_iter().chain(pod["initContainers"].as_array()).flatten();
        for container in containers {
            let confined = &container["securityContext"];
            assert_eq!(
                (&confined["readOnlyRootFilesystem"], &confined["allowPrivilegeEscalation"]),
                (&true.into(), &false.into())
            );
            let mounts = container["volumeMounts"].as_array().expect("mounts");
            for mount in mounts {
                assert!(volumes.contains(&&mount["name"]), "{}", mount["name"]);
            }
            for entry in container["env"].as_array().into_iter().flatten() {
                let path = entry["value"].as_str().filter(|value| value.starts_with('/'));
                let mounted = |path: &str| {
                    mounts.iter().any(|mount| mount["mountPath"].as_str().is_some_and(|at| path.starts_with(at)))
                };
                assert!(path.is_none_or(mounted), "{entry}");
            }
        }
    }
    let kustomization = &yaml("kustomization.yaml")[0];
    let generated = &kustomization["configMapGenerator"][0];
    assert!(
        serde_json::to_string(&kubernetes("Job")).expect("text").contains(generated["name"].as_str().expect("a name"))
    );
    for file in words(&kustomization["resources"]).into_iter().chain(words(&generated["files"])) {
        assert!(!text(file).is_empty());
    }
}

#[test]
fn a_node_may_write_its_data_directory_and_nothing_holds_a_password() {
    assert_eq!(setting("image", "DECISIONGRAPH_DATA_DIR"), DATA_DIR);
    let image = text("Containerfile");
    assert!(
        image.lines().any(|line| line == "USER 10001:10001")
            && image.lines().any(|line| line == format!("VOLUME {DATA_DIR}"))
    );
    assert!(words(&container()["args"]) == ["node"]);
    let mounts = container()["volumeMounts"].clone();
    assert!(
        mounts
            .as_array()
            .expect("mounts")
            .iter()
            .any(|mount| mount["mountPath"] == DATA_DIR && mount["readOnly"].is_null())
    );
    for (name, service) in services().into_iter().filter(|(name, _)| is_node(name)) {
        assert!(words(&service["volumes"]).iter().any(|volume| volume.ends_with(DATA_DIR)), "{name}");
    }
    for (place, variable, value) in settings() {
        let password = value
            .split_once("//")
            .and_then(|(_, rest)| rest.split_once('@'))
            .is_some_and(|(user, _)| user.contains(':'));
        assert!(!password && variable != "PGPASSWORD", "{place}: {variable}");
    }
}

#[test]
fn the_health_check_of_the_image_is_a_command_that_exists() {
    let image = text("Containerfile");
    let line = image.lines().find_map(|line| line.trim().strip_prefix("CMD decisiongraph ")).expect("a health check");
    let arguments: Vec<&str> = line.split(" ||").next().expect("a command").split_whitespace().collect();
    assert!(arguments.contains(&format!("unix:{DATA_DIR}/admin.sock").as_str()), "{arguments:?}");
    assert!(line.ends_with(&format!("[ $? -eq {} ]", ExitCode::HEALTH_DEGRADED.0)), "{line}");
    // No node runs there on this machine: the probe must say so.
    let nowhere = std::env::temp_dir().join("decisiongraph-no-node/admin.sock");
    let arguments =
        arguments.iter().map(|word| word.replace(&format!("{DATA_DIR}/admin.sock"), &nowhere.to_string_lossy()));
    let output = decisiongraph_store::launch::program(env!("CARGO_BIN_EXE_decisiongraph"))
        .args(arguments)
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_build_needs_and_is_not_there_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let tools = tempfile::tempdir().expect("a directory");
    let path = std::env::var_os("PATH").expect("a path");
    for name in ["bash", "dirname", "sed"] {
        let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
        std::os::unix::fs::symlink(found.expect(name), tools.path().join(name)).expect("links");
    }
    let said = || {
        let mut script = decisiongraph_store::launch::program(repository().join(".ci/toolchain"));
        let output = script.arg("lint").env("PATH", tools.path()).output().expect("runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    // A program that exists but knows no subcommand.
    let install = |name: &str| {
        let file = tools.path().join(name);
        std::fs::write(&file, "#!/bin/sh\nexit 101\n").expect("writes");
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("sets");
    };
    assert!(said().starts_with("cargo is not installed"), "{}", said());
    install("cargo");
    let compiler = said();
    assert!(compiler.starts_with("No C compiler") && compiler.contains("apt-get install gcc libc6-dev"), "{compiler}");
    install("cc");
    let lints = said();
    assert!(lints.starts_with("rustfmt is not installed") && lints.contains("rustup component add rustfmt"), "{lints}");
}
