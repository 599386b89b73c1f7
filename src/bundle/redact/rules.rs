//! The built-in redaction rules: a table of shapes of secrets. In each pattern the group `s` is
//! what is replaced and the group `k`, where there is one, the key it stands under. No pattern
//! demands what follows a secret, so that one cut short is still caught.

/// One shape of secret.
pub(super) struct Rule {
    /// Name in placeholders, counts and `disable`; several rows may share one.
    pub(super) name: &'static str,
    /// Pattern on one line, without its line end; bytes, linear time.
    pub(super) pattern: &'static str,
    /// Decides whether a match is a secret after all.
    pub(super) check: Check,
}

/// What a match must pass.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing.
    None,
    /// The value has a digit: long words of prose have none.
    Digit,
    /// Key and value look like a secret and its name.
    Key,
    /// The same, and brackets and commas at the end of the value belong to the text around it.
    KeyBare,
}

// A key that may hold a secret. What follows the key word is judged by `is_secret_key`.
macro_rules! key {
    () => {
        r"(?P<k>[A-Za-z0-9_.-]*(?:passw(?:or)?d|passphrase|passcode|[_.-]pwd|[_.-]pass|secret|token|(?:api|access|private|encryption|signing|auth|account)[_.-]?key)[A-Za-z0-9_.-]*)"
    };
}

// The inside of a JSON string.
macro_rules! json_string {
    () => {
        r#"(?P<s>(?:[^"\\]|\\.)+)"#
    };
}

/// Finds every line a rule can match; lines without a hit are copied as they are.
pub(super) const PREFILTER: &str = concat!(
    r"(?i:passw|passphrase|passcode|[_.-]pwd|[_.-]pass(?:[^a-z]|$)|secret|token|(?:api|access|private|encryption|signing|auth|account)[_.-]?key",
    r#"|authorization|bearer|cookie:|key-data|registry-auth|auth\\*"[ ]?:)"#,
    r"|eyJ[A-Za-z0-9_-]{8}|\b(?:AKIA|ASIA)|\bgh[pousr]_|glpat-|\bxox[abprs]-|AIza|:\{SHA\}|\$(?:apr1|2[aby]|[156y])\$",
    r"|-----BEGIN |://[^/\s]{1,300}@",
);

/// The name of the rule for keys in PEM form; its several-line form is in `stream.rs`.
pub(super) const PRIVATE_KEY: &str = "private-key";
/// The name of the rule for values under a secret's name.
pub(super) const VALUE: &str = "value";
/// The name of the rule for literals of the inventory.
pub(super) const LITERAL: &str = "literal";
/// The name of the rule for tokens of ours.
pub(super) const TOKEN: &str = "token";

const fn row(name: &'static str, pattern: &'static str, check: Check) -> Rule {
    Rule { name, pattern, check }
}

pub(super) const RULES: &[Rule] = &[
    // Up to the dashes of the END line.
    row(PRIVATE_KEY, r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?P<s>(?:[^-]|-[^-])+)", Check::None),
    row(
        "authorization",
        r#"(?i)\bauthorization["'\\\]]*\s*[:=]\s*[\["'\\]*(?:bearer|basic|digest|negotiate|token|ntlm|apikey|splunk|aws4-hmac-sha256)\s+(?P<s>[^"'\\\]\r\n]+)"#,
        Check::None,
    ),
    row(
        "authorization",
        r#"(?i)\bauthorization["'\\\]]*\s*[:=]\s*[\["'\\]*(?P<s>[A-Za-z0-9+/=._~-]{16,})"#,
        Check::Digit,
    ),
    row(
        "registry-auth",
        r#"(?i)\bx-registry-(?:auth|config)["'\\]*\s*[:=]\s*[\["'\\]*(?P<s>[A-Za-z0-9+/=_-]{8,})"#,
        Check::None,
    ),
    row("registry-auth", r#"(?i)\\*"auth\\*"\s*:\s*\\*"(?P<s>[A-Za-z0-9+/=_-]{8,})"#, Check::None),
    row("cookie", r#"(?i)\b(?:set-)?cookie:\s*(?P<s>[^"'\r\n]{4,})"#, Check::None),
    row("bearer", r"(?i)\bbearer\s+(?P<s>[A-Za-z0-9._~+/=-]{16,})", Check::Digit),
    row("jwt", r"(?P<s>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)*)", Check::None),
    row("aws-key", r"\b(?P<s>(?:AKIA|ASIA)[A-Z0-9]{16})\b", Check::None),
    row(
        "service-token",
        r"\b(?P<s>gh[pousr]_[A-Za-z0-9]{30,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35})",
        Check::None,
    ),
    // No slash before the last '@', or image digests (host:port/name@sha256:…) would match.
    row("url-userinfo", r#"://[^\s/:@"'<>?#]*:(?P<s>[^\s/"'<>]+)@"#, Check::None),
    row("url-userinfo", r"(?i)https?://(?P<s>[A-Za-z0-9_-]{20,})@", Check::Digit),
    row("password-hash", r"(?P<s>\$(?:apr1|2[aby]|[156y])\$[./A-Za-z0-9$=,]{12,})", Check::None),
    row("password-hash", r":\{SHA\}(?P<s>[A-Za-z0-9+/=]{20,})", Check::None),
    row("kubeconfig", r#"(?i)key-data["'\\]*\s*:\s*["'\\]*(?P<s>[A-Za-z0-9+/=]{20,})"#, Check::None),
    // {"name":"DB_PASSWORD","value":"x"}: pods, crictl; escaped in annotations.
    row(
        VALUE,
        concat!(r#"(?i)"(?:name|key)"\s*:\s*""#, key!(), r#""\s*,\s*"value"\s*:\s*""#, json_string!()),
        Check::Key,
    ),
    row(
        VALUE,
        concat!(
            r#"(?i)\\+"(?:name|key)\\+"\s*:\s*\\+""#,
            key!(),
            r#"\\+"\s*,\s*\\+"value\\+"\s*:\s*\\+"(?P<s>[^"\\]+)"#
        ),
        Check::Key,
    ),
    // "DB_PASSWORD":"x"
    row(VALUE, concat!(r#"(?i)""#, key!(), r#""\s*:\s*""#, json_string!()), Check::Key),
    row(VALUE, concat!(r#"(?i)\\+""#, key!(), r#"\\+"\s*:\s*\\+"(?P<s>[^"\\]+)"#), Check::Key),
    // ["--password","x"]
    row(VALUE, concat!(r#"(?i)"--?"#, key!(), r#""\s*,\s*""#, json_string!()), Check::Key),
    // "DB_PASSWORD=x y" in the environment of a container; capitals only, for a message may begin with token=…
    row(
        VALUE,
        concat!(
            r#""(?P<k>[A-Z0-9_]*(?:PASSWO?R?D|PASSPHRASE|_PWD|_PASS|SECRET|TOKEN|(?:API|ACCESS|PRIVATE|ENCRYPTION|SIGNING|AUTH|ACCOUNT)_?KEY)[A-Z0-9_]*)="#,
            json_string!()
        ),
        Check::Key,
    ),
    // "--password=x y" in the arguments of a container
    row(VALUE, concat!(r#"(?i)"--?"#, key!(), r#"="#, json_string!()), Check::Key),
    // DB_PASSWORD="x y", --password='x y', err="… password=\"x y\" …"
    row(VALUE, concat!(r#"(?i)"#, key!(), r#"=""#, json_string!()), Check::Key),
    row(VALUE, concat!(r#"(?i)"#, key!(), r#"=\\+"(?P<s>[^"\\]+)"#), Check::Key),
    row(VALUE, concat!(r#"(?i)"#, key!(), r#"='(?P<s>[^']+)"#), Check::Key),
    // DB_PASSWORD=x, --password=x, ?token=x&…, Password=x;
    row(VALUE, concat!(r#"(?i)"#, key!(), r#"=(?P<s>(?:[^\s\x00"'&;\\]|\\[^"'nrt])+)"#), Check::KeyBare),
    // --password x; the two may be apart by a NUL in /proc/PID/cmdline
    row(
        VALUE,
        concat!(r#"(?i)(?:^|[\s\x00"'])--?"#, key!(), r#"[ \t\x00]+["']?(?P<s>[^\s\x00"'-][^\s\x00"']*)"#),
        Check::KeyBare,
    ),
    // password = x
    row(VALUE, concat!(r#"(?i)^\s*"#, key!(), r#"[ \t]+=[ \t]*(?P<s>\S[^\r]*)"#), Check::Key),
    // password: x, - password: 'x'
    row(VALUE, concat!(r#"(?i)^\s*(?:-\s+)?'?"#, key!(), r#"'?:[ \t]+["'](?P<s>[^"']+)"#), Check::Key),
    row(VALUE, concat!(r#"(?i)^\s*(?:-\s+)?'?"#, key!(), r#"'?:[ \t]+(?P<s>[^\s\[{|>#"'][^\r]*)"#), Check::Key),
    // {Username:u Password:x}, a Go structure printed with %+v
    row(
        VALUE,
        r#"(?P<k>Password|IdentityToken|RegistryToken|SecretKey|SecretAccessKey|ClientSecret):(?P<s>[^\s{}\[\]"'&,:]+)"#,
        Check::Key,
    ),
];

/// Words after the key word that tell of a thing *about* a secret: `token_file`, `secretName`.
const HARMLESS: &[&str] = &[
    "file",
    "path",
    "dir",
    "name",
    "ref",
    "type",
    "kind",
    "expir",
    "ttl",
    "timeout",
    "second",
    "lifetime",
    "duration",
    "review",
    "request",
    "webhook",
    "count",
    "limit",
    "policy",
    "enable",
    "length",
    "size",
    "url",
    "uri",
    "endpoint",
    "mode",
    "provider",
    "version",
    "max",
    "rotat",
    "manager",
    "controller",
    "cache",
    "interval",
    "rate",
    "used",
    "volume",
    "mount",
    "namespace",
    "issuer",
    "audience",
    "header",
    "bucket",
    "burst",
    "store",
    "class",
    "group",
    "through",
];

const KEY_WORDS: &[&str] = &["passwd", "password", "passphrase", "passcode", "pwd", "pass", "secret", "token", "key"];

/// Returns whether a value under `key` is a secret.
pub(super) fn is_secret_key(key: &[u8]) -> bool {
    let key = String::from_utf8_lossy(key).to_ascii_lowercase();
    let Some(after) = KEY_WORDS.iter().filter_map(|w| key.rfind(w).map(|at| at + w.len())).max() else { return false };
    let rest = key.get(after..).unwrap_or_default();
    // bridge-nf-pass-vlan-input-dev is none, DB_PASS_2 is.
    let short = key.get(..after).is_some_and(|k| k.ends_with("pass") || k.ends_with("pwd"));
    if short && !rest.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
        return false;
    }
    if rest.ends_with("id") || rest.ends_with("ids") {
        return false;
    }
    !HARMLESS.iter().any(|w| rest.contains(w))
}

/// Returns whether `value` under `key` is no secret by its look: a switch, a number of tokens, a
/// path, a reference, an earlier placeholder.
pub(super) fn is_harmless_value(key: &[u8], value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let key = key.to_ascii_lowercase();
    let key = key.as_slice();
    if value.starts_with(b"[redacted:")
        || value.starts_with(b"$(")
        || value.starts_with(b"${")
        || value.starts_with(b"{{")
    {
        return true;
    }
    // A variable of a script, "$DB_PASSWORD"; small letters are left out, for "$ecret" is a secret.
    let variable = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
    if value.strip_prefix(b"$").is_some_and(|name| !name.is_empty() && name.iter().all(variable)) {
        return true;
    }
    if value.starts_with(b"<") && value.ends_with(b">") || value.iter().all(|b| *b == b'*') {
        return true;
    }
    let lower = value.to_ascii_lowercase();
    if matches!(lower.as_slice(), b"true" | b"false" | b"null" | b"nil" | b"none" | b"yes" | b"no" | b"-" | b"redacted")
    {
        return true;
    }
    if is_known_path(value) {
        return true;
    }
    let has = |word: &[u8]| key.windows(word.len()).any(|w| w == word);
    if has(b"token") && value.iter().all(|b| b.is_ascii_digit() || *b == b'.') {
        return true;
    }
    // klog: secret="namespace/name".
    let name = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'/');
    if matches!(key, b"secret" | b"secrets")
        && value.iter().filter(|b| **b == b'/').count() == 1
        && value.iter().all(name)
    {
        return true;
    }
    // nsswitch.conf.
    key == b"passwd"
        && [&b"files"[..], b"compat", b"db", b"sss", b"ldap", b"systemd"].iter().any(|w| value.starts_with(w))
}

fn is_known_path(value: &[u8]) -> bool {
    const ROOTS: &[&[u8]] = &[
        b"etc", b"var", b"run", b"usr", b"opt", b"home", b"root", b"srv", b"tmp", b"proc", b"sys", b"dev", b"mnt",
        b"data", b"lib", b"certs", b"secrets", b"vault", b"config", b"host",
    ];
    let Some(rest) = value.strip_prefix(b"/") else { return false };
    let mut parts = rest.split(|b| *b == b'/');
    parts.next().is_some_and(|root| ROOTS.contains(&root)) && parts.next().is_some()
}
