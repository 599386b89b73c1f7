//! Words as sudoers(5) wants them. Pure; used for `plan --sudoers`.

/// Returns a command with its arguments, escaped twice: for the sudoers parser (`,` `:` `=` `\` `#`,
/// and blanks that it would join) and for the fnmatch(3) that compares arguments (`*` `?` `[` `]` `\`).
fn command(words: &[String]) -> String {
    // sudo compares the arguments joined by blanks; where one argument ends does not matter to it.
    let joined = words.join(" ");
    let mut out = String::with_capacity(joined.len() * 2);
    let mut chars = joined.chars().peekable();
    let mut blank = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push_str(r"\\\\"),
            // At the end of the line an escaped blank would be a continuation.
            ' ' if chars.peek().is_none() => out.push_str("[ ]"),
            ' ' if !blank => out.push(c),
            ' ' | ',' | ':' | '=' | '#' | '*' | '?' | '[' | ']' | '!' | '^' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        blank = c == ' ';
    }
    out
}

/// Returns a line that lets `user` run exactly this as root.
pub(crate) fn line(user: &str, password: bool, words: &[String]) -> String {
    let tag = if password { "" } else { "NOPASSWD: " };
    // In a user's name these are special, too (a domain's `\` above all).
    let user = user.chars().fold(String::new(), |mut user, c| {
        if matches!(c, ',' | ':' | '=' | '\\' | '"' | ' ' | '!' | '@' | '(' | ')') {
            user.push('\\');
        }
        user.push(c);
        user
    });
    format!("{user} ALL=(root) {tag}{}", command(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_are_escaped_as_sudo_1_9_reads_them() {
        for (words, expected) in [
            (
                &["/usr/bin/timeout", "-k", "2", "5", "/usr/bin/docker", "ps", "-a"][..],
                "/usr/bin/timeout -k 2 5 /usr/bin/docker ps -a",
            ),
            (&["/bin/echo", "a  b", "", "c", ""], r"/bin/echo a \ b \ c[ ]"),
            (&["/bin/echo", "k=v,w:x", "[a]*?", "#!^"], r"/bin/echo k\=v\,w\:x \[a\]\*\? \#\!\^"),
            (&["/bin/echo", "a\\0041"], r"/bin/echo a\\\\0041"),
            (&["/bin/echo", "it's", "\"q\"", "$(x)"], "/bin/echo it's \"q\" $(x)"),
        ] {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            assert_eq!(command(&words), expected);
        }
        assert_eq!(line("dom\\al ice", false, &["/bin/id".to_owned()]), r"dom\\al\ ice ALL=(root) NOPASSWD: /bin/id");
        assert_eq!(line("ops", true, &["/bin/id".to_owned()]), "ops ALL=(root) /bin/id");
    }
}
