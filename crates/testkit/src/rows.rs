//! Documents of groups with nothing in them but what a test is about.

use magpie_store::documents::{Group, GroupMember};

/// An open group, made by `owner`, at this version of its membership.
pub fn group(id: &str, owner: &str, member_count: u32, member_version: i64) -> Group {
    let text = String::new;
    Group {
        group_id: id.to_owned(),
        name: text(),
        notification: text(),
        notification_update_time: 0,
        notification_user_id: text(),
        introduction: text(),
        face_url: text(),
        ex: text(),
        owner_id: owner.to_owned(),
        creator_id: owner.to_owned(),
        create_time: 1,
        member_count,
        status: 0,
        group_type: 2,
        need_verification: 0,
        look_member_info: 0,
        apply_member_friend: 0,
        member_version,
        pending: Default::default(),
        rev: 1,
        change: Default::default(),
    }
}

/// The row of an ordinary member: the version that let him in, and the one that let him out, 0 if he is there.
pub fn member(group: &str, who: &str, joined: i64, left: i64) -> GroupMember {
    let text = String::new;
    GroupMember {
        group_id: group.to_owned(),
        user_id: who.to_owned(),
        role_level: 20,
        join_time: 1,
        nickname: text(),
        face_url: text(),
        join_source: 2,
        operator_id: text(),
        inviter_id: text(),
        ex: text(),
        mute_end_time: 0,
        member_version: joined.max(left),
        left_time: left,
        rev: 1,
        joined_version: joined,
        rank: 2,
    }
}
