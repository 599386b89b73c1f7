//! Flags: those of the real kubelet under their own names, those of the stand-in beside them. Words of the environment
//! variable `KUBELET_STAND_IN` come first, so that a unit's command line can look like a real one.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::tls::TlsFiles;

/// What the stand-in was told at its start.
#[derive(Debug)]
pub struct Flags {
    /// Address of the TLS port.
    pub address: IpAddr,
    /// The TLS port; 0 takes a free one and prints both.
    pub port: u16,
    /// Port of the plain `/healthz`, on the loopback address.
    pub healthz_port: u16,
    /// Certificates.
    pub tls: TlsFiles,
    /// Verbosity at the start.
    pub verbosity: i32,
    /// Directory with the recordings, a set in each subdirectory.
    pub recordings: PathBuf,
    /// The set to serve.
    pub set: String,
    /// Who may do what; without it nobody is known.
    pub users: Option<PathBuf>,
    /// Read for each request: what is to go wrong.
    pub faults: Option<PathBuf>,
    /// A line for each request is appended here.
    pub request_log: Option<PathBuf>,
    /// Printed to standard error at the start.
    pub journal: Option<PathBuf>,
}

/// Real kubelet flags that a unit may carry and that change nothing here.
const WITHOUT_EFFECT: [&str; 8] = [
    "bootstrap-kubeconfig",
    "config",
    "container-runtime",
    "container-runtime-endpoint",
    "kubeconfig",
    "node-ip",
    "pod-infra-container-image",
    "root-dir",
];

impl Flags {
    /// Parses `--name=value` words.
    pub fn parse(words: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut flags = Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 10250,
            healthz_port: 10248,
            tls: TlsFiles {
                hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
                ..TlsFiles::default()
            },
            verbosity: 2,
            recordings: PathBuf::new(),
            set: "kubelet-1.36.2".to_owned(),
            users: None,
            faults: None,
            request_log: None,
            journal: None,
        };
        for word in words {
            flags.take(&word)?;
        }
        if flags.recordings.as_os_str().is_empty() {
            return Err(io::Error::other("--recordings=DIRECTORY is missing"));
        }
        if flags.tls.certificate.is_some() != flags.tls.key.is_some() {
            return Err(io::Error::other("--tls-cert-file and --tls-private-key-file belong together"));
        }
        Ok(flags)
    }

    fn take(&mut self, word: &str) -> io::Result<()> {
        let bad = || io::Error::other(format!("bad flag '{word}'"));
        let (name, value) = word.strip_prefix("--").ok_or_else(bad)?.split_once('=').ok_or_else(bad)?;
        let path = || Some(PathBuf::from(value));
        match name {
            "address" => self.address = value.parse().map_err(|_| bad())?,
            "port" => self.port = value.parse().map_err(|_| bad())?,
            "healthz-port" => self.healthz_port = value.parse().map_err(|_| bad())?,
            "tls-cert-file" => self.tls.certificate = path(),
            "tls-private-key-file" => self.tls.key = path(),
            "cert-dir" => self.tls.kept_in = path(),
            "client-ca-file" => self.tls.client_ca = path(),
            "hostname-override" => value.clone_into(&mut self.tls.hostname),
            "v" => self.verbosity = value.parse().map_err(|_| bad())?,
            "http2" => self.tls.http2 = value.parse().map_err(|_| bad())?,
            "recordings" => self.recordings = value.into(),
            "set" => value.clone_into(&mut self.set),
            "users" => self.users = path(),
            "faults" => self.faults = path(),
            "request-log" => self.request_log = path(),
            "journal" => self.journal = path(),
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err(bad()),
        }
        Ok(())
    }
}
