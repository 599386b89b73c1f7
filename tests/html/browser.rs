//! A headless browser, driven over a pair of pipes (--remote-debugging-pipe: JSON messages, each ended by NUL, on file
//! descriptors 3 and 4), so that no port is opened. Its profile is its own, and it ends with its handle.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A busy machine takes its time; a browser that hangs is found out all the same.
const PATIENCE: Duration = Duration::from_secs(90);

/// Returns the browser's program, or says that there is none. `PLEGCOLLECT_BROWSER=required` makes that a failure.
pub(crate) fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found =
        std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|program| program.is_file());
    if found.is_none() {
        assert!(std::env::var_os("PLEGCOLLECT_BROWSER").is_none(), "chromium is not installed");
        eprintln!("left out: chromium is not installed (apt-get install chromium)");
    }
    found
}

pub(crate) struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    /// What the browser told unasked.
    pub(crate) events: Vec<Value>,
    session: Option<String>,
    last: u64,
    ends: PathBuf,
    _dir: TempDir,
}

impl Browser {
    pub(crate) fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [down, up] = ["down", "up"].map(|name| dir.path().join(name));
        assert!(Command::new("mkfifo").args([&down, &up]).status().unwrap().success());
        let child = Command::new("sh")
            .arg("-c")
            .arg("exec \"$0\" \"$@\" 3<\"$DOWN\" 4>\"$UP\"")
            .arg(program)
            .args(["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
            .args(["--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb"])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
            .env("DOWN", &down)
            .env("UP", &up)
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // For both directions: opening a pipe for one would wait for the other side.
        let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let (to, up_end) = (both(&down), both(&up));
        let (tell, from) = sync_channel(10_000);
        std::thread::spawn(move || {
            for message in BufReader::new(up_end).split(0) {
                let Ok(message) = message else { return };
                // An empty message is ours: the end.
                let Ok(message) = serde_json::from_slice(&message) else { return };
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { child, to, from, events: Vec::new(), session: None, last: 0, ends: up, _dir: dir };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Asks, and returns the answer.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let message = self.next(until, method);
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn next(&mut self, until: Instant, what: &str) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        let message = self.from.recv_timeout(left);
        message.unwrap_or_else(|_| panic!("no answer to {what}; the browser: {:?}", self.child.try_wait()))
    }

    /// Opens a page of this size and waits until it is loaded.
    pub(crate) fn open(&mut self, file: &Path, hash: &str, dark: bool, width: u32) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!([{"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": "", "features": scheme}));
        // From an empty page: going to another fragment of the same page would load nothing.
        for url in ["about:blank".to_owned(), format!("file://{}{hash}", file.display())] {
            self.events.clear();
            let answer = self.call("Page.navigate", json!({"url": url}));
            assert!(answer["errorText"].is_null(), "{answer}");
            let until = Instant::now() + PATIENCE;
            while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
                let event = self.next(until, "load");
                self.events.push(event);
            }
        }
    }

    /// Returns what an expression of JavaScript is worth.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", params);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub(crate) fn until(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.eval(expression) != json!(true) {
            assert!(Instant::now() < until, "never true: {expression}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Returns what went wrong on the page, and what it asked for beside itself.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // An answer to this comes after whatever the page told before.
        self.eval("1");
        let wrong = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => event["params"]["type"] != "log",
            "Log.entryAdded" => event["params"]["entry"]["level"] != "info",
            "Network.requestWillBeSent" => {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                !url.starts_with("file://") && !url.starts_with("data:,") || event["params"]["type"] != "Document"
            }
            "Network.webSocketCreated" | "Network.webTransportCreated" | "Page.javascriptDialogOpening" => true,
            _ => false,
        };
        self.events.iter().filter(wrong).map(Value::to_string).collect()
    }

    /// Keeps pictures of what is seen, or of the whole page in parts that are still readable when looked at, in the directory
    /// that `PLEGCOLLECT_SHOTS` names, if it does.
    pub(crate) fn shoot(&mut self, name: &str, whole: bool) {
        const PART: u64 = 1200;
        let Some(dir) = std::env::var_os("PLEGCOLLECT_SHOTS") else { return };
        std::fs::create_dir_all(&dir).unwrap();
        let [width, height] =
            ["innerWidth", "document.documentElement.scrollHeight"].map(|of| self.eval(of).as_u64().unwrap());
        for part in 0..if whole { height.div_ceil(PART).min(6) } else { 1 } {
            let mut params = json!({"format": "png"});
            if whole {
                let rest = (height - part * PART).min(PART);
                params["captureBeyondViewport"] = json!(true);
                params["clip"] = json!({"x": 0, "y": part * PART, "width": width, "height": rest, "scale": 1});
            }
            let shot = self.call("Page.captureScreenshot", params);
            let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
            std::fs::write(Path::new(&dir).join(format!("{name}-{}.png", part + 1)), bytes).unwrap();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // Ends the thread that reads.
        if let Ok(mut up) = OpenOptions::new().read(true).write(true).open(&self.ends) {
            up.write_all(&[0]).ok();
        }
    }
}
