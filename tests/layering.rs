//! The direction of imports, held: a module may use those to its right in the table and nothing
//! else; some external crates belong to one module. There are no crate walls, so this is the wall.

#![expect(clippy::unwrap_used, reason = "tests, and functions only they call")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module: what it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("printable", &[]),
    ("wording", &["printable"]),
    ("inventory", &["printable"]),
    ("plan", &["inventory"]),
    ("evidence", &["inventory", "plan"]),
    ("event", &["inventory", "plan", "evidence"]),
    ("session", &["inventory", "plan", "printable"]),
    ("change", &["inventory", "plan", "evidence", "event", "session", "printable", "wording"]),
    ("bundle", &["inventory", "plan", "evidence", "event", "session", "change", "printable"]),
    ("collect", &["inventory", "plan", "evidence", "event", "session", "change", "bundle", "printable", "wording"]),
    ("progress", &["inventory", "plan", "evidence", "event", "printable", "wording"]),
    ("report", &["inventory", "plan", "evidence", "event", "bundle", "printable", "wording"]),
    (
        "cli",
        &[
            "inventory",
            "plan",
            "evidence",
            "event",
            "session",
            "change",
            "bundle",
            "collect",
            "progress",
            "report",
            "printable",
        ],
    ),
];

/// External crate: the modules that may import it.
const OWNED: &[(&str, &[&str])] = &[
    ("russh", &["session"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["progress"]),
    ("tar", &["bundle"]),
    ("zstd", &["bundle"]),
    ("rpassword", &["cli"]),
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
        let name = file.file_name().unwrap().to_str().unwrap();
        if module == "lib" || module == "main" || name == "tests.rs" || name.ends_with("_tests.rs") {
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
            if imported > 0 && !owners.contains(&module.as_str()) {
                wrong.push(format!("{} uses {krate}, which belongs to {owners:?}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_check_sees_what_it_is_for() {
    assert_eq!(named_after("use crate::bundle::Writer;", "crate::"), ["bundle"]);
    assert_eq!(named_after("use crate::{bundle::{A, B}, cli, plan::X};", "crate::"), ["bundle", "cli", "plan"]);
    assert_eq!(named_after("let x = russh::client::Config::default();", "russh::"), ["client"]);
    assert!(named_after("mycrate::x", "crate::").is_empty());
}
