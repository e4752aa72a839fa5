//! How many users registered when.

use std::{collections::BTreeMap, sync::Mutex};

use magpie_proto::openim::{sdkws::RequestPagination, user::UserRegisterCountResp};
use magpie_types::{Error, Result, time::utc_day};

use crate::users::Users;

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
                    *days.1.entry(utc_day(user.create_time)).or_default() += 1;
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
