//! The direction of imports, held: a module may use those to its right in the table and nothing
//! else; some external crates belong to one module. There are no crate walls, so this is the wall.

#![expect(clippy::unwrap_used, reason = "tests, and functions only they call")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Module: what it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("printable", &[]),
    ("environment", &[]),
    ("wording", &["printable"]),
    ("inventory", &["printable", "environment"]),
    ("plan", &["inventory"]),
    ("evidence", &["inventory", "plan"]),
    ("event", &["inventory", "plan", "evidence"]),
    ("session", &["inventory", "plan", "printable", "environment"]),
    ("credential", &["inventory", "session", "printable", "environment"]),
    ("kubelet", &["inventory", "plan", "evidence", "session", "credential", "printable", "wording"]),
    (
        "cluster",
        &["inventory", "plan", "evidence", "session", "credential", "kubelet", "printable", "wording", "environment"],
    ),
    ("change", &["inventory", "plan", "evidence", "event", "session", "kubelet", "printable", "wording"]),
    ("bundle", &["inventory", "plan", "evidence", "event", "session", "kubelet", "change", "printable"]),
    (
        "collect",
        &[
            "inventory",
            "plan",
            "evidence",
            "event",
            "session",
            "credential",
            "kubelet",
            "cluster",
            "change",
            "bundle",
            "printable",
            "wording",
        ],
    ),
    ("analyze", &["inventory", "plan", "evidence", "event", "bundle", "printable", "wording"]),
    ("progress", &["inventory", "plan", "evidence", "event", "printable", "wording"]),
    ("report", &["inventory", "plan", "evidence", "event", "bundle", "analyze", "printable", "wording"]),
    (
        "cli",
        &[
            "inventory",
            "plan",
            "evidence",
            "event",
            "session",
            "credential",
            "kubelet",
            "cluster",
            "change",
            "bundle",
            "collect",
            "analyze",
            "progress",
            "report",
            "printable",
            "environment",
        ],
    ),
];

/// External crate: the parts of `src` that may name it, by how their paths begin.
const OWNED: &[(&str, &[&str])] = &[
    ("russh", &["session/"]),
    ("hyper", &["session/http/", "cluster/api/"]),
    ("hyper_util", &["session/http/"]),
    ("http_body_util", &["session/http/", "cluster/api/"]),
    // In the two files of `kubelet` it is the type of a certificate and its PEM form, no connection.
    (
        "tokio_rustls",
        &[
            "session/http/",
            "credential/certificate.rs",
            "credential/authorities.rs",
            "kubelet/trust.rs",
            "kubelet/way/curl.rs",
            "cluster/api/",
        ],
    ),
    ("kube", &["cluster/api/"]),
    // Named nowhere: it tells kube which version of the API to know.
    ("k8s_openapi", &[]),
    ("clap", &["cli/"]),
    ("clap_complete", &["cli/"]),
    ("clap_mangen", &["cli/"]),
    ("indicatif", &["progress/"]),
    ("tar", &["bundle/"]),
    ("zstd", &["bundle/"]),
    ("rpassword", &["cli/"]),
    ("prost", &["analyze/"]),
];

/// Where the text of a secret is taken out of its wrapping: this is where to look for what becomes of a token.
const EXPOSERS: &[&str] = &[
    // Passphrases of keys, and the password of sudo.
    "session/auth/keys.rs",
    "session/command/run.rs",
    "cli/target_args.rs",
    // Where tokens come from; the redactor is told of them here.
    "credential/",
    // Where they are sent.
    "session/http/exchange.rs",
    "session/http/redirect.rs",
    "kubelet/way/curl.rs",
    "cluster/api/kubeconfig.rs",
    "cluster/api/plugin.rs",
    "cluster/api/server.rs",
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Whether a file is compiled for tests alone.
fn is_test(file: &Path) -> bool {
    let path = file.to_str().unwrap();
    path.contains("/tests/") || ["tests.rs", "_lab.rs", "test_support.rs"].iter().any(|end| path.ends_with(end))
}

fn module_of(src: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(src).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Names that follow `prefix` in code, comments left out. `use crate::{a::…, b}` counts as well.
fn named_after(code: &str, prefix: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(list) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for c in list.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => found.push(std::mem::take(&mut word)),
                    c if depth == 0 && (is_word(c)) && !word.ends_with(':') => word.push(c),
                    ':' if depth == 0 && !word.ends_with(':') => word.push(':'),
                    _ => {}
                }
            }
            found.push(word);
        } else {
            found.push(rest.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    found.into_iter().map(|w| w.trim_end_matches(':').to_owned()).filter(|w| !w.is_empty()).collect()
}

fn code_of(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "the sources were not found");
    let mut wrong = Vec::new();
    for file in &files {
        let module = module_of(&src, file);
        // Tests may build their input with another module's test data.
        if module == "lib" || module == "main" || is_test(file) {
            continue;
        }
        let allowed = table.get(module.as_str()).unwrap_or_else(|| panic!("{module} is not in the table"));
        let code = code_of(&fs::read_to_string(file).unwrap());
        for used in named_after(&code, "crate::") {
            if used != module && table.contains_key(used.as_str()) && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses {used}", file.display()));
            }
        }
        for (krate, owners) in OWNED {
            let imported = named_after(&code, &format!("{krate}::")).len()
                + usize::from(code.contains(&format!("use {krate};")) || code.contains(&format!("use {krate} as")));
            let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
            if imported > 0 && !owners.iter().any(|owner| inside.starts_with(owner)) {
                wrong.push(format!("{} uses {krate}, which belongs to {owners:?}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_are_unwrapped_in_few_places() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut used = BTreeSet::new();
    for file in files.iter().filter(|file| !is_test(file)) {
        if code_of(&fs::read_to_string(file).unwrap()).contains("expose_secret") {
            let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
            let may = EXPOSERS.iter().find(|may| inside.starts_with(**may));
            used.insert(*may.unwrap_or_else(|| panic!("{inside} takes a secret out of its wrapping")));
        }
    }
    assert_eq!(used.len(), EXPOSERS.len(), "only {used:?} still do");
}

/// What is spawned outlives whoever waited for it; these end with their handle.
#[test]
fn few_places_spawn() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may = ["progress/mod.rs", "session/jump.rs", "session/proxy_command.rs"];
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files.iter().filter(|file| !is_test(file)) {
        let inside = file.strip_prefix(&src).unwrap().to_str().unwrap();
        let code = code_of(&fs::read_to_string(file).unwrap());
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        assert!(may.contains(&inside) || !code.contains("tokio::spawn("), "{inside} spawns");
    }
}

#[test]
fn the_check_sees_what_it_is_for() {
    assert_eq!(named_after("use crate::bundle::Writer;", "crate::"), ["bundle"]);
    assert_eq!(named_after("use crate::{bundle::{A, B}, cli, plan::X};", "crate::"), ["bundle", "cli", "plan"]);
    assert_eq!(named_after("let x = russh::client::Config::default();", "russh::"), ["client"]);
    assert!(named_after("mycrate::x", "crate::").is_empty());
}

/// A token may be in our environment, and no process we start is to have it.
#[test]
fn every_process_is_started_without_variables_that_hold_a_token() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut starting = 0;
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let path = file.to_str().unwrap();
        if is_test(file) || name == "environment.rs" {
            continue;
        }
        let code = code_of(&fs::read_to_string(file).unwrap());
        let code = code.split("#[cfg(test)]\nmod tests").next().unwrap();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let started = code
            .match_indices("Command::new(")
            .filter(|(at, _)| !code[..*at].chars().next_back().is_some_and(is_word))
            .count();
        starting += started;
        assert_eq!(
            code.matches("without_secrets(").count(),
            started,
            "{path}: each Command goes through without_secrets"
        );
    }
    assert!(starting >= 4, "the places were not found");
}
