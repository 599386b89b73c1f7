//! The lines of the form `goroutine N [state, M minutes]:`, each told by itself. What they mean together is the
//! builder's.

use memchr::memmem;

/// A line of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BlockLine<'a> {
    /// A function of the stack, and its arguments as written.
    Function { name: &'a [u8], arguments: &'a [u8] },
    /// File and line of the function before.
    Location { file: &'a [u8], line: u32 },
    /// The function that started the goroutine; its location follows.
    CreatedBy(&'a [u8]),
    /// Frames left out by Go.
    Elided,
    /// The stack of an ancestor follows (`GODEBUG=tracebackancestors`).
    Ancestor,
    /// There are no frames: it runs on another thread.
    Unavailable,
    /// The end of the block.
    Blank,
    /// None of these.
    Other,
}

/// The first line of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Number of the goroutine.
    pub(super) id: u64,
    /// `select`.
    pub(super) state: &'a [u8],
    /// Whole minutes it has waited.
    pub(super) minutes: u32,
    /// `locked to thread`.
    pub(super) locked: bool,
    /// Blanks before it, which the other lines of the block then have as well.
    pub(super) indent: usize,
}

impl<'a> Head<'a> {
    /// Reads `goroutine 50 [chan receive, 31 minutes, locked to thread]:`, also with what newer versions add:
    /// `goroutine 1 gp=0xc000002380 m=0 mp=0x563 [running]:`.
    pub(super) fn of(line: &'a [u8]) -> Option<Self> {
        let text = line.trim_ascii_start();
        let rest = text.strip_prefix(b"goroutine ")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id = number(rest.get(..digits)?)?;
        let rest = rest.get(digits..)?.trim_ascii_end().strip_suffix(b":")?;
        let open = rest.iter().take(120).position(|byte| *byte == b'[')?;
        let inside = rest.get(open + 1..)?;
        let inside = inside.get(..memchr::memchr(b']', inside)?)?;
        let mut parts = inside.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut head = Self { id, state: parts.next()?, minutes: 0, locked: false, indent: line.len() - text.len() };
        for part in parts {
            if part == b"locked to thread" {
                head.locked = true;
            } else if let Some(minutes) = part.strip_suffix(b" minutes").and_then(number) {
                head.minutes = u32::try_from(minutes).unwrap_or(u32::MAX);
            }
        }
        Some(head)
    }
}

impl<'a> BlockLine<'a> {
    /// Tells what a line of a block is; `line` begins where the block's head began.
    pub(super) fn of(line: &'a [u8]) -> Self {
        let text = line.trim_ascii();
        if text.is_empty() {
            return Self::Blank;
        }
        if text.len() < line.trim_ascii_end().len() {
            return match location(text) {
                Some((file, line)) => Self::Location { file, line },
                None if text.starts_with(b"goroutine running on other thread") => Self::Unavailable,
                None => Self::Other,
            };
        }
        if let Some(creator) = text.strip_prefix(b"created by ") {
            // "in goroutine 7", since Go 1.21.
            let end = memmem::find(creator, b" in goroutine ").unwrap_or(creator.len());
            return Self::CreatedBy(creator.get(..end).unwrap_or(creator));
        }
        if text.starts_with(b"...") && text.ends_with(b"elided...") {
            return Self::Elided;
        }
        if text.starts_with(b"[originating from goroutine ") {
            return Self::Ancestor;
        }
        function(text).map_or(Self::Other, |(name, arguments)| Self::Function { name, arguments })
    }
}

/// `github.com/spf13/cobra.(*Command).execute(0xc0000ca300, {0xc00012c010, 0x3, 0x3})`: arguments hold no parentheses.
fn function(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_suffix(b")")?;
    let open = memchr::memrchr(b'(', inner)?;
    let (name, arguments) = (inner.get(..open)?, inner.get(open + 1..)?);
    // Blanks stand in type parameters only: "main.F[struct { X int }]". Sentences have others.
    let blank = name.iter().position(|byte| *byte == b' ');
    let bracket = name.iter().position(|byte| *byte == b'[');
    let sentence = blank.is_some_and(|blank| bracket.is_none_or(|bracket| blank < bracket));
    (!name.is_empty() && !sentence).then_some((name, arguments))
}

/// `/usr/lib/go-1.19/src/sync/mutex.go:171 +0x165`, without blanks around it. Frames that were inlined have no offset;
/// crashes add `fp=0x… sp=0x… pc=0x…`.
pub(super) fn location(text: &[u8]) -> Option<(&[u8], u32)> {
    // From the right, so that blanks in paths stay.
    let mut place = text;
    while let Some(blank) = memchr::memrchr(b' ', place) {
        let word = place.get(blank + 1..)?;
        if !(word.starts_with(b"+0x") || word.get(2..).is_some_and(|rest| rest.starts_with(b"=0x"))) {
            break;
        }
        place = place.get(..blank)?;
    }
    let colon = memchr::memrchr(b':', place)?;
    let line = u32::try_from(number(place.get(colon + 1..)?)?).ok()?;
    Some((place.get(..colon)?, line))
}

/// Returns the address of the mutex when `name` waits for one and says which; 0 otherwise.
pub(super) fn lock_address(name: &[u8], arguments: &[u8]) -> u64 {
    let method = name.strip_prefix(b"internal/").unwrap_or(name).strip_prefix(b"sync.(*").unwrap_or_default();
    if !(method.starts_with(b"Mutex).") || method.starts_with(b"RWMutex).")) {
        return 0;
    }
    let first = arguments.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    // A value with a question mark may be stale: Go says so.
    let hex = first.strip_prefix(b"0x").and_then(|hex| std::str::from_utf8(hex).ok());
    hex.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
}

/// Reads digits, and nothing but digits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_all_versions_are_read() {
        let head = |id, state: &'static str, minutes, locked, indent| {
            Some(Head { id, state: state.as_bytes(), minutes, locked, indent })
        };
        for (line, want) in [
            ("goroutine 50 [running]:", head(50, "running", 0, false, 0)),
            ("goroutine 1 [chan receive, 31 minutes]:", head(1, "chan receive", 31, false, 0)),
            ("goroutine 17 [syscall, 5 minutes, locked to thread]:", head(17, "syscall", 5, true, 0)),
            ("goroutine 1 gp=0xc000002380 m=0 mp=0x56 [running]:", head(1, "running", 0, false, 0)),
            (
                "goroutine 8 [select (no cases), 2 minutes, synctest bubble 1]:",
                head(8, "select (no cases)", 2, false, 0),
            ),
            ("goroutine 8 [select]{\"a\":\"b\"}:", head(8, "select", 0, false, 0)),
            ("\tgoroutine 9 [GC worker (idle)]: ", head(9, "GC worker (idle)", 0, false, 1)),
            ("goroutine 1 [select, 99999999999 minutes]:", head(1, "select", u32::MAX, false, 0)),
            ("goroutine 99999999999999999999 [select]:", None),
            ("goroutine 1 [select", None),
            ("goroutine 1 [select]", None),
            ("goroutine profile: total 12", None),
            ("goroutine running on other thread; stack unavailable", None),
        ] {
            assert_eq!(Head::of(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn lines_of_all_versions_are_told_apart() {
        let function = |name: &'static str, arguments: &'static str| BlockLine::Function {
            name: name.as_bytes(),
            arguments: arguments.as_bytes(),
        };
        let at = |file: &'static str, line| BlockLine::Location { file: file.as_bytes(), line };
        for (line, want) in [
            ("main.main()", function("main.main", "")),
            ("main.runDaemon(...)", function("main.runDaemon", "...")),
            ("a.io/b.(*T).F({0x1, {0x2?}}, 0x3?)", function("a.io/b.(*T).F", "{0x1, {0x2?}}, 0x3?")),
            ("a.F[struct { X int }](0x1)", function("a.F[struct { X int }]", "0x1")),
            ("panic({0x1, 0x2})", function("panic", "{0x1, 0x2}")),
            ("a sentence (with parentheses)", BlockLine::Other),
            ("(0x1)", BlockLine::Other),
            ("\t/a/b.go:12 +0x1d", at("/a/b.go", 12)),
            ("\t/a/b.go:12", at("/a/b.go", 12)),
            ("        /a b/c.go:3 +0x1d fp=0xc0 sp=0xc1 pc=0xc2", at("/a b/c.go", 3)),
            ("\tC:/a/b.go:12 +0x1d", at("C:/a/b.go", 12)),
            ("\t?:0 +0x9", at("?", 0)),
            ("\t/usr/lib/go/src/runtime/proc.c:1445", at("/usr/lib/go/src/runtime/proc.c", 1445)),
            ("\t/a/b.go", BlockLine::Other),
            ("\tgoroutine running on other thread; stack unavailable", BlockLine::Unavailable),
            ("created by net/http.(*Server).Serve", BlockLine::CreatedBy(b"net/http.(*Server).Serve")),
            ("created by net/http.(*Server).Serve in goroutine 203", BlockLine::CreatedBy(b"net/http.(*Server).Serve")),
            ("...additional frames elided...", BlockLine::Elided),
            ("...23 frames elided...", BlockLine::Elided),
            ("[originating from goroutine 5]:", BlockLine::Ancestor),
            ("  ", BlockLine::Blank),
            ("exit status 2", BlockLine::Other),
        ] {
            assert_eq!(BlockLine::of(line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn the_mutex_waited_for_is_known_by_its_address() {
        for (name, arguments, want) in [
            ("sync.(*Mutex).lockSlow", "0xc00038af80", 0xc0_0038_af80),
            ("internal/sync.(*Mutex).lockSlow", "0xc00038af80", 0xc0_0038_af80),
            ("sync.(*RWMutex).RLock", "0xc0, 0x1", 0xc0),
            ("sync.(*Mutex).lockSlow", "0xc00038af80?", 0),
            ("sync.(*Mutex).Lock", "...", 0),
            ("sync.runtime_SemacquireMutex", "0xc0", 0),
            ("main.f", "0xc0", 0),
        ] {
            assert_eq!(lock_address(name.as_bytes(), arguments.as_bytes()), want, "{name}({arguments})");
        }
    }
}
