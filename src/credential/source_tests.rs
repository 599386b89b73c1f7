//! Tests of the sources of credentials: real files, variables and commands.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use secrecy::ExposeSecret;
use tempfile::TempDir;

use super::*;
use crate::session::http::tests::until;

fn file(dir: &TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
    use std::io::Write;
    let path = dir.path().join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

async fn take(source: &dyn TokenSource) -> Result<String, String> {
    match source.token(true).await {
        Ok(token) => Ok(token.unwrap().expose_secret().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn a_token_file_is_read_again_and_must_be_its_owners_alone() {
    let dir = TempDir::new().unwrap();
    let path = file(&dir, "token", "first-token\nmore\n", 0o600);
    let source = TokenFile::open(&path).unwrap();
    assert!(source.renewable());
    assert_eq!(take(&source).await.unwrap(), "first-token");
    file(&dir, "token", "second-token", 0o400);
    let second = PathBuf::from(&path);
    std::fs::set_permissions(&second, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(take(&source).await.unwrap(), "second-token");
    for mode in [0o640, 0o604, 0o620, 0o666] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = take(&source).await.unwrap_err();
        assert!(error.contains("may be read by others: chmod 600 ") && error.contains("/token"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(take(&source).await.unwrap_err().starts_with("cannot read the token file "));
    assert!(TokenFile::open(&path).is_err());
    for (text, want) in
        [("", "is empty"), ("two words", "several words"), (&"x".repeat(200_000), "longer than 128 KiB")]
    {
        let error = TokenFile::open(&file(&dir, "bad", text, 0o600)).unwrap_err().to_string();
        assert!(error.contains(want) && error.contains("/bad") && !error.contains("xxx"), "{error}");
    }
    let error = TokenFile::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("no plain file"), "{error}");
}

#[tokio::test]
async fn the_token_file_of_a_kubeconfig_may_be_read_by_others_and_is_read_like_any_other() {
    let dir = TempDir::new().unwrap();
    let of_kubeconfig = |path: &Path| TokenFile::of_kubeconfig(path.to_owned());
    let source = of_kubeconfig(&file(&dir, "token", "first-token\n", 0o644));
    assert_eq!(take(&source).await.unwrap(), "first-token");
    file(&dir, "token", "second-token", 0o644);
    assert_eq!(take(&source).await.unwrap(), "second-token");
    for (path, want) in [
        (file(&dir, "long", &"x".repeat(200_000), 0o644), "longer than 128 KiB"),
        (file(&dir, "words", "Bearer the-token", 0o644), "several words"),
        // Reading it would never end.
        (PathBuf::from("/dev/zero"), "no plain file"),
        (dir.path().join("none"), "cannot read the token file"),
    ] {
        let error = take(&of_kubeconfig(&path)).await.unwrap_err();
        assert!(error.contains(want) && !error.contains("the-token"), "{error}");
    }
}

#[tokio::test]
async fn a_token_variable_is_read_at_the_start_and_not_inherited() {
    // cargo sets it for every test.
    let name = "CARGO_PKG_DESCRIPTION";
    assert!(TokenEnv::read(name).err().unwrap().to_string().contains("several words"));
    let error = TokenEnv::read("PLEGCOLLECT_NO_SUCH_VARIABLE").err().unwrap().to_string();
    assert_eq!(error, "the environment variable PLEGCOLLECT_NO_SUCH_VARIABLE is not set: export it, or name another");
    let source = TokenEnv::read("CARGO_MANIFEST_DIR").unwrap();
    assert_eq!(take(&source).await.unwrap(), env!("CARGO_MANIFEST_DIR"));
    assert!(!source.renewable());
    let command = TokenCommand::new("echo inherits-${CARGO_MANIFEST_DIR-nothing}").unwrap();
    assert_eq!(take(&command).await.unwrap(), "inherits-nothing");
}

#[tokio::test]
async fn a_token_command_gives_its_first_line() {
    for (command, want) in [
        ("echo abcd.efgh", "abcd.efgh"),
        ("printf 'abcd.efgh\\nmore\\n'; echo fine >&2", "abcd.efgh"),
        ("echo '{\"status\":{\"token\":\"abcd.efgh\"}}'", "abcd.efgh"),
        ("cat; echo abcd.efgh", "abcd.efgh"),
        ("sleep 20 & echo abcd.efgh", "abcd.efgh"),
        ("echo with-${KUBERNETES_EXEC_INFO:+info}", "with-info"),
    ] {
        assert_eq!(take(&TokenCommand::new(command).unwrap()).await.unwrap(), want, "{command}");
    }
}

#[tokio::test]
async fn a_token_command_that_fails_says_why_and_never_what_it_printed() {
    for (command, want) in [
        ("echo secret-token; echo no such cluster >&2; exit 3", "failed (exit status: 3): no such cluster"),
        ("echo secret-token; echo got secret-token >&2; exit 3", "failed (exit status: 3)"),
        ("echo secret-token and more", "several words"),
        ("head -c 70000 /dev/zero | tr '\\0' s", "more than 64 KiB"),
        ("true", "is empty"),
        ("kill -9 $$", "signal: 9"),
        ("yes secret-token >&2 & kill $! ; exit 1", "failed"),
    ] {
        let error = take(&TokenCommand::new(command).unwrap()).await.unwrap_err();
        assert!(error.contains(want) && !error.contains("secret-token"), "{command}: {error}");
    }
    for bad in ["", " \n", "a\0b", &"x".repeat(20_000)] {
        assert!(TokenCommand::new(bad).is_err());
    }
}

fn alive(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).join("fd").read_dir().is_ok_and(|mut fds| fds.next().is_some())
}

#[tokio::test]
async fn a_token_command_without_end_is_ended_with_all_it_started() {
    let dir = TempDir::new().unwrap();
    let pid = dir.path().join("pid");
    let command = format!("trap '' TERM; sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 300' & wait", pid.display());
    let source = TokenCommand::new(&command).unwrap().within(Duration::from_secs(2));
    let begun = Instant::now();
    let error = take(&source).await.unwrap_err();
    assert!(error.contains("did not end within 2 s"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    let pid = std::fs::read_to_string(&pid).unwrap();
    until("the command to be ended", || !alive(&pid)).await;
}

#[tokio::test]
async fn a_token_command_nobody_waits_for_is_ended() {
    let dir = TempDir::new().unwrap();
    let pid = dir.path().join("pid");
    let source = TokenCommand::new(&format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 300", pid.display())).unwrap();
    {
        let mut asking = source.token(false);
        while !pid.exists() {
            let _still = tokio::time::timeout(Duration::from_millis(10), &mut asking).await;
        }
    }
    let pid = std::fs::read_to_string(&pid).unwrap();
    until("the command to be ended", || !alive(&pid)).await;
}

#[test]
fn a_client_certificate_needs_the_key_that_belongs_to_it() {
    let dir = TempDir::new().unwrap();
    let pair = || {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((one, one_key), (_, other_key)) = (pair(), pair());
    let certificate = file(&dir, "cert.pem", &one, 0o644);
    let key = file(&dir, "key.pem", &one_key, 0o600);
    let loaded = client_certificate(&certificate, &key).unwrap();
    assert!(loaded.0.has_certs());
    assert_eq!(format!("{loaded:?}"), "ClientCert");
    assert!(client_certificate(&file(&dir, "both.pem", &format!("{one}{one_key}"), 0o600), &key).is_ok());

    let refused = |certificate: &Path, key: &Path, want: &str| {
        let error = client_certificate(certificate, key).unwrap_err().to_string();
        assert!(error.contains(want) && !error.contains('\n') && error.len() < 400, "{error}\n{want}");
        let body = one_key.lines().nth(1).unwrap();
        assert!(!error.contains(&body[..20]), "{error}");
    };
    let other = file(&dir, "other.pem", &other_key, 0o600);
    refused(&certificate, &other, "other.pem does not belong to the client certificate");
    refused(&certificate, &file(&dir, "open.pem", &one_key, 0o640), "may be read by others: chmod 600");
    refused(&certificate, &file(&dir, "none.pem", "hello", 0o600), "holds no key in PEM form");
    refused(&key, &key, "holds no certificate in PEM form");
    refused(&dir.path().join("missing"), &key, "cannot read the client certificate");
    refused(&certificate, &dir.path().join("missing"), "cannot read the client key");
    refused(&certificate, dir.path(), "no plain file");
    let encrypted = one_key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    refused(&certificate, &file(&dir, "enc.pem", &encrypted, 0o600), "is encrypted");
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    refused(&certificate, &file(&dir, "old.pem", old, 0o600), "is encrypted");
    let broken = one_key.lines().map(|l| if l.starts_with('-') { l } else { "!!!!" }).collect::<Vec<_>>().join("\n");
    refused(&certificate, &file(&dir, "broken.pem", &broken, 0o600), "not PEM that can be read");
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    refused(&file(&dir, "empty.pem", empty, 0o644), &key, "no certificate that can be read");
}
