//! Names folded back into a pattern, for people: `worker-00[1-4,7]`. What it returns can be given to `--nodes`
//! and names the same nodes; `pattern.rs` is the way back.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::target::NodeName;

/// Returns the names as one comma list in natural order, runs of numbers folded into brackets.
/// Padding is kept exactly: expanding the result gives the same set. Duplicates count once.
///
/// Each name is folded in one place, at the last group of digits in which it differs from others.
#[must_use]
pub fn fold(names: &[NodeName]) -> String {
    let mut left: BTreeSet<&str> = names.iter().map(NodeName::as_str).collect();
    // (first name, pattern): the first name gives the place in the order.
    let mut folded: Vec<(&str, String)> = Vec::new();
    let deepest = left.iter().map(|name| digit_groups(name).len()).max().unwrap_or_default();
    for from_last in 0..deepest {
        let mut buckets: BTreeMap<(&str, &str), Vec<(&str, &str)>> = BTreeMap::new();
        for name in &left {
            if let Some((before, digits, after)) = cut(name, from_last) {
                buckets.entry((before, after)).or_default().push((digits, name));
            }
        }
        for ((before, after), members) in buckets {
            if members.len() < 2 {
                continue;
            }
            let digits: Vec<&str> = members.iter().map(|(digits, _)| *digits).collect();
            for (_, name) in &members {
                left.remove(name);
            }
            let first = members.iter().map(|(_, name)| *name).min_by(|a, b| natural(a, b)).unwrap_or_default();
            folded.push((first, format!("{before}{}{after}", bracket(&digits))));
        }
    }
    folded.extend(left.into_iter().map(|name| (name, name.to_owned())));
    folded.sort_by(|a, b| natural(a.0, b.0));
    folded.into_iter().map(|(_, pattern)| pattern).collect::<Vec<_>>().join(",")
}

/// Compares names as people do: numbers inside them by value, so `n9` stands before `n10`.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a, b);
    loop {
        let (Some(c), Some(d)) = (x.chars().next(), y.chars().next()) else {
            // Same up to here: the shorter first, then by bytes, so that the order is total.
            return x.len().cmp(&y.len()).then_with(|| a.cmp(b));
        };
        let order = if c.is_ascii_digit() && d.is_ascii_digit() {
            let (m, n) = (leading_digits(x), leading_digits(y));
            let order = compare_numbers(m, n);
            x = x.get(m.len()..).unwrap_or_default();
            y = y.get(n.len()..).unwrap_or_default();
            order
        } else {
            x = x.get(c.len_utf8()..).unwrap_or_default();
            y = y.get(d.len_utf8()..).unwrap_or_default();
            c.cmp(&d)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

fn compare_numbers(m: &str, n: &str) -> Ordering {
    let (p, q) = (m.trim_start_matches('0'), n.trim_start_matches('0'));
    p.len().cmp(&q.len()).then_with(|| p.cmp(q))
}

fn leading_digits(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Start and end of every run of digits.
fn digit_groups(name: &str) -> Vec<(usize, usize)> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_digit() {
            match groups.last_mut() {
                Some((_, end)) if *end == at => *end = at + 1,
                _ => groups.push((at, at + 1)),
            }
        }
    }
    groups
}

/// Cuts a name around a group of digits, counted from the last. Groups longer than the pattern syntax takes are none.
fn cut(name: &str, from_last: usize) -> Option<(&str, &str, &str)> {
    let (start, end) = digit_groups(name).into_iter().rev().nth(from_last)?;
    if end - start > 18 {
        return None;
    }
    Some((name.get(..start)?, name.get(start..end)?, name.get(end..)?))
}

/// Folds two or more different numbers of at most 18 digits: `00[1-4,7]`.
fn bracket(digits: &[&str]) -> String {
    // Zeros that all have stand outside the bracket, as people write them.
    let equally_long = digits.iter().all(|d| Some(d.len()) == digits.first().map(|first| first.len()));
    let shortest = digits.iter().map(|d| d.len()).min().unwrap_or_default();
    let zeros = if equally_long {
        let common = digits.iter().map(|d| d.len() - d.trim_start_matches('0').len()).min().unwrap_or_default();
        common.min(shortest.saturating_sub(1))
    } else {
        0
    };
    let mut left: BTreeSet<(u64, &str)> =
        digits.iter().filter_map(|d| d.get(zeros..)).filter_map(|d| Some((d.parse().ok()?, d))).collect();
    let mut runs = Vec::new();
    while let Some((first, text)) = left.pop_first() {
        let width = text.len();
        let mut last = text.to_owned();
        let mut next = first + 1;
        // A run goes on as long as the number that a range would write next is there, padded like its start.
        while let Some(entry) = take(&mut left, next, &format!("{next:0width$}")) {
            entry.clone_into(&mut last);
            next += 1;
        }
        runs.push(if last == text { text.to_owned() } else { format!("{text}-{last}") });
    }
    format!("{}[{}]", "0".repeat(zeros), runs.join(","))
}

fn take<'a>(left: &mut BTreeSet<(u64, &'a str)>, number: u64, text: &str) -> Option<&'a str> {
    let found = left.range((number, "")..).take_while(|(n, _)| *n == number).find(|(_, t)| *t == text).copied()?;
    left.remove(&found);
    Some(found.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pattern::{self, Subject};
    use super::*;

    fn names(list: &str) -> Vec<NodeName> {
        list.split_whitespace().map(|n| n.parse().unwrap()).collect()
    }

    fn expand(list: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for pattern in pattern::parse_list(list).unwrap() {
            let Subject::Names(names) = pattern.subject else { panic!("{list}") };
            for name in names.expand(usize::MAX).unwrap() {
                assert!(all.insert(name), "{list} names a node twice");
            }
        }
        all
    }

    #[test]
    fn folds() {
        for (list, want) in [
            ("", ""),
            ("a", "a"),
            ("worker-001", "worker-001"),
            ("worker-001 worker-002 worker-003 worker-004 worker-007", "worker-00[1-4,7]"),
            ("worker-007 worker-001 worker-001", "worker-00[1,7]"),
            ("worker-009 worker-010 worker-011", "worker-0[09-11]"),
            ("worker-098 worker-099 worker-100", "worker-[098-100]"),
            ("n8 n9 n10 n11", "n[8-11]"),
            ("n8 n09 n10", "n[8,09-10]"),
            ("n1 n01 n001", "n[001,01,1]"),
            ("n0 n00", "n[0,00]"),
            ("n00 n01", "n0[0-1]"),
            ("n1 n2 db", "db,n[1-2]"),
            ("n13 n57", "n[13,57]"),
            ("rack1n1 rack1n2 rack2n1 rack2n2", "rack1n[1-2],rack2n[1-2]"),
            ("a1.z1 a2.z1 a3.z1", "a[1-3].z1"),
            ("10.0.0.9 10.0.0.10", "10.0.0.[9-10]"),
            ("n1 m9 m10 n2", "m[9-10],n[1-2]"),
            ("n99999999999999999998 n99999999999999999999", "n99999999999999999998,n99999999999999999999"),
        ] {
            let got = fold(&names(list));
            assert_eq!(got, want, "{list}");
            let set: BTreeSet<String> = list.split_whitespace().map(String::from).collect();
            if !set.is_empty() {
                assert_eq!(expand(&got), set, "{list}");
            }
        }
    }

    #[test]
    fn sorts_naturally() {
        let mut list = ["n10", "n9", "n09", "a", "n", "n9a", "n1.2", "n1.10"];
        list.sort_by(|a, b| natural(a, b));
        assert_eq!(list, ["a", "n", "n1.2", "n1.10", "n09", "n9", "n9a", "n10"]);
    }

    proptest! {
        #[test]
        fn expanding_a_fold_gives_the_set(list in proptest::collection::vec("[ab][0-2]{0,3}-?[0-9]{0,3}(\\.x[0-9])?", 1..60)) {
            let Ok(all) = list.iter().map(|n| n.parse()).collect::<Result<Vec<NodeName>, _>>() else { return Ok(()) };
            let set: BTreeSet<String> = list.iter().cloned().collect();
            let folded = fold(&all);
            prop_assert_eq!(expand(&folded), set);
            // Folding what the fold expands to changes nothing.
            let again: Vec<NodeName> = expand(&folded).iter().map(|n| n.parse().unwrap()).collect();
            prop_assert_eq!(fold(&again), folded);
        }

        #[test]
        fn a_padded_run_is_one_bracket(first in 0_u32..500, more in 1_u32..300, width in 1_usize..6) {
            let all: Vec<NodeName> = (first..=first + more).map(|n| format!("w-{n:0width$}").parse().unwrap()).collect();
            let folded = fold(&all);
            prop_assert!(!folded.contains(','), "{}", folded);
            prop_assert_eq!(expand(&folded).len(), all.len());
        }

        #[test]
        fn natural_order_is_total(a in "[a0-1]{0,5}", b in "[a0-1]{0,5}", c in "[a0-1]{0,5}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b) == Ordering::Equal, a == b);
            if natural(&a, &b) != Ordering::Greater && natural(&b, &c) != Ordering::Greater {
                prop_assert!(natural(&a, &c) != Ordering::Greater, "{} {} {}", a, b, c);
            }
        }
    }
}
