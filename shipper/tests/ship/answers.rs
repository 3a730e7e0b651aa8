//! What the receiver answers, and what becomes of the lines.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;

use super::sink::{self, Reply, Sink, refused, taken};
use super::{assert_whole, log, numbered, ship, stored_lines};

/// What `google.rpc.Status` is on the wire.
fn status(message: &str) -> Vec<u8> {
    [&[0x12, message.len() as u8], message.as_bytes()].concat()
}

#[test]
fn a_receiver_that_is_busy_gets_the_same_batch_until_it_has_it() {
    let scratch = Scratch::new();
    let mut failures = [503, 429, 408, 500, 502, 0].into_iter();
    let sink = Sink::new(move |_| failures.next().map_or_else(taken, refused));
    log(&scratch, "app", &numbered(0..500), &[]);
    let shipper = ship(&scratch, &sink.url(), &[]);
    assert_whole(&sink.wait_kept(500), &stored_lines(&scratch, "app"));
    let requests = sink.requests();
    assert_eq!(requests.len(), 7);
    assert!(requests.iter().all(|request| request.records == requests[0].records));
    let waits: Vec<_> = requests.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    for (wait, least_ms) in waits.iter().zip([150, 300, 600, 1200, 2400]) {
        assert!(*wait >= Duration::from_millis(least_ms), "{waits:?}");
    }
    until("that is said", || shipper.lines_with("the receiver answers again").len() == 1);
    assert!(!shipper.lines_with("accepts nothing").is_empty(), "{}", shipper.stderr());
}

#[test]
fn a_receiver_says_when_to_come_back() {
    let scratch = Scratch::new();
    let mut first = true;
    let sink = Sink::new(move |_| {
        let reply = Reply { head: "Retry-After: 2\r\n".to_owned(), ..refused(429) };
        if std::mem::take(&mut first) { reply } else { taken() }
    });
    log(&scratch, "app", &numbered(0..5), &[]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    sink.wait_kept(5);
    let requests = sink.requests();
    let wait = requests[1].at - requests[0].at;
    assert!(wait >= Duration::from_secs(2), "{wait:?}");
}

#[test]
fn an_answer_that_is_lost_repeats_lines_with_the_same_names_and_times() {
    let scratch = Scratch::new();
    let mut first = true;
    let sink = Sink::new(move |_| Reply { status: if std::mem::take(&mut first) { 0 } else { 200 }, ..taken() });
    log(&scratch, "app", &numbered(0..500), &[]);
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let kept = sink.wait_kept(1000);
    assert_eq!(kept[..500], kept[500..]);
}

#[test]
fn what_a_receiver_rejects_is_counted_and_not_sent_again() {
    let scratch = Scratch::new();
    let body = [&[0x0A, 11, 0x08, 3, 0x12, 7][..], b"too old"].concat();
    let sink = Sink::new(move |_| Reply { body: body.clone(), ..taken() });
    log(&scratch, "app", &numbered(0..20), &[]);
    let shipper = ship(&scratch, &sink.url(), &[]);
    shipper.wait_line("app: the receiver refused 3 of 20 lines: too old");
    let cursor = super::log_dir(&scratch, "app").join(".cursor-otlp");
    let refused = || std::fs::read_to_string(&cursor).is_ok_and(|text| text.contains("\nrefused 3\n"));
    until("the cursor counts them", refused);
    log(&scratch, "app", b"one more\n", &[]);
    sink.wait_kept(21);
    assert_eq!(sink.requests().len(), 2);
}

/// One line is too much for the receiver, and one it cannot understand: all others arrive.
#[test]
fn a_line_that_is_refused_alone_holds_up_no_other() {
    for (code, message) in [(413, "too large"), (400, "cannot parse")] {
        let scratch = Scratch::new();
        let is_bad = |body: &[u8]| body.starts_with(b"bad ");
        let sink = Sink::new(move |request| {
            let bad = request.records.iter().any(|record| is_bad(&record.body));
            if bad { Reply { body: status(message), ..refused(code) } } else { taken() }
        });
        let mut all = numbered(0..1000);
        all.extend(b"bad one\n");
        all.extend(numbered(1000..1500));
        all.extend(b"bad two\n");
        all.extend(numbered(1500..1501));
        log(&scratch, "app", &all, &[]);
        let shipper = ship(&scratch, &sink.url(), &[]);
        let kept = sink.wait_kept(1501);
        let good: Vec<_> = stored_lines(&scratch, "app").into_iter().filter(|line| !is_bad(line)).collect();
        assert_whole(&kept, &good);
        let said = shipper.wait_lines("app: the receiver refused a line of 7 bytes, uid ", 2);
        assert!(said[0].contains(&format!(" {message}")) && said[0].contains(&code.to_string()), "{said:?}");
        assert!(sink.requests().len() < 80, "{} requests", sink.requests().len());
    }
}

#[test]
fn a_mistake_of_configuration_is_said_and_tried_again_until_it_is_put_right() {
    for code in [401, 403, 404, 405, 301] {
        let scratch = Scratch::new();
        let mut failures = 2;
        let sink = Sink::new(move |_| {
            failures -= 1;
            if failures >= 0 { Reply { head: "Location: /elsewhere\r\n".to_owned(), ..refused(code) } } else { taken() }
        });
        log(&scratch, "app", &numbered(0..5), &[]);
        let shipper = ship(&scratch, &sink.url(), &[]);
        let said = shipper.wait_line(" rejects requests: ");
        assert!(said.contains(&code.to_string()), "{said}");
        assert_whole(&sink.wait_kept(5), &stored_lines(&scratch, "app"));
        shipper.wait_line("the receiver answers again");
    }
}

#[test]
fn a_receiver_that_is_not_there_is_waited_for() {
    let scratch = Scratch::new();
    // On an address of its own: nobody else is given the port meanwhile.
    let listener = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    log(&scratch, "app", &numbered(0..5), &[]);
    let shipper = ship(&scratch, &format!("http://{address}"), &[]);
    shipper.wait_line("accepts nothing: Connection refused");
    let sink = Sink::at(std::net::TcpListener::bind(address).unwrap(), |_| taken());
    assert_whole(&sink.wait_kept(5), &stored_lines(&scratch, "app"));
}

#[test]
fn four_requests_are_under_way_at_most_and_one_of_a_pipe() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| Reply { delay: Duration::from_millis(600), ..taken() });
    let pipes: Vec<String> = (0..6).map(|n| format!("p{n}")).collect();
    for pipe in &pipes {
        log(&scratch, pipe, &numbered(0..10), &[]);
    }
    let _shipper = ship(&scratch, &sink.url(), &[]);
    let requests = sink.wait_requests(6);
    let first = requests[0].at;
    assert!(requests[3].at - first < Duration::from_millis(500), "four at once");
    assert!(requests[4].at - first >= Duration::from_millis(600), "the fifth after an answer");
    let services: BTreeSet<String> = requests.iter().map(|request| request.records[0].service.clone()).collect();
    assert_eq!(services.len(), 6);
}

#[test]
fn the_end_waits_for_the_request_under_way_and_no_longer_than_five_seconds() {
    let scratch = Scratch::new();
    let mut delays = [1, 30].map(Duration::from_secs).into_iter();
    let sink = Sink::new(move |_| Reply { delay: delays.next().unwrap_or_default(), ..taken() });
    log(&scratch, "app", &numbered(0..10), &[]);
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    sink.wait_requests(1);
    assert_eq!(shipper.terminate(), 0);
    let mut shipper = ship(&scratch, &sink.url(), &[]);
    log(&scratch, "app", &numbered(10..11), &[]);
    let requests = sink.wait_requests(2);
    assert_eq!(requests[1].records.len(), 1, "the answer to the first was written down");
    let began = Instant::now();
    assert_eq!(shipper.terminate(), 0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(4500) && took < Duration::from_secs(15), "{took:?}");
    drop(sink);
    let sink = sink::Sink::new(|_| taken());
    let _shipper = ship(&scratch, &sink.url(), &[]);
    assert_eq!(sink.wait_kept(1)[0].body, numbered(10..11).trim_ascii_end(), "what was not answered is sent again");
}

/// A line is at the receiver soon after it was written, whatever else is going on.
#[test]
fn a_line_arrives_within_a_second_and_a_half() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    let (stdin, mut server) = std::io::pipe().unwrap();
    let reader = standpipe_tests::programs::Launch::new("reader").args(["stdin", "--continue"]);
    let _reader = reader.arg(super::log_dir(&scratch, "app")).stdin(stdin).start();
    std::io::Write::write_all(&mut server, b"first\n").unwrap();
    let _shipper = ship(&scratch, &sink.url(), &[]);
    sink.wait_kept(1);
    let mut spans = Vec::new();
    for n in 0..4 {
        let written = Instant::now();
        std::io::Write::write_all(&mut server, format!("line {n}\n").as_bytes()).unwrap();
        sink.wait_kept(n + 2);
        spans.push(written.elapsed());
    }
    spans.sort_unstable();
    // The best of them: the machine may be busy.
    assert!(spans[0] <= Duration::from_millis(1500), "{spans:?}");
}
