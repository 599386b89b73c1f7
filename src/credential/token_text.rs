//! What counts as a token: the first line of what a source gave. Everything else is refused in a sentence that does not
//! repeat it.

use secrecy::SecretString;

use super::CredentialError;

/// Longest token. Service account tokens have about 1 KiB, those of identity providers with many groups some more.
pub(super) const LONGEST: usize = 64 << 10;
/// A shorter one cannot be told from other text in evidence, and is no token of any cluster.
const SHORTEST: usize = 8;

/// Returns the token on the first line of `text`; blanks around it are dropped. `of` names the source: `the token file F`.
///
/// # Errors
/// It is empty, shorter than 8 bytes, longer than 64 KiB, several words, or holds what no token holds (RFC 6750 allows
/// letters, digits and a few signs; any visible ASCII is taken).
pub fn token_of(text: &[u8], of: &str) -> Result<SecretString, CredentialError> {
    let fail = |what: &str| Err(CredentialError(format!("{of} {what}")));
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let Ok(line) = std::str::from_utf8(line) else {
        return fail("holds bytes that are no text: a token is one line of ASCII");
    };
    match line.len() {
        0 if text.trim_ascii().is_empty() => fail("is empty"),
        0 => fail("has an empty first line, where the token is expected"),
        n if n > LONGEST => fail("has a first line of more than 64 KiB: that is no token"),
        _ if line.contains([' ', '\t']) => {
            fail("has several words on its first line: a token is one word, without `Bearer` in front")
        }
        _ if !line.bytes().all(|byte| byte.is_ascii_graphic()) => {
            fail("holds characters that no token holds: a token is one line of ASCII")
        }
        n if n < SHORTEST => fail("has a first line of less than 8 characters: that is no token"),
        _ => Ok(SecretString::from(line)),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_first_line_is_the_token_and_anything_else_is_refused_without_being_repeated() {
        for good in ["abcd.efgh", "abcd.efgh\n", "  abcd.efgh\t\r\nmore words", "abcd.efgh\n\n"] {
            assert_eq!(token_of(good.as_bytes(), "x").unwrap().expose_secret(), "abcd.efgh", "{good:?}");
        }
        let long = "a".repeat(LONGEST);
        assert!(token_of(long.as_bytes(), "x").is_ok());
        for (bad, want) in [
            ("", "the file f is empty"),
            (" \n\n", "the file f is empty"),
            ("\nabcdefgh", "empty first line"),
            ("Bearer secret-secret", "several words"),
            ("secret\u{7f}secret", "characters that no token holds"),
            ("secret\0secret", "characters that no token holds"),
            ("sécret-secret", "characters that no token holds"),
            ("secret", "less than 8"),
            (&format!("{long}secret"), "more than 64 KiB"),
        ] {
            let error = token_of(bad.as_bytes(), "the file f").unwrap_err().to_string();
            assert!(error.contains(want) && error.starts_with("the file f ") && !error.contains("cret"), "{error}");
        }
        assert!(token_of(b"secret-\xff-secret", "f").unwrap_err().to_string().contains("no text"));
    }
}
