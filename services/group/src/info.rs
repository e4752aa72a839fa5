//! Setting what a group says of itself.

use std::sync::Arc;

use magpie_proto::openim::{
    group::{SetGroupInfoExReq, SetGroupInfoReq},
    protobuf::{Int32Value, StringValue},
};
use magpie_service::{
    Context,
    rpc::{at_most_bytes, filled},
};
use magpie_store::documents::Group;
use magpie_types::{Code, Error, Result, group::verification, msg::content_type, time::now_ms};

use crate::{
    change::{Change, Plan},
    groups::Groups,
};

/// What joining may need. Numbers that mean nothing are stored as they come, as ever, but not those that no client can hold.
pub(crate) fn check_verification(need: i32) -> Result<()> {
    if (verification::APPLICATIONS..=i32::from(u8::MAX)).contains(&need) {
        Ok(())
    } else {
        Err(Error::args("needVerification is invalid"))
    }
}

impl Groups {
    pub(crate) async fn set_info(
        self: &Arc<Self>,
        ctx: &Context,
        req: SetGroupInfoReq,
    ) -> Result<()> {
        let info = req
            .group_info_for_set
            .ok_or_else(|| Error::args("groupInfoForSet is empty"))?;
        filled("groupID", &info.group_id)?;
        let text = |value: String| Some(StringValue { value }).filter(|v| !v.value.is_empty());
        let wanted = SetGroupInfoExReq {
            group_id: info.group_id,
            group_name: text(info.group_name),
            notification: text(info.notification),
            introduction: text(info.introduction),
            face_url: text(info.face_url),
            ex: info.ex,
            need_verification: info.need_verification,
            look_member_info: info.look_member_info,
            apply_member_friend: info.apply_member_friend,
        };
        self.set_info_ex(ctx, wanted).await
    }

    pub(crate) async fn set_info_ex(
        self: &Arc<Self>,
        ctx: &Context,
        mut req: SetGroupInfoExReq,
    ) -> Result<()> {
        if let Some(notification) = &mut req.notification {
            notification.value = notification.value.trim().to_owned();
        }
        self.check_set(&req)?;
        let id = req.group_id.clone();
        self.alive(&id).await?;
        // A blank name makes the whole request do nothing.
        if req
            .group_name
            .as_ref()
            .is_some_and(|n| n.value.trim().is_empty())
        {
            return self.require_manager(ctx, &id, Code::NOT_FOUND).await;
        }
        let (id, req) = (id.as_str(), &req);
        let plan = move |mut group: Group| async move {
            self.require_manager(ctx, id, Code::NOT_FOUND).await?;
            let tell = apply(req, &mut group, ctx);
            if tell.is_empty() {
                return Ok(None);
            }
            let mut change = Change::by(ctx, tell);
            change.of_group = true;
            Ok(Some(Plan { group, change }))
        };
        self.change(id, plan).await.map(drop)
    }

    fn check_set(&self, req: &SetGroupInfoExReq) -> Result<()> {
        let (short, long) = (self.config.max_text, self.config.max_long_text);
        for (field, text, limit) in [
            ("groupName", &req.group_name, short),
            ("faceURL", &req.face_url, short),
            ("ex", &req.ex, short),
            ("notification", &req.notification, long),
            ("introduction", &req.introduction, long),
        ] {
            if let Some(text) = text {
                at_most_bytes(field, &text.value, limit)?;
            }
        }
        match &req.need_verification {
            Some(need) => check_verification(need.value),
            None => Ok(()),
        }
    }
}

/// Sets what is given; what is to be told of it.
fn apply(req: &SetGroupInfoExReq, group: &mut Group, ctx: &Context) -> Vec<i32> {
    let mut tell = Vec::new();
    if let Some(notification) = &req.notification {
        group.notification.clone_from(&notification.value);
        group.notification_update_time = now_ms();
        ctx.user_id().clone_into(&mut group.notification_user_id);
        tell.push(content_type::GROUP_ANNOUNCEMENT_SET);
    }
    if let Some(name) = &req.group_name {
        group.name.clone_from(&name.value);
        tell.push(content_type::GROUP_NAME_SET);
    }
    let text = |field: &mut String, value: &Option<StringValue>| match value {
        Some(value) => {
            field.clone_from(&value.value);
            true
        }
        None => false,
    };
    let number = |field: &mut i32, value: &Option<Int32Value>| match value {
        Some(value) => {
            *field = value.value;
            true
        }
        None => false,
    };
    let others = [
        text(&mut group.introduction, &req.introduction),
        text(&mut group.face_url, &req.face_url),
        text(&mut group.ex, &req.ex),
        number(&mut group.need_verification, &req.need_verification),
        number(&mut group.look_member_info, &req.look_member_info),
        number(&mut group.apply_member_friend, &req.apply_member_friend),
    ];
    if others.contains(&true) {
        tell.push(content_type::GROUP_INFO_SET);
    }
    tell
}
