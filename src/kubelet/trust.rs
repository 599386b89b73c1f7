//! How one kubelet's certificate is judged: by an authority, by the key seen at the first use, or not at all; and what a
//! refusal means in words. The key of a kubelet that was never seen is recorded before anything secret is sent to it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::{KubeletTrust, Pins};
use crate::inventory::NodeName;
use crate::session::http::{Peer, Spki, TlsFailure, Trust};
use crate::wording::{path, safe};

/// Judges the certificate of one node's kubelet.
pub(super) struct KubeletJudge {
    node: NodeName,
    by: By,
    known: Mutex<Known>,
}

enum By {
    Ca {
        roots: Arc<Vec<CertificateDer<'static>>>,
        file: String,
    },
    /// The file holds no authority; the sentence.
    Nothing(String),
    Pins(Arc<Pins>),
    Insecure,
}

#[derive(Default)]
struct Known {
    /// The pinned key, since when, and whether it was recorded just now.
    pin: Option<(Spki, Timestamp, bool)>,
    peer: Option<Peer>,
}

impl KubeletJudge {
    /// Returns the judge of a node's kubelet.
    pub(super) fn new(trust: &KubeletTrust, node: &NodeName) -> Self {
        let by = match trust {
            KubeletTrust::Ca { pem, file } => {
                let file = safe(file);
                let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
                match roots {
                    Ok(roots) if !roots.is_empty() => By::Ca { roots: Arc::new(roots), file },
                    _ => By::Nothing(format!("no certificate of an authority can be read from {file} ([kubelet] ca)")),
                }
            }
            KubeletTrust::Pins(pins) => By::Pins(Arc::clone(pins)),
            KubeletTrust::Insecure => By::Insecure,
        };
        Self { node: node.clone(), by, known: Mutex::default() }
    }

    /// Returns how a certificate is to be judged now; `None`: the key has to be seen and recorded first.
    ///
    /// # Errors
    /// When nothing can be judged: one sentence.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn trust(&self) -> Result<Option<Trust>, String> {
        match &self.by {
            By::Ca { roots, .. } => Ok(Some(Trust::Ca(Arc::clone(roots)))),
            By::Nothing(why) => Err(why.clone()),
            By::Insecure => Ok(Some(Trust::Any)),
            By::Pins(pins) => {
                if let Some((key, ..)) = self.known().pin {
                    return Ok(Some(Trust::Pinned(key)));
                }
                let (pins, node) = (Arc::clone(pins), self.node.clone());
                let found = blocking(move || pins.look(&node).map_err(|e| e.to_string())).await?;
                let Some((key, since)) = found else { return Ok(None) };
                self.known().pin = Some((key, since, false));
                Ok(Some(Trust::Pinned(key)))
            }
        }
    }

    /// Records the key of a kubelet that was seen for the first time.
    ///
    /// # Errors
    /// When it cannot be recorded: then it is not trusted either. One sentence.
    ///
    /// # Cancel safety
    /// Dropped early, the key may be recorded or not.
    pub(super) async fn remember(&self, peer: &Peer) -> Result<(), String> {
        let By::Pins(pins) = &self.by else { return Ok(()) };
        let (pins, node, key) = (Arc::clone(pins), self.node.clone(), peer.spki);
        let since = blocking(move || pins.remember(&node, key).map_err(|e| e.to_string())).await?;
        self.known().pin = Some((key, since, true));
        Ok(())
    }

    /// Notes what was seen of the certificate, for the record.
    pub(super) fn seen(&self, peer: &Peer) {
        self.known().peer = Some(peer.clone());
    }

    /// Returns what was seen of the certificate.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.known().peer.clone()
    }

    /// Returns how it is judged, for the manifest.
    pub(super) fn label(&self) -> String {
        match &self.by {
            By::Ca { file, .. } => format!("ca {file}"),
            By::Nothing(_) => "ca (none could be read)".to_owned(),
            By::Insecure => "insecure".to_owned(),
            By::Pins(_) => match self.known().pin {
                None => "pin (not seen yet)".to_owned(),
                Some((_, since, false)) => format!("pin (seen before, since {since})"),
                Some((_, _, true)) => "pin (recorded now)".to_owned(),
            },
        }
    }

    /// Returns the sentence for a handshake that failed.
    pub(super) fn refusal(&self, failure: &TlsFailure) -> String {
        match failure {
            TlsFailure::Certificate { why } => {
                let ca = if let By::Ca { file, .. } = &self.by { format!(" (ca {file})") } else { String::new() };
                format!(
                    "the kubelet is not trusted{ca}: {}; for a kubelet that signs its own certificate use [kubelet] pins, for \
                     another name in it server-names",
                    safe(why)
                )
            }
            TlsFailure::Pin { has } => self.mismatch(&safe(has)),
            TlsFailure::ClientCertificate { why } => {
                format!("the kubelet does not take the client certificate: {}", safe(why))
            }
            TlsFailure::Handshake { why } => {
                format!("no TLS with the kubelet: {}; does something else listen at that port?", safe(why))
            }
        }
    }

    /// Returns the sentence for a key that is not the pinned one.
    pub(super) fn mismatch(&self, has: &str) -> String {
        let By::Pins(pins) = &self.by else {
            return format!("the key of the kubelet's certificate has changed: {has}");
        };
        let file = path(pins.path());
        let node = &self.node;
        let since = self.known().pin.map_or_else(String::new, |(key, since, _)| format!(" since {since} ({key})"));
        format!(
            "the kubelet's certificate has another key, {has}, than {file} has for {node}{since}: nothing secret was sent; if \
             the certificate was renewed with a new key, remove the line of {node} from that file, else find out who \
             answers there"
        )
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs what waits for the local disk.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(run).await.unwrap_or_else(|e| Err(format!("the file of keys was not read: {e}")))
}
