//! Making users friends without applications (rest-api.md, `import_friend`).

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_service::{Context, pending, profiles::profiles};
use magpie_store::{documents::Friend, key};
use magpie_types::{Error, Result, time::now_ms};

use crate::{
    Relations,
    records::{BY_IMPORT, PRESENT, follow, record, seen},
};

impl Relations {
    /// Makes these users friends of `owner`, in both directions. Who is one already is told so again.
    pub(crate) async fn import(
        self: &Arc<Self>,
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
        let now = now_ms();
        let writes: Vec<_> = friend_ids
            .iter()
            .map(|friend| self.add(owner, friend, ctx.user_id(), now))
            .collect();
        let records: Vec<Option<Friend>> = stream::iter(writes)
            .buffered(self.config.concurrency.max(1))
            .try_collect()
            .await?;
        let records = records.into_iter().flatten().collect();
        self.follow_up(ctx, owner, records, Vec::new()).await;
        Ok(())
    }

    async fn add(
        &self,
        owner: &str,
        friend: &str,
        operator: &str,
        now: i64,
    ) -> Result<Option<Friend>> {
        let mirror_rev = seen(self.friend_record(friend, owner).await?.as_ref());
        let again = if mirror_rev == PRESENT {
            0
        } else {
            follow::MIRROR
        };
        pending::change(self.deps.store.as_ref(), key![owner, friend], |found| {
            let (record, added) = match found.filter(Friend::is_present) {
                Some(present) => (present, 0),
                None => (
                    record(owner, friend, BY_IMPORT, operator, now),
                    follow::ADDED,
                ),
            };
            let record = Friend {
                mirror_rev,
                ..record
            };
            Ok(Some((record, again | added | follow::TELL_APPROVED)))
        })
        .await
    }
}
