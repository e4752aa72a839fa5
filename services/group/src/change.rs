//! Changing a group: one compare-and-set of its document decides, and carries what follows.
//!
//! Everything that changes a group or its members goes through the `Group` document, also what touches one member alone: its revision
//! puts all changes of a group in one order, so a rule that held when a change was planned holds when it is made. `pending` names the
//! change, `change` says it in full: the rows of the members concerned as they are to be, and what is to be told. While one change is
//! pending the next one waits for it, and finishes it if its maker seems to be gone.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use magpie_service::{Context, pending};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
    store::StoreError,
};
use magpie_types::{
    Code, Error, Result,
    group::{role, status},
    time::now_ms,
};
use prost::Message as _;

use crate::groups::Groups;

/// Pause of who waits for a pending change, milliseconds.
const PAUSE_MS: u64 = 5;
/// Tries of one compare-and-set loop.
const MAX_TRIES: usize = 10_000;

/// What a change of a group does after its document was written.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Change {
    /// Content types of the notifications, in order; the first one carries who joined and left.
    #[prost(int32, repeated, tag = "1")]
    pub(crate) tell: Vec<i32>,
    /// Who did it; empty for the cluster itself.
    #[prost(string, tag = "2")]
    pub(crate) operator: String,
    /// He is an application administrator.
    #[prost(bool, tag = "3")]
    pub(crate) by_admin: bool,
    /// Rows of members as they are to be.
    #[prost(message, repeated, tag = "4")]
    pub(crate) rows: Vec<Row>,
    /// Whether the notification shows in the chat; by default of its kind.
    #[prost(bool, optional, tag = "5")]
    pub(crate) in_chat: Option<bool>,
    /// Seconds of a mute.
    #[prost(uint32, tag = "6")]
    pub(crate) muted_seconds: u32,
    /// Who invited those who joined, if it was not the operator.
    #[prost(string, tag = "7")]
    pub(crate) inviter: String,
    /// The order of the members changed.
    #[prost(bool, tag = "8")]
    pub(crate) sorted: bool,
    /// The group itself changed, not only members.
    #[prost(bool, tag = "9")]
    pub(crate) of_group: bool,
    /// The request's name for it.
    #[prost(string, tag = "10")]
    pub(crate) operation_id: String,
    /// When, ms.
    #[prost(int64, tag = "11")]
    pub(crate) at: i64,
    /// The former owner.
    #[prost(string, tag = "12")]
    pub(crate) old_owner: String,
    /// Nobody is told, but the log.
    #[prost(bool, tag = "13")]
    pub(crate) quiet: bool,
}

/// A member's row as it is to be.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Row {
    #[prost(string, tag = "1")]
    pub(crate) user_id: String,
    /// Revision of the row that is replaced, 0 if there is none.
    #[prost(int64, tag = "2")]
    pub(crate) expected: i64,
    #[prost(int32, tag = "3")]
    pub(crate) role_level: i32,
    #[prost(int64, tag = "4")]
    pub(crate) join_time: i64,
    #[prost(string, tag = "5")]
    pub(crate) nickname: String,
    #[prost(string, tag = "6")]
    pub(crate) face_url: String,
    #[prost(int32, tag = "7")]
    pub(crate) join_source: i32,
    #[prost(string, tag = "8")]
    pub(crate) operator_id: String,
    #[prost(string, tag = "9")]
    pub(crate) inviter_id: String,
    #[prost(string, tag = "10")]
    pub(crate) ex: String,
    #[prost(int64, tag = "11")]
    pub(crate) mute_end_time: i64,
    /// Version of the membership that last let him in or out; that of the change if he joins or leaves with it.
    #[prost(int64, tag = "12")]
    pub(crate) member_version: i64,
    #[prost(int64, tag = "13")]
    pub(crate) joined_version: i64,
    /// He joins with the change.
    #[prost(bool, tag = "14")]
    pub(crate) joins: bool,
    /// He leaves with the change.
    #[prost(bool, tag = "15")]
    pub(crate) leaves: bool,
}

impl Row {
    /// The row of a present member, unchanged.
    pub(crate) fn of(member: GroupMember) -> Self {
        Self {
            user_id: member.user_id,
            expected: member.rev,
            role_level: member.role_level,
            join_time: member.join_time,
            nickname: member.nickname,
            face_url: member.face_url,
            join_source: member.join_source,
            operator_id: member.operator_id,
            inviter_id: member.inviter_id,
            ex: member.ex,
            mute_end_time: member.mute_end_time,
            member_version: member.member_version,
            joined_version: member.joined_version,
            joins: false,
            leaves: false,
        }
    }

    /// The document, in a group at the change's time.
    pub(crate) fn document(&self, group: &str, at: i64) -> GroupMember {
        GroupMember {
            group_id: group.to_owned(),
            user_id: self.user_id.clone(),
            role_level: self.role_level,
            join_time: self.join_time,
            nickname: self.nickname.clone(),
            face_url: self.face_url.clone(),
            join_source: self.join_source,
            operator_id: self.operator_id.clone(),
            inviter_id: self.inviter_id.clone(),
            ex: self.ex.clone(),
            mute_end_time: self.mute_end_time,
            member_version: self.member_version,
            left_time: if self.leaves { at } else { 0 },
            rev: self.expected + 1,
            joined_version: self.joined_version,
            rank: if self.leaves {
                LEFT
            } else {
                rank(self.role_level)
            },
        }
    }
}

/// Place of who has left in the list of members: behind all.
const LEFT: i32 = 9;

/// Place of a role in the list of members.
fn rank(role_level: i32) -> i32 {
    match role_level {
        role::OWNER => 0,
        role::ADMIN => 1,
        _ => 2,
    }
}

impl Change {
    /// A change by the caller, now.
    pub(crate) fn by(ctx: &Context, tell: Vec<i32>) -> Self {
        Self {
            tell,
            operator: ctx.user_id().to_owned(),
            by_admin: ctx.is_admin(),
            operation_id: ctx.operation_id.clone(),
            at: now_ms(),
            ..Self::default()
        }
    }

    /// Whether it lets anybody in or out.
    pub(crate) fn moves(&self) -> bool {
        self.rows.iter().any(|row| row.joins || row.leaves)
    }

    pub(crate) fn joined(&self) -> Vec<String> {
        let joined = self.rows.iter().filter(|row| row.joins);
        joined.map(|row| row.user_id.clone()).collect()
    }

    pub(crate) fn left(&self) -> Vec<String> {
        let left = self.rows.iter().filter(|row| row.leaves);
        left.map(|row| row.user_id.clone()).collect()
    }
}

/// A group as it is to be, and what follows.
pub(crate) struct Plan {
    pub(crate) group: Group,
    pub(crate) change: Change,
}

impl Plan {
    /// The document to write: with the change in it, and the versions and counts that it makes.
    pub(crate) fn into_group(self) -> Group {
        let Self {
            mut group,
            mut change,
        } = self;
        group.rev += 1;
        group.pending = pending::begin(0);
        let dismissed = group.status == status::DISMISSED;
        if change.moves() || dismissed {
            group.member_version += 1;
        }
        for row in &mut change.rows {
            if row.joins {
                group.member_count += 1;
                row.joined_version = group.member_version;
            }
            if row.leaves {
                group.member_count = group.member_count.saturating_sub(1);
            }
            if row.joins || row.leaves {
                row.member_version = group.member_version;
            }
        }
        group.change = Bytes::from(change.encode_to_vec());
        group
    }
}

/// The change that a group's document carries.
pub(crate) fn carried(group: &Group) -> Result<Change> {
    Change::decode(group.change.clone()).map_err(Error::internal)
}

pub(crate) fn dismissed() -> Error {
    Error::new(Code::GROUP_DISMISSED, "the group is dismissed")
}

impl Groups {
    /// Changes a group as `plan` says, which is asked again whenever somebody else was faster; None: nothing to do. Waits for what
    /// follows, but not for ever. Answers the group as it was written.
    pub(crate) async fn change<F>(
        self: &Arc<Self>,
        group_id: &str,
        plan: impl Fn(Group) -> F + Send,
    ) -> Result<Option<Group>>
    where
        F: Future<Output = Result<Option<Plan>>> + Send,
    {
        for _ in 0..MAX_TRIES {
            let group = self.settled(group_id).await?;
            if group.status == status::DISMISSED {
                return Err(dismissed());
            }
            let expected = group.rev;
            let Some(plan) = plan(group).await? else {
                return Ok(None);
            };
            let group = plan.into_group();
            if self.deps.store.replace(group.clone(), expected).await? {
                self.follow_up(group.clone()).await;
                return Ok(Some(group));
            }
        }
        Err(busy())
    }

    /// The group once nothing is pending, or dismissed: waits for whoever made the last change, and takes over from who has not finished in time.
    pub(crate) async fn settled(self: &Arc<Self>, group_id: &str) -> Result<Group> {
        let pause = Duration::from_millis(PAUSE_MS);
        let tries = 3 * self.config.follow_up_ms / PAUSE_MS + 1;
        for _ in 0..tries {
            let found: Option<Group> = self.deps.store.find(key![group_id]).await?;
            let group = found.ok_or_else(|| Error::not_found("there is no such group"))?;
            let late = pending::age_ms(&group.pending) > self.config.follow_up_ms;
            // Nothing follows a dismissal, which may take long: it is refused at once.
            if group.pending.is_empty() || group.status == status::DISMISSED && !late {
                return Ok(group);
            }
            if late {
                let claimed = pending::claim(self.deps.store.as_ref(), group).await?;
                if let Some(group) = claimed {
                    self.roll_forward(group).await?;
                }
            } else {
                tokio::time::sleep(pause).await;
            }
        }
        Err(busy())
    }

    /// Does what follows a written change; the request waits for it, but not for ever.
    pub(crate) async fn follow_up(self: &Arc<Self>, group: Group) {
        let all = Arc::clone(self);
        pending::follow_up(&self.deps, 1, [group], move |group| {
            let all = Arc::clone(&all);
            async move { all.roll_forward(group).await }
        })
        .await;
    }

    /// Nothing is left to do, unless somebody took over: then he says so.
    pub(crate) async fn finish(&self, mut group: Group) -> Result<()> {
        group.change = Bytes::new();
        pending::finish(self.deps.store.as_ref(), group).await
    }
}

fn busy() -> Error {
    StoreError::Unavailable("an earlier change of the group is not finished".to_owned()).into()
}
