//! Database addresses: the text shown of an address does not depend on its password.

use super::{run, told, visible};
use decisiongraph_store::{DatabaseUrl, StoreOptions, open};

/// Beginning of the refusal of an address that the driver cannot read.
const UNREADABLE: &str = "invalid_argument: the database URL cannot be read";
/// Replacement for the password.
const OTHER: &str = "kX9canary7Qz";

pub(super) fn offer(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for text in [text.to_owned(), format!("postgres://{text}")] {
        // A file that another user chose would be another input.
        let opens = !text.contains("sslrootcert");
        let Some(shown) = shown(&text, opens) else { continue };
        if let Some(shown_of_other) = with_other_password(&text).and_then(|other| self::shown(&other, opens)) {
            // An address that the driver cannot read is refused, in words that do not depend on the password.
            let refused = |shown: &[String]| shown.last().is_some_and(|last| last.starts_with(UNREADABLE));
            let told = if refused(&shown) == refused(&shown_of_other) { shown.len() } else { 2 };
            assert_eq!(shown[..told], shown_of_other[..told.min(shown_of_other.len())], "the password shows");
        }
    }
}

/// Collects all texts about this address; none when it is refused as such.
fn shown(text: &str, opens: bool) -> Option<Vec<String>> {
    let url = match DatabaseUrl::parse(text) {
        Ok(url) => url,
        Err(error) => {
            told(error.category, &error.message);
            return None;
        }
    };
    let mut shown = vec![url.to_string(), format!("{url:?}")];
    visible(&shown[0]);
    if matches!(url, DatabaseUrl::Postgres(_)) && opens {
        let options = StoreOptions { later: true, pool_size: 1, writers: 1, ..StoreOptions::default() };
        match run(open(&url, options)) {
            Ok(store) => shown.push(store.address().to_owned()),
            Err(error) => {
                told(error.category, &error.message);
                shown.push(error.to_string());
            }
        }
    }
    Some(shown)
}

/// Replaces the password of an address, before its first `@` and in its parameters. None when it has no password. The
/// driver finds passwords in the same places.
fn with_other_password(text: &str) -> Option<String> {
    // The path of a file has no password.
    if text.starts_with("sqlite:") {
        return None;
    }
    let (scheme, rest) = text.split_once("//")?;
    let (login, rest) = rest.split_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
    let user = login.and_then(|login| login.split_once(':')).map(|(user, _)| user);
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let other = |parameter: &str| match parameter.strip_prefix("password=") {
        Some(_) => format!("password={OTHER}"),
        None => parameter.to_owned(),
    };
    let parameters: Vec<String> = parameters.split('&').map(other).collect();
    let login = match (user, login) {
        (Some(user), _) => format!("{user}:{OTHER}@"),
        (None, Some(login)) => format!("{login}@"),
        (None, None) => String::new(),
    };
    let question = if rest.contains('?') { "?" } else { "" };
    let changed = format!("{scheme}//{login}{place}{question}{}", parameters.join("&"));
    (changed != text).then_some(changed)
}

#[cfg(test)]
mod tests {
    #[test]
    fn passwords_are_found_where_the_driver_finds_them() {
        for (text, other) in [
            ("postgres://u:s3/cr?t@h/d", Some("postgres://u:kX9canary7Qz@h/d")),
            ("postgres://h/d?user=u&password=x", Some("postgres://h/d?user=u&password=kX9canary7Qz")),
            ("postgres://u@h/d?application_name=b", None),
        ] {
            assert_eq!(super::with_other_password(text).as_deref(), other);
            let password =
                |text: &str| text.parse::<tokio_postgres::Config>().expect("reads").get_password().map(<[u8]>::to_vec);
            assert_eq!(other.and_then(password), other.map(|_| super::OTHER.as_bytes().to_vec()));
            assert_eq!(password(text).is_some(), other.is_some());
        }
    }
}
