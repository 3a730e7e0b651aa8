//! The value of `rotate_at`: the moments of the calendar, in the policy's zone, at which a segment is sealed.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Weekday;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::units::{Value, parses_as_value};

/// Most moments of one policy: more than the quarters of an hour of a day.
const MOMENTS_MAX: usize = 100;

const ALLOWED: &str = "hourly, daily, a time from 00:00 to 23:59, weekly with a day as in weekly monday, monthly with a \
                       day as in monthly 1, both with a time if not at midnight, every with minutes that divide an \
                       hour as in every 15m, or off";

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
    ("sunday", Weekday::Sunday),
];

parses_as_value!(Moment);

/// A time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourMinute {
    /// 0 to 23.
    pub hour: i8,
    /// 0 to 59.
    pub minute: i8,
}

/// One moment of the calendar that comes again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// When the minutes of the hour are a multiple of this divisor of 60.
    EveryMinutes(i8),
    /// Once a day.
    Daily(HourMinute),
    /// Once a week.
    Weekly(Weekday, HourMinute),
    /// Once a month, on that day from 1 to 31, or on the last one of a shorter month.
    Monthly(i8, HourMinute),
}

impl Value for Moment {
    const EXPECTED: &'static str =
        "\"hourly\", \"daily\", a time such as \"06:30\", \"weekly monday\", \"monthly 1\", \"every 15m\", or \"off\"";

    fn from_text(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let moment = match words[..] {
            ["hourly"] => Some(Moment::EveryMinutes(60)),
            ["daily"] => Some(Moment::Daily(HourMinute::default())),
            ["weekly"] => return Err("weekly on which day? write weekly monday, or weekly monday 06:30".to_string()),
            ["monthly"] => return Err("monthly on which day? write monthly 1, or monthly 1 06:30".to_string()),
            ["weekly", day, ref time @ ..] => {
                weekday(day).zip(midnight_or(time)).map(|(day, at)| Moment::Weekly(day, at))
            }
            ["monthly", day, ref time @ ..] => {
                number(day, 1..=31).zip(midnight_or(time)).map(|(day, at)| Moment::Monthly(day, at))
            }
            ["every", ref span @ ..] => Some(Moment::EveryMinutes(minutes(&span.concat())?)),
            [time] => time_of_day(time).map(Moment::Daily),
            _ => None,
        };
        moment.ok_or_else(|| no_moment(text))
    }

    fn from_integer(number: u64) -> Result<Self, String> {
        Err(no_moment(&number.to_string()))
    }
}

fn no_moment(text: &str) -> String {
    format!("`{}` is not a time to rotate: write {ALLOWED}", text.escape_debug())
}

fn minutes(span: &str) -> Result<i8, String> {
    let digits = ["minutes", "min", "m"].iter().find_map(|unit| span.strip_suffix(unit));
    let minutes = digits.and_then(|digits| number(digits, 1..=60)).filter(|minutes| 60 % minutes == 0);
    minutes.ok_or_else(|| {
        format!(
            "every `{}` does not divide an hour: write every with 1m, 2m, 3m, 4m, 5m, 6m, 10m, \
             12m, 15m, 20m, 30m or 60m",
            span.escape_debug()
        )
    })
}

fn weekday(text: &str) -> Option<Weekday> {
    let text = text.to_ascii_lowercase();
    let is_it = |name: &&str| *name == text || name[..3] == text;
    WEEKDAYS.iter().find(|(name, _)| is_it(name)).map(|(_, day)| *day)
}

fn midnight_or(time: &[&str]) -> Option<HourMinute> {
    match time {
        [] => Some(HourMinute::default()),
        [time] => time_of_day(time),
        _ => None,
    }
}

fn time_of_day(text: &str) -> Option<HourMinute> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str, max: i8| number(digits, 0..=max).filter(|_| digits.len() == 2);
    Some(HourMinute { hour: two(hour, 23)?, minute: two(minute, 59)? })
}

fn number(digits: &str, range: std::ops::RangeInclusive<i8>) -> Option<i8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && range.contains(number))
}

/// Any number of moments; none where it is off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotateAt(pub Vec<Moment>);

/// As a flag, or as one string: moments with commas between them.
impl FromStr for RotateAt {
    type Err = String;

    fn from_str(text: &str) -> Result<RotateAt, String> {
        if text.trim() == "off" {
            return Ok(RotateAt::default());
        }
        let moments: Vec<Moment> = text.split(',').map(Moment::from_text).collect::<Result<_, _>>()?;
        if moments.len() > MOMENTS_MAX { Err(too_many()) } else { Ok(RotateAt(moments)) }
    }
}

fn too_many() -> String {
    format!("at most {MOMENTS_MAX} times")
}

impl<'de> Deserialize<'de> for RotateAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RotateAt, D::Error> {
        deserializer.deserialize_any(Moments)
    }
}

struct Moments;

impl<'de> Visitor<'de> for Moments {
    type Value = RotateAt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a list of such times", Moment::EXPECTED)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RotateAt, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<RotateAt, E> {
        Err(E::custom(no_moment(&number.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RotateAt, A::Error> {
        let moments = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        match moments.len() {
            0 => Err(serde::de::Error::custom("the list is empty: write off for no times")),
            count if count > MOMENTS_MAX => Err(serde::de::Error::custom(too_many())),
            _ => Ok(RotateAt(moments)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i8, minute: i8) -> HourMinute {
        HourMinute { hour, minute }
    }

    #[test]
    fn a_moment_is_by_the_hour_the_day_the_week_or_the_month() {
        for (text, moment) in [
            ("hourly", Moment::EveryMinutes(60)),
            ("every 15m", Moment::EveryMinutes(15)),
            ("every 5 minutes", Moment::EveryMinutes(5)),
            ("every 60m", Moment::EveryMinutes(60)),
            ("daily", Moment::Daily(at(0, 0))),
            ("00:00", Moment::Daily(at(0, 0))),
            ("23:59", Moment::Daily(at(23, 59))),
            ("weekly monday", Moment::Weekly(Weekday::Monday, at(0, 0))),
            ("weekly Sun 06:30", Moment::Weekly(Weekday::Sunday, at(6, 30))),
            ("monthly 1", Moment::Monthly(1, at(0, 0))),
            ("monthly 31 23:00", Moment::Monthly(31, at(23, 0))),
        ] {
            assert_eq!(text.parse(), Ok(moment), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_allowed() {
        for text in ["24:00", "12:60", "6:30", "06:30:00", "+6:30", "", ":", "06.30", "15m", "monthly 0", "monthly 32"]
        {
            let refusal = text.parse::<Moment>().unwrap_err();
            assert!(refusal.contains("is not a time to rotate: write hourly, daily"), "{text}: {refusal}");
        }
        for text in ["weekly day", "weekly mo", "weekly monday 6", "weekly monday 06:30 x", "monthly first"] {
            assert!(text.parse::<Moment>().unwrap_err().contains("weekly with a day"), "{text}");
        }
        for text in ["every 7m", "every 0m", "every 61m", "every 90m", "every 15", "every 15s", "every", "every -5m"] {
            assert!(text.parse::<Moment>().unwrap_err().contains("12m, 15m, 20m, 30m or 60m"), "{text}");
        }
        assert!("weekly".parse::<Moment>().unwrap_err().contains("write weekly monday"));
        assert!("monthly".parse::<Moment>().unwrap_err().contains("write monthly 1"));
    }

    #[test]
    fn a_list_has_moments_and_none_is_off() {
        #[derive(Debug, serde::Deserialize)]
        struct File {
            at: RotateAt,
        }
        let file = |text: &str| toml::from_str::<File>(text).map(|file| file.at.0);
        let both = vec![Moment::Daily(at(6, 30)), Moment::Monthly(1, at(0, 0))];
        assert_eq!(file("at = [\"06:30\", \"monthly 1\"]").unwrap(), both);
        assert_eq!(file("at = \"06:30, monthly 1\"").unwrap(), both);
        assert_eq!("06:30,monthly 1".parse(), Ok(RotateAt(both)));
        assert_eq!(file("at = \"off\"").unwrap(), []);
        for (text, column, complaint) in [
            ("at = [\"06:30\", \"6:30\"]", 15, "`6:30` is not a time to rotate"),
            ("at = [\"06:30\", \"off\"]", 15, "`off` is not a time to rotate"),
            ("at = []", 5, "write off"),
            ("at = 6", 5, "`6` is not a time to rotate"),
            ("at = [6]", 6, "`6` is not a time to rotate"),
            ("at = true", 5, "expected \"hourly\""),
        ] {
            let error = file(text).unwrap_err();
            assert_eq!(error.span().map(|span| span.start), Some(column), "{text}: {error}");
            assert!(error.message().contains(complaint), "{text}: {error}");
        }
        assert!(vec!["06:30"; 101].join(",").parse::<RotateAt>().is_err());
    }
}
