//! A frame of a stack, and which frames are noise: those of the scheduler, of locks and of the poller, that stand on
//! top of what a goroutine is really doing.

use std::fmt;
use std::sync::Arc;

/// Packages whose frames say how a goroutine waits and not where.
const NOISE: &[&str] =
    &["runtime", "internal/poll", "internal/runtime", "internal/sync", "internal/syscall", "sync", "syscall", "time"];

/// A function in a stack. Arguments and addresses are not kept, so that equal places are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// Full name: `github.com/docker/docker/daemon.(*Daemon).containerStop`.
    pub function: Arc<str>,
    /// Path as the compiler saw it; empty when the dump does not say.
    pub file: Arc<str>,
    /// Line in `file`, from 1; 0 when the dump does not say.
    pub line: u32,
}

impl Frame {
    /// Returns the import path of the function's package: `github.com/docker/docker/daemon`.
    #[must_use]
    pub fn package(&self) -> &str {
        package(&self.function)
    }

    /// Returns the name as people say it: `daemon.(*Daemon).containerStop`.
    #[must_use]
    pub fn short(&self) -> &str {
        let path = self.package();
        let start = path.rfind('/').map_or(0, |slash| slash + 1);
        self.function.get(start..).unwrap_or(&self.function)
    }

    /// Returns the last part of the path: `generic.go`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
    }

    /// Returns whether it is a frame of the scheduler, of a lock, of a system call or of the poller.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        let package = self.package();
        NOISE
            .iter()
            .any(|noise| package.strip_prefix(noise).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// `daemon.(*Daemon).containerStop (stop.go:57)`.
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())?;
        if self.file.is_empty() { Ok(()) } else { write!(f, " ({}:{})", self.file_name(), self.line) }
    }
}

/// Up to the first full stop behind the last slash. Slashes in brackets and braces belong to type parameters.
fn package(function: &str) -> &str {
    let path = function.find(['[', '(', '{']).and_then(|end| function.get(..end)).unwrap_or(function);
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let end = function.get(name..).and_then(|rest| rest.find('.')).map_or(function.len(), |dot| name + dot);
    function.get(..end).unwrap_or(function)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str) -> Frame {
        Frame { function: function.into(), file: "a/b/c.go".into(), line: 7 }
    }

    #[test]
    fn names_are_taken_apart() {
        for (function, package, short, noise) in [
            ("main.main", "main", "main.main", false),
            ("runtime.gopark", "runtime", "runtime.gopark", true),
            ("runtime/pprof.writeGoroutine", "runtime/pprof", "pprof.writeGoroutine", true),
            ("internal/runtime/syscall.Syscall6", "internal/runtime/syscall", "syscall.Syscall6", true),
            ("sync.(*Mutex).Lock", "sync", "sync.(*Mutex).Lock", true),
            ("golang.org/x/sync/errgroup.(*Group).Wait", "golang.org/x/sync/errgroup", "errgroup.(*Group).Wait", false),
            ("time.Sleep", "time", "time.Sleep", true),
            (
                "k8s.io/kubernetes/pkg/kubelet/pleg.(*GenericPLEG).Relist",
                "k8s.io/kubernetes/pkg/kubelet/pleg",
                "pleg.(*GenericPLEG).Relist",
                false,
            ),
            (
                "k8s.io/client-go/util/workqueue.(*Typed[...]).Get",
                "k8s.io/client-go/util/workqueue",
                "workqueue.(*Typed[...]).Get",
                false,
            ),
            ("a.io/x.F[go.shape.struct { a.io/y.T }]", "a.io/x", "x.F[go.shape.struct { a.io/y.T }]", false),
            ("gopkg.in/yaml.v2.unmarshal", "gopkg.in/yaml", "yaml.v2.unmarshal", false),
            ("noise", "noise", "noise", false),
            ("", "", "", false),
        ] {
            let frame = frame(function);
            assert_eq!((frame.package(), frame.short(), frame.is_noise()), (package, short, noise), "{function}");
        }
        assert_eq!(frame("x/y.F").to_string(), "y.F (c.go:7)");
    }
}
