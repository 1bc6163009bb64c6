//! Database addresses: what connects with a password never shows it.

use super::{run, told, visible};
use decisiongraph_store::{DatabaseUrl, StoreOptions, open};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub(super) fn offer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in [text.to_owned(), format!("postgres://{text}")] {
        match DatabaseUrl::parse(&text) {
            Ok(url) => address(&text, &url),
            Err(error) => told(error.category, &error.message),
        }
    }
}

fn address(text: &str, url: &DatabaseUrl) {
    let (shown, debugged) = (url.to_string(), format!("{url:?}"));
    visible(&shown);
    let DatabaseUrl::Postgres(_) = url else { return };
    let mut told_of_it = vec![shown, debugged];
    // With what it needs to know of other files, it would look at them.
    if !text.contains("sslrootcert") {
        let options = StoreOptions { later: true, pool_size: 1, writers: 1, ..StoreOptions::default() };
        match run(open(url, options)) {
            Ok(store) => told_of_it.push(store.address().to_owned()),
            Err(error) => {
                told(error.category, &error.message);
                told_of_it.push(error.to_string());
            }
        }
    }
    // The driver knows best which part is the password.
    let Ok(config) = text.parse::<Config>() else { return };
    let Some(password) = config.get_password().and_then(|password| std::str::from_utf8(password).ok()) else { return };
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let ports: Vec<String> = config.get_ports().iter().map(u16::to_string).collect();
    let user = config.get_user().unwrap_or_default();
    // The same text may stand where it is no password.
    let in_the_open = format!(
        "DatabaseUrl(postgresql://{user}@{}:{}/{} localhost:5432/ the database URL cannot be read: invalid_argument",
        hosts.collect::<Vec<_>>().join(","),
        ports.join(","),
        config.get_dbname().unwrap_or(user),
    );
    // A part of a word may stand by chance anywhere.
    if password.len() < 4 || in_the_open.contains(password) || told_by_chance(password) {
        return;
    }
    for told in told_of_it {
        assert!(!told.contains(password), "the password {password:?} shows: {told}");
    }
}

/// Words of any message.
fn told_by_chance(password: &str) -> bool {
    password.chars().all(|c| c.is_ascii_alphabetic() || c == ' ')
}
