//! Tables of what each value takes and refuses.

use super::*;

fn takes<T: Value + PartialEq + std::fmt::Debug>(table: &[(&str, T)]) {
    for (text, value) in table {
        assert_eq!(T::from_text(text).as_ref(), Ok(value), "{text}");
    }
}

fn refuses<T: Value + std::fmt::Debug>(table: &[(&str, &str)]) {
    for (text, complaint) in table {
        let refusal = T::from_text(text).unwrap_err();
        assert!(refusal.contains(complaint), "{text}: {refusal}");
    }
}

#[test]
fn a_pipe_has_a_page_to_two_gibibytes_or_what_can_be_had() {
    takes(&[
        ("auto", PipeSize::Auto),
        ("4096", PipeSize::Bytes(4096)),
        ("1MiB", PipeSize::Bytes(1 << 20)),
        ("2G", PipeSize::Bytes(1 << 31)),
    ]);
    refuses::<PipeSize>(&[
        ("4095", "4KiB to 2GiB"),
        ("0", "4KiB to 2GiB"),
        ("2147483649", "4KiB to 2GiB"),
        ("off", "or auto"),
        ("1MB", "1000 or 1024?"),
    ]);
}

#[test]
fn permissions_are_octal_and_nothing_else() {
    takes(&[("0660", Mode(0o660)), ("660", Mode(0o660)), ("0o600", Mode(0o600)), ("0", Mode(0))]);
    refuses::<Mode>(&[("9999", "octal"), ("1777", "octal"), ("0880", "octal"), ("rw", "octal"), ("", "octal")]);
    refuses::<Mode>(&[("+660", "octal"), ("-1", "octal"), ("0o", "octal")]);
    assert_eq!(Mode::from_integer(0o660), Ok(Mode(0o660)));
    for decimal in [660, 640, 9999, 0o1000, u64::MAX] {
        assert!(Mode::from_integer(decimal).unwrap_err().contains("octal"), "{decimal}");
    }
}

#[test]
fn a_file_mode_never_shuts_out_the_reader() {
    takes(&[("0640", FileMode(0o640)), ("0600", FileMode(0o600)), ("0664", FileMode(0o664))]);
    refuses::<FileMode>(&[("0440", "locks out reader itself"), ("0000", "locks out reader itself"), ("9999", "octal")]);
    assert_eq!(FileMode::from_integer(0o640), Ok(FileMode(0o640)));
}

#[test]
fn an_account_is_a_name_or_a_number_or_left_alone() {
    let named = |name: &str| Account(Some(name.to_string()));
    takes(&[
        ("", Account(None)),
        ("www-data", named("www-data")),
        ("33", named("33")),
        ("4294967295", named("4294967295")),
    ]);
    refuses::<Account>(&[
        ("a b", "not the name"),
        ("a:b", "not the name"),
        ("a\nb", "`a\\nb`"),
        ("4294967296", "too large"),
    ]);
    refuses::<Account>(&[(&"x".repeat(257), "not the name")]);
    assert_eq!(Account::from_integer(33), Ok(named("33")));
}

#[test]
fn a_directory_is_a_path() {
    takes(&[("/var/log/x", DirPath("/var/log/x".into())), ("../logs", DirPath("../logs".into()))]);
    refuses::<DirPath>(&[("", "path"), ("a\0b", "path")]);
    assert!(DirPath::from_integer(7).is_err());
}

#[test]
fn a_metrics_file_is_one_that_is_read() {
    takes(&[("/m/x.prom", MetricsPath("/m/x.prom".into())), ("x.prom", MetricsPath("x.prom".into()))]);
    for text in ["", "/m/", "/m", "/m/x.prom.txt", "/m/x.PROM", "..", ".prom"] {
        refuses::<MetricsPath>(&[(text, "must end in .prom")]);
    }
    refuses::<MetricsPath>(&[("a\0.prom", "not a path")]);
    assert!(MetricsPath::from_integer(7).is_err());
}

#[test]
fn a_prefix_is_verbatim_but_one_line_and_short() {
    takes(&[("", Prefix::default()), (" web1:\t", Prefix(" web1:\t".to_string()))]);
    refuses::<Prefix>(&[("a\nb", "cannot contain a newline"), (&"x".repeat(513), "at most 512")]);
    assert!(Prefix::from_text(&"x".repeat(512)).is_ok());
}

#[test]
fn every_name_of_utc_is_utc() {
    takes(&[("UTC", Zone(TimeZone::UTC)), ("Etc/UTC", Zone(TimeZone::UTC))]);
    assert_ne!(Zone::from_text("Europe/London"), Ok(Zone(TimeZone::UTC)));
    refuses::<Zone>(&[("Mars/Olympus", "unknown time zone `Mars/Olympus`"), ("", "unknown"), ("CET+1", "unknown")]);
}

#[test]
fn rotation_is_by_size_or_age_and_each_can_be_off() {
    takes(&[("off", RotateSize(Limit::Off)), ("1K", RotateSize(Limit::At(1024)))]);
    refuses::<RotateSize>(&[("0", "1KiB or more"), ("1023", "1KiB or more"), ("1MB", "1000 or 1024?")]);
    takes(&[("off", RotateAge(Limit::Off)), ("1d", RotateAge(Limit::At(Duration::from_secs(86_400))))]);
    refuses::<RotateAge>(&[("0s", "1s or more"), ("999ms", "1s or more"), ("60", "60 has no unit")]);
}

#[test]
fn max_line_is_a_size_and_off_is_more_than_any_file_holds() {
    takes(&[("1MiB", MaxLine(1 << 20)), ("1", MaxLine(1)), ("off", MaxLine(MAX_LINE_OFF))]);
    takes(&[("18446744073709551615", MaxLine(MAX_LINE_OFF))]);
    refuses::<MaxLine>(&[("0", "0 bytes hold no line")]);
}

#[test]
fn compression_and_its_level_are_closed_lists() {
    takes(&[("zstd", Compress::Zstd), ("none", Compress::None)]);
    refuses::<Compress>(&[("gzip", "zstd or none"), ("off", "zstd or none")]);
    takes(&[("auto", SearchFilter::Auto), ("none", SearchFilter::None)]);
    refuses::<SearchFilter>(&[("off", "auto or none"), ("", "auto or none")]);
    takes(&[("auto", Level::Auto), ("1", Level::Fixed(1)), ("19", Level::Fixed(19))]);
    refuses::<Level>(&[("0", "1 to 19"), ("20", "1 to 19"), ("-1", "1 to 19"), ("fast", "1 to 19")]);
}

#[test]
fn a_tick_is_one_millisecond_to_one_second() {
    takes(&[("1ms", Tick(Duration::from_millis(1))), ("1s", Tick(Duration::from_secs(1)))]);
    refuses::<Tick>(&[("0ms", "1ms to 1s"), ("1001ms", "1ms to 1s"), ("2", "2 has no unit"), ("off", "not a span")]);
}

#[test]
fn a_fill_is_a_part_of_the_whole_and_so_is_a_percentage() {
    takes(&[("0.75", WarnFill(Limit::At(0.75))), ("75%", WarnFill(Limit::At(0.75))), ("1", WarnFill(Limit::At(1.0)))]);
    takes(&[("off", WarnFill(Limit::Off)), ("12.5%", WarnFill(Limit::At(0.125))), ("100%", WarnFill(Limit::At(1.0)))]);
    refuses::<WarnFill>(&[("0", "out of range"), ("75", "or 75%"), ("101%", "out of range"), ("0.0", "out of range")]);
    for text in ["", "%", "-0.5", "nan", "inf", "1e-3", "0,75", "half", "0.7.5"] {
        refuses::<WarnFill>(&[(text, "not a fraction")]);
    }
    assert_eq!(WarnFill::from_float(0.5), Ok(WarnFill(Limit::At(0.5))));
    assert_eq!(WarnFill::from_integer(1), Ok(WarnFill(Limit::At(1.0))));
    for number in [-0.5, 1.5, f64::NAN, f64::INFINITY, 0.0] {
        assert!(WarnFill::from_float(number).is_err(), "{number}");
    }
    takes(&[("5s", WarnAfter(Limit::At(Duration::from_secs(5)))), ("off", WarnAfter(Limit::Off))]);
    refuses::<WarnAfter>(&[("5", "5 has no unit"), ("soon", "; or off")]);
}
