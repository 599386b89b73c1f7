//! Versions of docker as `/info` tells them. Pure.

/// Major and minor number, by which dockerd's behaviour is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// Reads for example `1.13.1`, `17.06.2-ce`, `20.10.24+dfsg1`, `26.1.0-rc1`, `v25.0`; `None` for `dev` and the like.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = text.split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?;
        let end = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self(major, minor.get(..end)?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_docker_called_itself() {
        for (text, want) in [
            ("1.13.1", Some(Version(1, 13))),
            ("1.9.1", Some(Version(1, 9))),
            ("17.06.2-ce", Some(Version(17, 6))),
            ("20.10.24+dfsg1", Some(Version(20, 10))),
            ("26.1.0-rc1", Some(Version(26, 1))),
            ("v25.0", Some(Version(25, 0))),
            ("29.0-dev", Some(Version(29, 0))),
            ("dev", None),
            ("library-import", None),
            ("", None),
            ("20", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(Version::read(text), want, "{text}");
        }
        assert!(Version(1, 9) < Version(1, 10) && Version(17, 5) < Version(17, 6) && Version(1, 13) < Version(17, 3));
    }
}
