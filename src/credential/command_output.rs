//! What a token command printed: a token on its first line, or an ExecCredential as exec plug-ins of kubectl print it
//! (client.authentication.k8s.io/v1 and v1beta1; its `status.token`).

use std::borrow::Cow;

use secrecy::SecretString;
use serde::Deserialize;

use super::CredentialError;
use super::token_text::token_of;

const OF: &str = "the output of the token command";

#[derive(Deserialize)]
struct ExecCredential<'a> {
    #[serde(borrow, default)]
    status: Option<Status<'a>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(borrow, default)]
    token: Option<Cow<'a, str>>,
}

/// Returns the token in the output of a command.
///
/// # Errors
/// There is none; the output is not repeated.
pub(super) fn token_in(output: &[u8]) -> Result<SecretString, CredentialError> {
    if !output.trim_ascii_start().starts_with(b"{") {
        return token_of(output, OF);
    }
    let fail = |what: &str| Err(CredentialError(format!("{OF} {what}")));
    // serde's messages may quote what they stumbled over.
    let Ok(said) = serde_json::from_slice::<ExecCredential<'_>>(output) else {
        return fail(
            "begins like JSON and is none that can be read: an ExecCredential, or a token on the first line, is expected",
        );
    };
    match said.status.and_then(|status| status.token) {
        Some(token) => {
            let token = zeroize::Zeroizing::new(token.into_owned());
            token_of(token.as_bytes(), "status.token of the token command")
        }
        None => fail(
            "is JSON without status.token (a plug-in that gives a client certificate is of use in a kubeconfig only)",
        ),
    }
}

/// Returns what may be told of a command's complaints: their last line without words that may be tokens, unless the
/// complaints repeat a word of the output.
pub(crate) fn complaint(output: &[u8], complaints: &[u8]) -> Option<String> {
    let words = output.split(|byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'')).filter(|w| w.len() >= 8);
    let repeated = |word: &[u8]| complaints.windows(word.len()).any(|window| window == word);
    if words.into_iter().any(repeated) {
        return None;
    }
    let last = complaints.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).rfind(|line| !line.is_empty())?;
    // Judged before anything is cut off, which could leave the beginning of one.
    let words = String::from_utf8_lossy(last);
    let told = words
        .split(' ')
        .map(|word| if word.split(['"', '\'', '=', ':', ',']).any(is_secret) { "[left out]" } else { word });
    Some(crate::printable::printable(&told.collect::<Vec<_>>().join(" "), 200))
}

/// Whether a word may be a token: long, and mixed as names of hosts and files are not, or long and hex.
fn is_secret(word: &str) -> bool {
    let has = |of: fn(&u8) -> bool| word.bytes().any(|b| of(&b));
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
    // Names of hosts end in a word; those of EKS begin in upper-case hex.
    let ending = word.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    let host = (2..=12).contains(&ending.len()) && ending.bytes().all(|b| b.is_ascii_lowercase());
    (word.len() >= 20 && !word.contains('/') && mixed && !host)
        || (word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit()))
        || (word.len() >= 20 && word.starts_with("eyJ"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_plain_token_and_an_exec_credential_are_understood() {
        for good in [
            "abcd.efgh\n",
            "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":{\"expirationTimestamp\":\"x\",\"token\":\"abcd.efgh\"}}",
            "\n{\n  \"status\": {\n    \"token\": \"abcd.efgh\"\n  }\n}\n",
            "{\"status\":{\"token\":\"abcd.\\u0065fgh\"}}",
        ] {
            assert_eq!(token_in(good.as_bytes()).unwrap().expose_secret(), "abcd.efgh", "{good}");
        }
        for (bad, want) in [
            ("", "is empty"),
            ("{\"status\":{\"token\":\"abcdefgh-secret\"", "none that can be read"),
            ("{\"status\":{\"token\":7}}", "none that can be read"),
            ("{\"status\":{\"clientCertificateData\":\"secret\"}}", "without status.token"),
            ("{}", "without status.token"),
            ("{\"status\":{\"token\":\"\"}}", "is empty"),
            ("error: you must be logged in", "several words"),
        ] {
            let error = token_in(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains("secret") && !error.contains("logged"), "{error}");
        }
    }

    #[test]
    fn complaints_that_repeat_the_output_are_not_told() {
        assert_eq!(complaint(b"", b"one\nno such host \n\n").as_deref(), Some("no such host"));
        assert_eq!(complaint(b"short", b"short").as_deref(), Some("short"));
        assert_eq!(complaint(b"", b""), None);
        let jwt = format!("eyJhbGciOiJSUzI1NiIs{}.sig", "x".repeat(300));
        for (said, want) in [
            (format!("denied: {jwt}"), "denied: [left out]"),
            (format!("token=\"{jwt}\" expired"), "[left out] expired"),
            ("0123456789abcdef0123456789abcdef".to_owned(), "[left out]"),
            ("sha256~GhX8aA0_-b7Zx9kQwErTyUiOpAsDfGhJkLzXcVb".to_owned(), "[left out]"),
            (
                "lookup A1B2C3D4E5F6.gr7.eu-west-1.eks.amazonaws.com: no such host".to_owned(),
                "lookup A1B2C3D4E5F6.gr7.eu-west-1.eks.amazonaws.com: no such host",
            ),
            (
                "dial tcp 10.0.0.1:6443: refused by a1b2c3.eks.amazonaws.com".to_owned(),
                "dial tcp 10.0.0.1:6443: refused by a1b2c3.eks.amazonaws.com",
            ),
        ] {
            assert_eq!(complaint(b"", said.as_bytes()).as_deref(), Some(want), "{said}");
        }
        for output in ["abcdefgh-secret", "{\"token\":\"abcdefgh-secret\"}"] {
            assert_eq!(complaint(output.as_bytes(), b"+ echo abcdefgh-secret\nfailed"), None);
        }
    }
}
