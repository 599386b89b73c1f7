//! Kubeconfigs: every kind of user, contexts, several files, and what is said of those that cannot be used.

use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plegcollect::cluster::Cluster;
use plegcollect::inventory::access::ClusterSettings;
use tokio_util::sync::CancellationToken;

use crate::server::{ApiServer, Asked, Ca, fixture, say};
use crate::{TOKEN, Told, file, open};

const NAMES: &[&str] = &["127.0.0.1", "kubernetes.example"];

/// Writes a kubeconfig of one context `main` with this user, in YAML with the indentation of `user:`.
fn kubeconfig(dir: &Path, ca: &Ca, server: &str, user: &str) -> ClusterSettings {
    let path = dir.join("config");
    let ca = STANDARD.encode(&ca.pem);
    file(
        &path,
        &format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: main\nclusters:\n- name: c\n  cluster: {{server: \"{server}\", \
             certificate-authority-data: {ca}}}\ncontexts:\n- name: main\n  context: {{cluster: c, user: u}}\nusers:\n\
             - name: u\n  user: {user}\n"
        ),
    );
    ClusterSettings { kubeconfig: Some(path), ..ClusterSettings::default() }
}

async fn ask(settings: &ClusterSettings, server: &ApiServer) -> (Cluster, Told, Asked) {
    let (cluster, told) = open(settings);
    assert_eq!(cluster.version(0, &CancellationToken::new()).await.unwrap(), fixture("version.json"));
    assert!(!format!("{cluster:?}").contains(TOKEN));
    (cluster, told, server.asked().pop().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_the_file_from_a_file_it_names_or_from_a_plug_in() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    file(&dir.path().join("secret"), &format!("{TOKEN}\n"));
    let credential = format!(
        r#"{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{TOKEN}"}}}}"#
    );
    // It must be told what it is asked, must have no input, and may print YAML.
    file(
        &dir.path().join("plug-in"),
        &format!(
            "#!/bin/sh\n[ \"$1 $A\" = 'one two' ] || exit 5\ncase $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*) ;; *) exit 6;; esac\nread x && exit 7\necho 'a warning' >&2\necho '{credential}'\n"
        ),
    );
    file(
        &dir.path().join("yaml"),
        &format!("#!/bin/sh\nprintf 'kind: ExecCredential\\nstatus:\\n  token: {TOKEN}\\n'\n"),
    );
    for user in [
        format!("{{token: {TOKEN}}}"),
        "{tokenFile: secret}".to_owned(),
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plug-in, args: [one], env: [{name: A, value: two}]}}".to_owned(),
        "{exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: ./yaml, interactiveMode: IfAvailable}}".to_owned(),
        format!("{{auth-provider: {{name: oidc, config: {{id-token: {TOKEN}}}}}}}"),
    ] {
        let (cluster, told, asked) = ask(&kubeconfig(dir.path(), &ca, &server.url(), &user), &server).await;
        assert_eq!(asked.authorization, format!("Bearer {TOKEN}"), "{user}");
        assert_eq!(told.all(), [TOKEN], "{user}");
        let credential = cluster.credential().unwrap();
        assert_eq!(credential.kind(), "kubeconfig context main");
        assert!(credential.bearer().await.unwrap().is_some() && credential.certificate().is_none_or(|_| user.contains("exec")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_shown_to_api_servers_and_given_to_kubelets() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    let (certificate, key) = ca.sign(&["someone"]);
    let (certificate_data, key_data) = (STANDARD.encode(&certificate), STANDARD.encode(&key));
    file(&dir.path().join("client.crt"), &certificate);
    file(&dir.path().join("client.key"), &key);
    let status =
        serde_json::json!({"status": {"clientCertificateData": certificate, "clientKeyData": key}}).to_string();
    file(&dir.path().join("status.json"), &status);
    file(&dir.path().join("plug-in"), &format!("#!/bin/sh\ncat {}\n", dir.path().join("status.json").display()));
    for user in [
        format!("{{client-certificate-data: {certificate_data}, client-key-data: {key_data}}}"),
        "{client-certificate: client.crt, client-key: client.key}".to_owned(),
        "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plug-in}}".to_owned(),
    ] {
        let (cluster, _, asked) = ask(&kubeconfig(dir.path(), &ca, &server.url(), &user), &server).await;
        assert!(asked.certificate && asked.authorization.is_empty(), "{user}: {asked:?}");
        let credential = cluster.credential().unwrap();
        assert!(credential.bearer().await.unwrap().is_none());
        assert!(credential.certificate().unwrap().0.has_certs(), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_by_address_take_a_client_certificate_from_files() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    let (certificate, key) = ca.sign(&["someone"]);
    let files = (dir.path().join("client.crt"), dir.path().join("client.key"));
    file(&files.0, &certificate);
    file(&files.1, &key);
    let mut settings = crate::by_address(dir.path(), &ca, &[&server]);
    (settings.token, settings.client) = (None, Some(files.clone()));
    let (cluster, told, asked) = ask(&settings, &server).await;
    assert!(asked.certificate && asked.authorization.is_empty() && told.all().is_empty());
    assert!(cluster.credential().unwrap_err().text.contains("names no kubeconfig"));
    file(&files.1, "no key");
    let error = Cluster::open(&settings, &told.on_secret()).unwrap_err();
    assert!(error.setup && error.text.contains("client.key"), "{error}");
}

#[test]
fn a_file_of_authorities_that_never_ends_is_refused() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let mut settings = crate::by_address(dir.path(), &ca, &[]);
    (settings.api_servers, settings.ca) = (vec!["https://127.0.0.1:1".to_owned()], Some("/dev/zero".into()));
    let error = Cluster::open(&settings, &crate::Told::default().on_secret()).unwrap_err();
    assert!(error.setup && error.text.contains("/dev/zero is no plain file of 1 MiB at most"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_authentication_is_for_api_servers_alone() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    let settings = kubeconfig(dir.path(), &ca, &server.url(), &format!("{{username: me, password: {TOKEN}}}"));
    let (cluster, told, asked) = ask(&settings, &server).await;
    let both = STANDARD.encode(format!("me:{TOKEN}"));
    assert_eq!((asked.authorization, told.all()), (format!("Basic {both}"), vec![TOKEN.to_owned(), both]));
    assert!(cluster.credential().unwrap_err().text.contains("which kubelets do not take"));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_named_beside_a_kubeconfig_are_asked_by_their_own_addresses() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let one = ApiServer::start(&ca, &["kubernetes.example"], |_| say("version.json")).await;
    let two = ApiServer::start(&ca, &["kubernetes.example"], |_| say("version.json")).await;
    let mut settings = kubeconfig(dir.path(), &ca, "https://kubernetes.example:6443", &format!("{{token: {TOKEN}}}"));
    settings.api_servers = vec![one.url(), two.url()];
    let (cluster, _) = open(&settings);
    assert_eq!(cluster.servers(), settings.api_servers);
    for index in 0..2 {
        cluster.version(index, &CancellationToken::new()).await.unwrap();
    }
    assert_eq!((one.paths(), two.paths()), (vec!["/version".to_owned()], vec!["/version".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_that_fails_says_why_and_shows_nothing_of_its_output() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    for (script, want) in [
        ("echo first >&2; echo 'log in again' >&2; echo {TOKEN}; exit 3", "ended with status 3: log in again"),
        ("echo '{\"status\":{\"token\":\"{TOKEN}\"'", "printed no ExecCredential"),
        ("echo {TOKEN}", "printed no ExecCredential"),
        ("echo '{\"status\":{}}'", "gave neither a token nor a client certificate"),
        ("echo {TOKEN}; echo 'refused: {TOKEN}' >&2; exit 4", "ended with status 4"),
        ("kill -9 $$", "ended with signal 9"),
        ("echo {TOKEN}; echo 'got {TOKEN}' >&2; exit 3", "ended with status 3"),
        ("echo '{\"status\":{\"clientCertificateData\":\"x\",\"clientKeyData\":\"{TOKEN}\"}}'", "cannot be used"),
    ] {
        file(&dir.path().join("plug-in"), &format!("#!/bin/sh\n{}\n", script.replace("{TOKEN}", TOKEN)));
        let (cluster, _) = open(&kubeconfig(dir.path(), &ca, &server.url(), "{exec: {command: ./plug-in}}"));
        let end = cluster.version(0, &CancellationToken::new()).await.unwrap_err();
        assert!(end.why().contains(want) && !end.why().contains(TOKEN), "{script}: {}", end.why());
        assert!(end.is_silent());
    }
    let printed = "eyJhbGciOi.1f0a9c77e2b34.c2lnbmF0dXJl";
    file(&dir.path().join("plug-in"), &format!("#!/bin/sh\necho 'cannot store {printed}' >&2\nexit 1\n"));
    let (cluster, _) = open(&kubeconfig(dir.path(), &ca, &server.url(), "{exec: {command: ./plug-in}}"));
    let why = cluster.version(0, &CancellationToken::new()).await.unwrap_err().why();
    assert!(why.ends_with("ended with status 1: cannot store [left out]"), "{why}");
    let (cluster, _) =
        open(&kubeconfig(dir.path(), &ca, &server.url(), "{exec: {command: no-such, installHint: get it}}"));
    assert!(cluster.version(0, &CancellationToken::new()).await.unwrap_err().why().contains("was not found: get it"));
    assert!(server.paths().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_may_leave_something_behind_that_holds_its_output() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let server = ApiServer::start(&ca, NAMES, |_| say("version.json")).await;
    let script = format!("#!/bin/sh\nsleep 25 &\necho '{{\"status\":{{\"token\":\"{TOKEN}\"}}}}'\n");
    file(&dir.path().join("plug-in"), &script);
    let begun = std::time::Instant::now();
    let user = "{exec: {command: ./plug-in}}";
    let (_, _, asked) = ask(&kubeconfig(dir.path(), &ca, &server.url(), user), &server).await;
    assert_eq!(asked.authorization, format!("Bearer {TOKEN}"));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_that_hangs_ends_with_all_it_started_when_the_run_is_stopped() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let pids = dir.path().join("pids");
    file(
        &dir.path().join("plug-in"),
        &format!("#!/bin/sh\nsleep 1000 &\nkill -STOP $!\necho $$ $! >{}\nwait\n", pids.display()),
    );
    let (cluster, _) = open(&kubeconfig(dir.path(), &ca, "https://127.0.0.1:1", "{exec: {command: ./plug-in}}"));
    let cancel = CancellationToken::new();
    let until = async |what: &dyn Fn() -> bool| {
        let waiting = async {
            while !what() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(crate::sinks::LONG, waiting).await.unwrap();
    };
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    let stopping = async {
        until(&|| read().ends_with('\n')).await;
        cancel.cancel();
    };
    let (end, ()) = tokio::join!(cluster.version(0, &cancel), stopping);
    assert_eq!(end.unwrap_err().outcome, plegcollect::evidence::Outcome::Cancelled);
    let text = read();
    let gone = |pid: &str| {
        // What nobody waits for yet counts as ended.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
            || !Path::new("/proc").join(pid).exists()
    };
    tokio::time::timeout(crate::sinks::LONG, until(&|| text.split_whitespace().all(gone))).await.unwrap();
}

#[test]
fn what_cannot_be_used_is_named_with_its_file_and_nothing_of_its_secrets() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    let refused = |settings: &ClusterSettings| {
        let error = Cluster::open(settings, &Told::default().on_secret()).unwrap_err();
        assert!(error.setup, "{error}");
        assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
        error.text
    };
    let path = dir.path().join("config").display().to_string();
    for (user, want) in [
        ("{exec: {command: x, interactiveMode: Always}}", "asks on the terminal"),
        ("{exec: {command: ''}}", "has no command"),
        ("{auth-provider: {name: gcp, config: {cmd-path: x}}}", "auth-provider gcp, which Kubernetes gave up"),
        ("{client-certificate-data: eA==, client-key-data: eA==}", "the user of context main: "),
        ("{client-certificate: missing.crt, client-key: missing.key}", "missing.crt cannot be read: No such file"),
        ("{client-certificate-data: eA==}", "has a client certificate and no key"),
        (&format!("{{token: {TOKEN}, token: {TOKEN}"), "is not in the form of a kubeconfig, see line "),
    ] {
        let text = refused(&kubeconfig(dir.path(), &ca, "https://127.0.0.1:1", user));
        assert!(text.contains(want), "{user}: {text}");
        assert!(user.contains("command") || text.contains(&path), "{text}");
    }

    let user = format!("{{token: {TOKEN}}}");
    let of = |change: &dyn Fn(&mut ClusterSettings)| {
        let mut settings = kubeconfig(dir.path(), &ca, "https://127.0.0.1:1", &user);
        change(&mut settings);
        refused(&settings)
    };
    let text = of(&|s| s.context = Some("other".to_owned()));
    assert_eq!(text, format!("the kubeconfig {path} has no context other; there are: main"));
    assert!(of(&|s| s.kubeconfig = Some("/no/such".into())).contains("the kubeconfig /no/such cannot be read: "));
    assert!(of(&|s| s.kubeconfig = Some(dir.path().into())).contains("cannot be read: "));
    assert!(of(&|s| s.api_servers = vec!["http://10.0.0.1:6443".to_owned()]).contains("must be asked by https"));
    assert!(of(&|s| s.api_servers = vec!["10.0.0.1:6443".to_owned()]).contains("https"));
    assert!(of(&|s| s.ca = Some(dir.path().join("config"))).contains("holds no certificate"));
    assert!(of(&|s| s.server_name = Some("not a name".to_owned())).contains("server-name"));
    let alone = ClusterSettings { api_servers: vec!["https://10.0.0.1:6443".to_owned()], ..ClusterSettings::default() };
    assert!(refused(&alone).contains("without `ca`"));
}

/// Opens what the environment names, in a process of its own: the environment of this one is shared by all tests.
#[test]
fn several_files_are_merged_and_the_first_wins() {
    let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
    kubeconfig(dir.path(), &ca, "https://10.0.0.1:6443", "{}");
    let second = dir.path().join("second");
    file(
        &second,
        "current-context: two\ncontexts:\n- {name: two, context: {cluster: d, user: u}}\n- {name: main, context: {cluster: d}}\n\
         clusters:\n- {name: d, cluster: {server: 'https://10.0.0.2:6443'}}\n",
    );
    let list = format!("{}:/no/such:{}", dir.path().join("config").display(), second.display());
    for (context, list, want) in [
        ("", list.as_str(), "https://10.0.0.1:6443"),
        ("two", list.as_str(), "https://10.0.0.2:6443"),
        ("main", list.as_str(), "https://10.0.0.1:6443"),
        ("", "/no/such:/neither", "KUBECONFIG names no file that is there: /no/such, /neither"),
        ("", "", ".kube/config cannot be read"),
    ] {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kubeconfigs::as_the_environment_says", "--ignored", "--nocapture"])
            .env("KUBECONFIG", list)
            .env("HOME", dir.path())
            .env("CONTEXT", context)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.contains(want), "{context} {list}: {said}");
    }
}

#[test]
#[ignore = "run by the test above, with an environment"]
fn as_the_environment_says() {
    let context = std::env::var("CONTEXT").ok().filter(|context| !context.is_empty());
    let settings = ClusterSettings { context, ..ClusterSettings::default() };
    match Cluster::open(&settings, &Told::default().on_secret()) {
        Ok(cluster) => println!("{:?}", cluster.servers()),
        Err(error) => println!("{error}"),
    }
}
