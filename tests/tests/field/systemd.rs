//! `examples/systemd`: systemd takes the units, calls them well confined, and boots with them.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::example::{BIN, example, programs, read};
use standpipe_tests::deadline::within;
use standpipe_tests::directory::{Scratch, set_mode};
use standpipe_tests::not_run;
use standpipe_tests::privilege::{needs_root, needs_tool, needs_tools};
use standpipe_tests::programs::{self, Launch, Process, command};

const UNITS: [&str; 3] = ["holder", "reader", "tailer"];
/// The servers' drop-ins, by the units that they are for.
const SERVERS: [&str; 4] = ["nginx", "postgresql@", "redis-server", "apache2"];
/// What `systemd-analyze security` may give a unit, in tenths: 10 is "SAFE", a unit without any care has 92.
const EXPOSURE_MAX: &str = "--threshold=10";

fn said(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().expect("a program");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn systemd_takes_the_units_and_the_servers_drop_ins() {
    needs_tool("systemd-analyze", || {
        let scratch = Scratch::new();
        let mut names = Vec::new();
        for unit in UNITS {
            let text = read(&format!("systemd/{unit}.service"));
            assert!(text.contains(&format!("\nExecStart={BIN}/{unit} ")), "{unit}");
            names.push(scratch.path().join(format!("{unit}.service")));
            fs::write(names.last().expect("a name"), text.replace(BIN, &programs())).expect("a unit");
        }
        fs::copy(example("systemd/standpipe-fifo@.service"), scratch.path().join("standpipe-fifo@.service"))
            .expect("a unit");
        for (unit, dir) in SERVERS.map(|unit| (unit, format!("{unit}.service.d"))) {
            let drop_in = read(&format!("systemd/{dir}/standpipe.conf"));
            assert!(drop_in.contains(&format!("/etc/systemd/system/{dir}/standpipe.conf")), "{unit}");
            fs::create_dir(scratch.path().join(&dir)).expect("a directory");
            fs::write(scratch.path().join(&dir).join("standpipe.conf"), drop_in).expect("a drop-in");
            names.push(scratch.path().join(format!("{unit}.service").replace('@', "@15-main")));
            fs::write(scratch.path().join(format!("{unit}.service")), "[Service]\nExecStart=/bin/true\n")
                .expect("a unit");
        }
        let dir = scratch.path().join("reader.service.d");
        fs::create_dir(&dir).expect("a directory");
        fs::copy(example("systemd/reader.service.d/hooks-with-network.conf"), dir.join("hooks.conf")).expect("a copy");
        names.push(scratch.path().join("ship.service"));
        let (there, here) = ("/usr/local/lib/ship-archives", example("ops/ship-archives").display().to_string());
        let ship = read("ops/ship-archives/ship.service").replace(there, &here);
        assert!(ship.contains(&format!("\nExecStart={here}/ship --write-only ")), "{ship}");
        fs::write(names.last().expect("a name"), ship).expect("a unit");
        let mut verify = command("systemd-analyze");
        verify.args(["verify", "--man=no"]).args(&names);
        let (ok, said) = said(verify.env("SYSTEMD_UNIT_PATH", format!("{}:", scratch.path().display())));
        let ours: Vec<_> = said.lines().filter(|line| line.contains(&scratch.path().display().to_string())).collect();
        assert!(ok && ours.is_empty(), "{said}");
    });
}

#[test]
fn the_units_are_well_confined() {
    needs_tool("systemd-analyze", || {
        let scratch = Scratch::new();
        for unit in UNITS {
            // Alone in its directory: drop-ins beside it would count.
            let path = scratch.path().join(format!("{unit}.service"));
            fs::copy(example(&format!("systemd/{unit}.service")), &path).expect("a copy");
            let mut security = command("systemd-analyze");
            let (ok, said) = said(security.args(["security", "--offline=true", "--no-pager", EXPOSURE_MAX]).arg(&path));
            assert!(ok && said.contains("Overall exposure level"), "{said}");
        }
    });
}

/// What runs in the container once all is up. Each part is killed, and restarted in order, while nginx is under load.
const JOB: &str = r#"
set -eu
main_pid() { systemctl show --property=MainPID --value "$1"; }
stat -c '%n %U:%G %a' /run/standpipe/* /var/log/standpipe/*
ab -q -k -n "$REQUESTS" -c 4 http://127.0.0.1/ >/load 2>&1 &
for unit in holder reader tailer; do
    echo "before $unit" >>/var/log/app.log
    before=$(main_pid $unit)
    systemctl kill --signal=KILL $unit
    until after=$(main_pid $unit); [ "$after" != "$before" ] && systemctl is-active --quiet $unit; do sleep 0.02; done
    systemctl reload $unit
    systemctl restart $unit
done
kill -USR1 "$(cat /run/nginx.pid)"
wait
redis-cli ping
grep -E '^(Complete|Failed|Non-2xx)' /load
systemctl kill --signal=ALRM reader
until ls /var/log/standpipe/nginx-access/.hooked-* >/dev/null 2>&1; do sleep 0.02; done
# Without its FIFO, or with a file in its place, a server does not start, and makes none.
fifo=/run/standpipe/nginx-error
systemctl stop nginx
for there in nothing file; do
    rm -f $fifo
    [ $there = nothing ] || : >$fifo
    ! systemctl start nginx || echo "started with $there in place of its FIFO"
    [ -p $fifo ] || [ -s $fifo ] || echo "no log in place of it: $there"
    # The journal has it a moment later on a busy machine.
    for _ in $(seq 100); do
        ! systemctl status standpipe-fifo@nginx-error | grep -o "$fifo is not a FIFO: .*" || break
        sleep 0.1
    done
    systemctl reset-failed nginx standpipe-fifo@nginx-error
done
rm $fifo
systemd-tmpfiles --create standpipe.conf
systemctl start nginx
echo "started with its FIFO"
"#;

const REQUESTS: usize = 20_000;
/// How long it may take from its start to its end.
const BOOT_SPAN: Duration = Duration::from_secs(120);

/// The directory that is booted: what is not below `/usr`, which is this machine's.
struct Root(Scratch);

impl Root {
    fn new() -> Root {
        let scratch = Scratch::new();
        scratch.give_to(0);
        let root = Root(scratch);
        for link in ["bin", "sbin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), root.0.path().join(link)).expect("a link");
        }
        for dir in ["usr", "proc", "sys", "dev", "tmp", "root", "var/lib/nginx", "var/log/nginx"] {
            root.make_dir(dir);
        }
        let bin = format!("over{BIN}");
        for unit in UNITS {
            root.copy(&programs::path(unit), &format!("{bin}/{unit}"));
            set_mode(&root.0.path().join(format!("{bin}/{unit}")), 0o755);
        }
        root.copy(Path::new("/etc/os-release"), "etc/os-release");
        // Not the first boot, at which systemd enables whatever a distribution has.
        root.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        root.write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nredis:x:120:120::/:/bin/sh\n",
        );
        root.write("etc/group", "root:x:0:\nadm:x:4:\nwww-data:x:33:\nredis:x:120:\n");
        root
    }

    fn make_dir(&self, name: &str) {
        fs::create_dir_all(self.0.path().join(name)).expect("a directory");
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    fn copy(&self, from: &Path, name: &str) {
        let text = fs::read(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()));
        self.write(name, "");
        fs::write(self.0.path().join(name), text).expect("a file");
    }

    fn lines(&self, pipe: &str) -> Vec<String> {
        let root = self.0.path().join("var/log/standpipe");
        let output = Launch::new("reader").as_tests().args(["logs", pipe, "--logs"]).arg(root).run();
        assert!(output.stderr.is_empty(), "{}", output.stderr);
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    fn said(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.0.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// systemd-nspawn with this directory.
    fn nspawn(&self) -> Command {
        let mut nspawn = command("systemd-nspawn");
        nspawn.args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--directory"]).arg(self.0.path());
        nspawn.arg(format!("--overlay-ro=/usr:{}/over/usr:/usr", self.0.path().display()));
        nspawn.stdin(Stdio::null());
        nspawn
    }

    /// Boots it into a target. Whether it has shut down in time, and what systemd said.
    fn boot(&self, target: &str) -> (bool, String) {
        let console = fs::File::create(self.0.path().join("console")).expect("a file");
        let mut boot = self.nspawn();
        boot.args(["--boot", &format!("systemd.unit={target}")]);
        boot.stdout(console.try_clone().expect("a descriptor")).stderr(console);
        let mut boot = Process::start(&mut boot);
        let mut status = None;
        within(BOOT_SPAN, || {
            status = boot.try_wait().expect("our own child");
            status.is_some()
        });
        (status.is_some_and(|status| status.success()), self.said("console"))
    }

    /// The examples as their README installs them, for nginx and for a file that the tailer follows.
    fn install(&self) {
        for unit in UNITS {
            self.copy(&example(&format!("systemd/{unit}.service")), &format!("etc/systemd/system/{unit}.service"));
        }
        let fifo_unit = "standpipe-fifo@.service";
        self.copy(&example(&format!("systemd/{fifo_unit}")), &format!("etc/systemd/system/{fifo_unit}"));
        for server in ["nginx", "redis-server"] {
            let drop_in = format!("{server}.service.d/standpipe.conf");
            self.copy(&example(&format!("systemd/{drop_in}")), &format!("etc/systemd/system/{drop_in}"));
        }
        self.copy(&example("systemd/standpipe.sysusers"), "etc/sysusers.d/standpipe.conf");
        self.copy(&example("systemd/standpipe.sysctl"), "etc/sysctl.d/standpipe.conf");
        let tmpfiles = ["nginx", "redis"].iter().fold(read("systemd/standpipe.tmpfiles"), |text, server| {
            text.replace(&format!("\n#p /run/standpipe/{server}"), &format!("\np /run/standpipe/{server}"))
        });
        let app = "p /run/standpipe/app 0660 root standpipe -\n";
        self.write("etc/tmpfiles.d/standpipe.conf", &format!("{tmpfiles}{app}"));
        self.make_dir("etc/standpipe/pipes.d");
        for pipe in ["nginx-access", "nginx-error", "redis", "app"] {
            let link = self.0.path().join("etc/standpipe/pipes.d").join(pipe);
            symlink(format!("/run/standpipe/{pipe}"), link).expect("a link");
        }
        let hook =
            "hook = [\"/bin/sh\", \"-c\", \"cd /var/log/standpipe/$STANDPIPE_PIPE && : >.hooked-$STANDPIPE_LINES\"]\n";
        self.write(
            "etc/standpipe/pipes.d/defaults.toml",
            &format!("logs = \"/var/log/standpipe\"\nkeep_free = \"off\"\n{hook}"),
        );
        self.write("etc/standpipe/pipes.d/app.toml", "stage = true\n");
        self.write(
            "etc/standpipe/tailer.toml",
            "state_file = \"/var/lib/standpipe/tailer.json\"\n[[files]]\npath = \"/var/log/app.log\"\n\
             pipe = \"/run/standpipe/app\"\nstart_at = \"beginning\"\n",
        );
        self.write("var/log/app.log", "");
        let log = self.0.path().join("var/log/app.log");
        chown(&log, Some(0), Some(4)).expect("a file of the group adm");
        set_mode(&log, 0o640);
        self.copy(&example("servers/nginx.conf"), "etc/nginx/nginx.conf");
        self.write("var/www/html/index.html", "hello\n");
        let dir = "dir /var/lib/redis\nsave \"\"\n";
        self.write("etc/redis/redis.conf", &format!("{}{dir}", read("servers/redis.conf")));
        self.make_dir("var/lib/redis");
        chown(self.0.path().join("var/lib/redis"), Some(120), Some(120)).expect("a directory of redis");
        self.write(
            "etc/systemd/system/job.target",
            "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\nAllowIsolate=yes\n\
             Wants=holder.service reader.service tailer.service nginx.service redis-server.service job.service\n",
        );
        self.write("job.sh", JOB);
        self.write(
            "etc/systemd/system/job.service",
            &format!(
                "[Unit]\nAfter=nginx.service redis-server.service tailer.service\n[Service]\nType=oneshot\nEnvironment=REQUESTS={REQUESTS}\n\
                 ExecStart=/bin/sh /job.sh\nExecStopPost=/bin/systemctl exit\n\
                 StandardOutput=file:/said\nStandardError=file:/said\n"
            ),
        );
    }
}

/// Runs a test that boots a container. A machine that is itself a container, and may boot none, is excused.
fn needs_container(test: impl FnOnce(&Root)) {
    needs_root(|| {
        needs_tool("systemd-nspawn", || {
            let root = Root::new();
            let (ok, console) = root.boot("exit.target");
            if ok {
                test(&root);
            } else {
                not_run::note(&format!("a machine that boots a container: {}", console.lines().last().unwrap_or("?")));
            }
        });
    });
}

#[test]
fn a_machine_boots_with_them_and_loses_no_line_though_each_is_killed_and_all_is_shut_down() {
    needs_tools(&["nginx", "ab", "redis-server", "redis-cli"], || needs_container(boot));
}

fn boot(root: &Root) {
    root.install();
    let (ended, console) = root.boot("job.target");
    let job = root.said("said");
    assert!(ended, "it does not shut down:\n{job}\n{console}");
    for line in [
        "/run/standpipe/nginx-access www-data:standpipe 660",
        "/run/standpipe/redis redis:standpipe 660",
        "/run/standpipe/app root:standpipe 660",
        "/run/standpipe/app.stage standpipe:standpipe 660",
        "/var/log/standpipe/nginx-access standpipe:standpipe 2750",
        "Failed requests:        0",
        "no log in place of it: nothing",
        "no log in place of it: file",
        "started with its FIFO",
    ] {
        assert!(job.lines().any(|said| said == line), "{line}:\n{job}\n{console}");
    }
    assert!(!job.contains("in place of its FIFO"), "{job}");
    assert!(job.contains("nginx-error is not a FIFO: move away what is there, if anything"), "{job}\n{console}");
    let mut access = root.lines("nginx-access");
    assert_eq!(access.len(), REQUESTS, "{job}");
    access.sort_unstable();
    access.dedup();
    assert_eq!(access.len(), REQUESTS, "each line is there once");
    // What it writes while the machine goes down.
    let redis = root.lines("redis");
    assert!(redis.last().is_some_and(|line| line.contains("bye bye")), "{redis:?}");
    assert_eq!(root.lines("app"), ["before holder", "before reader", "before tailer"], "{job}");
}

#[test]
fn what_a_user_has_to_choose_is_commented_out() {
    let active = |name: &str| {
        let text = read(name);
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(active("systemd/standpipe.sysctl"), [] as [&str; 0]);
    assert_eq!(active("systemd/standpipe.tmpfiles"), ["d /run/standpipe 0755 standpipe standpipe -"]);
}
