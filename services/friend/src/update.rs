//! What an owner does to his own friend list: delete, remark, pin, extension text. Each friend's record changes on its own.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::openim::relation::UpdateFriendsReq;
use magpie_service::{Context, pending};
use magpie_store::{documents::Friend, key};
use magpie_types::{Error, Result, time::now_ms};

use crate::{Relations, records::follow};

impl Relations {
    /// Deletes a friend from the owner's list, not the owner from the friend's; one who is none is no error.
    pub(crate) async fn delete_friend(
        self: &Arc<Self>,
        ctx: &Context,
        owner: &str,
        friend: &str,
    ) -> Result<()> {
        let now = now_ms();
        let written = self
            .change_friend(owner, friend, |friend| {
                friend.deleted_at = now;
                follow::DELETED
            })
            .await?;
        let records = written.into_iter().collect();
        self.follow_up(ctx, owner, records, Vec::new()).await;
        Ok(())
    }

    /// Sets the owner's name for a friend, by the older route; 1004 for one who is none.
    pub(crate) async fn set_remark(
        self: &Arc<Self>,
        ctx: &Context,
        (owner, friend): (&str, &str),
        remark: &str,
    ) -> Result<()> {
        let written = self
            .change_friend(owner, friend, |friend| {
                remark.clone_into(&mut friend.remark);
                follow::REMARKED
            })
            .await?;
        let written = written.ok_or_else(|| Error::not_found("friend not found"))?;
        self.follow_up(ctx, owner, vec![written], Vec::new()).await;
        Ok(())
    }

    /// Sets what is given for each of these friends; the others are only named in the notification.
    pub(crate) async fn update_friends(
        self: &Arc<Self>,
        ctx: &Context,
        req: UpdateFriendsReq,
    ) -> Result<()> {
        let owner = &*req.owner_user_id;
        let writes: Vec<_> = req
            .friend_user_i_ds
            .iter()
            .filter(|_| req.is_pinned.is_some() || req.remark.is_some() || req.ex.is_some())
            .map(|friend| self.change_friend(owner, friend, |friend| patch(friend, &req)))
            .collect();
        let records: Vec<Option<Friend>> = stream::iter(writes)
            .buffered(self.config.concurrency.max(1))
            .try_collect()
            .await?;
        let records = records.into_iter().flatten().collect();
        let named = req.friend_user_i_ds.clone();
        self.follow_up(ctx, owner, records, named).await;
        Ok(())
    }

    /// Changes the record of one who is a friend; None if he is none. `apply` answers what follows.
    async fn change_friend(
        &self,
        owner: &str,
        friend: &str,
        apply: impl Fn(&mut Friend) -> u8 + Send,
    ) -> Result<Option<Friend>> {
        pending::change(self.deps.store.as_ref(), key![owner, friend], |found| {
            Ok(found.filter(Friend::is_present).map(|mut friend| {
                let mark = apply(&mut friend);
                (friend, mark)
            }))
        })
        .await
    }
}

fn patch(friend: &mut Friend, req: &UpdateFriendsReq) -> u8 {
    let mut mark = follow::UPDATED;
    if let Some(pinned) = &req.is_pinned {
        friend.is_pinned = pinned.value;
        mark |= follow::SORTED;
    }
    if let Some(remark) = &req.remark {
        friend.remark.clone_from(&remark.value);
    }
    if let Some(ex) = &req.ex {
        friend.ex.clone_from(&ex.value);
    }
    mark
}
