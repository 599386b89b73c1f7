//! Node patterns: their syntax, how many names they stand for, and which.
//!
//! A pattern is `[!]NAME`, where NAME is `[user@]name[:port]` with brackets and globs, `[user@][ipv6][:port]`,
//! `@group`, or `-` alone (standard input). What brackets mean is told in `bracket.rs`. Counting never
//! allocates, so a pattern for a billion names costs nothing to refuse. Globs and groups are
//! resolved by the caller, which holds the inventory.

use std::net::Ipv6Addr;

use super::bracket::{self, Item};
use super::error::PatternError;

/// One item of `--nodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// As written.
    pub(crate) text: String,
    /// It began with `!`.
    pub(crate) exclude: bool,
    /// What it names.
    pub(crate) subject: Subject,
}

/// What a pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The names on standard input.
    Stdin,
    /// A group of the inventory.
    Group(String),
    /// Names, perhaps many.
    Names(Names),
    /// One IPv6 address, perhaps with a zone.
    Address { address: String, user: Option<String>, port: Option<u16> },
}

/// `[user@]name[:port]` with brackets and globs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    /// `*` or `?` occur: the texts are globs to match against an inventory.
    pub(crate) glob: bool,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Bracket(Vec<Item>),
}

/// Parses a comma list; commas in brackets do not divide it.
pub(crate) fn parse_list(list: &str) -> Result<Vec<Pattern>, PatternError> {
    let mut patterns = Vec::new();
    let mut depth = 0_u32;
    let mut start = 0;
    for (at, c) in list.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                patterns.push(parse_in(list, list.get(start..at).unwrap_or_default())?);
                start = at + 1;
            }
            _ => {}
        }
    }
    patterns.push(parse_in(list, list.get(start..).unwrap_or_default())?);
    Ok(patterns)
}

fn parse_in(list: &str, item: &str) -> Result<Pattern, PatternError> {
    let item = item.trim();
    if item.is_empty() {
        let reason = if list.trim().is_empty() {
            "is empty: name at least one node"
        } else {
            "there is nothing between two commas, or before or after one: remove that comma"
        };
        return Err(PatternError::new(list, reason));
    }
    parse(item)
}

/// Parses one item.
pub(crate) fn parse(item: &str) -> Result<Pattern, PatternError> {
    let fail = |reason: String| Err(PatternError::new(item, reason));
    let (exclude, body) = item.strip_prefix('!').map_or((false, item), |rest| (true, rest));
    let pattern = |subject| Ok(Pattern { text: item.to_owned(), exclude, subject });
    if body.is_empty() {
        return fail("names nothing after '!': write the nodes to leave out, !worker-007".to_owned());
    }
    if body == "-" {
        return if exclude {
            fail("standard input cannot be excluded: write the patterns there as !NAME".to_owned())
        } else {
            pattern(Subject::Stdin)
        };
    }
    if let Some(group) = body.strip_prefix('@') {
        return match group.chars().find(|c| !is_name_char(*c)) {
            None if !group.is_empty() => pattern(Subject::Group(group.to_owned())),
            None => fail("names no group after '@': write it as @workers".to_owned()),
            Some(c) => fail(format!("holds {c:?}, which a group name cannot: write it as @workers")),
        };
    }
    let (user, rest) = split_user(body).map_err(|reason| PatternError::new(item, reason))?;
    if exclude && user.is_some() {
        return fail("an exclusion takes a name only: leave the user out".to_owned());
    }
    let offset = item.chars().count() - rest.chars().count();
    if let Some((address, port)) = ipv6(rest).map_err(|reason| PatternError::new(item, reason))? {
        return pattern(Subject::Address { address, user, port });
    }
    let names = names(rest, user, offset).map_err(|reason| PatternError::new(item, reason))?;
    if exclude && names.port.is_some() {
        return fail("an exclusion takes a name only: leave the port out".to_owned());
    }
    pattern(Subject::Names(names))
}

const fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// Splits `user@rest`. A user may hold an '@' of its own, so the last one counts.
pub(crate) fn split_user(text: &str) -> Result<(Option<String>, &str), String> {
    match text.rsplit_once('@') {
        None => Ok((None, text)),
        Some((user, rest)) => {
            check_user(user)?;
            Ok((Some(user.to_owned()), rest))
        }
    }
}

/// Checks a login name: it reaches the shell through the tokens of `ProxyCommand`, so the characters that mean
/// something there are refused, as `ssh` does.
pub(crate) fn check_user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("the user before '@' is empty: write user@name or leave '@' out".to_owned());
    }
    if user.starts_with('-') || user.ends_with('\\') {
        return Err(format!("the user {user:?} cannot start with '-' or end with a backslash"));
    }
    if user.ends_with('@') {
        return Err(format!("the user {user:?} cannot end with '@': a group, @workers, takes no user"));
    }
    match user.chars().find(|c| c.is_whitespace() || c.is_control() || "'`\"$;&<>|(){}[],!*?".contains(*c)) {
        None => Ok(()),
        Some(c) => Err(format!("the user {user:?} holds {c:?}, which a login name cannot")),
    }
}

pub(crate) fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(format!("the port {text:?} is not a number from 1 to 65535")),
    }
}

/// Recognises `[ipv6]`, `[ipv6]:port` and a bare IPv6 address. An address with a zone (`fe80::1%eth0`) counts.
pub(crate) fn ipv6(text: &str) -> Result<Option<(String, Option<u16>)>, String> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((inside, after)) = rest.split_once(']') else { return Ok(None) };
        if !inside.contains(':') {
            return Ok(None);
        }
        let Some(address) = address_with_zone(inside) else {
            return Err(format!("[{inside}] is no IPv6 address"));
        };
        return match after.strip_prefix(':') {
            Some(port) => Ok(Some((address, Some(parse_port(port)?)))),
            None if after.is_empty() => Ok(Some((address, None))),
            None => Err(format!("{after:?} follows the address: only :PORT can stand there")),
        };
    }
    let outside = text.split('[').next().unwrap_or_default();
    if outside.matches(':').count() < 2 {
        return Ok(None);
    }
    address_with_zone(text).map_or_else(
        || Err("there are several ':': write name:port, and an IPv6 address as [fe80::1]:22".to_owned()),
        |address| Ok(Some((address, None))),
    )
}

fn address_with_zone(text: &str) -> Option<String> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(a, z)| (a, Some(z)));
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(address.to_string()),
        Some(zone) if !zone.is_empty() && zone.chars().all(is_name_char) => Some(format!("{address}%{zone}")),
        Some(_) => None,
    }
}

/// Returns the node name that stands for an IPv6 address: ':' and '%' become '-', with a leading 0 where it would
/// begin with '-'. `fe80::1` is `fe80--1`, `::1` is `0--1`.
pub(crate) fn address_name(address: &str) -> String {
    let name = address.replace([':', '%'], "-");
    if name.starts_with('-') { format!("0{name}") } else { name }
}

/// `offset` is how many characters stand before `text` in the item; positions count from 1.
fn names(text: &str, user: Option<String>, offset: usize) -> Result<Names, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut port = None;
    let mut glob = false;
    let mut chars = text.char_indices().enumerate();
    while let Some((nth, (at, c))) = chars.next() {
        let position = offset + nth + 1;
        match c {
            '[' => {
                let rest = text.get(at + 1..).unwrap_or_default();
                let Some(content) = rest.split(']').next().filter(|content| content.len() < rest.len()) else {
                    return Err(format!("the bracket opened at character {position} is never closed: add ']'"));
                };
                if content.contains('[') {
                    return Err(format!(
                        "the bracket at character {position} holds another one: brackets stand side by side, rack[1-3]n[01-40]"
                    ));
                }
                let items = bracket::parse(content).map_err(|e| format!("the bracket at character {position} {e}"))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(Part::Bracket(items));
                // The content and its closing bracket.
                for _ in 0..=content.chars().count() {
                    chars.next();
                }
            }
            ']' => return Err(format!("the ']' at character {position} closes nothing: remove it or add '['")),
            ':' => {
                port = Some(parse_port(text.get(at + 1..).unwrap_or_default())?);
                break;
            }
            '*' | '?' => {
                glob = true;
                literal.push(c);
            }
            c if is_name_char(c) => literal.push(c),
            c => {
                return Err(format!(
                    "the character {c:?} at {position} cannot be in a node name: letters, digits, '.', '_' and '-' can"
                ));
            }
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    if parts.is_empty() {
        return Err("holds no name".to_owned());
    }
    if let Some(Part::Text(first)) = parts.first()
        && first.starts_with(['-', '.'])
    {
        return Err("a node name cannot start with '-' or '.'".to_owned());
    }
    Ok(Names { user, port, glob, parts })
}

impl Names {
    /// Returns how many texts it stands for, duplicates included; `None` beyond `u128`.
    pub(crate) fn count(&self) -> Option<u128> {
        self.parts.iter().try_fold(1_u128, |product, part| match part {
            Part::Text(_) => Some(product),
            Part::Bracket(items) => product.checked_mul(items.iter().map(Item::count).sum()),
        })
    }

    /// Returns every text, the last bracket turning fastest, or the count as text if they are more than `max`.
    pub(crate) fn expand(&self, max: usize) -> Result<Vec<String>, String> {
        match self.count() {
            Some(count) if count <= max as u128 => {}
            Some(count) => return Err(grouped(count)),
            None => return Err("more than 10^38".to_owned()),
        }
        let mut texts = vec![String::new()];
        for part in &self.parts {
            match part {
                Part::Text(text) => texts.iter_mut().for_each(|t| t.push_str(text)),
                Part::Bracket(items) => {
                    let mut longer = Vec::new();
                    for text in &texts {
                        for item in items {
                            item.for_each(|end| longer.push(format!("{text}{end}")));
                        }
                    }
                    texts = longer;
                }
            }
        }
        Ok(texts)
    }
}

/// Returns a number with its thousands set apart: `999,999,999`.
fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Returns whether `glob` (`*`: any run of characters, `?`: any one) matches all of `text`; linear memory, no recursion.
pub(crate) fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    // Where to go on when the present attempt fails: behind the last '*', one character further.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                retry = Some((g + 1, t));
                g += 1;
            }
            Some(b'?') => {
                g += 1;
                t += 1;
            }
            Some(c) if Some(c) == text.get(t) => {
                g += 1;
                t += 1;
            }
            _ => match retry {
                Some((behind, from)) => {
                    retry = Some((behind, from + 1));
                    g = behind;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    glob.get(g..).unwrap_or_default().iter().all(|c| *c == b'*')
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
