//! `examples/servers`: databases under load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::example::{at_home, example, programs, read};
use crate::stack::{Logs, Server, Stack, as_user, free_port, work};
use standpipe_tests::deadline::until;
use standpipe_tests::privilege::{give, needs_tools};
use standpipe_tests::world::stream_of;

/// Where a Debian has its newest `postgres`, which is not on the PATH.
fn postgres_dir() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.max_by_key(|version| version.file_name().to_string_lossy().parse::<u32>().unwrap_or_default());
    newest.map_or_else(PathBuf::new, |version| version.path().join("bin"))
}

/// A cluster that only its own user can connect to.
struct Cluster {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
}

impl Cluster {
    fn make(stack: &Stack, bin: &Path) -> Cluster {
        let dir = stack.scratch.path().join("cluster");
        let output = as_user(&bin.join("initdb").display().to_string())
            .args(["--no-sync", "--auth=trust", "--username=tests", "--locale=C", "-D"])
            .arg(&dir)
            .output()
            .expect("initdb");
        assert!(output.status.success(), "{output:?}");
        let cluster = Cluster { bin: bin.to_owned(), dir, port: free_port() };
        let sockets = stack.scratch.path().display();
        cluster.configure(&format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{sockets}'\nfsync = off\n\
             log_statement = all\nshared_buffers = 16MB\n",
            cluster.port
        ));
        cluster
    }

    fn configure(&self, more: &str) {
        let path = self.dir.join("postgresql.conf");
        let text = fs::read_to_string(&path).expect("a configuration");
        fs::write(path, format!("{text}\n{more}")).expect("a file");
    }

    fn tool(&self, name: &str) -> std::process::Command {
        let mut tool = as_user(&self.bin.join(name).display().to_string());
        tool.args(["-h", "127.0.0.1", "-U", "tests", "-p", &self.port.to_string()]);
        tool
    }

    /// pgbench: so many transactions of three statements by each of two clients.
    fn load(&self, transactions: usize, said: PathBuf) -> Server {
        let script = said.with_extension("sql");
        fs::write(&script, "BEGIN;\nSELECT :client_id;\nEND;\n").expect("a file");
        give(&script);
        let mut pgbench = self.tool("pgbench");
        pgbench.args(["-n", "-c", "2", "-t", &transactions.to_string(), "-f"]).arg(script).arg("postgres");
        Server::start(&mut pgbench, said)
    }

    fn wait_ready(&self, server: &mut Server) {
        until("it takes connections", || {
            assert!(server.is_running(), "{}", server.said());
            self.tool("pg_isready").output().is_ok_and(|output| output.status.success())
        });
    }
}

fn statements(lines: &[String], statement: &str) -> usize {
    lines.iter().filter(|line| line.contains(&format!("LOG:  statement: {statement}"))).count()
}

/// Each session's lines are numbered: none is missing, none is there twice.
fn check_sessions(logs: &Logs) {
    let mut sessions: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in logs.lines("postgresql").iter().filter(|line| !line.starts_with('\t')) {
        let word =
            line.split(' ').find(|word| word.split('.').count() == 2 && word.contains('-') && !word.contains(':'));
        let (session, number) =
            word.and_then(|word| word.split_once('-')).unwrap_or_else(|| panic!("no session: {line}"));
        sessions.entry(session.to_owned()).or_default().push(number.parse().expect("a number"));
    }
    assert!(sessions.len() > 2, "{sessions:?}");
    for (session, numbers) in sessions {
        // The postmaster's first lines went to its standard error, before it had a collector.
        let first = numbers[0];
        assert!(numbers.iter().copied().eq(first..first + numbers.len() as u32), "{session}: {numbers:?}");
    }
}

#[test]
fn postgresql_logs_every_statement_by_its_collector_and_into_reader_stdin() {
    let bin = postgres_dir();
    needs_tools(&[&bin.join("postgres").display().to_string()], || {
        let transactions = work(50);
        let mut stack = Stack::start(&["postgresql"]);
        let cluster = Cluster::make(&stack, &bin);
        let log = stack.scratch.make_dir("postgresql-log");
        into_stdin(&stack, &cluster, &log, transactions);
        cluster.configure(&at_home(&read("servers/postgresql.conf"), &stack.scratch));
        let mut postgres = as_user(&bin.join("postgres").display().to_string());
        let mut server =
            Server::start(postgres.arg("-D").arg(&cluster.dir), stack.scratch.path().join("postgres-said"));
        cluster.wait_ready(&mut server);
        let mut load = cluster.load(transactions, stack.scratch.path().join("pgbench"));
        stack.shake_while(|| load.is_running(), || ());
        let rotated =
            cluster.tool("psql").args(["-c", "SELECT pg_rotate_logfile()", "postgres"]).output().expect("psql");
        assert!(rotated.status.success(), "{rotated:?}");
        let said = load.finish();
        assert!(said.contains(&format!("actually processed: {0}/{0}", 2 * transactions)), "{said}");
        server.stop(Signal::SIGINT);
        let logs = stack.stop();
        let lines = logs.lines("postgresql");
        for statement in ["BEGIN", "SELECT 0", "SELECT 1", "END"] {
            let each = if statement.starts_with("SELECT") { transactions } else { 2 * transactions };
            assert_eq!(statements(&lines, statement), each, "{statement}");
        }
        check_sessions(&logs);
    });
}

/// `postgresql.sh`: without holder and FIFO.
fn into_stdin(stack: &Stack, cluster: &Cluster, log: &Path, transactions: usize) {
    assert!(example("servers/postgresql.sh").exists());
    let script = at_home(&read("servers/postgresql.sh"), &stack.scratch)
        .replace("/var/log/postgresql-reader", &log.display().to_string());
    let mut shell = as_user("sh");
    let path = format!("{}:{}:/usr/bin:/bin", cluster.bin.display(), programs());
    shell.args(["-c", &script, "postgresql.sh"]).arg(&cluster.dir).env("PATH", path);
    let mut server = Server::start(&mut shell, stack.scratch.path().join("postgresql-sh-said"));
    cluster.wait_ready(&mut server);
    cluster.load(transactions, stack.scratch.path().join("pgbench-stdin")).finish();
    let pid = fs::read_to_string(cluster.dir.join("postmaster.pid")).expect("a server that runs");
    let pid: i32 = pid.lines().next().and_then(|pid| pid.parse().ok()).expect("a number");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT).expect("a server that runs");
    server.finish();
    let stored = String::from_utf8(stream_of(log)).expect("text");
    let lines: Vec<String> = stored.lines().map(str::to_owned).collect();
    assert_eq!(statements(&lines, "END"), 2 * transactions);
    assert!(stored.contains("database system is shut down"), "the last line of all is there");
}

#[test]
fn redis_logs_every_connection_though_it_opens_the_pipe_for_each_line() {
    needs_tools(&["redis-server", "redis-benchmark", "redis-cli"], || {
        let mut stack = Stack::start(&["redis"]);
        let port = free_port();
        let config = stack.configure("servers/redis.conf", |text| text + "loglevel verbose\nsave \"\"\n");
        let mut redis = as_user("redis-server");
        redis.arg(config).args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(stack.scratch.path());
        let mut server = Server::start(&mut redis, stack.scratch.path().join("redis-said"));
        server.wait_listening(port);
        let mut bench = as_user("redis-benchmark");
        bench.args(["-p", &port.to_string(), "-q", "-k", "0", "-c", "4", "-t", "ping", "-n", &work(200).to_string()]);
        let mut load = Server::start(&mut bench, stack.scratch.path().join("redis-benchmark"));
        stack.shake_while(|| load.is_running(), || ());
        load.finish();
        let output = as_user("redis-cli").args(["-p", &port.to_string(), "info", "stats"]).output().expect("redis-cli");
        let stats = String::from_utf8_lossy(&output.stdout).into_owned();
        let received = stats.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        let received: usize = received.expect("a count").trim().parse().expect("a number");
        server.stop(Signal::SIGTERM);
        let lines = stack.stop().lines("redis");
        assert!(received > work(200));
        assert_eq!(lines.iter().filter(|line| line.contains("Accepted 127.0.0.1:")).count(), received);
        assert!(lines.last().is_some_and(|line| line.contains("bye bye")), "{:?}", lines.last());
    });
}
