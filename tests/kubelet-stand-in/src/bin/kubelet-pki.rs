//! The program `kubelet-pki`: what the fleet needs around the stand-in, first a CA and what it signs. The CA is made in the directory when it is
//! not there; existing certificates are left as they are.
//!
//!   kubelet-pki DIRECTORY serving NAME [NAME...]   NAME.crt, NAME.key for these names and addresses
//!   kubelet-pki DIRECTORY client USER              USER.crt, USER.key
//!   kubelet-pki DIRECTORY hash                     "sha256:..." of a token on standard input, for the users file
//!   kubelet-pki DIRECTORY fault LINE               whether the stand-in takes this line in its faults file

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use kubelet_stand_in::fault::Faults;
use kubelet_stand_in::pki::{self, Ca};
use kubelet_stand_in::user::sha256;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "kubelet-pki: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> io::Result<()> {
    let [directory, command, names @ ..] = words else { return Err(io::Error::other("expected DIRECTORY COMMAND")) };
    let directory = Path::new(directory);
    match (command.as_str(), names) {
        ("serving", [first, ..]) => keep(directory, first, |ca| ca.serving(names)),
        ("client", [user]) => keep(directory, user, |ca| ca.client(user)),
        ("hash", []) => {
            let mut token = String::new();
            io::stdin().read_to_string(&mut token)?;
            writeln!(io::stdout(), "sha256:{}", sha256(token.trim().as_bytes()))
        }
        ("fault", [line]) => Faults::parse(line).map(drop),
        _ => Err(io::Error::other(format!("expected serving, client, hash or fault, got '{command}'"))),
    }
}

fn keep(directory: &Path, name: &str, sign: impl Fn(&Ca) -> io::Result<(String, String)>) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let ca = Ca::kept(directory)?;
    let (certificate, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
    if certificate.exists() && key.exists() {
        return Ok(());
    }
    let signed = sign(&ca)?;
    pki::write(&key, &signed.1)?;
    pki::write(&certificate, &signed.0)
}
