//! Making users friends without applications (rest-api.md, `import_friend`).
//!
//! The owner's record of a friend is the decisive document and carries the intent; the friend's record, both version lists
//! and the notification follow, and a crash between them is finished by the retry or by the worker.

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::openim::sdkws::{FriendApplicationApprovedTips, FromToUserId};
use magpie_service::{
    Context,
    notification::{self, Notification},
    pending,
    profiles::profiles,
};
use magpie_store::{
    Documents as _, Outcome,
    documents::Friend,
    key,
    store::StoreError,
    versions::{self, List, State},
};
use magpie_types::{Error, Result, msg::content_type, time::now_ms};

use crate::Relations;

/// How an imported friendship came about.
const BY_IMPORT: i32 = 1;
/// Mark of an intent: both sides, both lists, then 1201.
const BEFRIEND: u8 = 1;
/// Tries of one compare-and-set loop.
const MAX_TRIES: usize = 100;

impl Relations {
    /// Makes these users friends of `owner`, in both directions.
    pub(crate) async fn import(
        &self,
        ctx: &Context,
        owner: &str,
        friend_ids: &[String],
    ) -> Result<()> {
        let mut users = friend_ids.to_vec();
        users.push(owner.to_owned());
        let named = users.len();
        if profiles(&self.deps, ctx, users).await?.len() != named {
            return Err(Error::not_found("a user does not exist or is named twice"));
        }
        let limit = self.config.concurrency.max(1);
        let (operator, now) = (ctx.user_id(), now_ms());
        let begin: Vec<_> = friend_ids
            .iter()
            .map(|friend| self.begin(owner, friend, operator, now))
            .collect();
        let begun: Vec<(Friend, bool)> = stream::iter(begin).buffered(limit).try_collect().await?;
        let new: Vec<&str> = begun
            .iter()
            .filter(|(_, open)| *open)
            .map(|(f, _)| f.friend_id.as_str())
            .collect();
        let mirror: Vec<_> = new
            .iter()
            .map(|friend| self.mirror(owner, friend, operator, now))
            .collect();
        stream::iter(mirror)
            .buffer_unordered(limit)
            .try_collect::<()>()
            .await?;
        if !new.is_empty() {
            let changes: Vec<_> = new.iter().map(|id| (*id, State::Insert)).collect();
            versions::record(self.deps.store.as_ref(), owner, List::Friends, &changes).await?;
        }
        for (friend, open) in begun {
            if let Err(e) = self.announce(ctx, &friend).await {
                tracing::warn!(
                    owner,
                    error = e.report(),
                    "a friendship could not be announced yet"
                );
                continue;
            }
            if open {
                self.finish(friend).await?;
            }
        }
        Ok(())
    }

    /// Finishes what another request has left.
    pub(crate) async fn take_over(&self, mut friend: Friend) -> Result<()> {
        let expected = friend.rev;
        friend.rev += 1;
        friend.pending = pending::renew(&friend.pending);
        if !self.deps.store.replace(friend.clone(), expected).await? {
            return Ok(());
        }
        self.mirror(
            &friend.owner_id,
            &friend.friend_id,
            &friend.operator_id,
            friend.create_time,
        )
        .await?;
        let changes = [(friend.friend_id.as_str(), State::Insert)];
        versions::record(
            self.deps.store.as_ref(),
            &friend.owner_id,
            List::Friends,
            &changes,
        )
        .await?;
        self.announce(&Context::internal("finish-friendship"), &friend)
            .await?;
        self.finish(friend).await
    }

    /// The owner's record, and whether something has to follow: it is new, its follow-up was interrupted, or the friend
    /// lacks the other direction.
    async fn begin(
        &self,
        owner: &str,
        friend: &str,
        operator: &str,
        now: i64,
    ) -> Result<(Friend, bool)> {
        for _ in 0..MAX_TRIES {
            let Some(mut found) = self.deps.store.find::<Friend>(key![owner, friend]).await? else {
                let record = record(owner, friend, operator, now, pending::begin(BEFRIEND));
                if self.deps.store.add(record.clone()).await? == Outcome::Inserted {
                    return Ok((record, true));
                }
                continue;
            };
            if found.pending.is_empty() && self.has_friend(friend, owner).await? {
                return Ok((found, false));
            }
            let expected = found.rev;
            found.rev += 1;
            found.pending = pending::begin(BEFRIEND);
            if self.deps.store.replace(found.clone(), expected).await? {
                return Ok((found, true));
            }
        }
        Err(StoreError::Unavailable("too many writers of one friend record".to_owned()).into())
    }

    /// The friend's record of the owner, and its version.
    async fn mirror(&self, owner: &str, friend: &str, operator: &str, now: i64) -> Result<()> {
        self.deps
            .store
            .add(record(friend, owner, operator, now, Bytes::new()))
            .await?;
        versions::record(
            self.deps.store.as_ref(),
            friend,
            List::Friends,
            &[(owner, State::Insert)],
        )
        .await?;
        Ok(())
    }

    async fn announce(&self, ctx: &Context, friend: &Friend) -> Result<()> {
        let from_to = FromToUserId {
            from_user_id: friend.owner_id.clone(),
            to_user_id: friend.friend_id.clone(),
        };
        let tips = FriendApplicationApprovedTips {
            from_to_user_id: Some(from_to),
            ..FriendApplicationApprovedTips::default()
        };
        let kind = content_type::FRIEND_APPLICATION_APPROVED;
        let mut approved = Notification::to_user(kind, &friend.friend_id, &friend.owner_id, &tips)?
            .in_chat()
            .offline_push();
        if !friend.pending.is_empty() {
            approved = approved.client_msg_id(pending::message_id(
                &friend.pending,
                &friend.owner_id,
                kind,
            ));
        }
        notification::send(&self.deps, ctx, approved).await
    }

    async fn finish(&self, mut friend: Friend) -> Result<()> {
        let expected = friend.rev;
        friend.rev += 1;
        friend.pending = Bytes::new();
        self.deps.store.replace(friend, expected).await?;
        Ok(())
    }
}

fn record(owner: &str, friend: &str, operator: &str, now: i64, pending: Bytes) -> Friend {
    Friend {
        owner_id: owner.to_owned(),
        friend_id: friend.to_owned(),
        remark: String::new(),
        create_time: now,
        add_source: BY_IMPORT,
        operator_id: operator.to_owned(),
        ex: String::new(),
        is_pinned: false,
        rev: 1,
        pending,
    }
}
