//! `examples/servers`: what logs by a library, by a shell, or without ever waiting.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::example::read;
use crate::stack::{Logs, Server, Stack, as_user, free_port, work};
use standpipe_tests::deadline::until;
use standpipe_tests::not_run;
use standpipe_tests::privilege::needs_tools;
use standpipe_tests::programs::command;
use standpipe_tests::world::stream_of;

/// Runs a test with a tool that is large, and that the gate does not install.
fn where_there_is(tool: &str, test: impl FnOnce()) {
    let found = command(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if found { test() } else { not_run::note(tool) }
}

/// A program of `examples/servers` that logs into the pipe `app`, to its end, with the stack shaken meanwhile.
fn run(name: &str, with: impl FnOnce(&str) -> Command) -> Logs {
    let mut stack = Stack::start(&["app"]);
    let program = stack.configure(name, |text| text);
    let mut program = Server::start(&mut with(&program.display().to_string()), stack.scratch.path().join("said"));
    stack.shake_while(|| program.is_running(), || ());
    program.finish();
    stack.stop()
}

/// Each of four workers has logged so many lines, whole and in order.
fn check_workers(logs: &Logs, lines: usize) {
    let stored = logs.lines("app");
    assert_eq!(stored.len(), 4 * lines);
    for worker in 0..4 {
        let own = stored
            .iter()
            .filter_map(|line| line.split_once(&format!("worker {worker} line "))?.1.parse::<usize>().ok());
        assert!(own.eq(0..lines), "the lines of worker {worker}");
    }
}

#[test]
fn python_logs_each_line_of_many_processes_whole() {
    needs_tools(&["python3"], || {
        let lines = work(300);
        let logs = run("servers/python.py", |script| {
            let mut python = as_user("python3");
            python.args([script, "4", &lines.to_string()]);
            python
        });
        check_workers(&logs, lines);
    });
}

#[test]
fn node_logs_each_line() {
    where_there_is("node", || {
        let lines = work(2000);
        let logs = run("servers/node.js", |script| {
            let mut node = as_user("node");
            node.args([script, &lines.to_string()]);
            node
        });
        assert!(logs.lines("app").into_iter().eq((0..lines).map(|line| format!("line {line}"))));
    });
}

#[test]
fn a_shell_script_logs_each_line() {
    let lines = work(20);
    let logs = run("servers/script.sh", |script| {
        let mut shell = as_user("sh");
        shell.args([script, &lines.to_string()]);
        shell
    });
    let stored = logs.lines("app");
    let numbers = stored.iter().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned());
    assert!(numbers.eq((1..=lines).map(|line| line.to_string())), "{stored:?}");
}

#[test]
fn haproxy_logs_while_a_reader_runs_and_never_waits_while_none_does() {
    const READ: usize = 2000;
    const UNREAD: usize = 20_000;
    needs_tools(&["haproxy", "ab"], || {
        let mut stack = Stack::start(&["haproxy"]);
        let port = free_port();
        assert!(read("servers/haproxy.cfg").contains("127.0.0.1:8080"));
        let config =
            stack.configure("servers/haproxy.cfg", |text| text.replace("127.0.0.1:8080", &format!("127.0.0.1:{port}")));
        let fifo = File::options().append(true).open(stack.scratch.run("haproxy")).expect("a FIFO that is held");
        let mut haproxy = as_user("haproxy");
        haproxy.args(["-db", "-f"]).arg(config);
        let mut server = Server::start_into(&mut haproxy, fifo, stack.scratch.path().join("haproxy-said"));
        server.wait_listening(port);
        let scratch = stack.scratch.path().to_owned();
        let load = |requests: usize, page: &str| {
            let mut ab = as_user("ab");
            ab.args(["-q", "-k", "-c", "4", "-n", &requests.to_string(), &format!("http://127.0.0.1:{port}/{page}")]);
            let said = Server::start(&mut ab, scratch.join(format!("ab-{page}"))).finish();
            assert!(said.contains("Failed requests:        0"), "{said}");
        };
        load(READ, "read");
        // HAProxy writes a request's line behind its answer: the last ones may come after ab has seen that.
        let log = stack.scratch.logs().join("haproxy");
        until("all requests are logged", || {
            memchr::memmem::find_iter(&stream_of(&log), "\"GET /read ").count() >= READ
        });
        stack.without_reader(|| load(UNREAD, "unread"));
        server.stop(Signal::SIGTERM);
        let lines = stack.stop().lines("haproxy");
        let of = |page: &str| lines.iter().filter(|line| line.contains(&format!("\"GET /{page} HTTP/1.0\""))).count();
        assert_eq!(of("read"), READ);
        assert!((100..UNREAD).contains(&of("unread")), "{} of {UNREAD} fit into the pipe", of("unread"));
    });
}

/// Four threads that log; the library is put in.
const MAIN: &str = "\
public class Main {
    public static void main(String[] args) throws Exception {
        var log = LOGGER(\"app\");
        Thread[] threads = new Thread[4];
        for (int t = 0; t < 4; t++) {
            int worker = t;
            threads[t] = new Thread(() -> {
                for (int line = 0; line < Integer.parseInt(args[0]); line++) log.info(\"worker \" + worker + \" line \" + line);
            });
            threads[t].start();
        }
        for (Thread thread : threads) thread.join();
    }
}
";

/// A library for Java.
struct Library {
    config: &'static str,
    /// The property that names its configuration.
    property: &'static str,
    /// What makes a logger.
    logger: &'static str,
    jars: &'static [&'static str],
}

const LIBRARIES: [Library; 2] = [
    Library {
        config: "servers/log4j2.xml",
        property: "log4j2.configurationFile",
        logger: "org.apache.logging.log4j.LogManager.getLogger",
        jars: &["log4j-api.jar", "log4j-core.jar"],
    },
    Library {
        config: "servers/logback.xml",
        property: "logback.configurationFile",
        logger: "org.slf4j.LoggerFactory.getLogger",
        jars: &["slf4j-api.jar", "logback-core.jar", "logback-classic.jar"],
    },
];

#[test]
fn java_logs_each_line_of_many_threads_by_log4j2_and_logback() {
    let lines = work(500);
    for library in LIBRARIES {
        let jars: Vec<String> = library.jars.iter().map(|jar| format!("/usr/share/java/{jar}")).collect();
        if !jars.iter().all(|jar| Path::new(jar).exists()) {
            not_run::note(&jars.join(" "));
            continue;
        }
        where_there_is("java", || {
            let logs = run(library.config, |config| {
                let main = Path::new(config).with_file_name("Main.java");
                fs::write(&main, MAIN.replace("LOGGER", library.logger)).expect("a file");
                let mut java = as_user("java");
                java.args([&format!("-D{}={config}", library.property), "-XX:TieredStopAtLevel=1"]);
                java.args(["-cp", &jars.join(":")]).arg(main).arg(lines.to_string());
                java
            });
            check_workers(&logs, lines);
        });
    }
}
