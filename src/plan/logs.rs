//! Where daemons log on nodes without a journal, and the operator's own list of files. Pure data; the steps of
//! the catalog and the journals of the debug window go by it.

/// A daemon whose log is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogOf {
    /// dockerd.
    Docker,
    /// containerd.
    Containerd,
    /// The kubelet.
    Kubelet,
}

/// `[logs]` of the inventory: files daemons log to; empty: the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFiles {
    /// dockerd's.
    pub docker: Vec<String>,
    /// containerd's.
    pub containerd: Vec<String>,
    /// The kubelet's.
    pub kubelet: Vec<String>,
}

impl LogFiles {
    /// Returns the files given for a daemon.
    #[must_use]
    pub fn of(&self, which: LogOf) -> &[String] {
        match which {
            LogOf::Docker => &self.docker,
            LogOf::Containerd => &self.containerd,
            LogOf::Kubelet => &self.kubelet,
        }
    }
}

impl LogOf {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Docker, Self::Containerd, Self::Kubelet];
    /// Files in which several programs log; searched for lines of the daemon.
    pub const SHARED: [&'static str; 3] = ["/var/log/messages", "/var/log/syslog", "/var/log/daemon.log"];

    /// Returns its area in the bundle: `docker`, `containerd`, `kubelet`.
    #[must_use]
    pub const fn area(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
        }
    }

    /// Returns the extended regular expression its lines in shared files match.
    #[must_use]
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Docker => "dockerd|docker\\[",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
        }
    }

    /// Returns the files of its own it usually logs to where there is no journal.
    #[must_use]
    pub const fn usual_files(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["/var/log/docker.log", "/var/log/docker", "/var/log/upstart/docker.log"],
            Self::Containerd => &["/var/log/containerd.log"],
            Self::Kubelet => &[
                "/var/log/kubelet.log",
                "/var/log/kubernetes/kubelet.log",
                "/var/log/kubernetes/kubelet.INFO",
                "/var/log/upstart/kubelet.log",
            ],
        }
    }
}
