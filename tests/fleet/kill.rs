//! kill -9 at random moments: whatever step had finished is in the `.partial`, whole.
//! Seeded: `PLEGCOLLECT_SEED` repeats a run, `PLEGCOLLECT_KILLS` sets the number of trials.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Random, plegcollect, run_dir, setting};

#[test]
#[ignore = "needs the fleet"]
fn killed_at_random_moments_every_finished_step_is_readable() {
    let seed = setting("PLEGCOLLECT_SEED", 20_261_120);
    let trials = setting("PLEGCOLLECT_KILLS", 10);
    println!("seed {seed}, {trials} trials");
    let mut random = Random::new(seed);
    // How long an undisturbed run takes tells where moments may lie.
    let whole = plegcollect(&["--nodes", "worker-00[1-3]", "--read-only"]).run();
    assert_eq!(whole.code, 0, "{}", whole.said());
    let span = u64::try_from(whole.took.as_millis()).unwrap();

    let mut interrupted = 0;
    for trial in 0..trials {
        let moment = Duration::from_millis(300 + random.below(span));
        let mut call = plegcollect(&["--nodes", "worker-00[1-3]", "--read-only", "--events", "json"]);
        let mut child = call.command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let reader =
            std::thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).collect::<Vec<String>>());
        std::thread::sleep(moment);
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        let events = reader.join().unwrap();

        // What the program had told of before it died.
        let mut finished: BTreeSet<(String, String)> = BTreeSet::new();
        for event in events.iter().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok()) {
            if event["event"] == "step-finished" {
                for file in event["record"]["files"].as_array().into_iter().flatten() {
                    finished.insert((
                        event["node"].as_str().unwrap().to_owned(),
                        file["path"].as_str().unwrap().to_owned(),
                    ));
                }
            }
        }
        let Some(dir) = run_dir(call.out.path()) else { continue };
        let mut found = 0;
        for name in ["worker-001", "worker-002", "worker-003"] {
            let partial = dir.join(format!("{name}.tar.zst.partial"));
            let sealed = dir.join(format!("{name}.tar.zst"));
            let bundle = if partial.exists() { partial } else { sealed };
            interrupted += u64::from(bundle.extension().is_some_and(|e| e == "partial"));
            if !bundle.exists() {
                assert!(!finished.iter().any(|(n, _)| n == name), "{name} has no bundle");
                continue;
            }
            let wanted: Vec<&str> = finished.iter().filter(|(n, _)| n == name).map(|(_, f)| f.as_str()).collect();
            let target = tempfile::tempdir().unwrap();
            // Plain tools, as an operator would use them on a .partial; the cut tail may make them complain.
            let status = Command::new("sh")
                .arg("-c")
                .arg("zstd -dcq -- \"$1\" 2>/dev/null | tar -xf - -C \"$2\" 2>/dev/null; true")
                .arg("sh")
                .arg(&bundle)
                .arg(target.path())
                .status()
                .unwrap();
            assert!(status.success());
            for file in &wanted {
                assert!(
                    target.path().join(file).is_file(),
                    "trial {trial}: {name}: {file} was reported and is not in the bundle"
                );
                found += 1;
            }
        }
        println!("trial {trial}: killed after {moment:?}, {found} of {} reported files readable", finished.len());
        assert_eq!(found, finished.len());
    }
    assert!(interrupted > 0, "no trial hit a running collection; the moments are badly chosen");
}

#[test]
#[ignore = "needs the fleet"]
fn the_first_interrupt_seals_and_the_second_leaves_partials() {
    for signals in [1, 2] {
        let mut call = plegcollect(&["--nodes", "worker-00[1-3]", "--read-only", "--events", "json"]);
        let mut child = call.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut finished = 0;
        for line in lines.by_ref().map_while(Result::ok) {
            finished += usize::from(line.contains("\"step-finished\""));
            if finished == 10 {
                break;
            }
        }
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
        for _ in 0..signals {
            assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        }
        let status = child.wait().unwrap();
        drop(reader.join().unwrap());
        assert_eq!(status.code(), Some(130));
        let dir = run_dir(call.out.path()).unwrap();
        if signals == 1 {
            let (code, words) = crate::support::verify(&dir);
            assert_eq!(code, 0, "{words}");
            assert!(dir.join("SUMMARY.md").exists());
            assert!(dir.join("worker-001.tar.zst").exists());
        } else {
            let record: serde_json::Value =
                serde_json::from_slice(&std::fs::read(dir.join("run.json")).unwrap()).unwrap();
            assert_eq!(record["exit-code"], 130);
        }
    }
}
