//! The same thing again and again, kept in constant memory: when each burst of it began and ended, how often, where it
//! stands, what it was about. Counts stay right whatever comes; only the gaps between bursts get coarser in a flood.

use jiff::{SignedDuration, Timestamp};

use super::log::LogLine;

/// Bursts of one kind that are kept; with twice as many, the nearest are taken together.
const MOST: usize = 100;
/// Names that are kept of one burst.
const NAMES: usize = 16;
/// Characters of a name.
const NAME: usize = 120;

/// When and where something was logged, first and last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// How often.
    pub count: u64,
    /// Time of the first.
    pub first: Option<Timestamp>,
    /// Time of the last.
    pub last: Option<Timestamp>,
    /// Line of the first.
    pub first_line: u64,
    /// Line of the last.
    pub last_line: u64,
}

impl Span {
    /// Counts a line.
    pub fn add(&mut self, line: &LogLine<'_>) {
        self.add_at(line.happened(), line.number);
    }

    /// Counts what happened at a time.
    pub fn add_at(&mut self, time: Option<Timestamp>, line: u64) {
        if self.count == 0 {
            (self.first, self.first_line) = (time, line);
        }
        self.count = self.count.saturating_add(1);
        (self.last, self.last_line) = (time.or(self.last), line);
    }

    fn join(&mut self, later: &Self) {
        self.count = self.count.saturating_add(later.count);
        self.first = self.first.into_iter().chain(later.first).min();
        self.last = self.last.max(later.last);
        (self.first_line, self.last_line) =
            (self.first_line.min(later.first_line), self.last_line.max(later.last_line));
    }
}

/// The same thing within some minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Burst {
    /// When and where.
    pub span: Span,
    /// What it was about and how often, in order of appearance.
    pub names: Vec<(String, u64)>,
    /// How often about something that is not among the names.
    pub others: u64,
}

impl Burst {
    fn name(&mut self, name: &str, count: u64) {
        if name.is_empty() {
            return;
        }
        let short: String = name.chars().take(NAME).collect();
        if let Some((_, n)) = self.names.iter_mut().find(|(known, _)| *known == short) {
            *n = n.saturating_add(count);
        } else if self.names.len() < NAMES {
            self.names.push((short, count));
        } else {
            self.others = self.others.saturating_add(count);
        }
    }

    fn join(&mut self, later: Self) {
        self.span.join(&later.span);
        self.others = self.others.saturating_add(later.others);
        for (name, count) in later.names {
            self.name(&name, count);
        }
    }

    /// Lists what it was about, the most frequent first: `ListContainers × 11, Version × 1`. Empty if that is not known.
    #[must_use]
    pub fn about(&self, most: usize) -> String {
        let mut names: Vec<&(String, u64)> = self.names.iter().collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let rest: u64 = names.iter().skip(most).map(|(_, count)| count).sum::<u64>().saturating_add(self.others);
        let mut words: Vec<String> = names.iter().take(most).map(|(name, count)| format!("{name} × {count}")).collect();
        if rest > 0 {
            words.push(format!("others × {rest}"));
        }
        words.join(", ")
    }
}

/// All bursts of one kind of thing, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bursts {
    gap: SignedDuration,
    kept: Vec<Burst>,
}

impl Bursts {
    /// Returns none yet; what is farther apart than `gap` is another burst.
    #[must_use]
    pub const fn new(gap: SignedDuration) -> Self {
        Self { gap, kept: Vec::new() }
    }

    /// Counts a line; `name` says what it is about, or nothing.
    pub fn add(&mut self, line: &LogLine<'_>, name: &str) {
        self.add_at(line.happened(), line.number, name);
    }

    /// Counts what happened at a time.
    pub fn add_at(&mut self, time: Option<Timestamp>, line: u64, name: &str) {
        let near = |burst: &Burst| match (burst.span.first, burst.span.last, time) {
            (Some(first), Some(last), Some(time)) => {
                !self.gap.is_zero() && time.duration_since(last) <= self.gap && first.duration_since(time) <= self.gap
            }
            // A line that has no time belongs to what stands before it.
            (_, _, None) => true,
            _ => false,
        };
        if !self.kept.last().is_some_and(near) {
            if self.kept.len() >= 2 * MOST {
                self.coarsen();
            }
            self.kept.push(Burst::default());
        }
        let Some(burst) = self.kept.last_mut() else { return };
        let (first, last) = (burst.span.first, burst.span.last);
        burst.span.add_at(time, line);
        // Lines of a log may be out of order by a little.
        burst.span.first = first.into_iter().chain(burst.span.first).min();
        burst.span.last = burst.span.last.max(last);
        burst.name(name, 1);
    }

    /// Takes the nearest neighbours together, two and two, until half are left: a flood at even distances stays a row of bursts.
    fn coarsen(&mut self) {
        let between = |before: &Burst, burst: &Burst| match (before.span.last, burst.span.first) {
            (Some(last), Some(first)) => first.duration_since(last).abs(),
            _ => SignedDuration::ZERO,
        };
        while self.kept.len() > MOST {
            let mut gaps: Vec<SignedDuration> =
                self.kept.iter().zip(self.kept.iter().skip(1)).map(|(a, b)| between(a, b)).collect();
            gaps.sort_unstable();
            let median = gaps.get(gaps.len() / 2).copied().unwrap_or(SignedDuration::MAX);
            let mut joined: Vec<Burst> = Vec::with_capacity(self.kept.len());
            let mut single = false;
            for burst in std::mem::take(&mut self.kept) {
                match joined.last_mut().filter(|before| single && between(before, &burst) <= median) {
                    Some(before) => {
                        before.join(burst);
                        single = false;
                    }
                    None => {
                        joined.push(burst);
                        single = true;
                    }
                }
            }
            self.kept = joined;
        }
    }

    /// Returns the bursts.
    #[must_use]
    pub fn kept(&self) -> &[Burst] {
        &self.kept
    }

    /// Returns the last one, to add to what it is about.
    #[must_use]
    pub fn last(&self) -> Option<&Burst> {
        self.kept.last()
    }

    /// Says what the last one is about, where that was not known when it came.
    pub fn name_last(&mut self, name: &str) {
        if let Some(burst) = self.kept.last_mut().filter(|b| b.names.is_empty()) {
            burst.name(name, burst.span.count);
        }
    }

    /// Returns how often in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.kept.iter().map(|burst| burst.span.count).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Timestamp::from_second(1_795_000_000 + seconds).ok()
    }

    #[test]
    fn what_comes_within_the_gap_is_one_burst() {
        let mut bursts = Bursts::new(SignedDuration::from_mins(5));
        for (line, seconds) in [(1, 0), (2, 200), (3, 199), (9, 600), (10, 601)] {
            bursts.add_at(at(seconds), line, if line == 2 { "b" } else { "a" });
        }
        bursts.add_at(None, 11, "");
        let told: Vec<_> = bursts.kept().iter().map(|b| (b.span, b.about(3))).collect();
        let span = |count, first, last, first_line, last_line| Span { count, first, last, first_line, last_line };
        assert_eq!(told[0], (span(3, at(0), at(200), 1, 3), "a × 2, b × 1".to_owned()));
        assert_eq!(told[1], (span(3, at(600), at(601), 9, 11), "a × 2".to_owned()));
        assert_eq!(bursts.count(), 6);
    }

    #[test]
    fn a_flood_keeps_its_count_and_its_ends_in_bounded_memory() {
        for gap in [SignedDuration::ZERO, SignedDuration::from_mins(5)] {
            let mut bursts = Bursts::new(gap);
            for n in 0..50_000 {
                bursts.add_at(at(n * 400), u64::try_from(n).unwrap() + 1, &format!("name-{n}"));
                assert!(bursts.kept().len() <= 2 * MOST);
            }
            assert_eq!(bursts.count(), 50_000);
            assert!(bursts.kept().len() >= MOST / 2, "{}", bursts.kept().len());
            let (first, last) = (bursts.kept().first().unwrap().span, bursts.kept().last().unwrap().span);
            assert_eq!((first.first, first.first_line), (at(0), 1));
            assert_eq!((last.last, last.last_line), (at(49_999 * 400), 50_000));
            let named: u64 = bursts.kept().iter().map(|b| b.others + b.names.iter().map(|(_, n)| n).sum::<u64>()).sum();
            assert_eq!(named, 50_000, "every one is counted under a name or under others");
            assert!(bursts.kept().windows(2).all(|two| two[0].span.last < two[1].span.first));
        }
    }
}
