//! The README's table of steps is the catalog's. `PLEGCOLLECT_UPDATE_README=1 cargo test --test readme`
//! writes it anew.

#![expect(clippy::disallowed_methods, reason = "tests, and functions only they call")]

use std::path::Path;

use plegcollect::plan::catalog::markdown_table;

const BEGIN: &str = "<!-- the table is made from src/plan/catalog; tests/readme.rs checks it -->\n";
const END: &str = "<!-- end of the table -->\n";

#[test]
fn the_table_of_steps_is_the_catalog_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has the mark where the table begins");
    let (table, after) = rest.split_once(END).expect("README.md has the mark where the table ends");
    let wanted = markdown_table();
    if std::env::var_os("PLEGCOLLECT_UPDATE_README").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    assert!(table == wanted, "README.md is behind the catalog: PLEGCOLLECT_UPDATE_README=1 cargo test --test readme");
}
