//! What is asked for: pipes, headers, certificates, and what cannot be meant.

use std::fs;
use std::io::BufReader;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use standpipe_tests::deadline::until;
use standpipe_tests::directory::Scratch;
use standpipe_tests::privilege::{give, needs_tool};
use standpipe_tests::programs::{Launch, Output, command};

use super::sink::{Sink, answer, read_request, refused, taken};
use super::wire::Record;
use super::{launch, log, numbered};

fn write(scratch: &Scratch, name: &str, content: &str, mode: u32) -> PathBuf {
    let path = scratch.path().join(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    give(&path);
    path
}

fn checked(scratch: &Scratch, toml: &str) -> Output {
    let file = write(scratch, "shipper.toml", toml, 0o644);
    Launch::new("shipper").arg("--check-config").arg("--config").arg(file).run()
}

#[test]
fn a_file_says_which_pipes_and_headers() {
    let scratch = Scratch::new();
    let token = "Authorization";
    let mut is_known = false;
    let sink = Sink::new(move |request| {
        let value = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.clone());
        is_known |= value.as_deref() == Some("Bearer two");
        if is_known { taken() } else { refused(401) }
    });
    for pipe in ["web-1", "web-2", "db", "mail"] {
        log(&scratch, pipe, &numbered(0..3), &[]);
    }
    let header = write(&scratch, "token", "Bearer one\n", 0o600);
    let toml = format!(
        "logs = \"logs\"\nurl = \"{}\"\npipes = [\"web-*\", \"db\"]\nlinger = \"100ms\"\n[header_files]\n{token} = \"token\"\n",
        sink.url()
    );
    let file = write(&scratch, "shipper.toml", &toml, 0o644);
    let shipper = Launch::new("shipper").arg("--config").arg(file).start();
    shipper.wait_line(" rejects requests: 401 Unauthorized");
    fs::write(&header, "Bearer two\n").unwrap();
    let kept = sink.wait_kept(9);
    assert!(kept.iter().all(|record| record.service != "mail"));
    assert!(!shipper.stderr().contains("Bearer"), "{}", shipper.stderr());
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_place_and_what_is_allowed() {
    let scratch = Scratch::new();
    write(&scratch, "open", "Bearer x\n", 0o644);
    write(&scratch, "no.pem", "nothing\n", 0o644);
    for (toml, sentence) in [
        ("url = \"ftp://h\"", "shipper.toml: line 1, column 7: unknown scheme ftp: write http:// or https://"),
        ("url = \"http://\"", "line 1, column 7: no host: write http://HOST:PORT"),
        ("\nurls = \"http://h\"", "line 2, column 1: unknown key `urls`, expected one of `logs`, `url`"),
        ("logs = \"logs\"", "no receiver: give --otlp URL, or set url in "),
        ("logs = \"l\"\nurl = \"http://h\"\nheader_files = { X = \"open\" }", "everybody can read it (mode 0644)"),
        ("logs = \"l\"\nurl = \"http://h\"\nheader_files = { X = \"none\" }", "cannot read header file "),
        ("logs = \"l\"\nurl = \"https://h\"\nroots = \"no.pem\"", "it contains no PEM certificate"),
        ("url = \"http://h\"\nname = \"a/b\"", "is not a receiver's name: write 1 to 64 of a-z, 0-9, - and _"),
    ] {
        let output = checked(&scratch, &format!("{toml}\n"));
        assert_eq!(output.code, 2, "{toml}: {output:?}");
        assert!(output.stderr.contains(sentence), "{toml}: {}", output.stderr);
    }
    assert_eq!(checked(&scratch, "logs = \"logs\"\nurl = \"http://h\"\n").code, 0);
    for (args, code, sentence) in [
        (
            &["/nowhere", "--otlp", "http://127.0.0.1:9"][..],
            3,
            "cannot open directory /nowhere: No such file or directory",
        ),
        (&["--otlp", "h:4318"], 2, "cannot use --otlp h:4318: not a URL"),
    ] {
        let output = Launch::new("shipper").args(args).run();
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(sentence), "{}", output.stderr);
    }
}

#[test]
fn a_root_without_a_pipe_is_waited_in() {
    let scratch = Scratch::new();
    let sink = Sink::new(|_| taken());
    let mut shipper = launch(&scratch, &sink.url()).start();
    shipper.wait_line("sends 0 pipes of ");
    log(&scratch, "app", &numbered(0..5), &[]);
    sink.wait_kept(5);
    // One log directory alone is sent as well.
    assert_eq!(shipper.terminate(), 0);
    let one = Launch::new("shipper").arg(scratch.logs().join("app")).args(["--otlp", &sink.url(), "--name", "again"]);
    let _shipper = one.start();
    assert!(sink.wait_kept(10).iter().all(|record| record.service == "app"));
}

/// A certificate for `localhost` that vouches for itself, and its key.
fn certificate(scratch: &Scratch, name: &str) -> (PathBuf, PathBuf) {
    let [cert, key] = ["pem", "key"].map(|end| scratch.path().join(format!("{name}.{end}")));
    let made = command("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    fs::set_permissions(&cert, fs::Permissions::from_mode(0o644)).unwrap();
    (cert, key)
}

/// Answers over TLS; the lines that arrive.
fn serve_tls((cert, key): &(PathBuf, PathBuf), listener: TcpListener) -> Arc<Mutex<Vec<Record>>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap());
    let config = Arc::new(config.unwrap());
    let kept: Arc<Mutex<Vec<Record>>> = Arc::default();
    let shared = Arc::clone(&kept);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
            while let Some(request) = read_request(&mut reader) {
                shared.lock().unwrap().extend(request.records);
                answer(reader.get_mut(), &taken()).ok();
            }
        }
    });
    kept
}

#[test]
fn only_a_certificate_that_a_root_vouches_for_is_believed() {
    needs_tool("openssl", || {
        let scratch = Scratch::new();
        log(&scratch, "app", &numbered(0..5), &[]);
        let (own, other) = (certificate(&scratch, "own"), certificate(&scratch, "other"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let kept = serve_tls(&own, listener);
        let start = |root: &Path| {
            let toml = format!("logs = \"logs\"\nurl = \"{url}\"\nroots = \"{}\"\n", root.to_str().unwrap());
            let file = write(&scratch, "shipper.toml", &toml, 0o644);
            Launch::new("shipper").arg("--config").arg(file).start()
        };
        let shipper = start(&other.0);
        let line = shipper.wait_line("its certificate is refused: ");
        assert!(line.contains("give the certificate of its authority with `roots`"), "{line}");
        assert!(kept.lock().unwrap().is_empty());
        drop(shipper);
        let _shipper = start(&own.0);
        until("the lines arrive", || kept.lock().unwrap().len() == 5);
    });
}
