//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock that the ban points to"
)]
pub fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The day of a time in milliseconds, UTC, as YYYY-MM-DD.
pub fn utc_day(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    // Years that begin in March, so that the leap day is the last one; eras of 400 years.
    let days = ms.div_euclid(DAY_MS) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + next)
}

#[cfg(test)]
mod tests {
    use super::utc_day;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400_000, "2000-02-29"),
            (1_709_251_199_999, "2024-02-29"),
            (1_709_251_200_000, "2024-03-01"),
            (4_107_542_400_000, "2100-03-01"),
        ] {
            assert_eq!(utc_day(ms), day);
        }
    }
}
