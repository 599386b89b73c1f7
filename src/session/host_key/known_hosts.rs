//! known_hosts files: parsing, and finding the lines that speak of a name, as OpenSSH does it.
//! Judges nothing and writes nothing; `host_key` does both. russh's own checker is not used: it
//! ignores markers and patterns and fails on a double blank.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use sha1::Sha1;

/// More than any real file; stops a read of something endless.
const MAX_BYTES: u64 = 64 << 20;
/// Bad lines reported one by one; the rest is only counted.
const MAX_WARNINGS: usize = 5;
/// OpenSSH's buffer for one pattern; a list with a longer one matches nothing.
const MAX_PATTERN: usize = 1023;

/// What a line says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    /// The host's own key.
    Host,
    /// `@cert-authority`: signs the host's certificates.
    CertAuthority,
    /// `@revoked`: must not be accepted.
    Revoked,
}

/// A usable line.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) marker: Marker,
    pub(crate) key: KeyData,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// One parsed file.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts {
    entries: Vec<Entry>,
    lines: usize,
    /// Names without pattern characters, lower case: by far the most lines.
    exact: HashMap<String, Vec<usize>>,
    /// Lines with at least one `*`, `?` or `!`, as written, lower case.
    patterns: Vec<(String, usize)>,
    hashed: Vec<(HashedName, usize)>,
    /// Names looked up before: each look-up costs one HMAC per hashed line.
    memo: Mutex<HashMap<String, Arc<[usize]>>>,
}

#[derive(Debug)]
struct HashedName {
    salt: [u8; 20],
    hash: Vec<u8>,
}

impl KnownHosts {
    /// Reads and parses a file; a missing one counts as empty.
    ///
    /// # Errors
    /// Whatever the system says to opening or reading it, or that it is larger than 64 MiB.
    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other("it is larger than 64 MiB"));
        }
        Ok(Self::parse(path, &bytes))
    }

    /// Parses the content of a file. Lines that cannot be understood are skipped with a warning,
    /// as OpenSSH skips them: the rest of the file stays usable.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Self {
        let breaks = bytes.iter().filter(|&&b| b == b'\n').count();
        let half = usize::from(bytes.last().is_some_and(|&b| b != b'\n'));
        let mut file = Self { lines: breaks + half, ..Self::default() };
        let mut skipped = 0_usize;
        for (number, line) in bytes.split(|&b| b == b'\n').enumerate().map(|(n, l)| (n + 1, l)) {
            // A comment may be in any encoding; what is not UTF-8 in a name simply never matches.
            let line = String::from_utf8_lossy(line);
            if let Err(reason) = file.add(number, &line) {
                skipped += 1;
                if skipped <= MAX_WARNINGS {
                    tracing::warn!("{}:{number}: line skipped: {reason}", path.display());
                }
            }
        }
        if skipped > MAX_WARNINGS {
            tracing::warn!("{}: {} more lines skipped", path.display(), skipped - MAX_WARNINGS);
        }
        file
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), &'static str> {
        let mut fields = line.trim_end_matches('\r').split([' ', '\t']).filter(|f| !f.is_empty());
        let Some(mut field) = fields.next() else { return Ok(()) };
        if field.starts_with('#') {
            return Ok(());
        }
        let marker = match field {
            "@cert-authority" => Marker::CertAuthority,
            "@revoked" => Marker::Revoked,
            _ if field.starts_with('@') => return Err("unknown marker"),
            _ => Marker::Host,
        };
        if marker != Marker::Host {
            field = fields.next().ok_or("no host names")?;
            if field.starts_with('@') {
                return Err("more than one marker");
            }
        }
        let hosts = field;
        let key_type = fields.next().ok_or("no key type")?;
        let blob = fields.next().ok_or("no key")?;
        let key = parse_key(key_type, blob)?;
        let index = self.entries.len();
        if hosts.starts_with('|') {
            self.hashed.push((parse_hashed(hosts).ok_or("not a hashed name")?, index));
        } else {
            let hosts = hosts.to_ascii_lowercase();
            if hosts.contains(['*', '?', '!']) {
                self.patterns.push((hosts, index));
            } else if hosts.split(',').all(|name| name.len() < MAX_PATTERN) {
                for name in hosts.split(',') {
                    self.exact.entry(name.to_owned()).or_default().push(index);
                }
            }
        }
        self.entries.push(Entry { marker, key, line: number });
        Ok(())
    }

    /// Returns how many lines the file has, usable or not.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Returns the entries that speak of `name`, in the order of the file. `name` is what
    /// [`lookup_name`] returns.
    pub(crate) fn matching(&self, name: &str) -> Vec<&Entry> {
        let name = name.to_ascii_lowercase();
        self.indices(&name).iter().filter_map(|&i| self.entries.get(i)).collect()
    }

    fn indices(&self, name: &str) -> Arc<[usize]> {
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = memo.get(name) {
            return known.clone();
        }
        let mut found = self.exact.get(name).cloned().unwrap_or_default();
        found.extend(self.patterns.iter().filter(|(list, _)| matches_list(list, name)).map(|(_, i)| i));
        found.extend(self.hashed.iter().filter(|(hashed, _)| hashed.is(name)).map(|(_, i)| i));
        found.sort_unstable();
        found.dedup();
        let found: Arc<[usize]> = found.into();
        memo.insert(name.to_owned(), found.clone());
        found
    }
}

impl HashedName {
    fn is(&self, name: &str) -> bool {
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&self.salt) else { return false };
        mac.update(name.as_bytes());
        mac.verify_slice(&self.hash).is_ok()
    }
}

/// Reads `|1|salt|hash`.
fn parse_hashed(field: &str) -> Option<HashedName> {
    let (salt, hash) = field.strip_prefix("|1|")?.split_once('|')?;
    let salt = STANDARD.decode(salt).ok()?.try_into().ok()?;
    Some(HashedName { salt, hash: STANDARD.decode(hash).ok()? })
}

fn parse_key(key_type: &str, blob: &str) -> Result<KeyData, &'static str> {
    const BAD: &str = "unreadable key, or of an unknown type";
    let bytes = STANDARD.decode(blob).map_err(|_| BAD)?;
    // A certificate may nest another as its signing key, without a limit to the depth; no
    // certificate belongs here.
    if bytes.windows(10).any(|w| w == b"-cert-v01@") {
        return Err("a certificate in place of a key");
    }
    let key: KeyData = PublicKey::from_bytes(&bytes).map_err(|_| BAD)?.into();
    if !names_type(key_type, &key) {
        return Err("the key is of another type than the line says");
    }
    Ok(key)
}

/// Returns whether `word` names the type of `key`: its own name, a signature name of RSA (some
/// appliances write those), or OpenSSH's short name.
fn names_type(word: &str, key: &KeyData) -> bool {
    let algorithm = key.algorithm();
    let name = algorithm.as_str();
    if word == name {
        return true;
    }
    let short = match key {
        KeyData::Rsa(_) if matches!(word, "rsa-sha2-256" | "rsa-sha2-512") => return true,
        KeyData::Rsa(_) => "rsa",
        KeyData::Dsa(_) => "dsa",
        KeyData::Ecdsa(_) => "ecdsa",
        KeyData::Ed25519(_) => "ed25519",
        _ => return false,
    };
    word.eq_ignore_ascii_case(short)
}

/// Returns the name a server is looked up by: the alias as it is, the host alone at port 22,
/// `[host]:port` elsewhere; lower case.
pub(crate) fn lookup_name(host: &str, port: u16, alias: Option<&str>) -> String {
    match alias {
        Some(alias) => alias.to_ascii_lowercase(),
        None if port == 22 => host.to_ascii_lowercase(),
        None => format!("[{}]:{port}", host.to_ascii_lowercase()),
    }
}

/// Matches a comma list of patterns: one that matches decides, unless a negated one matches too.
fn matches_list(list: &str, name: &str) -> bool {
    let mut matched = false;
    for pattern in list.split(',') {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.len() >= MAX_PATTERN {
            return false;
        }
        if matches_pattern(pattern, name) {
            if negated {
                return false;
            }
            matched = true;
        }
    }
    matched
}

/// Matches `*` (any run, dots included) and `?` (one character); nothing else is special.
/// Takes time proportional to the product of the lengths at most.
pub(crate) fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and where its run began: on a mismatch the run grows by one.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&want) if want == b'?' || want == c => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, run)) = star else { return false };
                star = Some((at, run + 1));
                p = at + 1;
                n = run + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|&b| b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const BLOB: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn lines(text: &str, name: &str) -> Vec<(usize, Marker)> {
        let file = KnownHosts::parse(Path::new("kh"), text.as_bytes());
        file.matching(name).iter().map(|e| (e.line, e.marker)).collect()
    }

    #[test]
    fn finds_the_lines_of_a_name() {
        let host = |line| vec![(line, Marker::Host)];
        for (text, name, want) in [
            (format!("worker-001 {ED}\n"), "worker-001", host(1)),
            (format!("worker-001 {ED}"), "WORKER-001", host(1)),
            (format!("Worker-001 {ED}\r\n"), "worker-001", host(1)),
            (format!("a,worker-001,b {ED} comment # here\n"), "b", host(1)),
            (format!("# worker-001 {ED}\n\n \t\n  worker-001\t\t{ED}\n"), "worker-001", host(4)),
            (format!("worker-001 ssh-ed25519   {BLOB}\n"), "worker-001", host(1)),
            (format!("worker-001 ED25519 {BLOB}\n"), "worker-001", host(1)),
            (format!("worker-001 ssh-rsa {BLOB}\n"), "worker-001", vec![]),
            (format!("worker-001 {ED}=\n"), "worker-001", vec![]),
            (format!("worker-0?? {ED}\nworker-* {ED}\n"), "worker-001", vec![(1, Marker::Host), (2, Marker::Host)]),
            (format!("!worker-001,worker-* {ED}\n"), "worker-001", vec![]),
            (format!("worker-*,!worker-001 {ED}\n"), "worker-002", host(1)),
            (format!("!worker-001 {ED}\n"), "worker-002", vec![]),
            (format!("[worker-001]:2222 {ED}\n"), "[worker-001]:2222", host(1)),
            (format!("[worker-001]:2222 {ED}\n"), "worker-001", vec![]),
            (format!("[worker-*]:* {ED}\n"), "[worker-001]:2222", host(1)),
            (format!("@revoked * {ED}\n"), "x", vec![(1, Marker::Revoked)]),
            (format!("@cert-authority\t*.example.com\t{ED}\n"), "a.example.com", vec![(1, Marker::CertAuthority)]),
            (format!("@unknown x {ED}\n@revoked @revoked x {ED}\nx {ED}\n"), "x", host(3)),
            (format!("x\nx ssh-ed25519\nx ssh-ed25519 ????\nx {ED}\n"), "x", host(4)),
            (format!("|1|bm90IGEgc2FsdA==|abc= {ED}\nx {ED}\n"), "x", host(2)),
            ("\u{fffd}".to_owned(), "x", vec![]),
        ] {
            assert_eq!(lines(&text, name), want, "{name} in {text:?}");
        }
    }

    #[test]
    fn finds_hashed_names() {
        // Hashed here as the format says; files made by ssh-keygen -H: host_key_tests.
        let mut text = String::new();
        for (salt, name) in [(b"0123456789abcdefghij", "example.com"), (b"jihgfedcba9876543210", "[example.com]:2222")]
        {
            let mut mac = Hmac::<Sha1>::new_from_slice(salt).unwrap();
            mac.update(name.as_bytes());
            let hash = STANDARD.encode(mac.finalize().into_bytes());
            text += &format!("|1|{}|{hash} {ED}\n", STANDARD.encode(salt));
        }
        assert_eq!(lines(&text, "example.com"), [(1, Marker::Host)]);
        assert_eq!(lines(&text, "Example.com"), [(1, Marker::Host)]);
        assert_eq!(lines(&text, "[example.com]:2222"), [(2, Marker::Host)]);
        assert_eq!(lines(&text, "other"), []);
    }

    #[test]
    fn survives_other_encodings_and_missing_files() {
        let mut bytes = b"caf\xe9 ssh-ed25519 x \xff\nx ".to_vec();
        bytes.extend(ED.as_bytes());
        bytes.extend(b" caf\xe9\n");
        assert_eq!(KnownHosts::parse(Path::new("kh"), &bytes).matching("x").len(), 1);
        let dir = tempfile::tempdir().unwrap();
        assert!(KnownHosts::load(&dir.path().join("none")).unwrap().entries.is_empty());
        assert!(KnownHosts::load(dir.path()).is_err());
        assert!(KnownHosts::load(Path::new("/dev/null")).unwrap().entries.is_empty());
    }

    #[test]
    fn patterns_do_not_explode() {
        assert!(!matches_pattern(&("*a".repeat(100) + "b"), &"a".repeat(4000)));
    }

    #[test]
    fn looks_up_by_alias_host_or_port() {
        assert_eq!(lookup_name("Node", 22, None), "node");
        assert_eq!(lookup_name("Node", 2222, None), "[node]:2222");
        assert_eq!(lookup_name("::1", 2222, None), "[::1]:2222");
        assert_eq!(lookup_name("Node", 2222, Some("Alias")), "alias");
    }
}
