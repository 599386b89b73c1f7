//! Tests of the way from names to targets, with the real `ssh -G` and configurations of their own.
//! Where there is no `ssh` they check nothing.

use std::io::Write;
use std::path::Path;

use super::super::names::choose;
use super::super::pattern::parse_list;
use super::super::settings::{JumpSpec, Settings};
use super::super::target::Proxy;
use super::*;

struct Case {
    dir: tempfile::TempDir,
    inventory: Option<Inventory>,
    flags: Settings,
    ssh_file: PathBuf,
}

fn write(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

pub(crate) fn no_ssh() -> bool {
    let missing = std::process::Command::new("ssh").arg("-V").stderr(std::process::Stdio::null()).status().is_err();
    if missing {
        eprintln!("skipped: there is no ssh in PATH");
    }
    missing
}

impl Case {
    fn new(inventory: &str, ssh_config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ssh_file = dir.path().join("ssh_config");
        write(&ssh_file, ssh_config);
        let inventory = (!inventory.is_empty())
            .then(|| Inventory::parse(Path::new("/inv/inventory.toml"), inventory, None, &Local::detect()).unwrap());
        Self { dir, inventory, flags: Settings::default(), ssh_file }
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver {
            inventory: self.inventory.as_ref(),
            flags: self.flags.clone(),
            local_allowed: false,
            local: Local::detect(),
            ssh: SshConfig::new(Some(self.ssh_file.clone())),
            in_cluster: BTreeMap::new(),
            warnings: Mutex::default(),
        }
    }

    async fn run(&self, name: &str) -> Result<(Target, Provenance, Vec<String>), String> {
        let resolver = self.resolver();
        let patterns = parse_list(name).unwrap();
        let chosen = choose(&patterns, None, 10, &mut Vec::new()).unwrap().remove(0);
        let (target, provenance) = resolver.target(&chosen).await.map_err(|e| e.to_string())?;
        Ok((target, provenance, resolver.take_warnings()))
    }
}

fn ssh(target: &Target) -> (&Hop, &Proxy) {
    match &target.reach {
        Reach::Ssh { hop, proxy } => (hop, proxy),
        Reach::Local => panic!("local"),
    }
}

/// `user@host:port` of the jumps and the node.
fn way(target: &Target) -> String {
    let show = |hop: &Hop| format!("{}@{}", hop.user, hop.endpoint);
    let (hop, proxy) = ssh(target);
    match proxy {
        Proxy::Direct => show(hop),
        Proxy::Jump(hops) => format!("{} > {}", hops.iter().map(show).collect::<Vec<_>>().join(" > "), show(hop)),
        Proxy::Command(command) => format!("({command}) > {}", show(hop)),
    }
}

fn me() -> String {
    Local::detect().user.unwrap()
}

#[tokio::test]
async fn follows_ssh_config() {
    if no_ssh() {
        return;
    }
    let case = Case::new(
        "",
        &format!(
            "Include {}/more\nMatch host 10.0.* user nobody\n  Port 77\nHost n1 n2\n  HostName 10.0.0.%h\n  User deploy\n  IdentityFile ~/.ssh/%r_%h\n  \
         IdentityFile \"/k/with blank\"\n  CertificateFile /k/c\n  IdentitiesOnly yes\n  IdentityAgent none\n  \
         UserKnownHostsFile /kh/a /kh/b\n  GlobalKnownHostsFile none\n  HostKeyAlias al\n  StrictHostKeyChecking accept-new\n  \
         ConnectTimeout 7\n  ServerAliveInterval 3\n  ServerAliveCountMax 9\n  AddressFamily inet6\n  BindAddress 127.0.0.2\n  \
         Compression yes\n",
            std::env::temp_dir().join("plegcollect-no-such").display()
        ),
    );
    let (target, provenance, warnings) = case.run("n1").await.unwrap();
    let (hop, proxy) = ssh(&target);
    assert_eq!(way(&target), "deploy@10.0.0.n1:22");
    let home = Local::detect().home.unwrap();
    assert_eq!(hop.credentials.identity_files, [home.join(".ssh/deploy_10.0.0.n1"), PathBuf::from("/k/with blank")]);
    assert_eq!(hop.credentials.certificate_files, [PathBuf::from("/k/c")]);
    assert!(hop.credentials.identities_only && hop.credentials.agent_socket.is_none() && hop.compression);
    assert_eq!(hop.host_key.known_hosts, [PathBuf::from("/kh/a"), PathBuf::from("/kh/b")]);
    assert_eq!((hop.host_key.alias.as_deref(), hop.host_key.mode), (Some("al"), HostKeyMode::AcceptNew));
    assert_eq!((hop.connect_timeout.as_secs(), hop.keepalive_interval.as_secs(), hop.keepalive_max), (7, 3, 9));
    assert_eq!((hop.address_family, hop.bind_address.as_deref()), (AddressFamily::Inet6, Some("127.0.0.2")));
    assert_eq!(*proxy, Proxy::Direct);
    assert_eq!(provenance.user, Origin::SshConfig);
    assert_eq!(provenance.address, Origin::SshConfig);
    assert_eq!(provenance.port, Origin::Default);
    assert_eq!(provenance.identity_files, Origin::SshConfig);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[tokio::test]
async fn the_inventory_wins_and_is_told_to_match() {
    if no_ssh() {
        return;
    }
    let case = Case::new(
        "[defaults]\nuser='d'\nidentity-files=['/inv/d']\nconnect-timeout='4s'\n[groups.g]\nnodes=['n2']\nuser='g'\nsudo='never'\n\
         [groups.h]\nnodes=['n2']\nuser='h'\nparallel-steps=2\n[[node]]\nname='n1'\naddress='10.9.0.1'\n[[node]]\nname='n2'\n\
         [[node]]\nname='n3'\nuser='n'\nssh-config=false\n",
        "Match host 10.9.* user d\n  Port 77\nHost *\n  User s\n  ConnectTimeout 9\n  ServerAliveInterval 5\n  IdentityFile /s\n",
    );
    let (n1, provenance, _) = case.run("n1").await.unwrap();
    assert_eq!(way(&n1), "d@10.9.0.1:77", "Match saw the inventory's address and user");
    assert_eq!((provenance.user, provenance.port), (Origin::Defaults, Origin::SshConfig));
    assert_eq!((provenance.address, provenance.identity_files), (Origin::Node, Origin::Defaults));
    let hop = ssh(&n1).0;
    assert_eq!((hop.connect_timeout.as_secs(), hop.keepalive_interval.as_secs()), (4, 5));
    assert_eq!(hop.credentials.identity_files, [PathBuf::from("/inv/d")]);
    let (n2, provenance, _) = case.run("n2").await.unwrap();
    assert_eq!((way(&n2).as_str(), n2.sudo, n2.parallel_steps), ("g@n2:22", Sudo::Never, 2));
    assert_eq!(n2.groups, ["g", "h"]);
    assert_eq!((provenance.user, provenance.sudo), (Origin::Group("g".into()), Origin::Group("g".into())));
    let (n3, _, _) = case.run("n3").await.unwrap();
    assert_eq!(ssh(&n3).0.keepalive_interval, KEEPALIVE_INTERVAL, "ssh_config was not asked");
    let (flagged, provenance, _) = case.run("x@n1:99").await.unwrap();
    assert_eq!((way(&flagged).as_str(), provenance.user), ("x@10.9.0.1:99", Origin::Pattern));
}

#[tokio::test]
async fn flags_win_and_jumps_get_their_share() {
    if no_ssh() {
        return;
    }
    let mut case = Case::new(
        "[defaults]\nuser='d'\nhost-keys=['SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA']\nport=2222\n",
        "Host b\n IdentityFile /b\n User bob\n",
    );
    case.flags = Settings {
        user: Some("f".into()),
        identity_files: Some(vec!["/f".into()]),
        known_hosts: Some(vec!["/kh".into()]),
        host_key: Some(HostKeyMode::AcceptNew),
        route: Some(Route::Jump(JumpSpec::parse_list("b,c:23").unwrap())),
        ..Settings::default()
    };
    let (target, provenance, _) = case.run("n1").await.unwrap();
    assert_eq!(way(&target), "bob@b:22 > d@c:23 > f@n1:2222");
    assert_eq!((provenance.user, provenance.route), (Origin::CommandLine, Origin::CommandLine));
    let (hop, Proxy::Jump(jumps)) = ssh(&target) else { panic!() };
    assert_eq!(hop.credentials.identity_files, [PathBuf::from("/f")]);
    assert_eq!(jumps[0].credentials.identity_files, [PathBuf::from("/b"), PathBuf::from("/f")]);
    assert_eq!(jumps[0].host_key.known_hosts[0], PathBuf::from("/kh"));
    assert_eq!(jumps[1].host_key.mode, HostKeyMode::AcceptNew);
    assert!(jumps[0].host_key.pinned.is_empty(), "pins of [defaults] are the nodes'");
    assert_eq!(hop.host_key.pinned.len(), 1);
}

#[tokio::test]
async fn jump_chains_are_those_of_ssh() {
    if no_ssh() {
        return;
    }
    let me = me();
    let config = "Host n1\n ProxyJump a,bob@b:2222\nHost n2\n ProxyJump b\nHost n3\n ProxyJump ssh://%r@[fe80::1]:99\n User u\n\
                  Host n4\n ProxyCommand nc -X %h %p %r %n %%\n HostName 10.0.0.4\nHost n5\n ProxyCommand none\n ProxyJump a\n\
                  Host n6\n ProxyJump c\nHost a\n HostName a.example\n Port 23\nHost b\n User ops\n ProxyJump a\nHost c\n ProxyCommand x %h\n\
                  Host d\n ProxyJump e\nHost e\n ProxyJump d\nHost n7\n ProxyJump d\nHost n8\n ProxyJump n8\nHost *\n";
    let case = Case::new("", &config.replace("ssh://%r@[fe80::1]:99", "r@[fe80::1]:99"));
    for (name, want) in [
        // b's own ProxyJump does not count here, as it is reached through a; alone it does.
        ("n1", format!("{me}@a.example:23 > bob@b:2222 > {me}@n1:22")),
        ("n2", format!("{me}@a.example:23 > ops@b:22 > {me}@n2:22")),
        ("n3", "r@[fe80::1]:99 > u@n3:22".to_owned()),
        ("n4", format!("(nc -X 10.0.0.4 22 {me} n4 %) > {me}@10.0.0.4:22")),
        ("n5", format!("{me}@n5:22")),
    ] {
        let (target, _, warnings) = case.run(name).await.unwrap();
        assert_eq!(way(&target), want, "{name}");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
    let (n6, _, warnings) = case.run("n6").await.unwrap();
    let file = case.dir.path().join("ssh_config");
    assert_eq!(way(&n6), format!("(ssh -o BatchMode=yes -F {} -W '[n6]:22' -- c) > {me}@n6:22", file.display()));
    assert!(warnings[0].starts_with("n6: the jump in front has a ProxyCommand"), "{warnings:?}");
    assert!(case.run("n8").await.unwrap_err().contains("jumphost loop"));
    let error = case.run("n7").await.unwrap_err();
    assert!(error.contains("go in a circle: n7 → d → e → d"), "{error}");
}

#[tokio::test]
async fn jumps_of_the_inventory() {
    if no_ssh() {
        return;
    }
    let case = Case::new(
        "[defaults]\nuser='d'\njump=['out','bastion']\n[groups.far]\nnodes=['f1']\njump=['mid']\n[[node]]\nname='bastion'\naddress='203.0.113.7'\n\
         user='jump'\n[[node]]\nname='mid'\njump=['bastion:24']\n[[node]]\nname='f1'\n[[node]]\nname='n1'\n[[node]]\nname='direct'\njump='none'\n\
         [[node]]\nname='odd'\njump=['cmd']\n[[node]]\nname='behind'\njump=['out','mid']\n[[node]]\nname='cmd'\nproxy-command='x'\n[[node]]\nname='pc'\nproxy-command='nc %h %p %r'\naddress='::1'\n\
         [[node]]\nname='bad'\nproxy-command='nc %z'\n",
        "Host direct\n ProxyJump elsewhere\nHost bastion\n ProxyJump jump@bastion\n",
    );
    for (name, want) in [
        ("n1", "d@out:22 > jump@203.0.113.7:22 > d@n1:22"),
        ("f1", "jump@203.0.113.7:24 > d@mid:22 > d@f1:22"),
        // mid's own jump does not count behind another one.
        ("behind", "d@out:22 > d@mid:22 > d@behind:22"),
        // Selected itself, the bastion has in front of it what lies before it in the list.
        ("bastion", "d@out:22 > jump@203.0.113.7:22"),
        ("direct", "d@direct:22"),
        ("pc", "(nc ::1 22 d) > d@[::1]:22"),
    ] {
        assert_eq!(way(&case.run(name).await.unwrap().0), want, "{name}");
    }
    assert!(case.run("odd").await.unwrap_err().contains("a jump cannot have a proxy-command"));
    assert!(case.run("bad").await.unwrap_err().contains("%z"));
}

#[tokio::test]
async fn an_address_is_asked_for_as_such() {
    if no_ssh() {
        return;
    }
    let case = Case::new("", "Host fe80::*\n Port 77\n ProxyCommand nc %n %h\n");
    let (target, _, _) = case.run("[fe80::1]").await.unwrap();
    assert_eq!(
        (target.name.as_str(), way(&target)),
        ("fe80--1", format!("(nc fe80::1 fe80::1) > {}@[fe80::1]:77", me()))
    );
}

#[tokio::test]
async fn warns_once_for_all_nodes_of_unchecked_host_keys() {
    if no_ssh() {
        return;
    }
    let case = Case::new("", "Host *\n StrictHostKeyChecking no\n");
    let resolver = case.resolver();
    for chosen in choose(&parse_list("n[1-3]").unwrap(), None, 10, &mut Vec::new()).unwrap() {
        let (target, _) = resolver.target(&chosen).await.unwrap();
        assert_eq!(ssh(&target).0.host_key.mode, HostKeyMode::Strict);
    }
    let warnings = resolver.take_warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("n[1-3]: StrictHostKeyChecking no"), "{warnings:?}");
}

#[tokio::test]
async fn a_broken_configuration_is_one_sentence() {
    if no_ssh() {
        return;
    }
    let case = Case::new("", "Foo bar\n");
    let error = case.run("n1").await.unwrap_err();
    assert!(error.contains("line 1: Bad configuration option: foo"), "{error}");
    let mut case = Case::new("", "");
    case.ssh_file = "/nonexistent/config".into();
    assert!(case.run("n1").await.unwrap_err().contains("/nonexistent/config"));
}

/// A host of a generated configuration.
#[derive(Debug, Clone)]
struct Made {
    user: Option<String>,
    port: u16,
    /// Index, user and port of each jump.
    jumps: Vec<(usize, Option<String>, Option<u16>)>,
    /// 0: Host, 1: Match host, 2: behind an Include.
    form: u8,
}

fn made(index: usize) -> impl proptest::strategy::Strategy<Value = Made> {
    use proptest::prelude::*;
    let name = || proptest::option::of(prop_oneof![Just("ops".to_owned()), Just("bob".to_owned())]);
    // Only to hosts further up, so that there is no circle; ssh would fork for ever.
    let jump = (0..index.max(1), name(), proptest::option::of(2_u16..9));
    let jumps = proptest::collection::vec(jump, 0..if index == 0 { 1 } else { 3 });
    (name(), 10_u16..20, jumps, 0_u8..3).prop_map(|(user, port, jumps, form)| Made { user, port, jumps, form })
}

/// Returns the jumps in front of the last host, outermost first, and the port that is dialled, as `ssh -v` tells
/// them. Nothing listens on those ports of 127.0.0.1, so the first dial fails and that is the end of it.
fn way_of_ssh(file: &Path, hosts: &[Made]) -> Vec<(String, u16)> {
    let last = format!("h{}", hosts.len() - 1);
    let output = std::process::Command::new("ssh")
        .args(["-v", "-o", "BatchMode=yes", "-F"])
        .arg(file)
        .arg(last)
        .arg("true")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut way = Vec::new();
    for line in text.lines().filter_map(|l| l.split_once("Setting implicit ProxyCommand from ProxyJump: ")) {
        let words: Vec<&str> = line.1.split_whitespace().collect();
        let option = |flag: &str| words.iter().position(|w| *w == flag).and_then(|at| words.get(at + 1));
        let index: usize = words.last().and_then(|w| w.strip_prefix('h')).unwrap().parse().unwrap();
        let user = option("-l").map(|u| (*u).to_owned()).or_else(|| hosts[index].user.clone()).unwrap_or_else(me);
        way.push((user, option("-p").map_or(hosts[index].port, |p| p.parse().unwrap())));
    }
    way.reverse();
    let dialled = way.first().map_or(hosts.last().unwrap().port, |(_, port)| *port);
    assert!(text.contains(&format!("port {dialled}.")), "{text}");
    way
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]
    #[test]
    fn generated_jump_chains_are_those_of_ssh(hosts in (made(0), made(1), made(2), made(3), made(4))) {
        if no_ssh() {
            return Ok(());
        }
        let hosts = [hosts.0, hosts.1, hosts.2, hosts.3, hosts.4];
        let case = Case::new("", "");
        let mut config = String::new();
        for (index, host) in hosts.iter().enumerate() {
            let mut block = format!(
                "{} h{index}\n HostName 127.0.0.1\n Port {}\n",
                if host.form == 1 { "Match originalhost" } else { "Host" },
                host.port
            );
            if let Some(user) = &host.user {
                block.push_str(&format!(" User {user}\n"));
            }
            if !host.jumps.is_empty() {
                let list: Vec<String> = host
                    .jumps
                    .iter()
                    .map(|(to, user, port)| JumpSpec { user: user.clone(), host: format!("h{to}"), port: *port }.to_string())
                    .collect();
                block.push_str(&format!(" ProxyJump {}\n", list.join(",")));
            }
            if host.form == 2 {
                let file = case.dir.path().join(format!("included-{index}"));
                write(&file, &block);
                block = format!("Host *\n Include {}\n", file.display());
            }
            config.push_str(&block);
        }
        write(&case.ssh_file, &config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (target, _, _) = runtime.block_on(case.run("h4")).unwrap();
        let (hop, proxy) = ssh(&target);
        let ours: Vec<(String, u16)> = match proxy {
            Proxy::Jump(hops) => hops.iter().map(|hop| (hop.user.clone(), hop.endpoint.port)).collect(),
            Proxy::Direct => Vec::new(),
            Proxy::Command(command) => panic!("{command}"),
        };
        proptest::prop_assert_eq!(ours, way_of_ssh(&case.ssh_file, &hosts), "{}", config);
        proptest::prop_assert_eq!(hop.endpoint.port, hosts[4].port);
    }
}
