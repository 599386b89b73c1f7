//! Files of /proc read twice by one step, `##### reading 1, 31063.42 s after boot` before each: counters of /proc/stat, and what
//! they grew by. On nodes without top or sar.

use super::sections::sections;

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reading {
    /// Seconds after the boot.
    pub after_boot: Option<f64>,
    /// Load over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Context switches since the boot.
    pub switches: Option<f64>,
    /// Processes and threads made since the boot.
    pub forks: Option<f64>,
}

/// Returns the readings in their order, two at most.
#[must_use]
pub fn readings(text: &str) -> Vec<Reading> {
    let parts = text.split("##### reading ").skip(1).take(2);
    parts
        .map(|part| {
            let head = part.lines().next().unwrap_or_default();
            let after_boot = head.split_once(", ").and_then(|(_, rest)| number(rest.split(' ').next()?));
            let mut reading = Reading { after_boot, ..Reading::default() };
            for section in sections(part) {
                match section.name {
                    "/proc/loadavg" => {
                        let mut words = section.body.split_ascii_whitespace().map_while(number);
                        reading.load = words.next().zip(words.next()).zip(words.next()).map(|((a, b), c)| [a, b, c]);
                    }
                    "/proc/stat" => {
                        let value = |key: &str| {
                            let line = section.body.lines().find_map(|line| line.strip_prefix(key))?;
                            number(line.strip_prefix(' ')?.trim())
                        };
                        (reading.switches, reading.forks) = (value("ctxt"), value("processes"));
                    }
                    _ => {}
                }
            }
            reading
        })
        .collect()
}

fn number(word: &str) -> Option<f64> {
    word.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_readings_are_told_apart() {
        let one = |n: u32| {
            format!(
                "##### reading {n}, 10{n}.50 s after boot\n==> /proc/loadavg <==\n3.07 4.51 6.13 7/708 1254\n\
                 ==> /proc/stat <==\ncpu  1 2 3\nctxt {n}000\nbtime 1\nprocesses {n}0\n"
            )
        };
        let found = readings(&(one(1) + &one(2)));
        let [first, second] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((first.after_boot, first.switches, first.forks), (Some(101.5), Some(1000.0), Some(10.0)));
        assert_eq!(
            (second.after_boot, second.switches, second.load),
            (Some(102.5), Some(2000.0), Some([3.07, 4.51, 6.13]))
        );
        assert!(readings("top - 06:57:58 up").is_empty());
        assert_eq!(readings("##### reading x\n==> /proc/stat <==\nctxt -1\n"), [Reading::default()]);
    }
}
