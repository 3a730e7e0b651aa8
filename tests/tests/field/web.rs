//! `examples/servers`: web servers under load, and what reads their logs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::example::{at_home, read};
use crate::stack::{Logs, Server, Stack, as_user, free_port, work};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::privilege::{NOBODY, give, is_root, needs_tools};
use standpipe_tests::programs::{Daemon, Launch, command};
use standpipe_tests::world::stream_of;

/// ab for a page of a server at this port, so many times.
fn ab(scratch: &Scratch, port: u16, page: &str, requests: usize, keep: bool) -> Server {
    let mut ab = as_user("ab");
    ab.args(["-q", "-c", "4", "-n", &requests.to_string()]).args(keep.then_some("-k"));
    ab.arg(format!("http://127.0.0.1:{port}/{page}"));
    Server::start(&mut ab, scratch.path().join(format!("ab-{page}")))
}

/// No request failed, and as many were answered.
fn check_load(said: &str, requests: usize) {
    let number = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        line.trim().parse::<usize>().expect("a number")
    };
    assert_eq!((number("Complete requests:"), number("Failed requests:")), (requests, 0), "{said}");
}

fn page(scratch: &Scratch) {
    let www = scratch.make_dir("www");
    fs::write(www.join("index.html"), "hello\n").expect("a file");
}

/// The lines of a plain log that the server writes beside ours, sorted.
fn plain(path: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_to_string(path).expect("a log").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

/// A tailer that follows the plain log into a pipe of its own.
fn tail(stack: &Stack, plain: &Path) -> impl Fn() -> Daemon + use<> {
    let dir = stack.scratch.make_dir("tailer");
    let config = dir.join("tailer.toml");
    let text = format!(
        "state_file = \"{}/state.json\"\n[[files]]\npath = \"{}\"\npipe = \"{}\"\nstart_at = \"beginning\"\n",
        dir.display(),
        plain.display(),
        stack.scratch.run("tailed").display()
    );
    fs::write(&config, text).expect("a file");
    give(&config);
    move || Launch::new("tailer").arg("--config").arg(&config).start()
}

/// nginx with the example's configuration; root's has workers of another user, as a machine's.
fn nginx(stack: &Stack, port: u16) -> Server {
    let here = stack.scratch.path().display().to_string();
    page(&stack.scratch);
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|kind| format!("    {kind}_temp_path {here}/temp-{kind};\n")).concat();
    let edit = |text: String| {
        assert!(text.contains("/run/nginx.pid") && text.contains("listen 80 default_server;"));
        let text = text
            .replace("/run/nginx.pid", &format!("{here}/nginx.pid"))
            .replace("/var/www/html", &format!("{here}/www"));
        let text = text.replace("listen 80 default_server;", &format!("listen 127.0.0.1:{port};"));
        text.replace("    sendfile on;\n", &format!("{temporary}    access_log {here}/plain.log main;\n"))
    };
    let config = stack.configure("servers/nginx.conf", edit);
    let mut nginx = if is_root() { command("nginx") } else { as_user("nginx") };
    nginx.args(["-e", "stderr", "-g", "daemon off;", "-c"]).arg(config).current_dir("/");
    let mut nginx = Server::start(&mut nginx, stack.scratch.path().join("nginx-said"));
    nginx.wait_listening(port);
    nginx
}

#[test]
fn nginx_logs_every_request_though_holder_reader_and_tailer_are_killed_and_usr1_comes() {
    needs_tools(&["nginx", "ab"], || {
        let (requests, missing) = (work(3000), work(100));
        let mut stack = Stack::start(&["nginx-access", "nginx-error", "tailed"]);
        stack.scratch.write_policy("tailed.toml", "stage = true\n");
        let fifos = ["nginx-access", "nginx-error"].map(|pipe| stack.scratch.run(pipe));
        if is_root() {
            // As the example makes them: access of holder and reader comes from the group.
            for fifo in &fifos {
                chown(fifo, Some(0), Some(NOBODY)).expect("a FIFO");
                set_mode(fifo, 0o660);
            }
        }
        let port = free_port();
        let server = nginx(&stack, port);
        let plain_log = stack.scratch.path().join("plain.log");
        let start_tailer = tail(&stack, &plain_log);
        let mut tailer = start_tailer();
        let mut load = ab(&stack.scratch, port, "", requests, true);
        let errors = ab(&stack.scratch, port, "missing", missing, true);
        let meanwhile = || {
            tailer.kill9();
            tailer = start_tailer();
            server.signal(Signal::SIGUSR1);
        };
        stack.shake_while(|| load.is_running(), meanwhile);
        check_load(&load.finish(), requests);
        check_load(&errors.finish(), missing);
        for fifo in fifos.iter().filter(|_| is_root()) {
            let is = fs::metadata(fifo).expect("a FIFO");
            assert!(is.uid() != 0 && is.gid() == NOBODY && is.permissions().mode() & 0o777 == 0o660, "{is:?}");
        }
        server.stop(Signal::SIGQUIT);
        let bytes = fs::metadata(&plain_log).expect("a log").len();
        let log = stack.scratch.logs().join("tailed");
        until("the tailer has delivered all", || stream_of(&log).len() as u64 >= bytes);
        assert_eq!(tailer.terminate(), 0, "{}", tailer.stderr());
        let logs = stack.stop();
        let plain = plain(&plain_log);
        assert_eq!(plain.len(), requests + missing);
        assert!(logs.sorted("nginx-access") == plain, "{} of {}", logs.lines("nginx-access").len(), plain.len());
        assert!(logs.sorted("tailed") == plain, "{} of {}", logs.lines("tailed").len(), plain.len());
        let errors = logs.lines("nginx-error");
        let of_requests = errors.iter().filter(|line| line.contains("open() ") && line.contains("/missing\" failed"));
        assert_eq!(of_requests.count(), missing);
        report(&logs, plain.len());
    });
}

/// `GoAccess` takes every line of it.
fn report(logs: &Logs, lines: usize) {
    needs_tools(&["goaccess"], || {
        let script = at_home(&read("servers/goaccess.sh"), &logs.0).replace("-o \"${FORMAT:-html}\"", "-o json");
        let mut goaccess = as_user("sh");
        let output = goaccess.args(["-c", &script]).output().expect("a shell");
        let report: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        assert_eq!(report["general"]["valid_requests"], lines, "{}", report["general"]);
    });
}

/// What a Debian package gives Apache beside the example.
const APACHE: &str = "\
ServerName localhost
PidFile HERE/apache.pid
DefaultRuntimeDir HERE
Mutex file:HERE default
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule unique_id_module /usr/lib/apache2/modules/mod_unique_id.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
User #65534
Group #65534
Listen 127.0.0.1:PORT
DocumentRoot HERE/www
ServerLimit 4
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %O %{UNIQUE_ID}e\" combined
CustomLog HERE/plain.log combined
";

#[test]
fn apache_logs_every_request_through_graceful_restarts_and_kills() {
    needs_tools(&["apache2", "ab"], || {
        let requests = work(1000);
        let mut stack = Stack::start(&["apache-access", "apache-error"]);
        let port = free_port();
        page(&stack.scratch);
        let here = stack.scratch.path().display().to_string();
        let machine = APACHE.replace("HERE", &here).replace("PORT", &port.to_string());
        let config = stack.configure("servers/apache.conf", |text| machine + &text);
        let mut apache = if is_root() { command("apache2") } else { as_user("apache2") };
        apache.arg("-DFOREGROUND").arg("-f").arg(config).current_dir("/");
        let mut server = Server::start(&mut apache, stack.scratch.path().join("apache-said"));
        server.wait_listening(port);
        let mut load = ab(&stack.scratch, port, "", requests, false);
        stack.shake_while(|| load.is_running(), || server.signal(Signal::SIGUSR1));
        check_load(&load.finish(), requests);
        server.insist(Signal::SIGTERM);
        let logs = stack.stop();
        let plain = plain(Path::new(&format!("{here}/plain.log")));
        let ours = logs.sorted("apache-access");
        let odd = ours.iter().zip(&plain).find(|(ours, plain)| ours != plain);
        assert!(ours == plain, "{} of {}, the first that differ: {odd:?}", ours.len(), plain.len());
        let answered = plain.iter().filter(|line| line.contains("\"GET / HTTP/1.0\" 200"));
        assert_eq!(answered.count(), requests);
        assert!(logs.lines("apache-error").iter().any(|line| line.contains("resuming normal operations")));
    });
}

/// Its configuration beside the example's jail: nothing is banned for real, and what would be is noted in a file.
const NOTE: &str = "[Definition]\nactionban = echo <ip> >>HERE/banned\nactionunban = true\n";

#[test]
fn fail2ban_reads_the_log_through_rotations() {
    needs_tools(&["fail2ban-server"], || {
        let stack = Stack::start(&["nginx-access"]);
        let here = stack.scratch.path().display().to_string();
        let mut copy = command("cp");
        assert!(copy.args(["-r", "/etc/fail2ban"]).arg(stack.scratch.path()).status().expect("cp").success());
        let dir = stack.scratch.path().join("fail2ban");
        for entry in fs::read_dir(dir.join("jail.d")).expect("a directory").flatten() {
            fs::remove_file(entry.path()).expect("a file");
        }
        let jail = at_home(&read("servers/fail2ban.conf"), &stack.scratch) + "action = note\n";
        fs::write(dir.join("jail.d/standpipe.conf"), jail).expect("a file");
        fs::write(dir.join("action.d/note.conf"), NOTE.replace("HERE", &here)).expect("a file");
        let fifo = stack.scratch.run("nginx-access");
        let put = |address: &str| {
            let line = format!("{address} - - [{}] \"GET /.env HTTP/1.1\" 404 0 \"-\" \"-\" 0\n", now());
            fs::write(&fifo, line.repeat(3)).expect("a FIFO that is held");
        };
        let mut server = command("fail2ban-server");
        let main = dir.join("fail2ban.local");
        fs::write(main, "[Definition]\ndbfile = None\n").expect("a file");
        server.args(["-f", "--logtarget", "STDOUT", "-c"]).arg(&dir);
        server.args(["-s", &format!("{here}/f2b.sock"), "-p", &format!("{here}/f2b.pid"), "start"]).current_dir("/");
        let banned = || fs::read_to_string(format!("{here}/banned")).unwrap_or_default();
        until("the log is there", || stack.scratch.logs().join("nginx-access/current").exists());
        let server = Server::start(&mut server, stack.scratch.path().join("fail2ban-said"));
        until("the jail is at work", || server.said().contains("Jail 'nginx-probes' started"));
        for address in ["192.0.2.1", "192.0.2.2"] {
            put(address);
            until(&format!("{address} is banned:\n{}", server.said()), || banned().contains(address));
            stack.rotate();
        }
        server.stop(Signal::SIGTERM);
        assert_eq!(stack.stop().lines("nginx-access").len(), 6);
    });
}

/// Now, as nginx writes it.
fn now() -> String {
    let output = command("date").args(["+%d/%b/%Y:%T %z"]).env("LC_ALL", "C").output().expect("date");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
