//! What follows a change of a group, in the order in which it may be seen: the members' rows, conversation records of who joins, the
//! version lists, the notification that carries who joined and left into the log, and, once their bounds are set there, what they
//! themselves are told. Each step may be repeated.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use magpie_discovery::name;
use magpie_proto::{
    magpie::{log::Membership, msg::AnnounceReq, msg::memberships_client::MembershipsClient},
    openim::{
        conversation::{
            CreateGroupChatConversationsReq, SetConversationMaxSeqReq,
            conversation_client::ConversationClient,
        },
        sdkws::{ConversationUpdateTips, MsgData},
    },
    status::from_status,
};
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
};
use magpie_store::{
    Document as _, Documents as _, RunItem,
    documents::{Group, GroupMember, Head, Mention, UserSeq},
    key,
    versions::{self, List, SORT_ELEMENT, State},
};
use magpie_types::{ConversationId, Error, Result, group::status, msg::content_type};

use crate::{
    change::{Change, carried},
    groups::Groups,
};

/// Pause between two looks at bounds, milliseconds.
const LOOK_MS: u64 = 5;

impl Groups {
    /// Does all that follows a written change.
    pub(crate) fn roll_forward(&self, group: Group) -> BoxFuture<'_, Result<()>> {
        self.roll(group).boxed()
    }

    async fn roll(&self, group: Group) -> Result<()> {
        let change = carried(&group)?;
        let ctx = Context::internal(change.operation_id.as_str());
        if group.status == status::DISMISSED {
            return self.roll_dismissal(&ctx, group, change).await;
        }
        self.write_rows(&group, &change).await?;
        let (joined, left) = (change.joined(), change.left());
        if !joined.is_empty() {
            let request = CreateGroupChatConversationsReq {
                user_i_ds: joined.clone(),
                group_id: group.group_id.clone(),
            };
            let mut client = ConversationClient::new(self.deps.channel(name::CONVERSATION));
            client
                .create_group_chat_conversations(ctx.request(request))
                .await
                .map_err(from_status)?;
        }
        let (groups, id) = (List::JoinedGroups, group.group_id.as_str());
        self.list_for(&joined, groups, id, State::Insert).await?;
        self.list_for(&left, groups, id, State::Delete).await?;
        let version = self.list_members(&group, &change).await?;
        let membership = change.moves().then(|| Membership {
            version: group.member_version,
            joined: joined.clone(),
            left: left.clone(),
            hide_history: !self.config.history_for_new_members,
            ..Membership::default()
        });
        self.tell(&ctx, &group, &change, &version, membership)
            .await?;
        self.point_out(&group, &change).await?;
        if change.moves() {
            self.bounded(&group, change.rows.last().map(|row| row.user_id.as_str()))
                .await?;
        }
        if !change.tell.contains(&content_type::GROUP_CREATED) {
            // Whoever has synchronised since the records were made has seen them with the bounds from before.
            let chat = ConversationId::group(&group.group_id);
            self.list_for(&joined, List::Conversations, chat.as_str(), State::Insert)
                .await?;
            self.tell_joined(&ctx, &group, &joined).await?;
        }
        self.tell_left(&ctx, &group, left).await?;
        self.finish(group).await
    }

    /// The group is closed for everybody at once; its members are removed afterwards.
    async fn roll_dismissal(&self, ctx: &Context, mut group: Group, change: Change) -> Result<()> {
        let all = self.present(&group.group_id).await?;
        let ids: Vec<String> = all.iter().map(|m| m.user_id.clone()).collect();
        // Before the notification: whoever gets it finds the group gone from his list.
        let (groups, id) = (List::JoinedGroups, group.group_id.as_str());
        self.list_for(&ids, groups, id, State::Delete).await?;
        let store = self.deps.store.as_ref();
        let of_group = [("", State::Update)];
        let version = versions::record(store, &group.group_id, List::Members, &of_group).await?;
        let membership = Membership {
            version: group.member_version,
            dismissed: true,
            quiet: change.quiet,
            ..Membership::default()
        };
        self.tell(ctx, &group, &change, &version, Some(membership))
            .await?;
        self.bounded(&group, None).await?;
        let (version, at) = (group.member_version, change.at);
        stream::iter(all)
            .map(|member| self.remove(member, version, at))
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect::<()>()
            .await?;
        group.member_count = 0;
        group.owner_id.clear();
        self.finish(group).await
    }

    async fn remove(&self, member: GroupMember, version: i64, at: i64) -> Result<()> {
        let mut row = crate::change::Row::of(member.clone());
        row.leaves = true;
        row.member_version = version;
        let left = row.document(&member.group_id, at);
        self.deps.store.replace(left, member.rev).await?;
        Ok(())
    }

    /// Writes the rows; those that are written already stay.
    async fn write_rows(&self, group: &Group, change: &Change) -> Result<()> {
        let (new, old): (Vec<_>, Vec<_>) = change.rows.iter().partition(|row| row.expected == 0);
        let document = |row: &crate::change::Row| row.document(&group.group_id, change.at);
        let runs = new.into_iter().map(|row| {
            vec![RunItem {
                row: document(row).into_row(),
                then: Vec::new(),
            }]
        });
        let store = &self.deps.store;
        store
            .insert_runs(GroupMember::SCHEMA, runs.collect())
            .await?;
        let old: Vec<(GroupMember, i64)> = old
            .into_iter()
            .map(|row| (document(row), row.expected))
            .collect();
        stream::iter(old)
            .map(|(member, expected)| store.replace(member, expected))
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect::<Vec<bool>>()
            .await?;
        Ok(())
    }

    /// Enters the group or its conversation into such a list of each of these users, or the removal from it.
    async fn list_for(
        &self,
        users: &[String],
        list: List,
        element: &str,
        state: State,
    ) -> Result<()> {
        stream::iter(users.to_vec())
            .map(|user| self.list_one(user, list, element, state))
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect()
            .await
    }

    async fn list_one(&self, user: String, list: List, element: &str, state: State) -> Result<()> {
        let store = self.deps.store.as_ref();
        versions::record(store, &user, list, &[(element, state)]).await?;
        Ok(())
    }

    async fn list_members(&self, group: &Group, change: &Change) -> Result<versions::Version> {
        let mut changes: Vec<(&str, State)> = change
            .rows
            .iter()
            .map(|row| {
                let state = match (row.joins, row.leaves) {
                    (true, _) => State::Insert,
                    (_, true) => State::Delete,
                    _ => State::Update,
                };
                (row.user_id.as_str(), state)
            })
            .collect();
        if change.sorted || change.rows.iter().any(|row| row.joins) {
            changes.push((SORT_ELEMENT, State::Update));
        }
        if change.of_group {
            changes.push(("", State::Update));
        }
        let store = self.deps.store.as_ref();
        Ok(versions::record(store, &group.group_id, List::Members, &changes).await?)
    }

    /// Sends the notifications; the first one carries the membership into the log.
    async fn tell(
        &self,
        ctx: &Context,
        group: &Group,
        change: &Change,
        version: &versions::Version,
        mut membership: Option<Membership>,
    ) -> Result<()> {
        for kind in &change.tell {
            let msg = self.tip(ctx, group, change, version, *kind).await?;
            match membership.take() {
                Some(membership) => self.announce(ctx, msg, membership).await?,
                None => self.send(ctx, msg).await?,
            }
        }
        Ok(())
    }

    async fn announce(&self, ctx: &Context, msg: MsgData, membership: Membership) -> Result<()> {
        let request = AnnounceReq {
            notification: Some(msg),
            membership: Some(membership),
        };
        MembershipsClient::new(self.deps.channel(name::MSG))
            .announce(ctx.request(request))
            .await
            .map_err(from_status)?;
        Ok(())
    }

    /// Sends a ready notification.
    pub(crate) async fn send(&self, ctx: &Context, msg: MsgData) -> Result<()> {
        notification::send_msg(&self.deps, ctx, msg).await
    }

    /// An announcement asks for everybody's attention; that of a new group came with the group.
    async fn point_out(&self, group: &Group, change: &Change) -> Result<()> {
        let kind = content_type::GROUP_ANNOUNCEMENT_SET;
        let set = change.tell.first() == Some(&kind) && !group.notification.is_empty();
        if !set {
            return Ok(());
        }
        let mention = Mention {
            group_id: group.group_id.clone(),
            source: pending::message_id(&group.pending, &group.group_id, kind),
            sender_id: change.operator.clone(),
            mentioned: Bytes::new(),
            is_announcement: true,
            after: String::new(),
            pending: pending::begin(Mention::NEW),
            rev: 1,
            done_at: 0,
        };
        // At a repeat it is there, worked off or not.
        self.deps.store.add(mention).await?;
        Ok(())
    }

    /// Waits until the log's readers have set the bounds of a change.
    async fn bounded(&self, group: &Group, user: Option<&str>) -> Result<()> {
        let chat = ConversationId::group(&group.group_id);
        let store = &self.deps.store;
        for _ in 0..=self.config.follow_up_ms / LOOK_MS {
            let version = match user {
                Some(user) => {
                    let seqs: Option<UserSeq> = store.find(key![user, chat.as_str()]).await?;
                    seqs.map_or(0, |s| s.member_version)
                }
                None => {
                    let head: Option<Head> = store.find(key![chat.as_str()]).await?;
                    head.map_or(0, |h| h.member_version)
                }
            };
            if version >= group.member_version {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        Err(Error::internal("the bounds of a change are not set yet"))
    }

    /// Each who joined learns of his conversation.
    async fn tell_joined(&self, ctx: &Context, group: &Group, joined: &[String]) -> Result<()> {
        let kind = content_type::CONVERSATION_CHANGE;
        let chat = ConversationId::group(&group.group_id);
        let mut notices = Vec::with_capacity(joined.len());
        for user in joined {
            let tips = ConversationUpdateTips {
                user_id: user.clone(),
                conversation_id_list: vec![chat.to_string()],
            };
            let id = pending::message_id(&group.pending, user, kind);
            notices.push(Notification::to_user(kind, user, user, &tips)?.client_msg_id(id));
        }
        stream::iter(notices)
            .map(|notice| notification::send(&self.deps, ctx, notice))
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect()
            .await
    }

    /// The records of those who left show where they left; each learns of it.
    async fn tell_left(&self, ctx: &Context, group: &Group, left: Vec<String>) -> Result<()> {
        let Some(first) = left.first() else {
            return Ok(());
        };
        let chat = ConversationId::group(&group.group_id);
        let seqs: Option<UserSeq> = self
            .deps
            .store
            .find(key![first.as_str(), chat.as_str()])
            .await?;
        let request = SetConversationMaxSeqReq {
            conversation_id: chat.to_string(),
            owner_user_id: left,
            max_seq: seqs.map_or(0, |s| s.max_seq.max(0)),
        };
        ConversationClient::new(self.deps.channel(name::CONVERSATION))
            .set_conversation_max_seq(ctx.request(request))
            .await
            .map_err(from_status)?;
        Ok(())
    }
}
