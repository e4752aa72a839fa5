//! How many users registered when.

use std::{collections::BTreeMap, sync::Mutex};

use magpie_proto::openim::{sdkws::RequestPagination, user::UserRegisterCountResp};
use magpie_types::{Error, Result};

use crate::users::Users;

const DAY_MS: i64 = 24 * 3600 * 1000;

impl Users {
    /// All users, those registered before `start`, and those of each day (UTC) in `start..end`.
    pub(crate) async fn register_count(
        &self,
        start: i64,
        end: i64,
    ) -> Result<UserRegisterCountResp> {
        if start <= 0 {
            return Err(Error::args("start is invalid"));
        }
        if end < start {
            return Err(Error::args("end is before start"));
        }
        let days = Mutex::new((0_i64, BTreeMap::<String, i64>::new()));
        let nobody = RequestPagination {
            page_number: 1,
            show_number: 0,
        };
        let (total, _) = self
            .page(Some(nobody), |user| {
                let mut days = days.lock().unwrap_or_else(|e| e.into_inner());
                if user.create_time < start {
                    days.0 += 1;
                } else if user.create_time < end {
                    *days.1.entry(day(user.create_time)).or_default() += 1;
                }
                true
            })
            .await?;
        let (before, count) = days.into_inner().unwrap_or_else(|e| e.into_inner());
        Ok(UserRegisterCountResp {
            total: i64::try_from(total).unwrap_or(i64::MAX),
            before,
            count,
        })
    }
}

/// `YYYY-MM-DD` of a time in ms: days since 0000-03-01, in eras of 400 years, years of months from March.
fn day(ms: i64) -> String {
    let days = ms.div_euclid(DAY_MS) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (ms, expected) in [
            (0, "1970-01-01"),
            (DAY_MS - 1, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (951_868_800_000, "2000-03-01"),
            (1_795_438_726_453, "2026-11-23"),
            (4_107_542_400_000, "2100-03-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(day(ms), expected, "{ms}");
        }
    }
}
