//! A little randomness for pauses, so that a thousand nodes do not retry in step.

use std::ops::Range;
use std::time::Duration;

/// Returns a number of `range`; its start if the system has no randomness, which only costs spread.
pub(crate) fn within(range: Range<u64>) -> u64 {
    let span = range.end.saturating_sub(range.start);
    match (span, getrandom::u64()) {
        (0, _) | (_, Err(_)) => range.start,
        (span, Ok(n)) => range.start + n % span,
    }
}

/// Returns the pause before attempt `number` + 1 (`number` starts at 1): doubling from half a
/// second up to `most`, the upper half of it by chance.
pub(crate) fn backoff(number: u32, most: Duration) -> Duration {
    let doubled = Duration::from_millis(500).saturating_mul(1 << number.saturating_sub(1).min(16));
    let whole = u64::try_from(doubled.min(most).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(whole / 2 + within(0..whole / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_in_range() {
        for _ in 0..1000 {
            assert!((20..200).contains(&within(20..200)));
        }
        assert_eq!(within(7..7), 7);
        assert_eq!(within(7..8), 7);
    }

    #[test]
    fn backoff_doubles_up_to_its_bound() {
        let most = Duration::from_secs(4);
        for (number, whole) in [(0, 500), (1, 500), (2, 1000), (3, 2000), (4, 4000), (5, 4000), (u32::MAX, 4000)] {
            for _ in 0..100 {
                let got = u64::try_from(backoff(number, most).as_millis()).unwrap();
                assert!((whole / 2..=whole).contains(&got), "{number}: {got}");
            }
        }
        assert_eq!(backoff(9, Duration::ZERO), Duration::ZERO);
    }
}
