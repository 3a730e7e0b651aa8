//! What lines look like to people: color, and a terminal that no log steers.

use std::fs;
use std::path::Path;

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::needs_tool;
use standpipe_tests::programs::Launch;

/// What a terminal would obey, in every way.
const EVIL: &str = "evil \x1b]0;owned\x07 \x1b[2J \u{9b}31m \u{9d} \u{202e} rtl \u{61c} end\r\n";

#[test]
fn a_log_does_not_steer_the_terminal_that_shows_it() {
    needs_tool("script", || {
        let scratch = Scratch::new();
        scratch.make_dir("app");
        let log = scratch.path().join("app/e\x1b[2Jvil.log");
        fs::write(&log, EVIL).unwrap();
        for form in ["text", "json", "raw"] {
            // What is appended is the program, which a shell that script runs does not get.
            let run = "export TAILER=\"$0\"; script -qec 'exec \"$TAILER\" --batch --color=never --output \"$FORM\" \"$LOG\"' /dev/null";
            let launch = Launch::new("tailer").env("FORM", form).env("LOG", &log);
            let output = launch.under(["sh", "-c", run]).run();
            let shown = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
            let steers = |c: char| standpipe_common::shown::steers(c) && c != '\n';
            assert!(shown.contains("end") && !shown.contains(steers), "{form}: {shown:?}");
        }
        let piped = Launch::new("tailer").args(["--batch", "--output", "raw"]).arg(&log).run();
        assert_eq!(piped.stdout, EVIL.as_bytes());
    });
}

#[test]
fn a_tailer_ends_with_its_terminal_wherever_its_output_goes() {
    needs_tool("script", || {
        let scratch = Scratch::new();
        let dir = scratch.make_dir("app");
        let [log, out, pid] = ["a.log", "out", "pid"].map(|name| dir.join(name));
        fs::write(&log, "line\n").unwrap();
        let run = "export TAILER=\"$0\"; exec script -qfc 'echo $$ >\"$PID_FILE\"; \
                   exec \"$TAILER\" --output raw --follow-from-start \"$LOG\" >\"$OUT\"' /dev/null";
        let launch = Launch::new("tailer").env("LOG", &log).env("OUT", &out).env("PID_FILE", &pid);
        let mut terminal = launch.under(["sh", "-c", run]).start_unready();
        until("the line is delivered", || fs::read_to_string(&out).is_ok_and(|text| text == "line\n"));
        let tailer = fs::read_to_string(&pid).unwrap();
        let process = Path::new("/proc").join(tailer.trim());
        assert!(process.exists());
        terminal.kill9();
        until("the tailer has ended too", || !process.exists());
    });
}

#[test]
fn each_source_has_its_color_and_keeps_it() {
    let scratch = Scratch::new();
    let names = ["a.log", "b.log", "c.log", "d.log", "e.log"];
    let paths = names.map(|name| scratch.path().join(name));
    for path in &paths {
        fs::write(path, "x\n").unwrap();
    }
    let colors = |flag: &str, no_color: &str| -> Vec<String> {
        let launch = Launch::new("tailer").args(["--batch", flag]).args(&paths).env("NO_COLOR", no_color);
        let text = String::from_utf8(launch.run().stdout).unwrap();
        assert_eq!(text.lines().count(), names.len(), "{text}");
        names.iter().filter_map(|name| Some(text.split_once(name)?.0.rsplit_once(' ')?.1.to_owned())).collect()
    };
    let first = colors("--color=always", "");
    assert!(first.iter().all(|color| color.starts_with("\x1b[")), "{first:?}");
    let mut different = first.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), names.len(), "{first:?}");
    assert_eq!(colors("--color=always", "1"), first);
    for (flag, no_color) in [("--color=auto", ""), ("--color=never", "")] {
        assert!(colors(flag, no_color).iter().all(String::is_empty));
    }
}
