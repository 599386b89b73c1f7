//! Authentication against a real sshd, with keys, certificates and agents made by OpenSSH.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::SecretString;

use crate::inventory::target::Credentials;
use crate::session::auth::openssh_lab::{Lab, Server, user};
use crate::session::auth::{KeyRing, authenticate, authenticate_within};
use crate::session::error::{FailureKind, SessionError};

async fn login(server: &Server, credentials: &Credentials, keys: &KeyRing) -> Result<String, SessionError> {
    let mut connection = server.connect().await;
    let result = authenticate(&mut connection.handle, &user(), credentials, keys).await;
    if result.is_ok() {
        // The proof is a channel, not our own word.
        connection.handle.channel_open_session().await.unwrap();
    }
    result
}

fn batch() -> KeyRing {
    KeyRing::new(true, None)
}

/// A person who gives these answers one after the other, then none; counts the questions.
fn person(answers: &'static [&'static str]) -> (KeyRing, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask = move |_: &str| {
        let n = count.fetch_add(1, Ordering::SeqCst);
        answers.get(n).map(|a| SecretString::from(*a))
    };
    (KeyRing::new(false, Some(Arc::new(ask))), asked)
}

#[track_caller]
fn fails(result: Result<String, SessionError>, kind: FailureKind, words: &[&str]) {
    let error = result.unwrap_err();
    for word in words {
        assert!(error.text.contains(word), "{word:?} is not in: {error:?}");
    }
    assert_eq!(error.kind, kind, "{error:?}");
    assert!(error.hint.is_some(), "{error:?}");
}

#[test]
fn can_be_spawned() {
    fn send<T: Send>(_: T) {}
    fn check(
        mut handle: russh::client::Handle<crate::session::auth::openssh_lab::Client>,
        keys: &KeyRing,
        c: &Credentials,
    ) {
        send(authenticate(&mut handle, "u", c, keys));
    }
    let _ = check;
}

#[tokio::test]
async fn key_files_of_every_type() {
    let lab = Lab::new();
    for (name, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("ecdsa256", &["-t", "ecdsa", "-b", "256"]),
        ("ecdsa384", &["-t", "ecdsa", "-b", "384"]),
        ("ecdsa521", &["-t", "ecdsa", "-b", "521"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
        ("rsa-pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("rsa-pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("ecdsa-pem", &["-t", "ecdsa", "-m", "PEM"]),
    ] {
        let path = lab.keygen(name, args);
        let server = lab.server(name, &[name], "");
        std::fs::remove_file(lab.path(&format!("{name}.pub"))).unwrap();
        let how = login(&server, &lab.credentials(&["missing", name]), &batch()).await;
        assert_eq!(how.unwrap_or_else(|e| panic!("{name}: {e:?}")), format!("key {}", path.display()));
    }
}

#[tokio::test]
async fn passphrase_is_asked_once_and_only_if_the_server_wants_the_key() {
    let lab = Lab::new();
    lab.keygen("other", &["-t", "ed25519", "-N", "unknown to all", "-a", "1"]);
    lab.keygen("mine", &["-t", "ed25519", "-N", "right", "-a", "1"]);
    let server = lab.server("s", &["mine"], "");
    let credentials = lab.credentials(&["other", "mine"]);

    let (keys, asked) = person(&["wrong", "right"]);
    let (a, b) = tokio::join!(login(&server, &credentials, &keys), login(&server, &credentials, &keys));
    assert_eq!(a.unwrap(), b.unwrap());
    login(&server, &credentials, &keys).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one question and its repetition, for three logins");

    let (keys, asked) = person(&[]);
    for _ in 0..2 {
        fails(
            login(&server, &credentials, &keys).await,
            FailureKind::LocalFile,
            &["mine is encrypted", "no passphrase"],
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a refusal counts for the run");

    let (keys, asked) = person(&["1", "2", "3", "right"]);
    fails(login(&server, &credentials, &keys).await, FailureKind::LocalFile, &["none of 3 passphrases"]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);

    let never: crate::session::auth::keys::Ask = Arc::new(|_| panic!("asked in batch mode"));
    for keys in [batch(), KeyRing::new(true, Some(never)), KeyRing::new(false, None)] {
        let words = ["mine is encrypted", "nobody can be asked"];
        fails(login(&server, &credentials, &keys).await, FailureKind::LocalFile, &words);
    }
}

#[tokio::test]
async fn encrypted_keys_of_every_format() {
    let lab = Lab::new();
    for (name, args) in [
        ("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM"][..]),
        ("pkcs8", &["-t", "rsa", "-b", "2048", "-m", "PKCS8"]),
        ("pkcs8-ecdsa", &["-t", "ecdsa", "-m", "PKCS8"]),
        ("gcm", &["-t", "ed25519", "-a", "1", "-Z", "aes256-gcm@openssh.com"]),
        ("chacha", &["-t", "ed25519", "-a", "1", "-Z", "chacha20-poly1305@openssh.com"]),
    ] {
        lab.keygen(name, &[args, &["-N", "secret"]].concat());
        let server = lab.server(name, &[name], "");
        std::fs::remove_file(lab.path(&format!("{name}.pub"))).unwrap();
        let (keys, asked) = person(&["secret"]);
        login(&server, &lab.credentials(&[name]), &keys).await.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{name}");
    }
}

#[tokio::test]
async fn time_to_type_is_not_the_servers() {
    let lab = Lab::new();
    lab.keygen("k", &["-t", "ed25519", "-N", "secret", "-a", "1"]);
    let server = lab.server("s", &["k"], "");
    let slow = |_: &str| {
        std::thread::sleep(Duration::from_secs(5));
        Some(SecretString::from("secret"))
    };
    let keys = KeyRing::new(false, Some(Arc::new(slow)));
    let mut connection = server.connect().await;
    let budget = Duration::from_secs(4);
    authenticate_within(&mut connection.handle, &user(), &lab.credentials(&["k"]), &keys, budget).await.unwrap();

    // An agent that never answers.
    let socket = lab.path("dead");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let credentials = Credentials { agent_socket: Some(socket), ..lab.credentials(&["k"]) };
    let mut connection = server.connect().await;
    let budget = Duration::from_millis(300);
    let result = authenticate_within(&mut connection.handle, &user(), &credentials, &batch(), budget).await;
    fails(result, FailureKind::AuthStalled, &["300ms"]);
}

#[tokio::test]
async fn user_certificates() {
    let lab = Lab::new();
    let (user, mut keys) = (user(), Vec::new());
    lab.keygen("ca", &["-t", "ed25519"]);
    for (name, args) in
        [("ed", &["-t", "ed25519"][..]), ("ec", &["-t", "ecdsa"]), ("rsa", &["-t", "rsa", "-b", "2048"])]
    {
        lab.keygen(name, args);
        lab.certify("ca", name, &["-n", &user]);
        keys.push(name);
    }
    let server = lab.server("s", &[], &format!("TrustedUserCAKeys {}", lab.path("ca.pub").display()));
    for name in keys {
        let certificate = lab.path(&format!("{name}-cert.pub"));
        let want = format!("certificate {}", certificate.display());
        // Beside the key; named; named, with its key in the agent only; all in the agent.
        assert_eq!(login(&server, &lab.credentials(&[name]), &batch()).await.unwrap(), want);
        let moved = lab.path(&format!("{name}.crt"));
        std::fs::rename(&certificate, &moved).unwrap();
        let named = Credentials { certificate_files: vec![moved.clone()], ..lab.credentials(&[name]) };
        let want = format!("certificate {}", moved.display());
        assert_eq!(login(&server, &named, &batch()).await.unwrap(), want);
        let agent = lab.agent(&format!("{name}.plain"), &[name], &[]);
        let by_agent = Credentials { identity_files: Vec::new(), agent_socket: Some(agent), ..named };
        assert_eq!(login(&server, &by_agent, &batch()).await.unwrap(), want);
        std::fs::rename(&moved, &certificate).unwrap();
        let agent = lab.agent(&format!("{name}.cert"), &[name], &[]);
        let all_in_agent = Credentials { agent_socket: Some(agent), ..lab.credentials(&[]) };
        let how = login(&server, &all_in_agent, &batch()).await.unwrap();
        assert!(how.starts_with("agent ") && how.contains("-CERT SHA256:"), "{how}");
        // Without its key a certificate is nothing, and says so.
        let alone = Credentials { certificate_files: vec![certificate], ..lab.credentials(&[]) };
        fails(login(&server, &alone, &batch()).await, FailureKind::LocalFile, &["private key is neither"]);
    }
    lab.keygen("h", &["-t", "ed25519"]);
    let host = lab.certify("ca", "h", &["-h", "-n", &user]);
    let named = Credentials { certificate_files: vec![host], ..lab.credentials(&[]) };
    fails(login(&server, &named, &batch()).await, FailureKind::LocalFile, &["it is a host certificate"]);
}

#[tokio::test]
async fn agent_first_those_named_by_files_before_others() {
    let lab = Lab::new();
    for name in ["a", "b", "c", "d"] {
        lab.keygen(name, &["-t", "ed25519"]);
    }
    let socket = lab.agent("agent", &["a", "b", "c"], &[]);
    let fingerprint = |name: &str| {
        let out = crate::session::auth::openssh_lab::run(
            std::process::Command::new("ssh-keygen").arg("-lf").arg(lab.path(&format!("{name}.pub"))),
        );
        String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
    };
    let credentials = Credentials { agent_socket: Some(socket.clone()), ..lab.credentials(&["d", "c"]) };
    let refusing = lab.server("refusing", &[], "");
    let error = login(&refusing, &credentials, &batch()).await.unwrap_err();
    let place = |text: &str| error.text.find(text).unwrap_or_else(|| panic!("{text} in {error:?}"));
    let order = [fingerprint("c"), fingerprint("a"), fingerprint("b"), format!("key {}", lab.path("d").display())];
    assert!(order.map(|k| place(&k)).is_sorted(), "{error:?}");
    fails(Err(error), FailureKind::Auth, &["refused all keys", "it takes publickey, password"]);

    // An agent that declines to sign.
    let locked = Credentials { agent_socket: Some(lab.agent("declines", &["a"], &["-c"])), ..lab.credentials(&[]) };
    let words = ["the server accepts a key that cannot be used: agent ED25519 ", "the agent did not sign"];
    fails(login(&lab.server("a", &["a"], ""), &locked, &batch()).await, FailureKind::LocalFile, &words);

    // The private file is not needed where the agent holds it; nor is the agent used for others.
    std::fs::remove_file(lab.path("c")).unwrap();
    let only = Credentials { identities_only: true, ..credentials };
    let server = lab.server("c", &["c"], "");
    let how = login(&server, &only, &batch()).await.unwrap();
    assert_eq!(how, format!("agent ED25519 {} ({})", fingerprint("c"), lab.path("c").display()));
    fails(login(&lab.server("a", &["a"], ""), &only, &batch()).await, FailureKind::Auth, &["refused all keys"]);

    // A key file that is its own public half works the same way.
    let public = Credentials { identity_files: vec![lab.path("b.pub")], ..only };
    login(&lab.server("b", &["b"], ""), &public, &batch()).await.unwrap();
    let alone = Credentials { agent_socket: None, ..public };
    fails(login(&server, &alone, &batch()).await, FailureKind::LocalFile, &["b.pub: there is only its public half"]);
    let nobody = Credentials { agent_socket: Some(lab.path("nobody")), ..lab.credentials(&[]) };
    fails(login(&server, &nobody, &batch()).await, FailureKind::LocalFile, &["nobody: No such file"]);
}

#[tokio::test]
async fn agent_rsa_keys_and_keys_bound_to_a_destination() {
    let lab = Lab::new();
    lab.keygen("rsa", &["-t", "rsa", "-b", "2048"]);
    let server = lab.server("s", &["rsa"], "");
    let credentials = Credentials { agent_socket: Some(lab.agent("1", &["rsa"], &[])), ..lab.credentials(&[]) };
    assert!(login(&server, &credentials, &batch()).await.unwrap().starts_with("agent RSA SHA256:"));

    // The agent signs only if our connection to it was bound to a session with this host key.
    lab.write("kh", &format!("node {}\n", lab.public("host")));
    let hosts = lab.path("kh").display().to_string();
    let bound = lab.agent("2", &["rsa"], &["-H", &hosts, "-h", "node"]);
    let credentials = Credentials { agent_socket: Some(bound), ..lab.credentials(&[]) };
    login(&server, &credentials, &batch()).await.unwrap();
    lab.keygen("elsewhere", &["-t", "ed25519"]);
    let other = lab.server("o", &["rsa"], &format!("HostKey {}", lab.path("elsewhere").display()));
    fails(login(&other, &credentials, &batch()).await, FailureKind::Auth, &["no key to offer"]);
}

#[tokio::test]
async fn more_than_one_proof() {
    let lab = Lab::new();
    for name in ["x", "a", "y", "b"] {
        lab.keygen(name, &["-t", "ed25519"]);
    }
    let server = lab.server("s", &["a", "b"], "AuthenticationMethods publickey,publickey");
    let how = login(&server, &lab.credentials(&["x", "a", "y", "b"]), &batch()).await.unwrap();
    assert_eq!(how, format!("key {}, then key {}", lab.path("a").display(), lab.path("b").display()));
    let error = login(&server, &lab.credentials(&["x", "a"]), &batch()).await;
    fails(error, FailureKind::Auth, &["accepted key", "wants more: publickey", "refused key"]);
    let server = lab.server("p", &["a"], "AuthenticationMethods publickey,password");
    fails(login(&server, &lab.credentials(&["a", "b"]), &batch()).await, FailureKind::Auth, &["wants more: password"]);
}

#[tokio::test]
async fn too_many_keys() {
    let lab = Lab::new();
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        lab.keygen(name, &["-t", "ed25519"]);
    }
    let agent = lab.agent("agent", &names, &[]);
    let server = lab.server("s", &["e"], "MaxAuthTries 3");
    let many = Credentials { agent_socket: Some(agent), ..lab.credentials(&[]) };
    fails(
        login(&server, &many, &batch()).await,
        FailureKind::Auth,
        &["too many authentication failures: 3 keys were offered"],
    );
    let one = Credentials { identities_only: true, identity_files: vec![lab.path("e")], ..many };
    login(&server, &one, &batch()).await.unwrap();
}

#[tokio::test]
async fn unusable_keys_do_not_stop_the_others_and_are_told_at_the_end() {
    let lab = Lab::new();
    lab.keygen("open", &["-t", "ed25519"]);
    lab.keygen("good", &["-t", "ed25519"]);
    std::fs::set_permissions(lab.path("open"), std::fs::Permissions::from_mode(0o644)).unwrap();
    lab.write("garbage", "hello");
    let server = lab.server("s", &["good"], "");
    let all = ["none", "open", "garbage", "good"];
    assert!(login(&server, &lab.credentials(&all), &batch()).await.unwrap().ends_with("good"));

    let refusing = lab.server("r", &["open"], "");
    let words = ["the only key offered", "run: chmod 600", "garbage: it holds no private key"];
    fails(login(&refusing, &lab.credentials(&all), &batch()).await, FailureKind::Auth, &words);
    assert!(!refusing.log().contains("Accepted"), "{}", refusing.log());
    let words = ["no key to offer", "none of these exist", "run: chmod 600", "it takes publickey"];
    let words = words.map(|w| if w == "it takes publickey" { "the server takes publickey" } else { w });
    fails(login(&refusing, &lab.credentials(&["none", "open"]), &batch()).await, FailureKind::LocalFile, &words);
    fails(login(&refusing, &lab.credentials(&["none"]), &batch()).await, FailureKind::Auth, &["no key to offer"]);

    // One key under two names is one try.
    std::fs::copy(lab.path("good"), lab.path("copy")).unwrap();
    let twice = login(&refusing, &lab.credentials(&["good", "copy"]), &batch()).await;
    fails(twice, FailureKind::Auth, &["the only key offered"]);

    // What the server takes is asked even if there is nothing to offer.
    lab.keygen("pem", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret"]);
    std::fs::remove_file(lab.path("pem.pub")).unwrap();
    let words = ["no key to offer; the server takes publickey", "pem is encrypted, and nobody can be asked"];
    fails(login(&server, &lab.credentials(&["pem"]), &batch()).await, FailureKind::LocalFile, &words);

    let closed = lab.server("c", &["good"], "PubkeyAuthentication no");
    fails(login(&closed, &lab.credentials(&["good"]), &batch()).await, FailureKind::Auth, &["it takes password"]);
}

#[test]
fn nothing_secret_is_in_debug_output() {
    let lab = Lab::new();
    let path = lab.keygen("k", &["-t", "ed25519", "-N", "secret"]);
    let text = format!("{:?} {:?}", crate::session::auth::key_file::read(&path), batch());
    let body = lab.read("k");
    assert!(!text.contains(body.lines().nth(1).unwrap()), "{text}");
    assert!(!text.contains("BEGIN"), "{text}");
}
