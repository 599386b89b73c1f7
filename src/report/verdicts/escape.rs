//! Texts from nodes within Markdown: no markup, no HTML, no link, no mention and no reference comes of them.

/// Written as an entity behind what a forge would take for a mention, a reference or a link; it has no width. A backslash is
/// not enough: these are looked for in what was rendered.
const BREAK: &str = "&#8203;";

/// Returns the text so that Markdown shows it as it is.
pub(in crate::report) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    let mut before = String::new();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        match c {
            '@' => out.extend(["@", BREAK]),
            '#' => out.extend(["#", BREAK]),
            // Mathematics, where a forge knows it.
            '$' => out.push_str("&#36;"),
            ':' if next == Some('/') => out.extend([":", BREAK]),
            '.' if before.eq_ignore_ascii_case("www") => out.extend([BREAK, "."]),
            '-' if before.eq_ignore_ascii_case("gh") => out.extend([BREAK, "-"]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '!' | '~' => out.extend(['\\', c]),
            c => out.push(c),
        }
        if c.is_alphanumeric() {
            before.push(c);
        } else {
            before.clear();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_node_becomes_markup_links_or_mentions() {
        for (text, want) in [
            ("plain words, 30 ms", "plain words, 30 ms"),
            ("<script>alert(1)</script>", "\\<script\\>alert(1)\\</script\\>"),
            ("[x](http://evil)", "\\[x\\](http:&#8203;//evil)"),
            ("![i](//e)", "\\!\\[i\\](//e)"),
            ("@team, a@b.c", "@&#8203;team, a@&#8203;b.c"),
            ("#12 org/repo#3 GH-4", "#&#8203;12 org/repo#&#8203;3 GH&#8203;-4"),
            ("www.evil.test", "www&#8203;.evil.test"),
            ("`a` *b* _c_ ~d~ |e| $f$ \\g &lt;", "\\`a\\` \\*b\\* \\_c\\_ \\~d\\~ \\|e\\| &#36;f&#36; \\\\g \\&lt;"),
        ] {
            assert_eq!(escaped(text), want, "{text}");
        }
    }
}
