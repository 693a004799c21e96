//! Takes secrets out of lines of logs and configurations before they leave the machine.
//!
//! Errs on the side of taking out too much: a diagnosis needs addresses, times, paths and messages, never a value that
//! someone proves themselves with. What stands for a value keeps its place, so that lines still parse.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// What stands where something was taken out.
const GONE: &str = "REDACTED";

/// Names of settings, fields and variables whose values are secret, wherever they stand in the name.
const SECRET_NAMES: &str = r"(?-u:[\w.\-]*)(?i-u:passw(?:or)?d|passwd|passphrase|secret|token|credential|api[_\-]?key|apikey|access[_\-]?key|private[_\-]?key|signature|session[_\-]?id|sessionid|auth[_\-]?key|dsn|client[_\-]?key)(?-u:[\w.\-]*)";

struct Rule {
    /// A line without any of these words cannot match, and needs no regular expression.
    hints: &'static [&'static str],
    pattern: LazyLock<Regex>,
    /// `$1` and `$2` are kept.
    keep: fn(&Captures<'_>) -> String,
}

macro_rules! rule {
    ($hints:expr, $pattern:expr, $keep:expr) => {
        Rule {
            hints: $hints,
            pattern: LazyLock::new(|| Regex::new(&$pattern).expect("a pattern of redaction must compile")),
            keep: $keep,
        }
    };
}

fn kept(captures: &Captures<'_>, group: usize) -> String {
    captures.get(group).map_or("", |found| found.as_str()).to_owned()
}

/// In this order: the first take out whole values, so that the later ones find nothing left of them.
static RULES: [Rule; 9] = [
    // Fields of HTTP: everything up to the end of the value, which blanks do not end.
    rule!(
        &["uthorization", "ookie", "-key", "-token", "uthorisation"],
        r#"((?i-u:(?:proxy-)?authori[sz]ation|set-cookie|cookie|x-[\w-]*(?:key|token)|api-key))(["']?\s*[:=]\s*["']?)[^"'\r\n]+"#,
        |found| format!("{}{}{GONE}", kept(found, 1), kept(found, 2))
    ),
    // The user of a URL, with its password; a name alone may be one as well.
    rule!(&["://"], r"([a-zA-Z][a-zA-Z0-9+.\-]*://)[^/\s@'\x22]+@", |found| format!(
        "{}{GONE}@",
        kept(found, 1)
    )),
    // What names itself a secret.
    rule!(
        &["pass", "secret", "token", "credential", "key", "signature", "session", "dsn"],
        format!(r#"((?-u:\b){SECRET_NAMES}["']?)(\s*(?:=>|:=|[:=])\s*)("[^"]*"|'[^']*'|[^\s,;&"']+)"#),
        |found| {
            let value = kept(found, 3);
            let quote = value
                .chars()
                .next()
                .filter(|c| matches!(c, '"' | '\''))
                .map_or("", |c| if c == '"' { "\"" } else { "'" });
            format!("{}{}{quote}{GONE}{quote}", kept(found, 1), kept(found, 2))
        }
    ),
    // A field that a proxy is told to set: its name and its value are words of a directive.
    rule!(
        &["header"],
        r#"((?i-u:(?:proxy-)?authori[sz]ation|set-cookie|cookie|[\w-]*(?:key|token|secret|password|credential)[\w-]*)["']?\s+)("[^"]*"|'[^']*'|[^\s;]+)"#,
        |found| {
            let value = kept(found, 2);
            // How it is proven is no secret.
            let scheme = ["Basic ", "Bearer "].iter().find(|scheme| value.contains(**scheme));
            format!("{}\"{}{GONE}\"", kept(found, 1), scheme.unwrap_or(&""))
        }
    ),
    // A directive of a configuration; within a sentence of a log, what follows such a word is no secret.
    rule!(
        &["pass", "secret", "token", "credential", "key", "signature", "session", "dsn"],
        format!(r"^(\s*{SECRET_NAMES})(\s+)\S+;?\s*$"),
        |found| format!("{}{}{GONE}", kept(found, 1), kept(found, 2))
    ),
    // Values of queries, wherever a path stands.
    rule!(&["?"], r#"([?&][^=&\s"']*=)[^&\s"']+"#, |found| format!("{}{GONE}", kept(found, 1))),
    rule!(&["earer ", "asic "], r"\b((?i-u:bearer|basic))\s+[A-Za-z0-9._~+/=\-]{4,}", |found| {
        format!("{} {GONE}", kept(found, 1))
    }),
    // JSON Web Tokens and keys that are known by their form.
    rule!(
        &["eyJ", "AKIA", "ASIA", "sk-", "ghp_", "xox", "AIza"],
        r"\beyJ[\w\-]{8,}\.[\w\-]+(?:\.[\w\-]*)?|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bsk-[\w\-]{16,}|\bghp_\w{20,}|\bxox[a-z]-[\w\-]{10,}|\bAIza[\w\-]{20,}",
        |_| GONE.to_owned()
    ),
    // E-mail addresses are nobody's business either.
    rule!(&["@"], r"\b[\w.+\-]+@[\w\-]+\.[\w.\-]+\b", |_| GONE.to_owned()),
];

/// The line without its secrets.
pub fn line(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for rule in &RULES {
        let lower = text.to_ascii_lowercase();
        if !rule.hints.iter().any(|hint| lower.contains(&hint.to_ascii_lowercase())) {
            continue;
        }
        if let Cow::Owned(changed) =
            rule.pattern.replace_all(&text, |found: &Captures<'_>| (rule.keep)(found))
        {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// All lines without their secrets, private keys in PEM form included. Lines stay in their number and order.
pub fn text(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut within_key = false;
    for part in text.split_inclusive('\n') {
        let end = part.trim_end_matches(['\r', '\n']).len();
        let (content, ending) = part.split_at(end);
        let ends = within_key && content.contains("-----END ");
        if within_key && !ends {
            redacted.push_str(GONE);
        } else {
            redacted.push_str(&line(content));
        }
        redacted.push_str(ending);
        within_key =
            (within_key && !ends) || (content.contains("-----BEGIN ") && content.contains("PRIVATE KEY"));
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(line(input), expected);
    }

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays() {
        check(
            r#"10.0.0.1 - - [23/Nov/2026:07:06:57 +0000] "GET /p?user=7&t=abc HTTP/1.1" 502 157 "-" "curl/8""#,
            r#"10.0.0.1 - - [23/Nov/2026:07:06:57 +0000] "GET /p?user=REDACTED&t=REDACTED HTTP/1.1" 502 157 "-" "curl/8""#,
        );
        check(
            "DATABASE_URL=postgres://app:hunter2@db:5432/app",
            "DATABASE_URL=postgres://REDACTED@db:5432/app",
        );
        check(
            "    proxy_set_header Authorization \"Basic YTpi\";",
            "    proxy_set_header Authorization \"Basic REDACTED\";",
        );
        check("proxy_set_header X-Api-Key abc2;", "proxy_set_header X-Api-Key \"REDACTED\";");
        check(
            "    http-request set-header X-Auth-Token 'abc 3'",
            "    http-request set-header X-Auth-Token \"REDACTED\"",
        );
        check("RequestHeader set Cookie session=abc", "RequestHeader set Cookie \"REDACTED\"");
        check("proxy_set_header Host $host;", "proxy_set_header Host $host;");
        check("Authorization: Bearer abc.def, more", "Authorization: REDACTED");
        check("Cookie: sid=1; b=2", "Cookie: REDACTED");
        check("'password': 'x y', 'port': 5432", "'password': 'REDACTED', 'port': 5432");
        check(
            "environment: AWS_SECRET_ACCESS_KEY=abc/def+1 PORT=80",
            "environment: AWS_SECRET_ACCESS_KEY=REDACTED PORT=80",
        );
        check("SECRET_KEY = \"django-insecure\"", "SECRET_KEY = \"REDACTED\"");
        check("password hunter2", "password REDACTED");
        check("token eyJhbGciOiJI.eyJzdWIi.sig was refused", "token REDACTED was refused");
        check(
            "FATAL:  password authentication failed for user",
            "FATAL:  password authentication failed for user",
        );
        check("login of jane.doe@shop.example failed", "login of REDACTED failed");
        check("key AKIAIOSFODNN7EXAMPLE used", "key REDACTED used");
        check("proxy_pass http://127.0.0.1:8000;", "proxy_pass http://127.0.0.1:8000;");
        check("worker 12 exited with code 3", "worker 12 exited with code 3");
        check("connect() failed (111: Connection refused)", "connect() failed (111: Connection refused)");
        check("keepalive_timeout 75s;", "keepalive_timeout 75s;");
    }

    #[test]
    fn private_keys_are_taken_out_line_by_line() {
        let pem = "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabcd\n-----END RSA PRIVATE KEY-----\nb";
        assert_eq!(
            text(pem),
            "a\n-----BEGIN RSA PRIVATE KEY-----\nREDACTED\nREDACTED\n-----END RSA PRIVATE KEY-----\nb"
        );
    }
}
