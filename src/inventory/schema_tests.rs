//! Tests of the inventory file.

use std::time::Duration;

use super::super::sections::DockerdDebug;
use super::super::settings::{Agent, JumpSpec, Route};
use super::super::target::{AddressFamily, HostKeyMode, Sudo};
use super::*;

fn parse(text: &str) -> Result<Inventory, InventoryError> {
    Inventory::parse(Path::new("/etc/plegcollect/inventory.toml"), text, None, &Local::example())
}

fn error(text: &str) -> String {
    let error = parse(text).expect_err(text);
    assert!(!error.is_usage(), "{error}");
    error.to_string().replace("/etc/plegcollect/", "")
}

fn names(list: &[NodeName]) -> String {
    list.iter().map(NodeName::as_str).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_example_is_valid_and_means_what_it_says() {
    let text = include_str!("../../inventory.example.toml");
    let inventory = parse(text).unwrap();
    assert_eq!(inventory.nodes.len(), 9 + 8 + 3 + 1);
    assert_eq!(names(&inventory.group("databases").unwrap().members), "db-1 db-3");
    assert_eq!(inventory.group("gpu").unwrap().members.len(), 8);
    let worker = inventory.node(&"worker-003".parse().unwrap()).unwrap();
    assert_eq!(worker.address.as_deref(), Some("worker-003.cluster.example.org"));
    assert_eq!(worker.groups, ["workers"]);
    assert_eq!(inventory.limits.max_node_bytes, Some(2_000_000_000));
    assert_eq!(inventory.limits.node_deadline, Some(Duration::from_secs(300)));
    assert_eq!(inventory.changes.dockerd_debug, Some(DockerdDebug::Auto));
    assert_eq!(inventory.changes.window, Some(Duration::from_secs(20)));
    assert_eq!(inventory.changes.stacks, Some(true));
    assert_eq!(inventory.redact.rules[0].name, "internal-ticket");
}

/// Every key that is commented out in the example is one that exists, with a value that is right.
#[test]
fn the_comments_of_the_example_are_valid_too() {
    let text = include_str!("../../inventory.example.toml");
    let mut live = String::new();
    for line in text.lines() {
        let key = line.strip_prefix("# ").filter(|rest| {
            let (key, value) = rest.split_once(" = ").unwrap_or_default();
            !key.is_empty() && !value.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        });
        let head = line.strip_prefix("# ").filter(|rest| rest.starts_with("[[step") && rest.ends_with("]]"));
        let line = key.or(head).unwrap_or(line);
        // Not both; and a pin has 43 characters.
        if !line.starts_with("proxy-command") {
            live.push_str(&line.replace("SHA256:…", &format!("SHA256:{}", "a".repeat(43))));
        }
        live.push('\n');
    }
    let inventory = parse(&live).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(inventory.defaults.agent, Some(Agent::Environment));
    assert_eq!(inventory.defaults.ssh_config, Some(true));
    assert_eq!(inventory.logs.docker, ["/data/log/docker.log"]);
    assert_eq!(inventory.changes.max_dump_goroutines, Some(20_000));
    assert_eq!(inventory.steps.len(), 2);
    assert_eq!(inventory.steps[0].table.get("id").and_then(|id| id.as_str()), Some("site/ntp"));
    let line = text.lines().position(|l| l == "# [[step]]").unwrap() + 1;
    assert_eq!(inventory.steps[0].line, line);
}

#[test]
fn reads_every_setting() {
    let pin = format!("SHA256:{}", "A".repeat(43));
    let inventory = parse(&format!(
        "[defaults]\nuser='u'\nport=2222\naddress-family='inet6'\nbind-address='::1'\nidentity-files=['~/k','keys/a','/b']\n\
         certificate-files='c'\nidentities-only=true\nagent='~/sock'\nknown-hosts=['kh']\nhost-key='accept-new'\n\
         host-key-alias='al'\nhost-keys=['{pin}=']\nconnect-timeout='1500ms'\nauth-timeout='1m 2s'\nkeepalive-interval='3s'\n\
         keepalive-max=7\njump=['a','bob@b:23, [::1]:24']\ncompression=true\nssh-config=false\nsudo='password'\nparallel-steps=8\n"
    ))
    .unwrap();
    let jump = |user: Option<&str>, host: &str, port| JumpSpec { user: user.map(Into::into), host: host.into(), port };
    let want = Settings {
        user: Some("u".into()),
        port: Some(2222),
        address_family: Some(AddressFamily::Inet6),
        bind_address: Some("::1".into()),
        identity_files: Some(vec!["/home/me/k".into(), "/etc/plegcollect/keys/a".into(), "/b".into()]),
        certificate_files: Some(vec!["/etc/plegcollect/c".into()]),
        identities_only: Some(true),
        agent: Some(Agent::Socket("/home/me/sock".into())),
        known_hosts: Some(vec!["/etc/plegcollect/kh".into()]),
        global_known_hosts: None,
        host_key: Some(HostKeyMode::AcceptNew),
        host_key_alias: Some("al".into()),
        host_keys: Some(vec![pin]),
        connect_timeout: Some(Duration::from_millis(1500)),
        auth_timeout: Some(Duration::from_secs(62)),
        keepalive_interval: Some(Duration::from_secs(3)),
        keepalive_max: Some(7),
        route: Some(Route::Jump(vec![
            jump(None, "a", None),
            jump(Some("bob"), "b", Some(23)),
            jump(None, "::1", Some(24)),
        ])),
        compression: Some(true),
        ssh_config: Some(false),
        sudo: Some(Sudo::Password),
        parallel_steps: Some(8),
    };
    assert_eq!(inventory.defaults, want);
    for (text, want) in [
        ("jump='none'", Route::Direct),
        ("jump=[]", Route::Direct),
        ("proxy-command='none'", Route::Direct),
        ("proxy-command='nc %h %p'", Route::Command("nc %h %p".into())),
    ] {
        assert_eq!(parse(&format!("[defaults]\n{text}")).unwrap().defaults.route, Some(want), "{text}");
    }
}

#[test]
fn groups() {
    let inventory = parse(
        "[groups.z]\nnodes=['n[1-4]','!n2','@tagged']\n[groups.a]\nnodes=['@z','!@b']\n[groups.b]\nnodes='n4'\n\
         [groups.own]\nuser='x'\n[[node]]\nname='n[1-4]'\n[[node]]\nname='m1'\ntags=['tagged']\ngroups=['own','b']\n",
    )
    .unwrap();
    let members = |group: &str| names(&inventory.group(group).unwrap().members);
    assert_eq!(members("z"), "n1 n3 n4 m1");
    assert_eq!(members("b"), "n4 m1");
    assert_eq!(members("a"), "n1 n3");
    assert_eq!(members("own"), "m1");
    assert_eq!(members("tagged"), "m1");
    let node = inventory.node(&"m1".parse().unwrap()).unwrap();
    assert_eq!(node.groups, ["z", "b", "own", "tagged"], "in the order of the file, tags last");
}

#[test]
fn groups_alone_name_the_nodes() {
    let inventory = parse("[groups.w]\nnodes=['w-[1-3]']\n[groups.some]\nnodes=['*','!w-2']\n").unwrap();
    assert_eq!(names(&inventory.names), "w-1 w-2 w-3");
    assert_eq!(names(&inventory.group("some").unwrap().members), "w-1 w-3");
    assert!(parse("[defaults]\nuser='x'\n").unwrap().nodes.is_empty());
    assert!(parse("").unwrap().nodes.is_empty());
}

#[test]
fn refuses_with_place_and_remedy() {
    for (text, want) in [
        ("\n[defaults]\nusr='x'\n", "unknown key `defaults.usr` at inventory.toml:3: did you mean `user`?"),
        ("[default]\n", "unknown key `default` at inventory.toml:1: did you mean `defaults`?"),
        ("[limits]\nparalel=3\n", "unknown key `limits.paralel` at inventory.toml:2: did you mean `parallel`?"),
        (
            "[deliver]\nport=1\n",
            "unknown key `deliver.port` at inventory.toml:2: this version takes no keys in [deliver]",
        ),
        ("[kubelet]\nprt=1\n", "unknown key `kubelet.prt` at inventory.toml:2: did you mean `port`?"),
        ("[kubelet]\nport=0\n", "`kubelet.port` at inventory.toml:2: expected a whole number from 1 to 65535"),
        (
            "[kubelet]\ntoken-file='a'\ntoken-env='B'\n",
            "`kubelet.token-env` at inventory.toml:3: `token-file` is set as well",
        ),
        ("[kubelet]\nkubeconfig=true\ntoken-command='x'\n", "one of the two counts"),
        ("[kubelet]\nca='a'\ninsecure=true\n", "`kubelet.insecure` at inventory.toml:3: `ca` is set as well"),
        ("[kubelet]\nca='a'\npins='b'\n", "`kubelet.pins` at inventory.toml:3: `ca` is set as well"),
        ("[kubelet]\ninsecure=false\n", "`kubelet.insecure` at inventory.toml:2: expected true"),
        ("[kubelet]\ntoken-env='A=b'\n", "the name of an environment variable, not its value"),
        ("[kubelet]\nclient-key='k'\n", "`kubelet` at inventory.toml:1: `client-key` needs `client-certificate`"),
        (
            "[kubelet]\ncpu-profile=61\n",
            "`kubelet.cpu-profile` at inventory.toml:2: expected a whole number from 0 to 60",
        ),
        ("[kubelet]\nvia='ssh'\n", "expected \"auto\" or \"forward\" or \"curl\" or \"api-server\""),
        ("[kubelet]\nserver-names=['{host}']\n", "`kubelet.server-names` at inventory.toml:2:"),
        ("[cluster]\napi-servers=['http://a']\n", "`cluster.api-servers` at inventory.toml:2: expected https://HOST"),
        ("[cluster]\napi-servers=['https://a/x']\n", "and nothing else, got"),
        ("[cluster]\napi-servers=['https://u:p@a']\n", "without user and password"),
        ("[cluster]\napi-servers=['https://a:0']\n", "and nothing else, got"),
        (
            "[cluster]\nkubeconfig='k'\ntoken-file='t'\n",
            "`cluster.token-file` at inventory.toml:3: `kubeconfig` is set as well",
        ),
        (
            "[changes]\nkubelet-verbosity=11\n",
            "`changes.kubelet-verbosity` at inventory.toml:2: expected a whole number from 1 to 10",
        ),
        (
            "[changes]\nzzzzzzzz=1\n",
            "unknown key `changes.zzzzzzzz` at inventory.toml:2: the keys here are allow-runtime-names, deadline, dockerd-debug",
        ),
        ("[changes]\nwindow='11m'\n", "`changes.window` at inventory.toml:2: expected 1s to 10m, got 11m"),
        ("[changes]\nlease='1s'\n", "`changes.lease` at inventory.toml:2: expected 5s to 10m, got 1s"),
        ("[changes]\ndeadline='2h'\n", "`changes.deadline` at inventory.toml:2: expected 6s to 1h, got 2h"),
        ("[changes]\nstacks='no'\n", "`changes.stacks` at inventory.toml:2: expected \"auto\" or \"off\", got \"no\""),
        ("[logs]\ndocker=['var/log']\n", "`logs.docker` at inventory.toml:2: expected the absolute path"),
        ("[logs]\nkubelet=['/var/../x']\n", "`logs.kubelet` at inventory.toml:2: expected the absolute path"),
        ("[logs]\nkubelet=['/dev/watchdog']\n", "`logs.kubelet` at inventory.toml:2: expected the absolute path"),
        ("[groups.w]\nusers='x'", "unknown key `groups.w.users` at inventory.toml:2: did you mean `user`?"),
        ("[[node]]\nname='a'\nadress='x'", "unknown key `node.adress` at inventory.toml:3: did you mean `address`?"),
        ("[defaults]\nuser=3\n", "`defaults.user` at inventory.toml:2: expected a login name, got a whole number"),
        ("[defaults]\nuser=''\n", "`defaults.user` at inventory.toml:2: expected a login name, got an empty string"),
        ("[defaults]\nuser='a;b'\n", "holds ';'"),
        ("[defaults]\nport=0\n", "`defaults.port` at inventory.toml:2: expected a whole number from 1 to 65535, got 0"),
        ("[defaults]\nport=-1\n", "from 1 to 65535, got -1"),
        ("[defaults]\nport='22'\n", "from 1 to 65535, got a string"),
        ("[defaults]\nport=99999999999999999999999\n", "from 1 to 65535"),
        ("[defaults]\nconnect-timeout=10\n", "a duration needs its unit: write \"10s\""),
        ("[defaults]\nconnect-timeout='ten'\n", "expected a duration such as"),
        ("[defaults]\nconnect-timeout='0s'\n", "more than zero"),
        ("[defaults]\nhost-key='yes'\n", "expected \"strict\" or \"accept-new\", got \"yes\""),
        ("[defaults]\nsudo='always'\n", "expected \"auto\" or \"passwordless\" or \"password\" or \"never\""),
        ("[defaults]\nidentity-files=[1]\n", "expected a path, got a whole number"),
        ("[defaults]\nidentity-files=1\n", "expected a list of strings (a path), got a whole number"),
        ("[defaults]\nhost-keys=['MD5:x']\n", "SHA256"),
        ("[defaults]\nhost-keys=[]\n", "the list is empty"),
        (
            "[defaults]\njump=['a']\nproxy-command='x'\n",
            "`defaults.proxy-command` at inventory.toml:3: `jump` is set as well",
        ),
        ("[defaults]\njump=['a b']\n", "the jump \"a b\" cannot be read"),
        ("[defaults]\nparallel-steps=9\n", "from 1 to 8, got 9"),
        ("[defaults]\nagent=3\n", "expected true, false or the path of a socket"),
        ("[defaults]\nname='x'\n", "unknown key `defaults.name`"),
        ("defaults=3\n", "`defaults` at inventory.toml:1: expected a table, [defaults], got a whole number"),
        ("[node]\nname='a'\n", "expected tables written as [[node]], got a table"),
        ("[limits]\nmax-node-bytes='2XB'\n", "expected a size such as"),
        ("[limits]\nmax-node-bytes='0MB'\n", "more than zero"),
        ("[redact]\nliterals=['']\n", "empty string"),
        (
            "[[redact.rule]]\nname='x'\npattern='('\n",
            "`redact.rule.pattern` at inventory.toml:3: not a regular expression",
        ),
        ("[[redact.rule]]\nname='x'\n", "`redact.rule` at inventory.toml:1: this rule has no pattern"),
        ("[[node]]\naddress='a'\n", "`node` at inventory.toml:1: this entry has no name"),
        (
            "[[node]]\nname='a'\n\n[[node]]\nname='a'\n",
            "`node.name` at inventory.toml:5: a has an entry already, at line 1",
        ),
        ("[[node]]\nname='n[1-3]'\n[[node]]\nname='n2'\n", "n2 has an entry already, at line 1"),
        (
            "[[node]]\nname='n[1-3'\n",
            "`node.name` at inventory.toml:2: pattern \"n[1-3\": the bracket opened at character 2",
        ),
        ("[[node]]\nname='n*'\n", "expected a plain name or brackets"),
        ("[[node]]\nname='u@n'\n", "expected a plain name or brackets"),
        ("[[node]]\nname='@n'\n", "expected a name"),
        ("[[node]]\nname='n[1-3]'\naddress='10.0.0.1'\n", "3 nodes would share this address"),
        ("[[node]]\nname='n1'\naddress='10.0.0.1:22'\n", "a port does not belong to the address"),
        ("[[node]]\nname='n1'\naddress='{host}'\n", "'{'"),
        ("[[node]]\nname='n[1-999999999]'\n", "stands for 999,999,999 nodes, and 10000 are allowed in all"),
        (
            "[[node]]\nname='n[1-6000]'\n[[node]]\nname='m[1-6000]'\n",
            "stands for 6,000 nodes, and 10000 are allowed in all",
        ),
        (
            "[[node]]\nname='n1'\ngroups=['wrokers']\n[groups.workers]\n",
            "holds no group wrokers: did you mean `workers`?",
        ),
        ("[[node]]\nname='n1'\ntags=['a b']\n", "cannot be a group name"),
        ("[groups.'a b']\n", "cannot be a group name"),
        (
            "[groups.w]\nnodes=['worker-1']\n[[node]]\nname='worker-2'\n",
            "`groups.w.nodes` at inventory.toml:2: the inventory holds no node worker-1: did you mean `worker-2`?",
        ),
        (
            "[groups.w]\nnodes=['@x']\n[groups.y]\nnodes=['n']\n",
            "`groups.w.nodes` at inventory.toml:2: the inventory holds no group x",
        ),
        ("[groups.a]\nnodes=['@b']\n[groups.b]\nnodes=['@a']\n", "the groups go in a circle: a → b → a"),
        ("[groups.a]\nnodes=['@a']\n", "the groups go in a circle: a → a"),
        ("[groups.a]\nnodes=['-']\n", "for the command line only"),
        ("[groups.a]\nnodes=['u@n1']\n", "keys of their own"),
        ("[groups.a]\nnodes=['n[1-']\n", "never closed"),
        ("x = [\n", "the inventory at inventory.toml:"),
        ("[defaults]\nuser='a'\nuser='b'\n", "the inventory at inventory.toml:3: not valid TOML: duplicate key"),
    ] {
        let got = error(text);
        assert!(got.contains(want), "{text}\n  got:  {got}\n  want: {want}");
        assert!(!got.contains('\n'), "{got}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Inventory::load(Path::new("/nonexistent/inv.toml"), None).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/inv.toml") && !error.is_usage());
    assert_eq!(
        Inventory::find(Some(Path::new("/nonexistent/inv.toml"))).unwrap().as_deref(),
        Some(Path::new("/nonexistent/inv.toml"))
    );
}

#[test]
fn a_large_inventory_is_read_quickly() {
    let mut text = String::from("[groups.all]\nnodes=['*']\n");
    for n in 0..5000 {
        text.push_str(&format!("[[node]]\nname='n{n}'\naddress='10.0.{}.{}'\n", n / 250, n % 250));
    }
    let start = std::time::Instant::now();
    let inventory = parse(&text).unwrap();
    assert_eq!(inventory.group("all").unwrap().members.len(), 5000);
    // Generous: quadratic work would take minutes.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_planted_inventory_is_not_used_unasked() {
    use std::os::unix::fs::PermissionsExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    check_ownership(file.path()).unwrap();
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = check_ownership(file.path()).unwrap_err();
    assert!(error.to_string().contains("can be written by everybody") && !error.is_usage(), "{error}");
    // Changing the owner takes root; elsewhere this half checks nothing.
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    if std::os::unix::fs::chown(file.path(), Some(54321), None).is_ok() {
        assert!(check_ownership(file.path()).unwrap_err().to_string().contains("another user"));
    }
}

#[test]
fn reads_how_kubelets_and_api_servers_are_asked() {
    use super::super::access::{KubeletVia, TokenFrom, TrustFrom};
    let inventory = parse(
        "[kubelet]\ntoken-file='~/t'\nclient-certificate='c'\nclient-key='k'\nca='ca.pem'\naddress='{name}.x'\nport=10251\n\
         server-names=['{name}.y']\nnode-name='{name}'\nvia='curl'\ncpu-profile=0\n[cluster]\ncollect=false\n\
         api-servers=['https://10.0.0.1:6443','https://[::1]:6443','https://k']\ntoken-command='x y'\nca='/a'\n\
         server-name='kubernetes'\npool-label='pool'\n[changes]\nkubelet-verbosity=4\n",
    )
    .unwrap();
    let want = KubeletSettings {
        token: Some(TokenFrom::File("/home/me/t".into())),
        client: Some(("/etc/plegcollect/c".into(), "/etc/plegcollect/k".into())),
        trust: Some(TrustFrom::Ca("/etc/plegcollect/ca.pem".into())),
        address: Some("{name}.x".into()),
        port: Some(10251),
        server_names: vec!["{name}.y".into()],
        node_name: Some("{name}".into()),
        via: Some(KubeletVia::Curl),
        cpu_profile: Some(0),
    };
    assert_eq!(inventory.kubelet, want);
    assert_eq!(inventory.cluster.api_servers.len(), 3);
    assert_eq!(inventory.cluster.token, Some(TokenFrom::Command("x y".into())));
    assert_eq!((inventory.cluster.collect, inventory.changes.kubelet_verbosity), (Some(false), Some(4)));
    assert!(inventory.cluster.names_one() && !parse("").unwrap().cluster.names_one());
}
