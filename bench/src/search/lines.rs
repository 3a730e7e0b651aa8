//! The text that searches go through: three logs that nobody wrote, the same at every run, and no line of it twice.
//!
//! An access log whose clients and paths follow Zipf's law, a JSON log of services with ids of traces, and a syslog.
//! Each is spread over about a day, its lines at random moments; ids are random and never come again. About one line in
//! a hundred has the word [`MATCH`] in it.

use std::fmt::{self, Display};
use std::io::Write;

/// Stands in about one line of a hundred.
pub const MATCH: &str = "healthz";
const MATCH_ONE_IN: u64 = 100;

/// The day of all lines begins: 2025-11-21T00:00:00Z.
pub const DAY_BEGIN_NS: i64 = 1_763_683_200_000_000_000;
/// How long it is.
pub const DAY_NS: i64 = 86_400_000_000_000;
const DAY: u64 = 21;
/// No two lines arrive at the same time.
const STEP_NS_MIN: i64 = 1000;

const CLIENTS: usize = 50_000;
const PATHS: usize = 5_000;

const WORDS: [&str; 16] = [
    "orders", "items", "cart", "search", "users", "invoices", "images", "static", "reviews", "stock", "prices",
    "sessions", "reports", "payments", "shipping", "feeds",
];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:{}.0) Gecko/20100101 Firefox/{}.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}",
    "curl/8.{}.1",
    "okhttp/4.{}.0",
];
const STATUSES: [u16; 12] = [200, 200, 200, 200, 200, 200, 200, 304, 301, 404, 500, 206];
const METHODS: [&str; 6] = ["GET", "GET", "GET", "GET", "POST", "PUT"];
const SERVICES: [&str; 10] =
    ["checkout", "catalogue", "payments", "auth", "mailer", "stock", "search", "gateway", "reports", "images"];
const LEVELS: [&str; 12] =
    ["info", "info", "info", "info", "info", "info", "info", "debug", "debug", "debug", "warn", "error"];
const USERS: [&str; 8] = ["deploy", "root", "admin", "backup", "git", "postgres", "www-data", "oracle"];

/// Which log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of a web server.
    Web,
    /// Of services, in JSON.
    App,
    /// Of machines.
    Sys,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Web, Kind::App, Kind::Sys];

    /// The name of its pipe.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Web => "web",
            Kind::App => "app",
            Kind::Sys => "sys",
        }
    }

    /// About, a line.
    fn bytes_a_line(self) -> f64 {
        match self {
            Kind::Web => 243.0,
            Kind::App => 366.0,
            Kind::Sys => 118.0,
        }
    }
}

/// Lines one after the other.
pub struct Lines {
    kind: Kind,
    random: Random,
    clients: Zipf,
    paths: Zipf,
    /// Of the last line.
    time_ns: i64,
    /// Between two lines, on average.
    step_ns: f64,
}

impl Lines {
    /// Of a log that has `bytes` after a day.
    pub fn new(kind: Kind, bytes: u64) -> Lines {
        let step_ns = DAY_NS as f64 * kind.bytes_a_line() / bytes.max(1) as f64;
        let random = Random { state: 0x5eed + kind as u64 };
        Lines { kind, random, clients: Zipf::of(CLIENTS), paths: Zipf::of(PATHS), time_ns: DAY_BEGIN_NS, step_ns }
    }

    /// Adds the next line to `text`. When it arrives, nanoseconds since the epoch.
    pub fn push_next(&mut self, text: &mut Vec<u8>) -> i64 {
        let wait = -(1.0 - self.random.unit()).ln() * self.step_ns;
        self.time_ns += (wait as i64).max(STEP_NS_MIN);
        let is_match = self.random.below(MATCH_ONE_IN) == 0;
        // A Vec takes all that is written to it.
        let _infallible = match self.kind {
            Kind::Web => self.web(text, is_match),
            Kind::App => self.app(text, is_match),
            Kind::Sys => self.sys(text, is_match),
        };
        text.push(b'\n');
        self.time_ns
    }

    fn clock(&self) -> Clock {
        Clock((self.time_ns - DAY_BEGIN_NS) as u64)
    }

    fn web(&mut self, text: &mut Vec<u8>, is_match: bool) -> std::io::Result<()> {
        let (clock, client) = (self.clock(), self.clients.draw(&mut self.random));
        let (path, referer) = (self.paths.draw(&mut self.random), self.paths.draw(&mut self.random));
        let r = &mut self.random;
        write!(text, "{} - - [{:02}/Nov/2025:{clock} +0000] \"", Address(client), DAY + clock.days())?;
        // A path has its method and size, a client its agent; most of the time.
        let kind = if r.below(8) == 0 { r.next() } else { mix(path) };
        if is_match {
            write!(text, "GET /{MATCH} HTTP/1.1\" 200 2")?;
        } else {
            let (method, status) = (one_of(&METHODS, kind), one_of(&STATUSES, kind >> 8));
            write!(text, "{method} {} HTTP/1.1\" {status} {}", Path(path), (kind >> 16) % 60_000)?;
        }
        let agent = one_of(&AGENTS, mix(client)).replace("{}", &(90 + mix(client) / 7 % 50).to_string());
        write!(text, " \"https://shop.example.org{}\" \"{agent}\" 0.{:03} ", Path(referer), r.below(1000))?;
        write!(text, "{}{}", Hex(r.next()), Hex(r.next()))
    }

    fn app(&mut self, text: &mut Vec<u8>, is_match: bool) -> std::io::Result<()> {
        let (clock, user) = (self.clock(), self.clients.draw(&mut self.random));
        let r = &mut self.random;
        let (level, service) = (one_of(&LEVELS, r.next()), one_of(&SERVICES, r.next()));
        let (date, host) = (DAY + clock.days(), r.below(6));
        write!(text, r#"{{"ts":"2025-11-{date:02}T{clock}.{:03}Z","level":"{level}","#, clock.micros() / 1000)?;
        write!(text, r#""service":"{service}","env":"production","region":"eu-central-1","host":"{service}-{host}","#)?;
        write!(text, r#""logger":"org.example.shop.{service}.RequestHandler","thread":"worker-{}","#, r.below(16))?;
        write!(text, r#""trace_id":"{}{}","span_id":"{}","#, Hex(r.next()), Hex(r.next()), Hex(r.next()))?;
        write!(text, r#""user_id":{},"duration_ms":{},"msg":""#, user * 37 + 1000, r.below(400))?;
        match (is_match, r.below(8)) {
            (true, _) => write!(text, "probe of /{MATCH} answered by {}", Address(r.below(200)))?,
            (_, 0) => write!(text, "order {} placed, {} items", r.uuid(), r.below(30) + 1)?,
            (_, 1) => write!(text, "payment {} authorised: {}.{:02} EUR", r.uuid(), r.below(900), r.below(100))?,
            (_, 2) => write!(text, "retrying upstream {service}-{}: connection reset by peer", r.below(6))?,
            (_, 3) => write!(text, "cache miss for item:{}:v{}", r.below(2_000_000), r.below(9))?,
            (_, 4) => write!(text, "SELECT * FROM {} WHERE id = {}", one_of(&WORDS, r.next()), r.below(9_000_000))?,
            (_, 5) => write!(text, "session of user refreshed after {} s of silence", r.below(86_400))?,
            (_, 6) => write!(text, "{} of 500 messages delivered to {}", r.below(500), one_of(&SERVICES, r.next()))?,
            _ => write!(text, "rendered {} in {} us", Path(self.paths.draw(r)), r.below(90_000))?,
        }
        write!(text, r#""}}"#)
    }

    fn sys(&mut self, text: &mut Vec<u8>, is_match: bool) -> std::io::Result<()> {
        let (clock, client) = (self.clock(), Address(self.clients.draw(&mut self.random)));
        let r = &mut self.random;
        write!(text, "Nov {:02} {clock} node-{:02} ", DAY + clock.days(), r.below(40))?;
        let (user, number) = (one_of(&USERS, r.next()), r.below(60_000) + 1024);
        if is_match {
            return write!(text, "kubelet[812]: Probe succeeded url=http://{client}:8080/{MATCH} after {number} us");
        }
        match r.below(10) {
            0 => write!(
                text,
                "sshd[{number}]: Accepted publickey for {user} from {client} port {} ssh2",
                r.below(60_000)
            ),
            1 | 2 => {
                let port = r.below(60_000);
                write!(text, "sshd[{number}]: Failed password for invalid user {user} from {client} port {port} ssh2")
            }
            3 => write!(text, "systemd[1]: Started session-{}.scope - Session of User {user}.", r.below(9_000_000)),
            4 => write!(text, "CRON[{number}]: ({user}) CMD (command -v debian-sa1 > /dev/null && debian-sa1 1 1)"),
            5 => {
                write!(text, "kernel: [{}.{:06}] [UFW BLOCK] IN=eth0 OUT= ", clock.seconds() + 86_400, clock.micros())?;
                let (size, id) = (40 + r.below(20), r.below(65_536));
                write!(text, "MAC=52:54:00:12:34:56:fe:54:00:ab:cd:ef:08:00 SRC={client} DST=10.0.0.5 LEN={size} ")?;
                write!(text, "TOS=0x00 PREC=0x00 TTL=51 ID={id} PROTO=TCP SPT={number} DPT=22 WINDOW=1024 RES=0x00 SYN")
            }
            6 => write!(text, "postfix/smtpd[{number}]: connect from mail.example.net[{client}]"),
            7 => {
                write!(text, "postfix/qmgr[917]: {}: from=<{user}@example.org>, size={number}, nrcpt=1", Hex(r.next()))
            }
            8 => write!(text, "dnsmasq[644]: query[A] {user}-{number}.svc.example.net from {client}"),
            _ => {
                let (high, low) = (Hex(r.next()), Hex(r.next()));
                write!(text, "containerd[702]: level=info msg=\"shim disconnected\" id={high}{low} namespace=k8s.io")
            }
        }
    }
}

/// Numbers by chance, the same at every run (splitmix64, whose 2^64 numbers are all different).
struct Random {
    state: u64,
}

impl Random {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// From 0 to before 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn uuid(&mut self) -> Uuid {
        Uuid(self.next(), self.next())
    }
}

fn one_of<T: Copy>(all: &[T], number: u64) -> T {
    all[(number % all.len() as u64) as usize]
}

fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// Ranks of which the k-th comes 1/k as often as the first.
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    fn of(ranks: usize) -> Zipf {
        let weights = (1..=ranks).map(|rank| 1.0 / rank as f64);
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Zipf { sums: sums.collect() }
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let at = random.unit() * self.sums.last().copied().unwrap_or_default();
        self.sums.partition_point(|sum| *sum <= at) as u64
    }
}

/// Since the day began: shown as `10:00:00`.
#[derive(Clone, Copy)]
struct Clock(u64);

impl Clock {
    fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    fn micros(self) -> u64 {
        self.0 / 1000 % 1_000_000
    }

    fn days(self) -> u64 {
        self.seconds() / 86_400
    }
}

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.seconds();
        write!(f, "{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
    }
}

/// Of the client of this rank.
struct Address(u64);

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = mix(self.0 + 1).to_be_bytes();
        write!(f, "{}.{}.{}.{}", bytes[0] % 200 + 11, bytes[1], bytes[2], bytes[3])
    }
}

/// The path of this rank.
struct Path(u64);

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/api/v{}/{}/{}", self.0 % 3 + 1, one_of(&WORDS, self.0), self.0 * 17)
    }
}

struct Hex(u64);

impl Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

struct Uuid(u64, u64);

impl Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uuid(high, low) = *self;
        write!(f, "{:08x}-{:04x}-4{:03x}-", high >> 32, high >> 16 & 0xFFFF, high & 0xFFF)?;
        write!(f, "{:04x}-{:012x}", low >> 48 & 0x3FFF | 0x8000, low & 0xFFFF_FFFF_FFFF)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LINES: usize = 20_000;

    fn text(kind: Kind) -> (Vec<u8>, Vec<i64>) {
        let (mut text, mut lines) = (Vec::new(), Lines::new(kind, 5_000_000));
        let times = (0..LINES).map(|_| lines.push_next(&mut text)).collect();
        (text, times)
    }

    #[test]
    fn lines_are_different_and_the_same_at_every_run() {
        for kind in Kind::ALL {
            let (text, times) = text(kind);
            assert_eq!((&text, &times), (&self::text(kind).0, &self::text(kind).1));
            let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
            assert_eq!(lines.iter().collect::<HashSet<_>>().len(), LINES, "{kind:?}");
            assert!(text.is_ascii() && times.is_sorted_by(|before, after| before < after), "{kind:?}");
        }
    }

    #[test]
    fn a_log_is_spread_over_a_day_and_has_its_word_in_one_line_of_a_hundred() {
        for kind in Kind::ALL {
            let (text, times) = text(kind);
            let days = (times[LINES - 1] - DAY_BEGIN_NS) as f64 / DAY_NS as f64;
            let bytes = text.len() as f64 / 5_000_000.0;
            assert!((0.95..1.05).contains(&(days / bytes)), "{kind:?}: {bytes} of the bytes in {days} days");
            let matches = memchr::memmem::find_iter(&text, MATCH).count();
            assert!((LINES / 125..LINES / 80).contains(&matches), "{kind:?}: {matches}");
        }
    }

    #[test]
    fn a_uuid_has_the_form_of_one() {
        assert_eq!(Uuid(u64::MAX, u64::MAX).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(Uuid(0x1234, 0x5).to_string(), "00000000-0000-4234-8000-000000000005");
    }
}
