//! report.html in a real browser: it renders, asks for nothing, complains of nothing, takes no text of a hostile node for its
//! own, and is not wider than a screen. Without chromium these tests say so and are left out.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests, and functions only they call"
)]

mod browser;
mod made_up;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Instant;

use browser::Browser;
use made_up::{EVIL, EVIL_FILE, EVIL_LINE, report, sized};
use serde_json::json;

/// Nothing of what nodes sent became part of the page's own.
const UNHARMED: &str = "window.__pwned === undefined && document.querySelectorAll('img, iframe, object, embed, form').length === 0 && \
    document.querySelectorAll('script:not([type])').length === 1 && \
    Array.from(document.querySelectorAll('*')).every(e => Array.from(e.attributes).every(a => !a.name.startsWith('on')))";

#[test]
fn one_nine_and_a_hundred_nodes_are_shown_in_light_and_dark_without_sideways_scrolling_or_network() {
    let Some(program) = browser::program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(&program);
    for nodes in [1, 9, 100] {
        let page = report(dir.path(), nodes);
        for dark in [false, true] {
            let name = format!("{nodes}-{}", if dark { "dark" } else { "light" });
            browser.open(&page, "", dark, 1280);
            assert_eq!(browser.eval("document.readyState"), "complete");
            assert_eq!(
                browser.eval("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= 1280"),
                true,
                "{name}"
            );
            browser.shoot(&format!("{name}-overview"), true);
            let sick = if nodes == 1 { "" } else { "#n1" };
            browser.open(&page, sick, dark, 1280);
            browser.until("document.querySelector('#n0, #n1.on') !== null");
            assert_eq!(browser.eval("document.documentElement.scrollWidth <= 1280"), true, "{name}: a node");
            if nodes > 1 {
                browser.shoot(&format!("{name}-node"), true);
            }
            let background = browser.eval("getComputedStyle(document.body).backgroundColor");
            assert_eq!(background, json!(if dark { "rgb(20, 23, 28)" } else { "rgb(255, 255, 255)" }));
            assert_eq!(browser.eval(UNHARMED), true, "{name}");
            assert_eq!(browser.complaints(), Vec::<String>::new(), "{name}");
        }
    }
}

#[test]
fn texts_of_a_hostile_node_are_shown_as_texts() {
    let Some(program) = browser::program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), 9);
    let mut browser = Browser::start(&program);
    browser.open(&page, "#n1", false, 1280);
    let evil = serde_json::to_string(EVIL).unwrap();
    let start = serde_json::to_string(&EVIL[..40]).unwrap();
    for place in [
        "#wrong",
        "#changes",
        "#missing",
        "#table",
        "#n1 .findings",
        "#n1-steps + details",
        "#n1 .chips",
        "#n1 .moments",
    ] {
        let evil = if place == "#table" { &start } else { &evil };
        let shown = browser.eval(&format!("document.querySelector({place:?}).textContent.includes({evil})"));
        assert_eq!(shown, true, "{place}");
    }
    let name = serde_json::to_string(EVIL_FILE).unwrap();
    let listed =
        format!("Array.from(document.querySelectorAll('#n1 .files li')).find(li => li.dataset.name === {name})");
    browser.eval(&format!("{listed}.querySelector('a').click()"));
    browser.until(&format!("document.getElementById('viewer-body').textContent.includes({evil})"));
    let titled = browser.eval(&format!("document.getElementById('viewer-title').textContent.includes({name})"));
    assert_eq!(titled, true);
    // What would act unseen is seen.
    browser.eval("Array.from(document.querySelectorAll('#n1 .files li')).find(li => li.dataset.name === 'host/df.txt').querySelector('a').click()");
    browser.until("document.getElementById('viewer-body').textContent.includes('\\u241b[31mred') && document.getElementById('viewer-body').textContent.includes('ev[U+202E]li')");
    assert_eq!(browser.eval(UNHARMED), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_citation_opens_its_lines_and_a_bar_its_stacks() {
    let Some(program) = browser::program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), 9);
    let mut browser = Browser::start(&program);
    browser.open(&page, "", false, 1280);
    let text = format!("kubelet/journal.txt:{}-{}", EVIL_LINE - 3, EVIL_LINE + 2);
    let cite = format!("Array.from(document.querySelectorAll('#wrong a.cite')).find(a => a.textContent === {text:?})");
    browser.eval(&format!("{cite}.click()"));
    browser.until("document.querySelectorAll('#viewer .line.hit').length === 6");
    let line = browser.eval(&format!("document.querySelector('#viewer [data-line=\"{EVIL_LINE}\"] .tx').textContent"));
    assert!(line.as_str().unwrap().contains(&format!("line {EVIL_LINE} ")), "{line}");
    let seen = "(() => { const a = document.querySelector('.line.hit').getBoundingClientRect(), b = document.getElementById('viewer-body').getBoundingClientRect(); return a.top >= b.top && a.bottom <= b.bottom; })()";
    assert_eq!(browser.eval(seen), true, "the cited lines are in sight");
    let note = browser.eval("document.getElementById('viewer-note').textContent");
    let note = note.as_str().unwrap();
    assert!(note.contains("60000 lines") && note.contains("are left out here"), "{note}");
    assert!(
        note.contains(
            "plegcollect show /incidents/plegcollect-20261120T024110Z/worker-002.tar.zst kubelet/journal.txt"
        ),
        "{note}"
    );
    browser.shoot("viewer-light", false);
    browser.eval("document.getElementById('viewer-close').click()");
    browser.until("!document.getElementById('viewer').open");
    assert_eq!(
        browser.eval("!document.getElementById('overview').classList.contains('off')"),
        true,
        "back where it was opened"
    );

    // A part of a bar is a link, so the keyboard reaches it as well.
    browser.open(&page, "#n1", true, 1280);
    browser.until("document.querySelector('#n1.on') !== null");
    let part =
        "Array.from(document.querySelectorAll('#n1 svg a.part')).filter(a => a.dataset.more === 'semacquire').pop()";
    browser.eval(&format!("{part}.dispatchEvent(new MouseEvent('click', {{ bubbles: true, cancelable: true }}))"));
    browser.until("document.querySelectorAll('#viewer .stack').length === 1");
    let stack = browser.eval("document.querySelector('#viewer .stack').textContent");
    let stack = stack.as_str().unwrap();
    assert!(
        stack.contains("412 × semacquire, for up to 14 minutes") && stack.contains("lockSlow") && stack.contains(EVIL),
        "{stack}"
    );
    browser.shoot("stacks-dark", false);
    browser.eval("document.querySelector('#viewer .stack a').click()");
    browser.until("document.querySelectorAll('#viewer .line.hit').length === 20");
    for key in ["Escape", "Enter"] {
        if key == "Enter" {
            browser.until("!document.getElementById('viewer').open");
            browser.eval(&format!("{part}.focus()"));
        }
        let code = if key == "Enter" { 13 } else { 27 };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if key == "Enter" && kind == "keyDown" {
                event["text"] = json!("\r");
            }
            browser.call("Input.dispatchKeyEvent", event);
        }
    }
    browser.until("document.querySelectorAll('#viewer .stack').length === 1");
    // A fragment opens the same again.
    browser.open(&page, &format!("#n1-f0:{}-{}", 1, 1), false, 1280);
    browser.until("document.getElementById('viewer').open && document.getElementById('n1').classList.contains('on')");
    assert_eq!(browser.eval(UNHARMED), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_table_is_filtered_and_sorted_and_everything_is_read_without_scripts() {
    let Some(program) = browser::program() else { return };
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), 100);
    let mut browser = Browser::start(&program);
    browser.open(&page, "#nodes", false, 1280);
    let rows = "Array.from(document.querySelectorAll('#table tbody tr')).filter(tr => !tr.hidden).map(tr => tr.cells[0].textContent)";
    browser.eval("document.getElementById('unwell').click()");
    assert_eq!(browser.eval(&format!("{rows}.length")), 8);
    browser.eval(
        "(f => { f.value = 'lock held'; f.dispatchEvent(new Event('input')); })(document.getElementById('filter'))",
    );
    assert_eq!(browser.eval(rows), json!(["worker-002", "worker-004", "worker-007"]));
    browser.eval("document.querySelector('#table thead th:first-child button').click()");
    browser.eval("document.querySelector('#table thead th:first-child button').click()");
    assert_eq!(browser.eval(rows), json!(["worker-007", "worker-004", "worker-002"]));
    assert_eq!(browser.complaints(), Vec::<String>::new());

    let print = json!({"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]});
    browser.call("Emulation.setEmulatedMedia", print);
    assert_eq!(browser.eval("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)", "printed");
    assert_eq!(browser.eval("getComputedStyle(document.querySelector('.top nav')).display"), "none", "printed");

    browser.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    browser.open(&page, "#n1", false, 1280);
    browser.shoot("without-scripts", true);
    let text = browser.eval("document.getElementById('n1').innerText");
    assert!(text.as_str().unwrap().contains("412 goroutines of dockerd wait"), "{text}");
    assert_eq!(browser.eval("getComputedStyle(document.getElementById('overview')).display"), "none");
    browser.open(&page, "", false, 1280);
    let text = browser.eval("document.getElementById('overview').innerText");
    assert!(text.as_str().unwrap().contains("dockerd lock held by ContainerStop"), "{text}");
}

#[test]
fn the_command_writes_a_page_about_bundles_and_single_files() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    let given = ["bundle-1.1.tar.zst", "analyze/dockerd-20.10-convoy-1.log", "analyze/kubelet-hang.log"].map(fixture);
    let command = || {
        let mut command = assert_cmd::Command::cargo_bin("plegcollect").unwrap();
        command.arg("report").args(&given).args(["--format", "html"]);
        command
    };
    command().assert().code(2);
    command().arg("--output").arg(&page).assert().code(0).stdout("");
    command().arg("--output").arg(dir.path().join("no/report.html")).assert().code(3);
    assert_eq!(fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);

    let Some(program) = browser::program() else { return };
    let mut browser = Browser::start(&program);
    browser.open(&page, "", false, 1280);
    assert_eq!(browser.eval("document.documentElement.scrollWidth <= 1280"), true);
    let wrong = browser.eval("document.getElementById('wrong').innerText");
    assert!(wrong.as_str().unwrap().contains("dockerd lock held by ContainerStop"), "{wrong}");
    browser.shoot("fixtures", true);
    // A citation of a real dump leads to the lines that it names.
    let cite =
        "Array.from(document.querySelectorAll('#wrong a.cite')).find(a => a.textContent.startsWith('dockerd-20.10'))";
    let first = browser.eval(&format!("{cite}.textContent.split(':')[1].split('-')[0]"));
    browser.eval(&format!("{cite}.click()"));
    browser.until("document.querySelectorAll('#viewer .line.hit').length > 0");
    assert_eq!(browser.eval("document.querySelector('#viewer .line.hit').dataset.line"), first);
    assert_eq!(browser.eval(UNHARMED), true);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Figures of a large fleet; run by hand, with --release.
#[test]
#[ignore = "prints figures and asserts little"]
fn a_large_fleet_is_written_in_little_memory() {
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let page = sized(dir.path(), 100, 20);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let size = fs::metadata(&page).unwrap().len();
    println!("100 nodes: a page of {size} bytes, {:?} with making up the evidence, {peak}", begin.elapsed());
    assert!(size < 96 << 20);
    let Some(program) = browser::program() else { return };
    let mut browser = Browser::start(&program);
    let begin = Instant::now();
    browser.open(&page, "", false, 1280);
    println!("loaded by the browser in {:?}", begin.elapsed());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_page_is_private_its_size_is_bounded_and_its_policy_strict() {
    let dir = tempfile::tempdir().unwrap();
    let page = report(dir.path(), 100);
    let meta = fs::metadata(&page).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert!(meta.len() < 80 << 20, "{}", meta.len());
    let text = fs::read_to_string(&page).unwrap();
    assert!(!text.contains(EVIL) && !text.contains("<img"), "a text of a node stands as it came");
    assert!(text.contains("Content-Security-Policy\" content=\"default-src &#39;none&#39;; style-src &#39;sha256-"));
}
