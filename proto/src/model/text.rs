//! What texts are checked for: a pattern, in time that is linear in the text, and the formats that have a meaning here.

use regex_lite::{Regex, RegexBuilder};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest pattern, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 512;

/// The longest text that is matched: with the size of a pattern it bounds the time of one match.
pub(super) const MATCHED_BYTES_MAX: usize = 4096;

/// A pattern as it is matched, in bytes of memory.
const PROGRAM_BYTES_MAX: usize = 32 * 1024;

/// A regular expression, found anywhere in a text unless it is anchored.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As it stands in the document.
    pub(super) source: Box<str>,
    regex: Regex,
}

/// A format that is checked (JSON Schema 2020-12, validation 7.3). Any other is an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    DateTime,
    Date,
    Time,
    Ipv4,
    Ipv6,
    Uuid,
}

impl Pattern {
    /// Compiles a pattern; the error says what is wrong with it.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        if source.len() > PATTERN_BYTES_MAX {
            let bytes = source.len();
            return Err(format!("it has {bytes} bytes, at most {PATTERN_BYTES_MAX}"));
        }
        let mut builder = RegexBuilder::new(source);
        let regex = builder.size_limit(PROGRAM_BYTES_MAX).nest_limit(32).build();
        match regex {
            Ok(regex) => Ok(Self { source: source.into(), regex }),
            Err(error) => Err(format!("no regular expression: {error}")),
        }
    }

    /// Whether a text holds it; `None` for a text that is too long to look.
    pub(super) fn matches(&self, text: &str) -> Option<bool> {
        (text.len() <= MATCHED_BYTES_MAX).then(|| self.regex.is_match(text))
    }
}

impl Format {
    /// The format of that name, if it is one that is checked.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date-time" => Self::DateTime,
            "date" => Self::Date,
            "time" => Self::Time,
            "ipv4" => Self::Ipv4,
            "ipv6" => Self::Ipv6,
            "uuid" => Self::Uuid,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Time => "time",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Uuid => "uuid",
        }
    }

    /// Whether a text is of it.
    pub(super) fn fits(self, text: &str) -> bool {
        match self {
            Self::DateTime => match text.split_at_checked(10) {
                Some((date, rest)) if rest.starts_with(['T', 't']) => {
                    is_date(date) && is_time(&rest[1..])
                }
                _ => false,
            },
            Self::Date => is_date(text),
            Self::Time => is_time(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Self::Uuid => is_uuid(text),
        }
    }
}

/// `full-date` of RFC 3339 5.6.
fn is_date(text: &str) -> bool {
    let Some([year, month, day]) = numbers(text, '-', [4, 2, 2]) else { return false };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// `full-time` of RFC 3339 5.6; a leap second is one at 23:59 in UTC.
fn is_time(text: &str) -> bool {
    let Some((time, rest)) = text.split_at_checked(8) else { return false };
    let Some([hour, minute, second]) = numbers(time, ':', [2, 2, 2]) else { return false };
    let zone = match rest.strip_prefix('.') {
        None => rest,
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|it: char| it.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
    };
    let Some(offset) = offset_minutes(zone) else { return false };
    let utc = (i64::from(hour * 60 + minute) - offset).rem_euclid(24 * 60);
    hour < 24 && minute < 60 && (second < 60 || second == 60 && utc == 24 * 60 - 1)
}

fn offset_minutes(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => return Some(0),
        b'+' => (1, &zone[1..]),
        b'-' => (-1, &zone[1..]),
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * i64::from(hours * 60 + minutes))
}

fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut found = [0; N];
    for (slot, width) in found.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn is_uuid(text: &str) -> bool {
    let is_hyphen = |index: usize| matches!(index, 8 | 13 | 18 | 23);
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match is_hyphen(index) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_know_their_own() {
        let cases = [
            ("date-time", "2026-11-26T02:00:00Z", true),
            ("date-time", "2026-11-26t02:00:00.25+01:00", true),
            ("date-time", "2026-11-26 02:00:00Z", false),
            ("date-time", "2026-11-26T02:00:00", false),
            ("date-time", "2016-12-31T23:59:60Z", true),
            ("date-time", "2016-12-31T22:59:60Z", false),
            ("date-time", "über-11-26T02:00:00Z", false),
            ("date", "2024-02-29", true),
            ("date", "2100-02-29", false),
            ("date", "2024-2-9", false),
            ("time", "24:00:00Z", false),
            ("time", "23:00:00.Z", false),
            ("ipv4", "10.0.0.1", true),
            ("ipv4", "10.0.0.256", false),
            ("ipv6", "fe80::1", true),
            ("ipv6", "fe80:::1", false),
            ("uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", true),
            ("uuid", "2eb8aa08aa98-11ea-b4aa-73b441d16380-", false),
        ];
        for (name, text, fits) in cases {
            let format = Format::named(name).unwrap();
            assert_eq!((format.fits(text), format.as_str()), (fits, name), "{text}");
        }
        assert_eq!(Format::named("email"), None);
    }

    #[test]
    fn a_pattern_has_bounds_in_length_size_and_text() {
        let pattern = Pattern::compile("^[a-z]+$").unwrap();
        assert_eq!((pattern.matches("abc"), pattern.matches("a1")), (Some(true), Some(false)));
        assert_eq!(pattern.matches(&"a".repeat(MATCHED_BYTES_MAX + 1)), None);
        for bad in ["(", &"a".repeat(513), "((a{99}){99}){99}", r"\p{L}", "a(?=b)"] {
            assert!(Pattern::compile(bad).is_err(), "{bad}");
        }
    }
}
