//! Text that survives every shell between here and the command: one line, no quote, backslash
//! pair, exclamation mark or line break that bash, dash, fish, tcsh, zsh or busybox would touch.
//! Knows nothing of what the text does; used by `compose` and `sudoers`.

/// Returns `word` as a POSIX shell reads it back; bare where nothing in it is special.
pub(crate) fn quote(word: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(bare) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns words as one line of shell.
pub(crate) fn quote_all<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| quote(w.as_ref())).collect::<Vec<_>>().join(" ")
}

/// Returns a script as one line that does the same: `eval "$(printf %b "…")"`.
///
/// What is inside the inner quotes is free of `'`, `"`, `$`, backquote, `!`, `#` and line breaks,
/// and every backslash is followed by `0` or `n`: fish leaves those alone inside single quotes, and
/// csh finds no history to expand. `printf %b` is POSIX and built into every shell that is
/// found as `/bin/sh`. Cut at any blank, the line is `eval` alone or an open quote, so a sudoers line
/// that permits it (sudo compares arguments joined by blanks) permits nothing else.
pub(crate) fn one_line(script: &str) -> String {
    format!("eval \"$(printf %b \"{}\")\"", escaped(script))
}

/// Returns a script as one line of printable ASCII that `printf %b` turns back into it.
pub(crate) fn escaped(script: &str) -> String {
    use std::fmt::Write as _;

    let mut out = String::with_capacity(script.len() * 5 / 4 + 32);
    let mut blank = false;
    for byte in script.bytes() {
        match byte {
            b'\n' => out.push_str("\\n"),
            // sudo joins blanks when it reads sudoers.
            b' ' if blank => out.push_str("\\0040"),
            b'\'' | b'"' | b'\\' | b'$' | b'`' | b'!' | b'#' | ..=0x1f | 0x7f.. => {
                // Three digits always: a digit that follows must not be taken for a fourth.
                let _ = write!(out, "\\0{byte:03o}");
            }
            _ => out.push(char::from(byte)),
        }
        blank = byte == b' ';
    }
    out
}

/// Returns the command line for the login shell, which runs the [`escaped`] script that comes as the
/// first line of standard input: `exec PREFIX… /bin/sh -c '…'`.
///
/// `prefix` are programs that execute the rest of their arguments (`timeout`, `nice`); each word
/// must satisfy [`plain`]. The script is not in the line because whoever looks at the node with
/// `ps` (and so our own evidence) would see nothing but it.
pub(crate) fn login_line(prefix: &[String]) -> String {
    let prefix: String = prefix.iter().map(|word| format!("{word} ")).collect();
    format!(r#"exec {prefix}/bin/sh -c 'IFS= read -r l; eval "$(printf %b "$l")"'"#)
}

/// Returns whether a word needs no quotes in any shell.
pub(crate) fn plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./+-".contains(&b))
}

/// Returns one of our scripts without comments, blank lines and indentation, which only cost
/// bytes on the wire. The scripts hold no texts of several lines.
pub(crate) fn compact(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.fold(String::with_capacity(script.len()), |mut out, line| {
        out.push_str(line);
        out.push('\n');
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_needed() {
        for (word, expected) in [
            ("docker", "docker"),
            ("--format=json", "--format=json"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("*", "'*'"),
            ("~", "'~'"),
            ("é", "'é'"),
        ] {
            assert_eq!(quote(word), expected);
        }
    }

    #[test]
    fn a_script_becomes_one_line_without_anything_a_login_shell_touches() {
        let all: String = (1..=255_u32).filter_map(char::from_u32).collect();
        let line = one_line(&all);
        let inner = line.strip_prefix("eval \"$(printf %b \"").unwrap().strip_suffix("\")\"").unwrap();
        assert!(inner.bytes().all(|b| (b' '..=b'~').contains(&b)), "{inner}");
        assert!(!inner.contains(['\'', '"', '$', '`', '!', '#']), "{inner}");
        for (at, _) in inner.match_indices('\\') {
            assert!(matches!(inner.as_bytes()[at + 1], b'0' | b'n'), "{}", &inner[at..]);
        }
        assert_eq!(one_line("a'1\n  b"), "eval \"$(printf %b \"a\\00471\\n \\0040b\")\"");
    }

    #[test]
    fn comments_and_indentation_are_taken_out() {
        assert_eq!(compact("# c\n\n  a\n\tb # kept\n"), "a\nb # kept\n");
    }
}
