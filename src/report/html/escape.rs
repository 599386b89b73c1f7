//! Texts put into a page: one function per place they may stand in. Everything a node sent goes through one of these, and
//! nothing is put into the page by another way. What acts without being seen (control characters, bidirectional overrides)
//! is made visible here, so that it neither reorders a line nor hides in it.

use std::fmt;

use serde::Serialize;

use crate::printable::is_invisible;

/// A text between tags, or in an attribute within double quotes: both are closed to the same characters here.
pub(super) struct Text<'a>(pub(super) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '`' => f.write_str("&#96;")?,
                c => shown(c, f)?,
            }
        }
        Ok(())
    }
}

fn shown(c: char, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let code = u32::from(c);
    match c {
        '\n' | '\t' => fmt::Write::write_char(f, c),
        // The pictures of C0 stand in the order of the controls (Unicode, Control Pictures).
        '\0'..='\u{1f}' => fmt::Write::write_char(f, char::from_u32(0x2400 + code).unwrap_or('\u{fffd}')),
        '\u{7f}' => f.write_str("\u{2421}"),
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{180e}' | '\u{2028}' | '\u{2029}' | '\u{e0000}'..='\u{e007f}' => {
            write!(f, "[U+{code:04X}]")
        }
        c if is_invisible(c) => write!(f, "[U+{code:04X}]"),
        c => fmt::Write::write_char(f, c),
    }
}

/// A word of an id, a class or a number: anything but ASCII letters, digits and `-_.:` is left out.
pub(super) struct Token<'a>(pub(super) &'a str);

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
            .try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// Returns a value as JSON that may stand inside a script element: no `<`, `>` or `&`, and no separator that ends a line of a
/// script.
///
/// # Errors
/// When the value cannot be told as JSON.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let plain = serde_json::to_string(value)?;
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            // Outside of strings JSON has none of these, so the escape always stands within one.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_closes_what_a_text_stands_in() {
        for (raw, want) in [
            ("a<script>x</script>", "a&lt;script&gt;x&lt;/script&gt;"),
            ("\" onload='x' `", "&quot; onload=&#39;x&#39; &#96;"),
            ("a&amp;b", "a&amp;amp;b"),
            ("ev\u{202e}il\u{200b}", "ev[U+202E]il[U+200B]"),
            ("\u{1b}[31m\u{7f}\u{9b}", "\u{241b}[31m\u{2421}[U+009B]"),
            ("\u{2028}\u{e0041}", "[U+2028][U+E0041]"),
            ("line\nline\tü", "line\nline\tü"),
        ] {
            assert_eq!(Text(raw).to_string(), want, "{raw:?}");
        }
        assert_eq!(Token("n1\" onload=x").to_string(), "n1onloadx");
    }

    #[test]
    fn json_stays_inside_its_script_and_says_the_same() {
        let value = ["</script><!--", "a&b", "\u{2028}"];
        let text = json(&value).unwrap();
        assert!(!text.contains(['<', '>', '&', '\u{2028}']), "{text}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&text).unwrap(), value);
    }
}
