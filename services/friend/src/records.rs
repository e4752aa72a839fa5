//! Friend records on their way into the store, and what follows a change of one (the recipe of `magpie_service::pending`).
//!
//! The owner's record is the decisive document of what he does to his own list. A friendship has a second record, the mirror,
//! in the friend's list; it is derived, and written at the revision that was seen when the friendship was decided: whoever
//! changed it since then has the last word.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::openim::sdkws::{
    FriendApplicationApprovedTips, FriendDeletedTips, FriendInfoChangedTips, FriendsInfoUpdateTips,
    FromToUserId,
};
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
};
use magpie_store::{
    Documents as _,
    documents::Friend,
    key,
    versions::{self, List, SORT_ELEMENT, State},
};
use magpie_types::{Result, msg::content_type};

use crate::Relations;

/// How a friendship came about.
pub(crate) const BY_IMPORT: i32 = 1;
pub(crate) const BY_APPLICATION: i32 = 2;

/// Revision that says: he was befriended already.
pub(crate) const PRESENT: i64 = -1;

/// What follows a change of an owner's record; bits of its mark.
pub(crate) mod follow {
    /// The friend's record of the owner is made.
    pub(crate) const MIRROR: u8 = 1;
    /// The friend is new in the owner's list.
    pub(crate) const ADDED: u8 = 1 << 1;
    /// Both are told that they are friends (1201).
    pub(crate) const TELL_APPROVED: u8 = 1 << 2;
    /// He is gone; both are told (1205).
    pub(crate) const DELETED: u8 = 1 << 3;
    /// The record changed and its owner is told (1210).
    pub(crate) const UPDATED: u8 = 1 << 4;
    /// The remark changed through the older route; both are told (1206).
    pub(crate) const REMARKED: u8 = 1 << 5;
    /// The order of the list may have changed.
    pub(crate) const SORTED: u8 = 1 << 6;
}

/// The revision at which [`Relations::befriend`] may write.
pub(crate) fn seen(found: Option<&Friend>) -> i64 {
    match found {
        Some(friend) if friend.is_present() => PRESENT,
        Some(friend) => friend.rev,
        None => 0,
    }
}

/// A new friend.
pub(crate) fn record(owner: &str, friend: &str, source: i32, operator: &str, now: i64) -> Friend {
    Friend {
        owner_id: owner.to_owned(),
        friend_id: friend.to_owned(),
        remark: String::new(),
        create_time: now,
        add_source: source,
        operator_id: operator.to_owned(),
        ex: String::new(),
        is_pinned: false,
        rev: 1,
        pending: Bytes::new(),
        mirror_rev: PRESENT,
        deleted_at: 0,
    }
}

pub(crate) fn from_to(from: &str, to: &str) -> Option<FromToUserId> {
    Some(FromToUserId {
        from_user_id: from.to_owned(),
        to_user_id: to.to_owned(),
    })
}

impl Relations {
    /// The record, also of one who is no friend any more.
    pub(crate) async fn friend_record(&self, owner: &str, friend: &str) -> Result<Option<Friend>> {
        Ok(self.deps.store.find(key![owner, friend]).await?)
    }

    /// Makes the record a friend's if it still has the revision that was [`seen`]; repeats change nothing.
    pub(crate) async fn befriend(&self, friend: Friend, seen: i64) -> Result<()> {
        let store = self.deps.store.as_ref();
        let owner = friend.owner_id.clone();
        let changes = [(&*friend.friend_id.clone(), State::Insert)];
        match seen {
            PRESENT => return Ok(()),
            0 => {
                store.add(friend).await?;
            }
            rev => {
                let found = self.friend_record(&owner, &friend.friend_id).await?;
                if let Some(trace) = found.filter(|f| f.rev == rev && !f.is_present()) {
                    let back = Friend {
                        rev: rev + 1,
                        pending: trace.pending,
                        ..friend
                    };
                    store.replace(back, rev).await?;
                }
            }
        }
        versions::record(store, &owner, List::Friends, &changes).await?;
        Ok(())
    }

    /// Rolls changes of records of `owner` forward, together; 1210 names `named`, unless nobody.
    pub(crate) async fn follow_up(
        self: &Arc<Self>,
        ctx: &Context,
        owner: &str,
        records: Vec<Friend>,
        named: Vec<String>,
    ) {
        let (service, ctx, owner) = (Arc::clone(self), ctx.clone(), owner.to_owned());
        pending::follow_up(
            &self.deps,
            1,
            [(records, named)],
            move |(records, named)| {
                let (service, ctx, owner) = (Arc::clone(&service), ctx.clone(), owner.clone());
                async move { service.roll_forward(&ctx, &owner, records, named).await }
            },
        )
        .await;
    }

    /// Rolls forward what was left of one change.
    pub(crate) async fn take_over(&self, ctx: &Context, friend: Friend) -> Result<()> {
        let named = if has(&friend, follow::UPDATED) {
            vec![friend.friend_id.clone()]
        } else {
            Vec::new()
        };
        let owner = friend.owner_id.clone();
        self.roll_forward(ctx, &owner, vec![friend], named).await
    }

    async fn roll_forward(
        &self,
        ctx: &Context,
        owner: &str,
        records: Vec<Friend>,
        named: Vec<String>,
    ) -> Result<()> {
        let mirrors = records.iter().filter(|f| has(f, follow::MIRROR));
        let mirrors: Vec<_> = mirrors.map(|f| self.mirror(f)).collect();
        stream::iter(mirrors)
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect::<()>()
            .await?;
        self.list(owner, &records).await?;
        if !named.is_empty() {
            let intent = records.iter().find(|f| has(f, follow::UPDATED));
            let intent = intent.map(|f| f.pending.clone()).unwrap_or_default();
            self.tell_updated(ctx, owner, named, &intent).await?;
        }
        for friend in records {
            self.announce(ctx, &friend).await?;
            pending::finish(self.deps.store.as_ref(), friend).await?;
        }
        Ok(())
    }

    async fn mirror(&self, friend: &Friend) -> Result<()> {
        let mirror = record(
            &friend.friend_id,
            &friend.owner_id,
            friend.add_source,
            &friend.operator_id,
            friend.create_time,
        );
        self.befriend(mirror, friend.mirror_rev).await
    }

    /// New and deleted friends are one version together; every changed record is one of its own, as clients know it.
    async fn list(&self, owner: &str, records: &[Friend]) -> Result<()> {
        let store = self.deps.store.as_ref();
        let mut together = Vec::with_capacity(records.len());
        for friend in records {
            let id = friend.friend_id.as_str();
            match () {
                () if has(friend, follow::DELETED) => together.push((id, State::Delete)),
                () if has(friend, follow::ADDED) => together.push((id, State::Insert)),
                () if has(friend, follow::UPDATED | follow::REMARKED) => {
                    let sorted = has(friend, follow::SORTED);
                    let sorted = sorted.then_some((SORT_ELEMENT, State::Update));
                    let changes: Vec<_> = [(id, State::Update)].into_iter().chain(sorted).collect();
                    versions::record(store, owner, List::Friends, &changes).await?;
                }
                () => {}
            }
        }
        if !together.is_empty() {
            versions::record(store, owner, List::Friends, &together).await?;
        }
        Ok(())
    }

    /// 1210: the owner's devices learn which records changed.
    async fn tell_updated(
        &self,
        ctx: &Context,
        owner: &str,
        friend_i_ds: Vec<String>,
        intent: &Bytes,
    ) -> Result<()> {
        let tips = FriendsInfoUpdateTips {
            from_to_user_id: from_to(owner, owner),
            friend_i_ds,
            ..FriendsInfoUpdateTips::default()
        };
        let kind = content_type::FRIENDS_INFO_UPDATE;
        let mut update = Notification::to_user(kind, owner, owner, &tips)?;
        if !intent.is_empty() {
            update = update.client_msg_id(pending::message_id(intent, owner, kind));
        }
        notification::send(&self.deps, ctx, update).await
    }

    /// What became of a friend is his owner's business (messages-and-sync.md 12.5); that he approved is both's.
    async fn announce(&self, ctx: &Context, friend: &Friend) -> Result<()> {
        let (owner, other) = (&*friend.owner_id, &*friend.friend_id);
        let mut told = Vec::new();
        if has(friend, follow::TELL_APPROVED) {
            let tips = FriendApplicationApprovedTips {
                from_to_user_id: from_to(owner, other),
                ..FriendApplicationApprovedTips::default()
            };
            let kind = content_type::FRIEND_APPLICATION_APPROVED;
            let approved = Notification::to_user(kind, other, owner, &tips)?;
            told.push(approved.in_chat().offline_push());
        }
        if has(friend, follow::REMARKED) {
            let tips = FriendInfoChangedTips {
                from_to_user_id: from_to(owner, other),
                ..FriendInfoChangedTips::default()
            };
            told.push(Notification::to_user(
                content_type::FRIEND_REMARK_SET,
                owner,
                owner,
                &tips,
            )?);
        }
        if has(friend, follow::DELETED) {
            let tips = FriendDeletedTips {
                from_to_user_id: from_to(owner, other),
                ..FriendDeletedTips::default()
            };
            told.push(Notification::to_user(
                content_type::FRIEND_DELETED,
                owner,
                owner,
                &tips,
            )?);
        }
        for change in told {
            let id = pending::message_id(&friend.pending, owner, change.content_type);
            notification::send(&self.deps, ctx, change.client_msg_id(id)).await?;
        }
        Ok(())
    }
}

fn has(friend: &Friend, bits: u8) -> bool {
    pending::mark(&friend.pending).is_some_and(|mark| mark & bits != 0)
}
