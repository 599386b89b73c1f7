//! Flags: those of the real kube-apiserver under their own names, those of the stand-in beside them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use crate::tls::TlsFiles;

/// What the stand-in was told at its start.
#[derive(Debug)]
pub struct ApiFlags {
    /// Where it listens.
    pub address: IpAddr,
    /// The TLS port; 0 takes a free one and prints it.
    pub port: u16,
    /// Certificates.
    pub tls: TlsFiles,
    /// CA of kubelets' certificates; without it nothing is passed on.
    pub kubelet_ca: Option<PathBuf>,
    /// Client certificate shown to kubelets.
    pub kubelet_certificate: Option<PathBuf>,
    /// Its key.
    pub kubelet_key: Option<PathBuf>,
    /// Pass on to loopback addresses as well, which a real one refuses.
    pub proxy_to_loopback: bool,
    /// Directory with the recordings.
    pub recordings: PathBuf,
    /// Read for each request: the nodes; without it there is the recorded one alone.
    pub nodes: Option<PathBuf>,
    /// Read for each request: events, a JSON object a line.
    pub events: Option<PathBuf>,
    /// Who may do what; without it nobody is known.
    pub users: Option<PathBuf>,
    /// Read for each request: what is to go wrong.
    pub faults: Option<PathBuf>,
    /// A line for each request is appended here.
    pub request_log: Option<PathBuf>,
}

impl ApiFlags {
    /// Parses `--name=value` words.
    pub fn parse(words: impl IntoIterator<Item = String>) -> io::Result<Self> {
        let mut flags = Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 6443,
            tls: TlsFiles { hostname: "localhost".to_owned(), http2: true, ..TlsFiles::default() },
            kubelet_ca: None,
            kubelet_certificate: None,
            kubelet_key: None,
            proxy_to_loopback: false,
            recordings: PathBuf::new(),
            nodes: None,
            events: None,
            users: None,
            faults: None,
            request_log: None,
        };
        for word in words {
            flags.take(&word)?;
        }
        if flags.recordings.as_os_str().is_empty() {
            return Err(io::Error::other("--recordings=DIRECTORY is missing"));
        }
        Ok(flags)
    }

    fn take(&mut self, word: &str) -> io::Result<()> {
        let bad = || io::Error::other(format!("bad flag '{word}'"));
        let (name, value) = word.strip_prefix("--").ok_or_else(bad)?.split_once('=').ok_or_else(bad)?;
        let path = || Some(PathBuf::from(value));
        match name {
            "bind-address" => self.address = value.parse().map_err(|_| bad())?,
            "secure-port" => self.port = value.parse().map_err(|_| bad())?,
            "tls-cert-file" => self.tls.certificate = path(),
            "tls-private-key-file" => self.tls.key = path(),
            "client-ca-file" => self.tls.client_ca = path(),
            "http2" => self.tls.http2 = value.parse().map_err(|_| bad())?,
            "kubelet-certificate-authority" => self.kubelet_ca = path(),
            "kubelet-client-certificate" => self.kubelet_certificate = path(),
            "kubelet-client-key" => self.kubelet_key = path(),
            "proxy-to-loopback" => self.proxy_to_loopback = value.parse().map_err(|_| bad())?,
            "recordings" => self.recordings = value.into(),
            "nodes" => self.nodes = path(),
            "events" => self.events = path(),
            "users" => self.users = path(),
            "faults" => self.faults = path(),
            "request-log" => self.request_log = path(),
            _ => return Err(bad()),
        }
        Ok(())
    }
}
