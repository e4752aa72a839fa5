//! How many groups were founded when.

use std::collections::BTreeMap;

use magpie_proto::openim::group::{GroupCreateCountReq, GroupCreateCountResp};
use magpie_service::Context;
use magpie_types::{Error, Result, time::utc_day};

use crate::groups::Groups;

impl Groups {
    pub(crate) async fn created(
        &self,
        ctx: &Context,
        req: GroupCreateCountReq,
    ) -> Result<GroupCreateCountResp> {
        if req.start <= 0 || req.end < req.start {
            return Err(Error::args("start is invalid, or end is before start"));
        }
        ctx.require_admin()?;
        let (mut total, mut before) = (0, 0);
        let mut days = BTreeMap::new();
        self.each_group(|group| {
            if group.create_time < req.start {
                before += 1;
            } else if group.create_time < req.end {
                total += 1;
                *days.entry(utc_day(group.create_time)).or_insert(0) += 1;
            }
        })
        .await?;
        Ok(GroupCreateCountResp {
            total,
            before,
            count: days,
        })
    }
}
