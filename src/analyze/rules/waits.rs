//! What a goroutine of the kubelet, dockerd, containerd or a shim waits for, by its frames: a call, a child process, the disk,
//! a lock, room in a channel; and how long each may take in health. Judges nothing; used by the rules on stacks.

use crate::analyze::goroutine::{Frame, Stack, Wait};
use crate::printable::printable;

/// Columns of a name within a sentence.
const NAME: usize = 80;

/// On whom or what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// The server of a gRPC call: the runtime for the kubelet, containerd for dockerd.
    Grpc,
    /// dockerd, over HTTP, by the kubelet's dockershim.
    Docker,
    /// A shim, over ttrpc.
    Shim,
    /// runc or a shim's program, as a child process.
    Program,
    /// A CNI plug-in.
    Cni,
    /// The disk: a sync of a file or of a data base, an unmount.
    Disk,
    /// A mutex.
    Lock,
    /// Room in a channel.
    Send,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waits {
    /// On whom or what.
    pub(super) kind: Kind,
    /// The call, `ListContainers` or `tasks.Kill`; for locks and channels the place. Printable.
    pub(super) what: String,
}

/// Returns what a stack waits for; `None` for all that idles or works.
pub(super) fn waits(stack: &Stack) -> Option<Waits> {
    let place = || stack.place().map_or_else(|| "an unknown place".to_owned(), |f| printable(&f.to_string(), NAME));
    match stack.wait() {
        Wait::Lock => return Some(Waits { kind: Kind::Lock, what: place() }),
        Wait::ChannelSend => return Some(Waits { kind: Kind::Send, what: place() }),
        Wait::Running | Wait::Sleep | Wait::Runtime => return None,
        _ => {}
    }
    let method = |pattern: &str| stack.frame(pattern).map(|(_, frame)| last_part(frame));
    let found = |kind, what: String| Some(Waits { kind, what: printable(&what, NAME) });
    if let Some((at, _)) = stack.frame("ttrpc.(*Client).Call").or_else(|| stack.frame("ttrpc.(*Client).dispatch")) {
        return found(Kind::Shim, called(stack, at).map_or_else(|| "a call".to_owned(), |(_, method)| method));
    }
    // The library's own helpers (`runOrError`) stand above the command.
    if let Some(frame) = stack.frames.iter().rev().find(|frame| frame.function.contains("go-runc.(*Runc).")) {
        return found(Kind::Program, format!("runc {}", last_part(frame).to_ascii_lowercase()));
    }
    if let Some(method) = method("libcni.(*CNIConfig).") {
        return found(Kind::Cni, method);
    }
    if let Some(method) = method("libdocker.(*kubeDockerClient).") {
        return found(Kind::Docker, method);
    }
    for (pattern, what) in [
        ("bolt.(*Tx).Commit", "the commit of its data base"),
        ("bolt.fdatasync", "the commit of its data base"),
        ("syscall.Fdatasync", "a sync of a file"),
        ("os.(*File).Sync", "a sync of a file"),
        ("syscall.Fsync", "a sync of a file"),
        ("unix.Unmount", "an unmount"),
        ("syscall.Unmount", "an unmount"),
    ] {
        if stack.frame(pattern).is_some() {
            return found(Kind::Disk, what.to_owned());
        }
    }
    if let Some((at, _)) = stack.frame("grpc.(*ClientConn).Invoke").or_else(|| stack.frame("grpc.Invoke")) {
        let what = match called(stack, at) {
            Some((service, method)) if matches!(service.as_str(), "runtimeService" | "imageService") => method,
            Some((service, method)) => format!("{service}.{method}"),
            None => "a call".to_owned(),
        };
        return found(Kind::Grpc, what);
    }
    let child = ["os/exec.(*Cmd).Wait", "os.(*Process).Wait", "os.(*Process).wait", "reaper.(*Monitor).Wait"];
    child.iter().any(|pattern| stack.frame(pattern).is_some()).then(|| {
        let place = stack.meaningful().find(|frame| !frame.package().starts_with("os"));
        let what = place.map_or_else(|| "a program".to_owned(), |frame| printable(frame.short(), NAME));
        Waits { kind: Kind::Program, what }
    })
}

/// Returns service and method of the client whose call stands at a frame: `containers` and `Get` of
/// `v1.(*containersClient).Get`.
fn called(stack: &Stack, at: usize) -> Option<(String, String)> {
    stack.frames.iter().skip(at).find_map(|frame| {
        let (head, method) = frame.function.rsplit_once("lient).")?;
        let name = head.rsplit_once("(*")?.1;
        let service = name.strip_suffix('C').or_else(|| name.strip_suffix('c'))?;
        // `(*Client).Version` of containerd's own library stands further out and has no service.
        (!service.is_empty()).then(|| (service.to_owned(), method.to_owned()))
    })
}

fn last_part(frame: &Frame) -> String {
    frame.function.rsplit('.').next().unwrap_or("?").to_owned()
}

impl Waits {
    /// Returns how many whole minutes make it a finding; `None`: it may take for ever.
    pub(super) fn patience(&self) -> Option<u32> {
        let method = self.what.rsplit('.').next().unwrap_or_default();
        match (self.kind, method) {
            // A container runs as long as it runs; streams and builds end when their clients do.
            (Kind::Shim | Kind::Grpc, "Wait" | "WaitSandbox" | "Subscribe" | "Solve" | "Session" | "Watch") => None,
            (Kind::Docker, "StartExec" | "AttachToContainer" | "Logs" | "ResizeExecTTY") => None,
            (Kind::Grpc | Kind::Docker, "PullImage") => Some(15),
            // The pod's own grace period comes before.
            (Kind::Grpc | Kind::Docker, "StopContainer") => Some(10),
            (Kind::Grpc, "ExecSync") => Some(3),
            // Children of daemons that are no runc, as plug-ins, may be meant to stay.
            (Kind::Program, _) if !self.is_runtime_program() => None,
            _ => Some(1),
        }
    }

    /// Returns whether the child process is runc, or a shim's program that is started or cleans up.
    fn is_runtime_program(&self) -> bool {
        self.what.starts_with("runc ") || self.what.contains("(*binary).") || self.what.contains("hcsshim")
    }
}
