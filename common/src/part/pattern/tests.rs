//! Which patterns sort; that their names do; and that names come back.

use super::super::PartKind;
use super::*;

/// 2026-11-21T10:00:00.123456789Z
const NOW: i64 = 1_795_255_200_123_456_789;
const DAY_NS: i64 = 86_400_000_000_000;

fn pattern(text: &str) -> Pattern {
    text.parse().unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
}

const GOOD: [(&str, &str); 14] = [
    (Pattern::DEFAULT, "2026-11-21T10-00-00.123456Z"),
    ("%Y-%m-%d", "2026-11-21-000"),
    ("%Y", "2026-000"),
    ("%Y%m", "202611-000"),
    ("%Y.%j", "2026.325-000"),
    ("%Y%jT%H", "2026325T10-000"),
    ("app-%Y-%m-%d@web1", "app-2026-11-21@web1-000"),
    ("%Y-%m-%d_%H%M", "2026-11-21_1000-000"),
    ("%Y%m%dT%H%M%SZ", "20261121T100000Z-000"),
    ("%Y%m%dT%H%M%S.%3f", "20261121T100000.123-000"),
    ("%Y%m%dT%H%M%S%6f", "20261121T100000123456"),
    ("%s", "1795255200-000"),
    ("x%s.%3f+", "x1795255200.123+-000"),
    ("%s%6f", "1795255200123456"),
];

#[test]
fn each_pattern_gives_names_that_come_back() {
    for (text, stem) in GOOD {
        let pattern = pattern(text);
        assert_eq!(pattern.to_string(), text);
        let name = pattern.born(NOW, None);
        assert_eq!(name.stem(), stem, "{text}");
        assert_eq!(name.is_exact(), !pattern.is_coarse());
        assert_eq!(pattern.parse(stem), Some(name.clone()), "{text}");
        assert!(name.birth_ns() <= NOW && pattern.gives(OsStr::new(&name.file(PartKind::Archive))));
    }
}

#[test]
fn a_pattern_that_does_not_sort_is_refused_and_told_why() {
    for (text, complaint) in [
        ("%d-%m-%Y", "names with `%d` in this place would not sort by time: the fields are %Y"),
        ("%Y-%d", "`%d` in this place would not sort"),
        ("%Y-%m-%H", "`%H` in this place would not sort"),
        ("%Y-%m-%m", "`%m` in this place would not sort"),
        ("%m-%d", "`%m` in this place would not sort"),
        ("%Y-%s", "`%s` in this place would not sort"),
        ("%Y%j%d", "`%d` in this place would not sort"),
        ("%H-%M", "`%H` in this place would not sort"),
        ("%S%6f", "`%S` in this place would not sort"),
        ("%s%3f%6f", "`%6f` in this place would not sort"),
        ("%y%m", "`%y` is not a time field"),
        ("%F", "`%F` is not a time field"),
        ("%Y-%b", "`%b` is not a time field"),
        ("%Y-%m-%dT%H-%M-%S.%f", "`%f` is not a time field"),
        ("%s%9f", "`%9f` is not a time field"),
        ("%Y%%", "`%%` is not a time field"),
        ("%Y%", "`%` is not a time field"),
        ("%Y%ä", "`%` is not a time field"),
        ("access", "it contains no time"),
        ("", "it contains no time"),
        ("%Y/%m", "names cannot contain `/`"),
        ("%Y %m", "names cannot contain ` `"),
        ("%Y:%m", "names cannot contain `:`"),
        ("%Y\n", "names cannot contain `\\n`"),
        ("größe-%Y", "names cannot contain `ö`"),
        (".%Y", "cannot begin with `.` or `-`"),
        ("-%Y", "cannot begin with `.` or `-`"),
        ("%Y.log", "leave out the ending"),
        ("%Y.log.zst", "leave out the ending"),
    ] {
        let refusal = text.parse::<Pattern>().unwrap_err();
        assert!(refusal.contains(complaint) && !refusal.contains('\n'), "{text:?}: {refusal}");
    }
    assert!(("x".repeat(157) + "%Y").parse::<Pattern>().unwrap_err().contains("161 bytes; at most 160"));
    assert!(("x".repeat(156) + "%Y").parse::<Pattern>().is_ok());
}

#[test]
fn whatever_a_pattern_does_not_give_back_is_not_its_name() {
    for (text, stems) in [
        ("%Y-%m-%d", &["2026-11-21", "2026-11-21-", "2026-11-21-00", "2026-11-21-0000", "2026-11-21-900"][..]),
        ("%Y-%m-%d", &["2026-02-30-000", "2026-00-01-000", "2026-11-21T000", "x2026-11-21-000", "9999-01-01-000"]),
        ("%Y.%j", &["2026.000-000", "2026.366-000", "2026.1-000"]),
        ("%s", &["1795255200", "179525520-000", "9999999999-000", "-795255200-000"]),
        ("app-%Y", &["2026-000", "App-2026-000", "app-2026-000-000"]),
    ] {
        for stem in stems {
            assert_eq!(pattern(text).parse(stem), None, "{text}: {stem}");
        }
    }
    assert!(pattern("%Y.%j").parse("2024.366-000").is_some());
}

/// What `born` makes of a clock that stands at these times, one part after the other.
fn names(steps: &[(&str, &str)]) -> Vec<String> {
    let mut last: Option<PartName> = None;
    let mut names = Vec::new();
    for (text, time) in steps {
        let now_ns = i64::try_from(time.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
        let next = pattern(text).born(now_ns, last.as_ref());
        names.push(next.stem().to_owned());
        last = Some(next);
    }
    names
}

#[test]
fn a_coarse_name_counts_inside_its_period_and_when_the_clock_goes_back() {
    let day = "%Y-%m-%d";
    let steps = [
        (day, "2026-11-21T10:00:00Z"),
        (day, "2026-11-21T23:59:59Z"),
        (day, "2026-11-20T10:00:00Z"),
        (day, "2026-11-22T00:00:00Z"),
        (day, "2026-11-20T10:00:00Z"),
        (day, "2026-11-22T10:00:00Z"),
        (day, "2027-01-01T00:00:00Z"),
    ];
    let expected = ["21-000", "21-001", "21-002", "22-000", "22-001", "22-002"].map(|end| format!("2026-11-{end}"));
    assert_eq!(names(&steps)[..6], expected);
    assert_eq!(names(&steps)[6], "2027-01-01-000");
}

#[test]
fn after_a_change_of_pattern_no_name_comes_before_one_that_is_there() {
    let (fine, day, hour, year) = (Pattern::DEFAULT, "%Y-%m-%d", "%Y-%m-%dT%H", "app-%Y");
    let steps = [
        (fine, "2026-11-21T14:00:00Z"),
        // Midnight would come before it: the next one does not, and is kept until the clock is there.
        (day, "2026-11-21T15:00:00Z"),
        (day, "2026-11-21T16:00:00Z"),
        (fine, "2026-11-21T17:00:00Z"),
        (fine, "2026-11-22T09:00:01Z"),
        (hour, "2026-11-22T09:30:00Z"),
        (fine, "2026-11-22T10:20:00Z"),
        (hour, "2026-11-22T12:00:00Z"),
        (day, "2026-11-22T12:01:00Z"),
        (hour, "2026-11-22T12:02:00Z"),
        (year, "2026-11-23T00:00:00Z"),
        (day, "2027-01-01T00:00:00Z"),
        (fine, "2027-01-01T00:00:00Z"),
    ];
    let expected = [
        "2026-11-21T14-00-00.000000Z",
        "2026-11-22-000",
        "2026-11-22-001",
        "2026-11-22T00-00-00.000001Z",
        "2026-11-22T09-00-01.000000Z",
        "2026-11-22T10-000",
        "2026-11-22T10-20-00.000000Z",
        "2026-11-22T12-000",
        "2026-11-23-000",
        "2026-11-23T00-001",
        "app-2027-000",
        "2027-01-01-001",
        "2027-01-01T00-00-00.000001Z",
    ];
    assert_eq!(names(&steps), expected);
}

#[test]
fn in_a_local_time_names_go_on_until_the_wall_has_caught_up() {
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let names = |text: &str, times: &[&str]| {
        let pattern = if text.is_empty() { Pattern::built_in(&berlin) } else { pattern(text).in_zone(&berlin) };
        let listed = Pattern::from_listed(&pattern.listed()).unwrap();
        assert_eq!(listed, pattern);
        let mut last: Option<PartName> = None;
        let mut names = Vec::new();
        for time in times {
            let now_ns = i64::try_from(time.parse::<Timestamp>().unwrap().as_nanosecond()).unwrap();
            let next = pattern.born(now_ns, last.as_ref());
            assert_eq!(listed.parse(next.stem()), Some(next.clone()));
            assert!(last.is_none_or(|last| last < next && last.stem() < next.stem()));
            assert!(!next.is_exact());
            names.push(next.stem().to_owned());
            last = Some(next);
        }
        names
    };
    // At 01:00 UTC the clocks of Berlin go back from three to two.
    let times = ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T02:00:00Z"];
    assert_eq!(names("%Y-%m-%d", &times), ["000", "001", "002", "003"].map(|end| format!("2026-10-25-{end}")));
    assert_eq!(
        names("%Y-%m-%dT%H%M", &times),
        ["0130-000", "0230-000", "0230-001", "0300-000"].map(|end| format!("2026-10-25T{end}"))
    );
    let fine = ["01-30-00", "02-30-00", "02-30-00", "03-00-00"].map(|time| format!("2026-10-25T{time}.000000"));
    let counted = fine.iter().zip(["000", "000", "001", "000"]).map(|(time, end)| format!("{time}-{end}"));
    assert_eq!(names("", &times), counted.collect::<Vec<_>>());
    assert!(pattern("%s").in_zone(&berlin) == pattern("%s") && pattern("%Y").in_zone(&TimeZone::UTC) == pattern("%Y"));
    assert!(pattern("%Y").in_zone(&berlin) != pattern("%Y"));
    // From UTC to a zone behind it: no name comes before one that is there.
    let new_york = pattern(Pattern::DEFAULT).in_zone(&TimeZone::get("America/New_York").unwrap());
    let last = pattern(Pattern::DEFAULT).born(NOW, None);
    assert!(new_york.born(NOW + 1_000_000_000, Some(&last)) > last);
}

/// Numbers without a pattern in them, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[test]
fn names_rise_and_come_back_whatever_clock_and_pattern_do() {
    for seed in 1..=20 {
        let mut random = Random(seed);
        let patterns: Vec<Pattern> = GOOD.iter().map(|(text, _)| pattern(text)).collect();
        let (mut now_ns, mut at) = (NOW, 0);
        let mut last: Option<PartName> = None;
        for step in 0..2000 {
            now_ns += match random.below(10) {
                0 => -(random.below(3 * DAY_NS as u64) as i64),
                1 => random.below(3 * DAY_NS as u64) as i64,
                2 => 0,
                _ => random.below(2_000_000_000) as i64,
            };
            let before = at;
            if random.below(20) == 0 {
                at = random.below(patterns.len() as u64) as usize;
            }
            let next = patterns[at].born(now_ns, last.as_ref());
            let file = next.file(PartKind::Segment);
            let parsed = PartName::parse(OsStr::new(&file), &patterns[at..=at]);
            assert_eq!(parsed, Some((next.clone(), PartKind::Segment)), "seed {seed}, step {step}");
            // Of all patterns together none takes it for another time.
            let (of_any, _) = PartName::parse(OsStr::new(&file), &patterns).unwrap();
            assert_eq!(of_any, next, "seed {seed}, step {step}");
            if let Some(last) = &last {
                assert!(next > *last, "seed {seed}, step {step}: {next} after {last}");
                assert!(at != before || next.stem() > last.stem(), "seed {seed}, step {step}: {next} after {last}");
            }
            last = Some(next);
        }
    }
}
