//! Tables of what must go and what must stay, chunk independence, and a throughput measurement.

use proptest::prelude::*;

use super::*;

/// Compiling takes a while in a debug build: once for all tests.
fn redactor() -> &'static Redactor {
    static ONE: std::sync::LazyLock<Redactor> =
        std::sync::LazyLock::new(|| Redactor::new(&RedactConfig::default()).unwrap());
    &ONE
}

/// Redacts in chunks of `size`.
fn chunked(redactor: &Redactor, input: &[u8], size: usize) -> Vec<u8> {
    let mut stream = RedactStream::new(false);
    let mut out = Vec::new();
    for chunk in input.chunks(size.max(1)) {
        stream.push(redactor, chunk, &mut out);
    }
    stream.finish(redactor, &mut out);
    out
}

/// Input with the secret marked by «»; everything outside must be left as it is.
const HITS: &[(&str, &str)] = &[
    ("value", "DB_PASSWORD=«hunter2»"),
    ("value", "Env:[PATH=/bin DB_PASSWORD=«hunter2» HOME=/root]"),
    ("value", "Env:[HOME=/root DB_PASSWORD=«hunter2»]"),
    ("value", r#"  "DB_PASSWORD=«my pass, with; all»","#),
    ("value", r#"{"Env":["A=b","MYSQL_ROOT_PASSWORD=«x\"y»","C=d"]}"#),
    ("value", r#"{"DB_PASSWORD":"«x y»","a":1}"#),
    ("value", r#"{"password": "«a\"b»"}"#),
    ("value", r#"msg="{\"password\":\"«abc»\"}""#),
    ("value", r#"msg="{\\\"apiKey\\\":\\\"«abc»\\\"}""#),
    ("value", r#"{"name":"DB_PASSWORD","value":"«x»"}"#),
    ("value", r#"{"envs":[{"key":"API_KEY","value":"«abc def»"}]}"#),
    ("value", r#"{\"name\":\"DB_TOKEN\",\"value\":\"«x1»\"}"#),
    ("value", "/usr/bin/app --password «x» --verbose"),
    ("value", "/usr/bin/app --db-password=«x» --verbose"),
    ("value", r#"/usr/bin/app --password="«x y»" --verbose"#),
    ("value", "/usr/bin/app --password='«x y»' --verbose"),
    ("value", "app\0--token\0«abcdef.0123456789abcdef»\0--v=2\0"),
    ("value", r#"["app","--password","«x y»","-v"]"#),
    ("value", r#""args": ["--api-key=«x y»", "b"]"#),
    ("value", r#"err="login failed password=\"«x y»\" user=bob""#),
    ("value", "password: «hunter2 too»"),
    ("value", "    - client_secret: '«abc»'"),
    ("value", "token: «abcdef»"),
    ("value", "requirepass_secret = «abc»"),
    ("value", "aws_secret_access_key = «wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»"),
    ("value", "GET /x?token=«abc12»&y=2 HTTP/1.1"),
    ("value", "Server=db;Password=«x1»;Database=y"),
    ("value", "&{Username:bob Password:«hunter2» Email: ServerAddress:reg}"),
    ("value", "SECRET_KEY_BASE=«deadbeef»"),
    ("value", "DB_PASS_2=«x1»"),
    ("value", "MYSQL_PWD=«x1»"),
    ("authorization", "Authorization: Bearer «abc»"),
    ("authorization", "> proxy-authorization: Basic «dXNlcjpwYXNz»"),
    ("authorization", r#"curl -H "Authorization: Bearer «abc.def»" https://x/"#),
    ("authorization", "map[Accept:[*/*] Authorization:[Bearer «abc»] User-Agent:[x]]"),
    ("authorization", "Authorization: «dGhpcyBpcyBhIHRva2Vu1»"),
    ("bearer", "got bearer «0123456789abcdef0123» for x"),
    ("jwt", "x «eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVz.c2lnbmF0dXJl» y"),
    ("aws-key", "key «AKIAIOSFODNN7EXAMPLE» used"),
    ("service-token", "remote «ghp_0123456789abcdefghijABCDEFGHIJ012345»"),
    ("registry-auth", r#"{"auths":{"r.example":{"auth":"«dXNlcjpwYXNz»"}}}"#),
    ("registry-auth", r#"{\"auth\":\"«dXNlcjpwYXNz»\"}"#),
    ("registry-auth", "X-Registry-Auth: «eyJ1c2VybmFtZSI6ImEifQ»"),
    ("url-userinfo", "HTTPS_PROXY=http://bob:«s3cr@t»@proxy:3128/"),
    ("url-userinfo", "clone https://«0123456789abcdef0123abcd»@git.example/x"),
    ("password-hash", "bob:«$apr1$abcdefgh$0123456789abcdefghijk/»"),
    ("password-hash", "root:«$6$salt$0123456789abcdefghijk»:19000:0:99999:7:::"),
    ("kubeconfig", "    client-key-data: «LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVk»"),
    ("cookie", "Set-Cookie: «session=abcdef; Path=/»"),
    ("private-key", r#"{"k":"-----BEGIN PRIVATE KEY-----«\nMIIEvQ\nab+/=\n»-----END PRIVATE KEY-----\n"}"#),
];

#[test]
fn takes_out_secrets_and_nothing_else() {
    let redactor = redactor();
    for (rule, marked) in HITS {
        let (before, rest) = marked.split_once('«').unwrap();
        let (secret, after) = rest.split_once('»').unwrap();
        let input = format!("{before}{secret}{after}");
        let got = redactor.text(&input);
        let tagged = String::from_utf8(redactor.placeholder(index(redactor, rule), secret.as_bytes())).unwrap();
        assert_eq!(got, format!("{before}{tagged}{after}"), "rule {rule}, input {input}");
        assert_eq!(redactor.text(&got), got, "a second time changes nothing");
    }
}

fn index(redactor: &Redactor, name: &str) -> usize {
    redactor.names.iter().position(|n| n == name).unwrap()
}

const KEEPS: &[&str] = &[
    "CONTAINER ID 3f4e5d6c7b8a  k8s_POD_coredns-78fcd69978-abcde_kube-system_0b1c2d3e-4f5a-6b7c-8d9e-0f1a2b3c4d5e_0",
    "docker-pullable://registry.example:5000/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    r#""Image": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    "goroutine 1234 [semacquire, 12 minutes]:",
    "sync.runtime_SemacquireMutex(0xc000a1b2c4, 0x7f0012345600, 0x1)",
    "k8s.io/kubernetes/pkg/kubelet/token.(*Manager).GetServiceAccountToken(0xc0004d8a80, 0xc000d5e2d0)",
    "\t/workspace/src/k8s.io/kubernetes/pkg/kubelet/token/token_manager.go:85 +0x1a5",
    "the token bucket is empty; tokens: refilled",
    r#"E1120 token_manager.go:121] "Couldn't update token" pod="kube-system/coredns" err="failed to fetch token: Post https://10.0.0.1/api""#,
    "open /var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory",
    r#"{"name":"default-token-abcde","secret":{"secretName":"default-token-abcde","defaultMode":420}}"#,
    r#"MountVolume.SetUp failed for volume "default-token-abcde" : secret "default-token-abcde" not found"#,
    r#"reflector.go: secret="kube-system/default-token-abcde""#,
    r#"{"authorization":{"mode":"Webhook","webhook":{"cacheAuthorizedTTL":"5m0s"}}}"#,
    "authorization-mode=Node,RBAC --authentication-token-webhook=true",
    "/usr/bin/kubelet --tls-private-key-file=/etc/k.key --bootstrap-kubeconfig=/etc/b.conf --service-account-key-file /etc/x",
    "--token-auth-file=/etc/tokens.csv --tokens=12 --token-ttl=24h",
    "automountServiceAccountToken: false",
    "tokenExpirationSeconds: 3607",
    "passwd:         files systemd",
    "systemd-ask-password-console.path loaded active waiting   Dispatch Password Requests to Console Directory Watch",
    "root  500  0.0 /usr/bin/systemd-tty-ask-password-agent --watch",
    "sudo: ops : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/bin/cat",
    "sshd[1]: Failed password for root from 10.0.0.1 port 4242 ssh2",
    "http://user@host/ ssh://git@host:22/x mysql://host:3306/db postgres://db@sha256",
    "workqueue_depth{name=\"token_cleaner\"} 0",
    "kubelet_pleg_relist_duration_seconds_bucket{le=\"0.005\"} 1234",
    "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUM=",
    "-----BEGIN CERTIFICATE-----",
    "DB_PASSWORD=$(SECRET) OTHER_TOKEN=${X} MY_SECRET=/run/secrets/db",
    "bearer authentication is not configured",
    "password=\"\" token= secret=<nil>",
    "net.bridge.bridge-nf-pass-vlan-input-dev = 0",
    "SSL_PASSTHROUGH=on --secret-name=x secretName=y",
    "\u{1b}[31mcolour\u{1b}[0m ümläut \u{fffd}",
];

#[test]
fn keeps_evidence() {
    let redactor = redactor();
    for line in KEEPS {
        assert_eq!(redactor.text(line), *line);
        let with_end = format!("{line}\r\n{line}\n");
        assert_eq!(redactor.text(&with_end), with_end);
    }
    let raw: Vec<u8> = (0..=255).cycle().take(5000).collect();
    assert_eq!(chunked(redactor, &raw, 7), raw);
}

#[test]
fn equal_secrets_get_equal_tags_within_a_run_only() {
    let (one, other) = (redactor(), &Redactor::new(&RedactConfig::default()).unwrap());
    let tag = |r: &Redactor, s: &str| r.text(&format!("password={s}"));
    assert_eq!(tag(one, "abc"), tag(one, "abc"));
    // 16 bits: look at several, equal ones by chance are rare and not always the same.
    let secrets: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
    assert!(secrets.iter().any(|s| tag(one, s) != tag(other, s)));
}

#[test]
fn takes_out_keys_of_several_lines() {
    let redactor = redactor();
    let body = "MIIEpAIBAAKCAQEAx0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM\n".repeat(3);
    let key = format!("a\n-----BEGIN RSA PRIVATE KEY-----\n{body}kA==\n-----END RSA PRIVATE KEY-----\nb\n");
    let got = redactor.text(&key);
    let lines: Vec<&str> = got.lines().collect();
    assert_eq!(lines.len(), 5, "{got}");
    assert_eq!((lines[0], lines[1]), ("a", "-----BEGIN RSA PRIVATE KEY-----"));
    assert!(lines[2].starts_with("[redacted:private-key:"), "{got}");
    assert_eq!((lines[3], lines[4]), ("-----END RSA PRIVATE KEY-----", "b"));

    let indented = key.replace("\nM", "\n    M").replace("\nkA", "\n    kA");
    assert!(!redactor.text(&indented).contains("MIIE"));
    let journal: String = key.lines().map(|l| format!("Nov 20 12:00:00 worker-001 app[12]: {l}\n")).collect();
    let got = redactor.text(&journal);
    assert!(!got.contains("MIIE") && !got.contains("kA==") && got.contains("]: b\n"), "{got}");

    // Cut off by the end of the stream, and never ended.
    let cut = redactor.text(key.split("-----END").next().unwrap());
    assert!(!cut.contains("MIIE") && cut.contains("[redacted:private-key:"), "{cut}");
    let prose = "found -----BEGIN PRIVATE KEY-----\nthe quick brown fox\njumps over\n";
    assert!(redactor.text(prose).ends_with("the quick brown fox\njumps over\n"));
}

#[test]
fn takes_out_values_on_the_next_line() {
    let redactor = redactor();
    for (input, secret) in [
        ("  {\n    \"name\": \"DB_PASSWORD\",\n    \"value\": \"hunter2\"\n  },\n", "hunter2"),
        ("- name: API_TOKEN\n  value: hunter2\n- name: X\n  value: y\n", "hunter2"),
        ("  \"--password\",\n  \"hunter2\",\n  \"-v\"\n", "hunter2"),
    ] {
        let got = redactor.text(input);
        assert!(!got.contains(secret) && got.contains("[redacted:value:"), "{got}");
        assert_eq!(got.lines().count(), input.lines().count());
        for (a, b) in input.lines().zip(got.lines()) {
            assert!(a == b || a.contains(secret), "{a} became {b}");
        }
    }
    for keep in [
        "- name: default-token-x\n  secret:\n    secretName: default-token-x\n",
        "  \"name\": \"token-cleaner\",\n  \"image\": \"x\"\n",
        "[\n  \"--token\"\n],\n",
    ] {
        assert_eq!(redactor.text(keep), keep);
    }
}

#[test]
fn json_stays_json() {
    let redactor = redactor();
    let value = serde_json::json!({
        "Config": {"Env": ["DB_PASSWORD=a \"quoted\" b", "PATH=/bin"], "Cmd": ["app", "--token", "x\\y", "--secret=z"]},
        "password": "x\ny", "auths": {"r": {"auth": "dXNlcjpwYXNz"}}, "max_tokens": 5, "url": "http://u:p@h/",
        "annotation": "{\"name\":\"A_SECRET\",\"value\":\"v\",\"h\":\"Authorization: Bearer uvw\\n\"}",
    });
    for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
        let got = redactor.text(&text);
        serde_json::from_str::<serde_json::Value>(&got).unwrap_or_else(|e| panic!("{e}: {got}"));
        for gone in ["quoted", "\"x\\\\y", "x\\ny", "dXNlcjpwYXNz", ":p@", "=z", "uvw"] {
            assert!(!got.contains(gone), "{gone} in {got}");
        }
    }
}

#[test]
fn finds_secrets_in_endless_lines() {
    let redactor = redactor();
    // A secret around every place where a piece might be cut.
    for offset in [0, 100, 8 << 10, 9000] {
        for secret_len in [10, 300 << 10, 2 << 20] {
            let mut line = vec![b'x'; stream::PIECE - offset];
            line.extend_from_slice(b" \"password\":\"");
            line.extend(std::iter::repeat_n(b'S', secret_len));
            line.extend_from_slice(b"\" after ");
            line.extend(std::iter::repeat_n(b'y', stream::PIECE));
            let got = chunked(redactor, &line, 32 << 10);
            let longest = got.split(|b| *b != b'S').map(<[u8]>::len).max().unwrap();
            assert_eq!(longest, 0, "offset {offset}, secret of {secret_len}");
            let after = got.windows(7).any(|w| w == b"\" after");
            assert!(after, "offset {offset}, secret of {secret_len}: the text after it is kept");
        }
    }
}

#[test]
fn holds_little_memory() {
    let redactor = redactor();
    let mut stream = RedactStream::new(false);
    let mut out = Vec::new();
    for _ in 0..200 {
        stream.push(redactor, &vec![b'z'; 64 << 10], &mut out);
        assert!(stream.held() <= 1 << 20);
        out.clear();
    }
}

#[test]
fn takes_rules_of_the_inventory() {
    let config: RedactConfig = toml::from_str(
        r#"
        literals = ["corp-internal", "corp-internal-long", "a.c*d"]
        disable = ["jwt"]
        [[rules]]
        name = "customer"
        pattern = 'customer-(?P<secret>\d+)'
        [[rules]]
        name = "ip"
        pattern = '10\.(\d+)\.\d+\.\d+$'
        replace = '10.$1.x.x'
        "#,
    )
    .unwrap();
    let redactor = Redactor::new(&config).unwrap();
    let got = redactor.text("corp-internal-long a.c*d abcd customer-42 at 10.1.2.3\ncustomer-x\n");
    let mark = "[redacted:";
    assert_eq!(got.matches("[redacted:literal:").count(), 2, "{got}");
    assert!(got.contains(" abcd customer-[redacted:customer:"), "{got}");
    assert!(got.ends_with("at 10.1.x.x\ncustomer-x\n"), "{got}");
    assert!(!got.contains("-long"), "{got}");
    let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlcm5ldGVz.c2ln";
    assert!(!redactor.text(jwt).contains(mark));
    assert!(!format!("{redactor:?}").contains("corp"), "literals are not printed");
}

#[test]
fn refuses_unusable_rules_by_name() {
    let rule = |name: &str, pattern: &str| RedactConfig {
        rules: vec![RedactRule { name: name.into(), pattern: pattern.into(), replace: None }],
        ..RedactConfig::default()
    };
    for (config, want) in [
        (rule("broken", "(a"), "broken"),
        (rule("back", r"(a)\1"), "back"),
        (rule("empty", "a*"), "matches the empty text"),
        (rule("Bad Name", "a"), "lower-case"),
        (rule("jwt", "a"), "built-in"),
        (RedactConfig { literals: vec!["abc".into()], ..RedactConfig::default() }, "number 1"),
        (RedactConfig { disable: vec!["jtw".into()], ..RedactConfig::default() }, "there are: authorization"),
    ] {
        let text = Redactor::new(&config).unwrap_err().to_string();
        assert!(text.contains(want) && !text.contains('\n') && !text.contains("abc"), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn chunks_do_not_matter(picks in proptest::collection::vec((0..HITS.len() + KEEPS.len() + 2, any::<bool>()), 1..30), size in 1..200_usize) {
        let redactor = redactor();
        let mut input = Vec::new();
        for (pick, end) in picks {
            let text = match pick {
                0 => "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAx\n-----END RSA PRIVATE KEY-----",
                1 => "- name: A_TOKEN\n  value: abc",
                n => HITS.get(n - 2).map(|h| h.1).or_else(|| KEEPS.get(n - 2 - HITS.len()).copied()).unwrap(),
            };
            input.extend_from_slice(text.as_bytes());
            if end { input.push(b'\n') }
        }
        prop_assert_eq!(chunked(redactor, &input, size), chunked(redactor, &input, input.len()));
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture throughput"]
fn throughput() {
    let redactor = redactor();
    let line = "I1120 12:00:00.123456 1234 kubelet.go:2001] \"SyncLoop (PLEG): event for pod\" pod=\"default/web-7d8f\" event=&{ID:0b1c2d3e Type:ContainerStarted Data:3f4e5d6c7b8a}\n";
    let secret =
        "I1120 12:00:00.123456 1234 x.go:1] \"env\" DB_PASSWORD=hunter2 Authorization: Bearer abcdef0123456789\n";
    for (name, every) in
        [("plain log lines", usize::MAX), ("a secret each 100 lines", 100), ("a secret on every line", 1)]
    {
        let mut text = Vec::new();
        let mut n = 0;
        while text.len() < 32 << 20 {
            n += 1;
            text.extend_from_slice(if n % every == 0 { secret } else { line }.as_bytes());
        }
        let begin = std::time::Instant::now();
        let mut stream = RedactStream::new(false);
        let mut out = Vec::new();
        for chunk in text.chunks(32 << 10) {
            stream.push(redactor, chunk, &mut out);
            out.clear();
        }
        let mib = text.len() as f64 / f64::from(1 << 20);
        println!("{name}: {:.0} MiB/s", mib / begin.elapsed().as_secs_f64());
    }
}
