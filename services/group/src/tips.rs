//! Notifications of a group: who did what, shown with the group as it is afterwards (messages-and-sync.md 12.3).

use magpie_proto::openim::sdkws::*;
use magpie_service::{Context, notification::Notification, pending, profiles::profiles};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
    versions::Version,
};
use magpie_types::{Error, Result, group::role, msg::content_type, user::level};

use crate::{
    change::{Change, Row},
    groups::{Groups, is_member, shown},
    lists::raw,
};

/// Most members that the notification of a new group lists.
const MAX_LISTED: usize = 50;

impl Groups {
    /// One of the notifications of a change.
    pub(crate) async fn tip(
        &self,
        ctx: &Context,
        group: &Group,
        change: &Change,
        version: &Version,
        kind: i32,
    ) -> Result<MsgData> {
        let mut operator = self.operator(ctx, group, change).await?;
        if kind == content_type::GROUP_MEMBER_INFO_SET && change.by_admin {
            operator.operator_user_id.clone_from(&operator.user_id);
        }
        let (nickname, face_url) = (operator.nickname.clone(), operator.face_url.clone());
        let op_user = Some(operator);
        let rows: Vec<GroupMember> = change
            .rows
            .iter()
            .map(|row| row.document(&group.group_id, change.at))
            .collect();
        let shown_group = Some(shown(group.clone()));
        let (group_member_version, group_member_version_id) = (
            magpie_service::lists::unsigned(version.number),
            version.id.clone(),
        );
        let notice = Sketch {
            kind,
            group,
            change,
        };
        let notice = match kind {
            content_type::GROUP_CREATED => {
                let owner = rows.iter().find(|m| m.role_level == role::OWNER).cloned();
                notice.of(&GroupCreatedTips {
                    group: shown_group,
                    op_user,
                    member_list: self.first_members(ctx, change, rows).await?,
                    operation_time: group.create_time,
                    group_owner_user: owner.map(raw),
                    group_member_version,
                    group_member_version_id,
                })
            }
            content_type::GROUP_INFO_SET => notice.of(&GroupInfoSetTips {
                op_user,
                mute_time: 0,
                group: shown_group,
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_NAME_SET => notice.of(&GroupInfoSetNameTips {
                op_user,
                group: shown_group,
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_ANNOUNCEMENT_SET => notice.of(&GroupInfoSetAnnouncementTips {
                op_user,
                group: shown_group,
                group_member_version,
                group_member_version_id,
            }),
            content_type::MEMBER_QUIT => notice.of(&MemberQuitTips {
                group: shown_group,
                quit_user: self.members_shown(ctx, rows).await?.pop(),
                operation_time: 0,
                group_member_version,
                group_member_version_id,
            }),
            content_type::MEMBER_KICKED => notice.of(&MemberKickedTips {
                group: shown_group,
                op_user,
                kicked_user_list: self.members_shown(ctx, rows).await?,
                operation_time: 0,
                group_member_version,
                group_member_version_id,
            }),
            content_type::MEMBER_INVITED => {
                let inviter_user = if change.inviter.is_empty() {
                    op_user.clone()
                } else {
                    Some(self.anybody(ctx, group, &change.inviter).await?)
                };
                notice.of(&MemberInvitedTips {
                    group: shown_group,
                    op_user,
                    invited_user_list: self.members_shown(ctx, rows).await?,
                    operation_time: 0,
                    group_member_version,
                    group_member_version_id,
                    inviter_user,
                })
            }
            content_type::MEMBER_ENTER => notice.of(&MemberEnterTips {
                group: shown_group,
                entrant_user: self.members_shown(ctx, rows).await?.pop(),
                operation_time: change.at,
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_DISMISSED => notice.of(&GroupDismissedTips {
                group: shown_group,
                op_user,
                operation_time: 0,
            }),
            content_type::GROUP_OWNER_TRANSFERRED => {
                let mut both = self.members_shown(ctx, rows).await?.into_iter();
                notice.of(&GroupOwnerTransferredTips {
                    group: shown_group,
                    op_user,
                    new_group_owner: both.next(),
                    old_group_owner: change.old_owner.clone(),
                    operation_time: 0,
                    old_group_owner_info: both.next(),
                    group_member_version,
                    group_member_version_id,
                })
            }
            content_type::GROUP_MEMBER_MUTED => notice.of(&GroupMemberMutedTips {
                group: shown_group,
                op_user,
                operation_time: 0,
                muted_user: self.members_shown(ctx, rows).await?.pop(),
                muted_seconds: change.muted_seconds,
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_MEMBER_CANCEL_MUTED => notice.of(&GroupMemberCancelMutedTips {
                group: shown_group,
                op_user,
                operation_time: 0,
                muted_user: self.members_shown(ctx, rows).await?.pop(),
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_MUTED => notice.of(&GroupMutedTips {
                group: shown_group,
                op_user,
                operation_time: 0,
                group_member_version,
                group_member_version_id,
            }),
            content_type::GROUP_CANCEL_MUTED => notice.of(&GroupCancelMutedTips {
                group: shown_group,
                op_user,
                operation_time: 0,
                group_member_version,
                group_member_version_id,
            }),
            _ => notice.of(&GroupMemberInfoSetTips {
                group: shown_group,
                op_user,
                operation_time: 0,
                changed_user: self.members_shown(ctx, rows).await?.pop(),
                group_member_version,
                group_member_version_id,
                group_sort_version: if change.sorted {
                    group_member_version
                } else {
                    0
                },
            }),
        };
        let mut msg = notice?.into_msg()?;
        if matches!(
            kind,
            content_type::GROUP_INFO_SET | content_type::GROUP_ANNOUNCEMENT_SET
        ) {
            msg.sender_nickname = nickname;
            msg.sender_face_url = face_url;
        }
        Ok(msg)
    }

    /// The members that the notification of a new group lists: up to its maker, or all if he is none; without their avatars.
    async fn first_members(
        &self,
        ctx: &Context,
        change: &Change,
        rows: Vec<GroupMember>,
    ) -> Result<Vec<GroupMemberFullInfo>> {
        let maker = rows.iter().position(|m| m.user_id == change.operator);
        let listed = maker.map_or(rows.len(), |at| at + 1).min(MAX_LISTED);
        let faces: Vec<String> = rows.iter().map(|m| m.face_url.clone()).collect();
        let first = rows.into_iter().take(listed).collect();
        let mut members = self.members_shown(ctx, first).await?;
        for (member, face) in members.iter_mut().zip(faces) {
            member.face_url = face;
        }
        Ok(members)
    }

    /// Who did it, as a member: an application administrator stands above members.
    pub(crate) async fn operator(
        &self,
        ctx: &Context,
        group: &Group,
        change: &Change,
    ) -> Result<GroupMemberFullInfo> {
        if !change.by_admin {
            return self.anybody(ctx, group, &change.operator).await;
        }
        let operator = if change.operator.is_empty() {
            self.deps.admins.first().cloned().unwrap_or_default()
        } else {
            change.operator.clone()
        };
        let mut shown = self.stranger(ctx, group, &operator).await?;
        shown.role_level = role::ADMIN;
        shown.app_manger_level = level::ADMIN;
        Ok(shown)
    }

    /// A user as member of the group, or with role 0 if he is none.
    async fn anybody(
        &self,
        ctx: &Context,
        group: &Group,
        user: &str,
    ) -> Result<GroupMemberFullInfo> {
        let id = group.group_id.as_str();
        let member: Option<GroupMember> = self.deps.store.find(key![id, user]).await?;
        if let Some(member) = member.filter(is_member)
            && let Some(shown) = self.members_shown(ctx, vec![member]).await?.pop()
        {
            return Ok(shown);
        }
        self.stranger(ctx, group, user).await
    }

    async fn stranger(
        &self,
        ctx: &Context,
        group: &Group,
        user: &str,
    ) -> Result<GroupMemberFullInfo> {
        let mut found = profiles(&self.deps, ctx, vec![user.to_owned()]).await?;
        let profile = found.remove(user).unwrap_or_default();
        Ok(GroupMemberFullInfo {
            nickname: profile.nickname,
            face_url: profile.face_url,
            ..raw(Row {
                user_id: user.to_owned(),
                ..Row::default()
            }
            .document(&group.group_id, 0))
        })
    }
}

/// A notification to be.
struct Sketch<'a> {
    kind: i32,
    group: &'a Group,
    change: &'a Change,
}

impl Sketch<'_> {
    fn of<T: serde::Serialize>(&self, tips: &T) -> Result<Notification> {
        let sender = if self.change.operator.is_empty() {
            &self.group.owner_id
        } else {
            &self.change.operator
        };
        if sender.is_empty() {
            return Err(Error::internal("a notification of a group has no sender"));
        }
        let notice = Notification::to_group(self.kind, sender, &self.group.group_id, tips)?;
        let id = pending::message_id(&self.group.pending, &self.group.group_id, self.kind);
        let notice = notice.client_msg_id(id);
        let in_chat = self.change.in_chat.unwrap_or_else(|| self.shows_in_chat());
        Ok(if in_chat { notice.in_chat() } else { notice })
    }

    /// What shows in the chat unless the request says otherwise.
    fn shows_in_chat(&self) -> bool {
        match self.kind {
            content_type::GROUP_INFO_SET
            | content_type::GROUP_MEMBER_INFO_SET
            | content_type::GROUP_MEMBER_SET_TO_ADMIN
            | content_type::GROUP_MEMBER_SET_TO_ORDINARY => false,
            content_type::GROUP_ANNOUNCEMENT_SET => !self.group.notification.is_empty(),
            _ => true,
        }
    }
}
