//! Forms of credentials, as data: what they start with, and what follows.
//!
//! ```text
//!   … k e y :  g h p _ 0 f 3 A … (36) . …
//!             ▲└start┘└── body ─────┘▲
//!    no letter, digit or `_` before   the body is as long as its alphabet goes
//! ```
//!
//! Guarantees: a word, a name, an id such as `task-1` or a locale such as `sk-SK` is no credential. One pass over the
//! text finds the starts; nearly no text has one. Never finds everything: a password that looks like a word is not
//! found.

use aho_corasick::AhoCorasick;
use std::sync::LazyLock;

/// One form of a credential.
#[derive(Debug)]
pub struct Pattern {
    /// Name of the form in a refusal.
    pub name: &'static str,
    /// Starts of the form. Their case must match, unless the body is [`Body::Bearer`] or [`Body::Assigned`].
    starts: &'static [&'static str],
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// A run of bytes of an alphabet, with a least and a most length. The next byte is not of the alphabet.
    Run(Alphabet, usize, usize),
    /// A run of [`Alphabet::UrlSafe`]. It has a stretch of this length without `-` and `_`, with a letter and a digit.
    Unbroken(usize),
    /// `Bearer TOKEN`, in any case. The token is unbroken, over the characters that RFC 6750 allows. Or it consists of
    /// hexadecimal digits and `-`.
    Bearer,
    /// `NAME=VALUE`, in any case, with one of [`NAMES`]. The value has at least this many bytes, with a letter and a
    /// digit.
    Assigned(usize),
    /// The rest of a PEM header that names a private key.
    PrivateKey,
    /// A further part behind a dot that is a JSON object too.
    Jwt,
}

#[derive(Debug, Clone, Copy)]
enum Alphabet {
    /// A to Z, 2 to 7.
    Base32,
    LowerHex,
    Hex,
    Alphanumeric,
    /// Letters, digits and `_`.
    Word,
    /// Letters, digits, `-` and `_`.
    UrlSafe,
    /// Letters, digits, `-`, `_` and `.`.
    Dotted,
    /// Characters of RFC 6750, section 2.1.
    Bearer,
    /// Printable characters, except those that end or quote a value.
    Value,
}

/// Names whose value is a credential. `page_token`, for example, is another name.
#[rustfmt::skip]
const NAMES: [&str; 22] = [
    "password", "passwd", "pwd", "secret", "client_secret", "token", "access_token", "refresh_token", "auth_token",
    "id_token", "api_token", "api_key", "apikey", "api-key", "x-api-key", "x_api_key", "secret_key", "access_key",
    "secret_access_key", "aws_secret_access_key", "private_token", "session_token",
];

/// Most bytes behind a start that are checked. The bound keeps a text full of starts as cheap as its length.
const LOOK_BYTES_MAX: usize = 512;
/// Most bytes of a body when the provider names no length.
const LONG: usize = LOOK_BYTES_MAX;
/// Length in bytes of the longest of [`NAMES`], plus one.
const NAME_LOOK_BYTES: usize = 22;

/// The table of forms. Sources: the providers' own pages on the form of their tokens, named in each line. Without such
/// a page, the public rules of secret scanners (gitleaks, GitHub's secret scanning) agree on start, alphabet and
/// length.
#[rustfmt::skip]
pub const PATTERNS: &[Pattern] = &[
    // "IAM identifiers", AWS documentation: 20 characters; the first four name the kind.
    form("an AWS access key id (`AKIA` or `ASIA` and 16 capitals or digits)", &["AKIA", "ASIA"], Body::Run(Alphabet::Base32, 16, 16)),
    // "Behind GitHub's new authentication token formats": start, 36 characters, longer in future.
    form("a GitHub token (`ghp_`, `gho_`, `ghu_`, `ghs_` or `ghr_` and at least 36 letters or digits)",
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], Body::Run(Alphabet::Alphanumeric, 36, 255)),
    form("a GitHub fine-grained token (`github_pat_` and 82 letters, digits or `_`)", &["github_pat_"], Body::Run(Alphabet::Word, 82, 82)),
    // GitLab documentation, "Token prefixes".
    form("a GitLab access token (`glpat-` and at least 20 characters)", &["glpat-"], Body::Run(Alphabet::Dotted, 20, LONG)),
    // Slack documentation, "Token types".
    form("a Slack token (`xoxb-`, `xoxp-`, `xoxa-`, `xoxr-`, `xoxs-` or `xoxe-` and its parts)",
        &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-"], Body::Unbroken(10)),
    form("a Slack app token (`xapp-` and its parts)", &["xapp-"], Body::Unbroken(10)),
    // OpenAI, Anthropic (`sk-ant-`), OpenRouter (`sk-or-`) and others share this start.
    form("an API key of OpenAI, Anthropic or a similar provider (`sk-` and at least 20 characters)", &["sk-"], Body::Unbroken(20)),
    // Stripe documentation, "API keys".
    form("a Stripe secret key (`sk_live_`, `sk_test_`, `rk_live_` or `rk_test_` and at least 16 letters or digits)",
        &["sk_live_", "sk_test_", "rk_live_", "rk_test_"], Body::Run(Alphabet::Alphanumeric, 16, LONG)),
    // Google Cloud documentation: 39 characters.
    form("a Google API key (`AIza` and 35 characters)", &["AIza"], Body::Run(Alphabet::UrlSafe, 35, 35)),
    form("a Google OAuth client secret (`GOCSPX-` and 28 characters)", &["GOCSPX-"], Body::Run(Alphabet::UrlSafe, 28, 28)),
    form("a Google OAuth access token (`ya29.` and at least 20 characters)", &["ya29."], Body::Run(Alphabet::UrlSafe, 20, LONG)),
    // npm blog, "New npm authentication token format".
    form("an npm token (`npm_` and 36 letters or digits)", &["npm_"], Body::Run(Alphabet::Alphanumeric, 36, 36)),
    // PyPI: a macaroon, base64. Every macaroon of pypi.org has this start.
    form("a PyPI token (`pypi-AgE` and at least 50 characters)", &["pypi-AgE"], Body::Run(Alphabet::UrlSafe, 50, LONG)),
    form("a Hugging Face token (`hf_` and at least 34 letters or digits)", &["hf_"], Body::Run(Alphabet::Alphanumeric, 34, 40)),
    form("a SendGrid key (`SG.` and 66 characters)", &["SG."], Body::Run(Alphabet::Dotted, 66, 66)),
    form("a DigitalOcean token (`dop_v1_` and 64 hexadecimal digits)", &["dop_v1_"], Body::Run(Alphabet::LowerHex, 64, 64)),
    form("a Shopify token (`shpat_` or `shpss_` and 32 hexadecimal digits)", &["shpat_", "shpss_"], Body::Run(Alphabet::Hex, 32, 32)),
    form("a Databricks token (`dapi` and 32 hexadecimal digits)", &["dapi"], Body::Run(Alphabet::LowerHex, 32, 32)),
    form("a HashiCorp Vault token (`hvs.` and at least 24 characters)", &["hvs."], Body::Run(Alphabet::UrlSafe, 24, LONG)),
    // RFC 7468.
    form("a private key (`-----BEGIN … PRIVATE KEY`)", &["-----BEGIN "], Body::PrivateKey),
    // RFC 7519: `eyJ` is `{"` in base64.
    form("a JSON Web Token (`eyJ….eyJ…`)", &["eyJ"], Body::Jwt),
    // RFC 6750.
    form("a bearer token (`Bearer ` and at least 20 characters)", &["Bearer "], Body::Bearer),
    form("a password (`password=` and at least 6 characters, with a letter and a digit)", &["password=", "passwd=", "pwd="], Body::Assigned(6)),
    form("a key, token or secret (`token=`, `secret=`, `api_key=` and at least 16 characters, with a letter and a digit)",
        &["token=", "secret=", "_key=", "apikey=", "api-key=", "api-key:", "api_key:"], Body::Assigned(16)),
];

const fn form(name: &'static str, starts: &'static [&'static str], body: Body) -> Pattern {
    Pattern { name, starts, body }
}

/// Finds the places at which a pattern may start; each of its needles belongs to a pattern.
struct Starts {
    automaton: AhoCorasick,
    pattern_of: Vec<usize>,
}

static STARTS: LazyLock<Starts> = LazyLock::new(|| {
    let needles =
        PATTERNS.iter().enumerate().flat_map(|(at, pattern)| pattern.starts.iter().map(move |start| (at, *start)));
    let (pattern_of, needles): (Vec<_>, Vec<_>) = needles.unzip();
    let automaton = AhoCorasick::builder().ascii_case_insensitive(true).build(needles).expect("constant starts build");
    Starts { automaton, pattern_of }
});

/// Returns the form of the first credential in `text`, if any.
pub fn find(text: &str) -> Option<&'static Pattern> {
    let bytes = text.as_bytes();
    let hits = STARTS.automaton.find_overlapping_iter(text);
    hits.map(|hit| {
        (
            &PATTERNS[STARTS.pattern_of[hit.pattern().as_usize()]],
            &bytes[..hit.start()],
            &bytes[hit.start()..hit.end()],
            &bytes[hit.end()..bytes.len().min(hit.end() + LOOK_BYTES_MAX)],
        )
    })
    .find(|(pattern, before, start, rest)| pattern.fits(before, start, rest))
    .map(|(pattern, ..)| pattern)
}

impl Pattern {
    /// True when the form matches here: behind `before`, with `start` found in any case.
    fn fits(&self, before: &[u8], start: &[u8], rest: &[u8]) -> bool {
        let as_written = || self.starts.iter().any(|own| own.as_bytes() == start);
        let apart = || !before.last().is_some_and(|byte| Alphabet::Word.has(*byte));
        match self.body {
            Body::Run(alphabet, least, most) => {
                as_written() && apart() && (least..=most).contains(&alphabet.run(rest).len())
            }
            Body::Unbroken(least) => as_written() && apart() && unbroken(Alphabet::UrlSafe.run(rest), least),
            Body::Bearer => {
                let token = Alphabet::Bearer.run(rest);
                let hexadecimal = || token.iter().all(|byte| *byte == b'-' || Alphabet::Hex.has(*byte));
                apart() && (unbroken(token, 20) || token.len() >= 32 && mixed(token) && hexadecimal())
            }
            Body::Assigned(least) => {
                let value = rest.strip_prefix(b" ").unwrap_or(rest);
                let value = Alphabet::Value.run(value.strip_prefix(b"\"").unwrap_or(value));
                named(before, start) && value.len() >= least && mixed(value)
            }
            Body::PrivateKey => {
                let words =
                    rest.iter().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ');
                as_written() && rest[..words.count()].ends_with(b"PRIVATE KEY")
            }
            Body::Jwt => {
                let mut parts = Alphabet::Dotted.run(rest).split(|byte| *byte == b'.');
                let mut next = || parts.next().unwrap_or_default();
                let (head, claims) = (next(), next());
                as_written() && apart() && head.len() >= 10 && claims.starts_with(b"eyJ") && claims.len() >= 10
            }
        }
    }
}

/// True when the word that ends with `start` (without its `=` or `:`) is one of [`NAMES`].
fn named(before: &[u8], start: &[u8]) -> bool {
    let before = &before[before.len().saturating_sub(NAME_LOOK_BYTES)..];
    let word = before.rsplit(|byte| *byte != b'-' && !Alphabet::Word.has(*byte)).next().unwrap_or_default();
    let start = &start[..start.len() - 1];
    NAMES.iter().any(|name| {
        let (head, tail) = name.as_bytes().split_at_checked(word.len()).unwrap_or_default();
        head.eq_ignore_ascii_case(word) && tail.eq_ignore_ascii_case(start)
    })
}

/// True when `body` has a stretch of at least `least` letters and digits, with one of each.
fn unbroken(body: &[u8], least: usize) -> bool {
    body.split(|byte| !byte.is_ascii_alphanumeric()).any(|part| part.len() >= least && mixed(part))
}

/// True when `body` has a letter and a digit.
fn mixed(body: &[u8]) -> bool {
    body.iter().any(u8::is_ascii_digit) && body.iter().any(u8::is_ascii_alphabetic)
}

impl Alphabet {
    /// Returns the leading bytes of `text` that are all in this alphabet.
    fn run(self, text: &[u8]) -> &[u8] {
        &text[..text.iter().take_while(|byte| self.has(**byte)).count()]
    }

    fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Base32 => matches!(byte, b'A'..=b'Z' | b'2'..=b'7'),
            Alphabet::LowerHex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Alphabet::Hex => byte.is_ascii_hexdigit(),
            Alphabet::Alphanumeric => byte.is_ascii_alphanumeric(),
            Alphabet::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Alphabet::UrlSafe => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'),
            Alphabet::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'),
            Alphabet::Bearer => byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte),
            Alphabet::Value => byte.is_ascii_graphic() && !b"\"'`<>{}()&,;".contains(&byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a meaningless body, built from pieces so that no scanner takes this file for a leak.
    fn body(len: usize) -> String {
        "a1B2c3D4e5F6g7H8i9J0".chars().cycle().take(len).collect()
    }

    fn hex(len: usize) -> String {
        "0a1b2c3d4e5f6789".chars().cycle().take(len).collect()
    }

    /// Examples per pattern, by its place in the table: texts that it finds, and texts that no pattern finds.
    #[rustfmt::skip]
    fn examples() -> Vec<(&'static str, Vec<String>, Vec<String>)> {
        let base32 = |len: usize| "ABC234DEFGH567IJ".chars().cycle().take(len).collect::<String>();
        vec![
            ("an AWS access key id", vec![format!("AKIA{}", base32(16)), format!("key ASIA{}, live", base32(16))],
                vec!["ASIA".into(), "Malaysia and Anastasia".into(), format!("AKIA{}", base32(15)), format!("AKIA{}", base32(17)),
                    format!("XAKIA{}", base32(16)), format!("akia{}", base32(16).to_lowercase()), "ASIA PACIFIC HOLDINGS".into()]),
            ("a GitHub token", vec![format!("ghp_{}", body(36)), format!("(ghs_{})", body(40))],
                vec!["ghp_token".into(), format!("ghp_{}", body(35)), format!("graghp_{}", body(36)), format!("GHP_{}", body(36))]),
            ("a GitHub fine-grained token", vec![format!("github_pat_{}", body(82))], vec!["github_pat_rotation".into(), format!("github_pat_{}", body(40))]),
            ("a GitLab access token", vec![format!("glpat-{}", body(20))], vec!["glpat-rotation".into(), format!("aglpat-{}", body(20))]),
            ("a Slack token", vec![format!("xoxb-{0}-{0}-{1}", "123456789012", body(24)), format!("xoxp-1-{}", body(24))],
                vec!["xoxb-".into(), "xoxb-token-of-the-bot".into(), "foxoxb-1234567890123".into()]),
            ("a Slack app token", vec![format!("xapp-1-{}-1", body(11))], vec!["xapp-1-x-2".into()]),
            ("an API key of OpenAI", vec![format!("sk-{}", body(48)), format!("sk-proj-{}_{}", body(30), body(30)),
                    format!("sk-ant-api03-{}-x", body(90)), format!("sk-or-v1-{}", hex(64)), format!("sk-{}", hex(32)), format!("Authorization:sk-{}", body(20))],
                vec!["task-1".into(), "task-20260101000000000001".into(), "risk-based review".into(), "service desk-2".into(),
                    "sk-SK".into(), "sk-learn-preprocessing-pipeline-2-of-3".into(), format!("ask-{}", body(20)), format!("sk-{}", body(19)),
                    "sk-abcdefghijklmnopqrstuvwxyz".into()]),
            ("a Stripe secret key", vec![format!("sk_live_{}", body(24)), format!("rk_test_{}", body(16))],
                vec![format!("pk_live_{}", body(24)), "sk_test_mode".into(), format!("task_live_{}", body(24))]),
            ("a Google API key", vec![format!("AIza{}", body(35))], vec!["AIzawa".into(), format!("AIza{}", body(36))]),
            ("a Google OAuth client secret", vec![format!("GOCSPX-{}", body(28))], vec!["GOCSPX-rotation".into()]),
            ("a Google OAuth access token", vec![format!("ya29.{}", body(60))], vec!["ya29.short".into()]),
            ("an npm token", vec![format!("npm_{}", body(36))], vec!["npm_config_registry".into(), format!("npm_{}", body(37))]),
            ("a PyPI token", vec![format!("pypi-AgE{}", body(60))], vec!["pypi-server-2".into()]),
            ("a Hugging Face token", vec![format!("hf_{}", body(34))], vec!["hf_hub_download".into(), format!("shelf_{}", body(34))]),
            ("a SendGrid key", vec![format!("SG.{}.{}", body(22), body(43))], vec!["SG.x".into(), format!("MSG.{}.{}", body(22), body(43))]),
            ("a DigitalOcean token", vec![format!("dop_v1_{}", hex(64))], vec![format!("dop_v1_{}", hex(63))]),
            ("a Shopify token", vec![format!("shpat_{}", hex(32))], vec!["shpat_".into()]),
            ("a Databricks token", vec![format!("dapi{}", hex(32))], vec!["dapifer".into(), format!("dapi{}", hex(40))]),
            ("a HashiCorp Vault token", vec![format!("hvs.{}", body(90))], vec!["hvs.x".into()]),
            ("a private key", vec!["-----BEGIN RSA PRIVATE KEY-----\nMII".into(), "x-----BEGIN PRIVATE KEY-----".into(), "-----BEGIN OPENSSH PRIVATE KEY-----".into()],
                vec!["-----BEGIN CERTIFICATE-----".into(), "-----BEGIN PUBLIC KEY-----".into(), "-----BEGIN PRIVATE".into()]),
            ("a JSON Web Token", vec![format!("eyJ{}.eyJ{}.{}", body(20), body(30), body(43))], vec!["eyJ".into(), format!("eyJ{}.{}.{}", body(20), body(30), body(43))]),
            ("a bearer token", vec![format!("Bearer {}", body(20)), format!("authorization: bearer {}", hex(40)), "Bearer 0a1b2c3d-4e5f-6789-0a1b-2c3d4e5f6789".into()],
                vec!["Standard Bearer plc".into(), "Bearer authentication is required".into(), "Bearer bonds-of-the-year-2024-issue".into(), "Bearer [redacted]".into()]),
            ("a password", vec!["password=hunter2".into(), "PASSWD=S3cret!".into(), "x?pwd=\"abc123\"".into()],
                vec!["password=".into(), "password=changeme".into(), "password=<hunter2>".into(), "password=${PW1}".into(), "no_password=1hour2".into(), "password=12345678".into()]),
            ("a key, token or secret", vec![format!("token={}", body(16)), format!("?client_secret={}", body(32)), format!("API-Key: {}", body(32)),
                    format!("aws_secret_access_key={}", body(40)), format!("api_key:{}", body(16))],
                vec!["https://x.example/?page_token=abc".into(), format!("page_token={}", body(40)), format!("next-token={}", body(40)), "token=abc".into(),
                    "secret=nothing".into(), format!("primary_key={}", body(20)), format!("tokens={}", body(20)), format!("mysecret={}", body(20))]),
        ]
    }

    #[test]
    fn every_provider_is_found_and_its_words_are_not() {
        let examples = examples();
        assert_eq!(examples.len(), PATTERNS.len());
        for (pattern, (name, positive, negative)) in PATTERNS.iter().zip(examples) {
            assert!(pattern.name.starts_with(name), "{}", pattern.name);
            for text in positive {
                for text in [text.clone(), format!("see {text} there"), format!("é{text}\n"), format!("\"{text}\"")] {
                    assert_eq!(find(&text).map(|found| found.name), Some(pattern.name), "{text}");
                }
            }
            for text in negative {
                assert_eq!(find(&text).map(|found| found.name), None, "{text}");
            }
        }
    }

    #[test]
    fn everyday_words_are_no_credentials() {
        for text in [
            "Anastasia Petrova",
            "task-17",
            "risk-based review",
            "service desk-2",
            "disk-full",
            "Malaysia",
            "Slovakia",
            "Asia Pacific region",
            "Caucasian ovcharka",
            "fantasia",
            "brisk-walk",
            "Zakian",
            "flask-app",
            "kiosk-4",
            "husk-free",
            "bearer-token, passwords, a secret",
            "case-1/task-42-2011-10-11T13:45:40",
            "tokens=12",
            "the api_key= of the form",
        ] {
            assert_eq!(find(text).map(|found| found.name), None, "{text}");
        }
    }

    #[test]
    fn a_text_full_of_starts_costs_no_more_than_its_length() {
        for start in ["sk-", "token=", "eyJ.", "Bearer ", "-----BEGIN "] {
            let text = start.repeat((1 << 18) / start.len());
            let began = std::time::Instant::now();
            assert_eq!(find(&text).map(|found| found.name), None);
            // Searching to the end of the text from each start takes many minutes.
            assert!(began.elapsed().as_secs() < 60, "{start}: {:?}", began.elapsed());
        }
        assert_eq!(NAMES.iter().map(|name| name.len()).max(), Some(NAME_LOOK_BYTES - 1));
    }
}
