//! The README's tables are made from the code: the catalog, the cluster's steps, the rules, names of files in hand-made
//! collections. `PLEGCOLLECT_UPDATE_README=1 cargo test --test readme`
//! writes it anew.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests, and functions only they call"
)]

use std::path::Path;

const END: &str = "<!-- end of the table -->\n";

fn check(source: &str, wanted: &str) {
    let begin = format!("<!-- the table is made from {source}; tests/readme.rs checks it -->\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(&begin).expect("README.md has the mark where the table begins");
    let (table, after) = rest.split_once(END).expect("README.md has the mark where the table ends");
    if std::env::var_os("PLEGCOLLECT_UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(table == wanted, "README.md is behind {source}: PLEGCOLLECT_UPDATE_README=1 cargo test --test readme");
}

// One test: all write the same file.
#[test]
fn the_tables_are_those_of_the_code() {
    check("src/plan/catalog", &plegcollect::plan::catalog::markdown_table());
    check("src/plan/cluster.rs", &plegcollect::plan::cluster::markdown_table());
    check("src/analyze/known_names.rs", &plegcollect::analyze::known_names::markdown_table());
    check("src/analyze/rules", &plegcollect::analyze::rule_table::markdown_table());
}
