//! Brackets of a node pattern: `[1-9]`, `[001-120]`, `[1-9/2]`, `[001-010,15]`, `[abc]`.
//!
//! What a bracket means is decided by its content alone:
//! - With a comma, or of the form `A-B` or `A-B/S`, it is a **list**: each item is a range of whole
//!   numbers (padded to the width of its lower bound), a range of single letters, or a word taken as it is.
//! - Anything else is a **class** as in a shell: each character, or range of characters, stands for one
//!   character. So `[123]` is 1, 2, 3 and `[1-9a-c]` is twelve characters.
//!
//! `[1-9]` is the same either way; `[1-12]` is the numbers 1 to 12.

/// One alternative, or a run of them, inside a bracket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// This very text.
    Word(String),
    /// Whole numbers, both ends included, zero-padded to `width`.
    Numbers { first: u64, last: u64, step: u64, width: usize },
    /// ASCII characters, both ends included.
    Chars { first: u8, last: u8, step: usize },
}

impl Item {
    /// Returns how many texts it stands for; at least one.
    pub(crate) fn count(&self) -> u128 {
        match self {
            Self::Word(_) => 1,
            Self::Numbers { first, last, step, .. } => u128::from((last - first) / step) + 1,
            Self::Chars { first, last, step } => (usize::from(last - first) / step) as u128 + 1,
        }
    }

    /// Hands every text it stands for to `each`, in order.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&str)) {
        match self {
            Self::Word(word) => each(word),
            Self::Numbers { first, last, step, width } => {
                let mut next = Some(*first);
                while let Some(number) = next.filter(|n| n <= last) {
                    each(&format!("{number:0width$}"));
                    next = number.checked_add(*step);
                }
            }
            Self::Chars { first, last, step } => {
                for character in (*first..=*last).step_by(*step) {
                    each(char::from(character).encode_utf8(&mut [0; 4]));
                }
            }
        }
    }
}

/// Parses what stands between the brackets. The error is a reason to follow "pattern …: ".
pub(crate) fn parse(content: &str) -> Result<Vec<Item>, String> {
    if content.is_empty() {
        return Err("is empty: write a range such as [1-9] into it or leave it out".to_owned());
    }
    if content.starts_with(['!', '^']) {
        return Err(
            "is a negated class, which is not supported: exclude nodes with a pattern of their own, !NAME".into()
        );
    }
    if !content.contains(',') && !is_range(content) {
        return class(content);
    }
    content.split(',').map(item).collect()
}

/// `A-B` or `A-B/S` where both ends are numbers, or both are single letters.
fn is_range(text: &str) -> bool {
    let range = text.split('/').next().unwrap_or_default();
    let Some((first, last)) = range.split_once('-') else { return false };
    let letter = |t: &str| t.len() == 1 && t.bytes().all(|b| b.is_ascii_alphabetic());
    (is_number(first) && is_number(last)) || (letter(first) && letter(last))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn item(text: &str) -> Result<Item, String> {
    if text.is_empty() {
        return Err("has nothing between two commas: remove one".to_owned());
    }
    let (range, step) = match text.split_once('/') {
        None => (text, 1),
        Some((range, step)) => {
            let step: u64 =
                step.parse().map_err(|_| format!("has the step {step:?}: write a whole number after '/'"))?;
            (range, step)
        }
    };
    if step == 0 {
        return Err("has the step 0, which never ends: write 1 or more after '/'".to_owned());
    }
    let Some((first, last)) = range.split_once('-') else {
        if text.contains('/') {
            return Err(format!("has a step without a range, {text:?}: write it as [1-9/2]"));
        }
        return word(text);
    };
    if is_number(first) && is_number(last) {
        return numbers(first, last, step);
    }
    match (first.as_bytes(), last.as_bytes()) {
        ([a], [b]) => chars(*a, *b, usize::try_from(step).unwrap_or(usize::MAX)),
        _ => Err(format!(
            "has {range:?}, which is neither a range of numbers nor of single letters: write it as 1-9 or a-f"
        )),
    }
}

fn word(text: &str) -> Result<Item, String> {
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_')) {
        None => Ok(Item::Word(text.to_owned())),
        Some(c) => {
            Err(format!("holds the character {c:?}: only letters, digits, '.', '_', ranges and commas go there"))
        }
    }
}

fn numbers(first: &str, last: &str, step: u64) -> Result<Item, String> {
    let width = first.len();
    let parse = |t: &str| {
        // 18 digits always fit a u64.
        (t.len() <= 18)
            .then(|| t.parse::<u64>().ok())
            .flatten()
            .ok_or_else(|| format!("has a number of {} digits: 18 are the most", t.len()))
    };
    if last.len() != width && last.starts_with('0') {
        let fill = width.max(last.len());
        return Err(format!(
            "has bounds of different padding, {first}-{last}: write them equally long, {first:0>fill$}-{last:0>fill$}"
        ));
    }
    let (from, to) = (parse(first)?, parse(last)?);
    if from > to {
        return Err(format!("has the reversed range {first}-{last}: write the smaller number first"));
    }
    Ok(Item::Numbers { first: from, last: to, step, width })
}

fn chars(first: u8, last: u8, step: usize) -> Result<Item, String> {
    let (a, b) = (char::from(first), char::from(last));
    let alike = (a.is_ascii_digit() && b.is_ascii_digit())
        || (a.is_ascii_lowercase() && b.is_ascii_lowercase())
        || (a.is_ascii_uppercase() && b.is_ascii_uppercase());
    if !alike {
        return Err(format!("has the range {a}-{b}: both ends must be digits, small letters or capital letters"));
    }
    if first > last {
        return Err(format!("has the reversed range {a}-{b}: write {b}-{a}"));
    }
    Ok(Item::Chars { first, last, step })
}

fn class(content: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut rest = content.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if let [b'-', last, after @ ..] = tail {
            let reversed_hint =
                |e: String| format!("{e}; numbers of several digits go into a list of their own, [1,3,5-7]");
            items.push(chars(first, *last, 1).map_err(|e| if first.is_ascii_digit() { reversed_hint(e) } else { e })?);
            rest = after;
        } else {
            // `content` may hold other than ASCII; name the whole character then.
            let at = content.len() - rest.len();
            let c = content.get(at..).and_then(|t| t.chars().next()).unwrap_or('?');
            if !c.is_ascii_alphanumeric() {
                return Err(match c {
                    '/' => "has a step without a range: write it as [1-9/2]".to_owned(),
                    '-' => "has a range without both of its ends: write it as [1-9]".to_owned(),
                    c => format!("holds the character {c:?}: only letters, digits, ranges and commas go there"),
                });
            }
            items.push(Item::Chars { first, last: first, step: 1 });
            rest = tail;
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &str) -> Vec<String> {
        let mut all = Vec::new();
        for item in parse(content).unwrap() {
            let before = all.len();
            item.for_each(|t| all.push(t.to_owned()));
            assert_eq!((all.len() - before) as u128, item.count(), "{content}");
        }
        all
    }

    #[test]
    fn expands() {
        for (content, want) in [
            ("1-3", "1 2 3"),
            ("1-9", "1 2 3 4 5 6 7 8 9"),
            ("8-12", "8 9 10 11 12"),
            ("08-12", "08 09 10 11 12"),
            ("098-101", "098 099 100 101"),
            ("09-101/46", "09 55 101"),
            ("1-9/2", "1 3 5 7 9"),
            ("1-9/100", "1"),
            ("5-5", "5"),
            ("0-0", "0"),
            ("001-003,15", "001 002 003 15"),
            ("1,2,03", "1 2 03"),
            ("13,57", "13 57"),
            ("abc", "a b c"),
            ("123", "1 2 3"),
            ("a-c", "a b c"),
            ("a-e/2", "a c e"),
            ("1-3a-c", "1 2 3 a b c"),
            ("1-3a-cX", "1 2 3 a b c X"),
            ("blue,green", "blue green"),
            ("a,b-d", "a b c d"),
            ("999999999999999998-999999999999999999", "999999999999999998 999999999999999999"),
        ] {
            assert_eq!(texts(content).join(" "), want, "{content}");
        }
    }

    #[test]
    fn refuses() {
        for (content, part) in [
            ("", "is empty"),
            ("9-1", "reversed range 9-1"),
            ("12-3", "reversed range 12-3"),
            ("c-a", "write a-c"),
            ("1-9/0", "step 0"),
            ("1-9/x", "step \"x\""),
            ("1-9/-2", "step \"-2\""),
            ("1-9/", "step \"\""),
            ("3/2", "step without a range"),
            ("1,,2", "between two commas"),
            ("1,", "between two commas"),
            ("1-", "without both of its ends"),
            ("-1", "without both of its ends"),
            ("1-010", "write them equally long, 001-010"),
            ("1-0000000000000000000001", "different padding"),
            ("1-9999999999999999999", "19 digits"),
            ("!1-3", "negated"),
            ("^a", "negated"),
            ("a b", "' '"),
            ("a-Z", "both ends"),
            ("1-z", "both ends"),
            ("ä", "'ä'"),
            ("a,ä", "'ä'"),
            ("foo-bar,x", "neither a range"),
            ("1-2-3,4", "neither a range"),
        ] {
            let error = parse(content).unwrap_err();
            assert!(error.contains(part), "{content}: {error}");
        }
    }
}
