//! Text from nodes made safe to print: control sequences, bidirectional overrides and line breaks
//! are taken out, so that a hostile node can neither repaint a terminal nor forge a line of a log.

/// Returns `text` without anything that could act on a terminal: C0 and C1 controls (escape
/// sequences lose their introducer *and* their parameters), bidirectional overrides and
/// zero-width characters. Tabs and line breaks become a space. At most `limit` characters are
/// kept; a cut is shown by `…`.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit.saturating_mul(4)));
    let mut kept = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let shown = match c {
            '\u{1b}' => {
                skip_escape(&mut chars);
                continue;
            }
            '\u{9b}' => {
                skip_csi(&mut chars);
                continue;
            }
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() || is_invisible(c) => continue,
            c => c,
        };
        if kept == limit {
            out.push('…');
            break;
        }
        out.push(shown);
        kept += 1;
    }
    out
}

/// Returns [`printable`] text of bytes in any encoding; what is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn printable_bytes(bytes: &[u8], limit: usize) -> String {
    // Four bytes a character, and as much again for sequences that are dropped.
    let enough = bytes.get(..limit.saturating_mul(8).saturating_add(64)).unwrap_or(bytes);
    printable(&String::from_utf8_lossy(enough), limit)
}

/// Returns JSON text with everything in it escaped that is not printable ASCII, line breaks between values aside: nothing is
/// lost for a program, and nothing acts on a terminal it happens to be shown on.
#[must_use]
pub fn ascii_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0_u16; 2];
    for c in json.chars() {
        if matches!(c, ' '..='~' | '\n') {
            out.push(c);
        } else {
            // Within strings only: outside them JSON is ASCII, and raw line breaks stand nowhere else.
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

/// Whether a character acts on its neighbours or hides, without being seen itself.
pub(crate) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Consumes what follows an ESC: a CSI sequence, a string command up to its terminator, or one character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // Ends at BEL or ST; an unterminated one swallows the rest, which is the safe side.
            while let Some(c) = chars.next() {
                if c == '\u{7}' || c == '\u{9c}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while chars.next_if(|c| matches!(c, '\u{20}'..='\u{3f}')).is_some() {}
    chars.next_if(|c| matches!(c, '\u{40}'..='\u{7e}'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_out_what_acts_on_a_terminal() {
        for (raw, want) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]52;c;ZXZpbA==\u{1b}\\after", "after"),
            ("\u{9b}2Jcleared", "cleared"),
            ("a\rb\nc\td", "a b c d"),
            ("bell\u{7}bs\u{8}del\u{7f}", "bellbsdel"),
            ("ev\u{202e}li", "evli"),
            ("\u{1b}(0line", "line"),
            ("cut\u{1b}", "cut"),
            ("ümläut", "ümläut"),
        ] {
            assert_eq!(printable(raw, 100), want, "{raw:?}");
        }
    }

    #[test]
    fn json_becomes_ascii_and_stays_the_same_value() {
        let value = serde_json::json!({"ü\u{9b}2J": ["国\u{1f980}\u{7f}\u{202e}\n\u{1b}", 1.5]});
        let text = ascii_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(text.is_ascii() && text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn keeps_at_most_the_limit() {
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
        assert_eq!(printable_bytes(b"\xff\xfeab", 10), "\u{fffd}\u{fffd}ab");
    }
}
