//! Times as people read them: milliseconds since the Unix epoch as RFC 3339 in UTC.
//!
//! Only whole seconds are shown; who needs the milliseconds asks for `--json`.

use serde_json::Value;

/// Before this, 2001-09-09, a number is no time in milliseconds but something else.
const PLAUSIBLE_MS_MIN: u64 = 1_000_000_000_000;

/// After this, 9999-12-31, RFC 3339 has no text.
const PLAUSIBLE_MS_MAX: u64 = 253_402_300_799_999;

/// The time in a field of this name, if it is one.
pub(super) fn text(key: &str, value: &Value) -> Option<String> {
    let last = key.rsplit('.').next().unwrap_or(key);
    if !matches!(last, "t" | "created" | "updated" | "away_since") && !last.ends_with("_at") {
        return None;
    }
    let ms = value.as_u64().filter(|ms| (PLAUSIBLE_MS_MIN..=PLAUSIBLE_MS_MAX).contains(ms))?;
    Some(rfc3339(ms / 1000))
}

fn rfc3339(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01, by eras of 400 years that begin in March,
/// so that the leap day is the last of its year.
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_instants_are_written_as_rfc_3339_says() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_763_668_800, "2025-11-20T20:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }

    #[test]
    fn only_fields_that_are_times_are_read_as_such() {
        let ms = json!(1_763_668_800_123_u64);
        for key in ["t", "value.t", "created", "updated", "connected_at"] {
            assert_eq!(text(key, &ms).as_deref(), Some("2025-11-20T20:00:00Z"), "{key}");
        }
        assert_eq!(text("counter", &ms), None);
        assert_eq!(text("t", &json!(60_000)), None);
        assert_eq!(text("t", &json!("now")), None);
    }
}
