//! Whether a host certificate of a trusted authority speaks for a name now. Whom to trust is
//! decided in `host_key`, which calls this.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

use crate::printable::printable;
use crate::session::host_key::known_hosts::matches_pattern;

/// Returns why a certificate signed by a trusted authority does not speak for `name` now.
pub(super) fn certificate_fault(certificate: &Certificate, name: &str) -> Option<String> {
    if certificate.cert_type() != CertType::Host {
        return Some("it is a user certificate".to_owned());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    if now < certificate.valid_after() {
        return Some(format!("it is not valid before {}", time(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return Some(format!("it expired at {}", time(certificate.valid_before())));
    }
    // No principals at all means any name, as in ssh. Patterns are taken as such, which OpenSSH 9
    // does not do: an authority that signs `node-*` says so.
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|p| matches_pattern(&p.to_ascii_lowercase(), name)) {
        return Some(format!("it is for {}, not for {}", printable(&principals.join(", "), 200), printable(name, 253)));
    }
    if let Some((option, _)) = certificate.critical_options().iter().next() {
        return Some(format!("it has the critical option {:?}, which is unknown", printable(option, 80)));
    }
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Some("its authority signed it with SHA-1".to_owned());
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    if certificate.validate_at(now, [&authority]).is_err() {
        return Some("its signature is wrong".to_owned());
    }
    None
}

fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|s| jiff::Timestamp::from_second(s).ok())
        .map_or_else(|| format!("second {seconds}"), |t| t.to_string())
}
