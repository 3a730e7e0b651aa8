//! A hostile tenant beside an honest one: whatever he does with his own files and pipes, lines of the other are
//! delivered within a second, the tailer ends in time, and nothing is lost.

mod support_c;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use standpipe_tests::deadline::within;
use standpipe_tests::privilege::{is_root, needs_tool};
use standpipe_tests::process::{Process, command};
use standpipe_tests::scratch::make_fifo;

use support_c::log::{Log, numbered, rename_and_create};
use support_c::sink::Drain;
use support_c::{Owner, Tailing};

/// Within what the lines of the honest one come.
const LATENCY_MAX: Duration = Duration::from_secs(1);
/// Within what the tailer ends: two seconds, and one for a machine that has other things to do.
const STOP_MAX: Duration = Duration::from_secs(3);
const PROBES: usize = 20;
/// The user whom nobody trusts, where there are rights to be him.
const TENANT: u32 = 12_345;

/// A tailer that follows the log of an honest tenant into its standard output, and what a hostile one has.
struct House {
    stand: Tailing,
    honest: Log,
}

impl House {
    fn new() -> House {
        let stand = Tailing::to_stdout(Owner::Tailer);
        stand.scratch.make_dir("tenant");
        if is_root() {
            // The tailer runs as root, below whose directories the tenants have theirs.
            for own in [stand.scratch.path(), &stand.work("")] {
                lchown(own, Some(0), Some(0)).unwrap();
            }
        }
        let honest = stand.log("honest.log", 1);
        House { stand, honest }
    }

    /// A path in the hostile one's directory.
    fn at(&self, name: &str) -> PathBuf {
        self.stand.scratch.path().join("tenant").join(name)
    }

    /// All that he made is his.
    fn give(&self) {
        if is_root() {
            give_all(&self.at(""));
        }
    }

    /// Follows the honest log, and what a table says of the hostile ones.
    fn start(&mut self, general: &str, files: &[(&str, &str)]) {
        let mut tables = vec![("honest.log", "")];
        tables.extend(files);
        self.stand.configure(general, &tables);
        let launch = self.stand.launch();
        self.stand.start_by(if is_root() { launch.as_tests() } else { launch });
    }

    /// Writes line after line into the honest log; each is there in time.
    fn probe(&mut self) {
        let mut latest = Duration::ZERO;
        for _ in 0..PROBES {
            let before = self.stand.lines_delivered();
            let began = Instant::now();
            self.honest.write(1);
            let is_there = within(10 * LATENCY_MAX, || self.stand.lines_delivered() > before);
            assert!(is_there, "not after {:?}:\n{}", began.elapsed(), self.stand.daemon().stderr());
            latest = latest.max(began.elapsed());
        }
        assert!(latest < LATENCY_MAX, "a line took {latest:?}:\n{}", self.stand.daemon().stderr());
    }

    /// Ends the tailer in time, with each honest line delivered once; what it said.
    fn stop(mut self) -> String {
        let began = Instant::now();
        let said = self.stand.stop();
        let took = began.elapsed();
        assert!(took < STOP_MAX, "it took {took:?} to end:\n{said}");
        let tally = self.stand.tally(&[&self.honest]);
        assert!(tally.is_whole(), "{tally:?}\n{said}");
        said
    }
}

fn give_all(path: &Path) {
    lchown(path, Some(TENANT), Some(TENANT)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path());
        }
    }
}

/// The lock by which tailers tell each other that a staging pipe is in use.
fn lock(pipe: &File) {
    let (kind, whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    let lock = libc::flock { l_type: kind, l_whence: whence, l_start: 1, l_len: 1, l_pid: 0 };
    fcntl(pipe, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
}

#[test]
fn who_locks_his_staging_pipe_waits_alone() {
    let mut house = House::new();
    let (fifo, stage) = (house.at("T"), house.at("T.stage"));
    for path in [&fifo, &stage] {
        make_fifo(path, 0o660);
    }
    fs::write(house.at("T.log"), "his own line\n").unwrap();
    house.give();
    let drain = Drain::start(&fifo);
    let holder = File::options().read(true).write(true).open(&stage).unwrap();
    lock(&holder);
    house.start("", &[("../tenant/T.log", &format!("pipe = {fifo:?}\n"))]);
    house.stand.daemon().wait_line("T.stage: another tailer or another program has its lock; waiting");
    house.probe();
    assert_eq!(drain.bytes(), b"");
    drop(holder);
    let own = File::options().read(true).write(true).open(&stage).unwrap();
    let is_there = within(10 * LATENCY_MAX, || drain.bytes() == b"his own line\n");
    assert!(is_there, "{}", house.stand.daemon().stderr());
    // Meanwhile, in a pipe that takes the place of the one in use.
    fs::remove_file(&stage).unwrap();
    make_fifo(&stage, 0o660);
    house.give();
    let other = File::options().read(true).write(true).open(&stage).unwrap();
    lock(&other);
    let mut log = File::options().append(true).open(house.at("T.log")).unwrap();
    log.write_all(b"another\n").unwrap();
    house.stand.daemon().wait_lines("has its lock; waiting", 2);
    house.probe();
    assert_eq!(drain.bytes(), b"his own line\n");
    house.stop();
    drop(own);
}

/// Takes a write lease on each of these files as the tenant, and takes it again whenever it is broken.
fn lease(paths: &[PathBuf]) -> Process {
    const SCRIPT: &str = "
        use Fcntl qw(F_SETLEASE F_WRLCK);
        $SIG{IO} = sub {};
        my @files = map { open(my $file, '+<', $_) or die; $file } @ARGV;
        fcntl($_, F_SETLEASE, F_WRLCK) or die \"no lease: $!\" for @files;
        $| = 1;
        print \"taken\\n\";
        while (1) { fcntl($_, F_SETLEASE, F_WRLCK) for @files; select(undef, undef, undef, 0.01); }
    ";
    let mut perl = command("perl");
    perl.arg("-e").arg(SCRIPT).args(paths).stdout(Stdio::piped());
    if is_root() {
        perl.uid(TENANT).gid(TENANT);
    }
    let mut process = Process::start(&mut perl);
    let mut said = [0; 6];
    process.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(said, *b"taken\n");
    process
}

/// Packs a file and removes it, as rotators do.
fn pack(path: &Path) -> PathBuf {
    assert!(command("gzip").arg(path).status().unwrap().success());
    PathBuf::from(format!("{}.gz", path.display()))
}

#[test]
fn who_has_leases_on_his_files_delays_his_own_lines_alone() {
    needs_tool("perl", || {
        let mut house = House::new();
        let spool = house.stand.scratch.make_dir("tenant/spool");
        let fifo = house.at("spooled");
        make_fifo(&fifo, 0o660);
        let drain = Drain::start(&fifo);
        let path = house.stand.scratch.make_dir("tenant/logs").join("app.log");
        let mut his = Log::open(&path, 2, Owner::Tailer);
        his.write(10);
        house.give();
        let keys = format!("[[spool]]\ndir = {spool:?}\npipe = {fifo:?}\n");
        let tables = [("../tenant/logs/app.log", "")];
        let configured = |house: &mut House| house.start(&keys, &tables);
        configured(&mut house);
        house.stand.wait_delivered(&[&his]);
        house.stand.stop();
        // What was rotated meanwhile: twice, and packed once.
        for _ in 0..2 {
            his.write(10);
            rename_and_create(&mut his);
            his.write(10);
        }
        let packed = pack(&numbered(&path, 2));
        fs::write(spool.join("whole"), "spooled\n").unwrap();
        // A lease is for a file that nobody else has open.
        drop(his.reopen_elsewhere(&house.at("unfollowed")));
        house.give();
        let holder = lease(&[path.clone(), numbered(&path, 1), packed, spool.join("whole")]);
        configured(&mut house);
        house.probe();
        let began = Instant::now();
        house.stand.stop();
        assert!(began.elapsed() < STOP_MAX, "it took {:?} to end", began.elapsed());
        configured(&mut house);
        house.probe();
        drop(holder);
        house.stand.wait_delivered(&[&house.honest, &his]);
        let is_there = within(10 * LATENCY_MAX, || drain.bytes() == b"spooled\n");
        assert!(is_there, "{}", house.stand.daemon().stderr());
        let tally = house.stand.tally(&[&house.honest, &his]);
        assert!(tally.is_whole(), "{tally:?}\n{}", house.stand.daemon().stderr());
        house.stand.stop();
    });
}
