//! Mentions and announcements: the records of those whose attention is asked for say so (`groupAtType`), and they are told (1300).
//!
//! A `Mention` document is made where the message is stored, or by the group service; this job works it off in pages and stores how far it
//! is, so that nothing of it is on the way of the message. 1: you, 2: everybody, 3: everybody and you, 4: an announcement.
//!
//! What is worked off stays for a day as a trace. Until transfer has committed the message's offset, a kill makes it replay the message, and
//! that must not say "you" again to somebody who has looked since.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_proto::magpie::log::UserIds;
use magpie_service::{Context, invalidation::Stale, pending};
use magpie_store::{
    Document as _, Documents as _, Intends as _, Page, Store,
    documents::{GroupMember, Mention},
    key,
};
use magpie_types::{ConversationId, EVERYBODY, Error, Result, SessionType, time::now_ms};
use prost::Message as _;
use tokio::sync::Notify;

use crate::{
    records::{Follow, Identity, Records},
    settings::Patch,
};

/// Mark of one that somebody works at.
const TAKEN: u8 = 2;

const ME: i32 = 1;
const ALL: i32 = 2;
const ALL_AND_ME: i32 = 3;
const ANNOUNCEMENT: i32 = 4;

/// Looks for mentions whenever one was written, until the shutdown; what a dead process has taken, and what nobody was told of, is found by
/// the worker of intents.
pub(crate) fn start(service: &Arc<Records>) {
    let deps = &service.deps;
    let worker = Arc::clone(service);
    pending::spawn_worker(deps, "by_pending", move |mention: Mention| {
        let service = Arc::clone(&worker);
        async move { service.mention(mention).await }
    });
    let (service, shutdown) = (Arc::clone(service), deps.shutdown.clone());
    let written = Arc::new(Notify::new());
    let nudge = Arc::clone(&written);
    deps.invalidations.listen(move |stale| match stale {
        Stale::Document(schema, _) if schema.collection != Mention::SCHEMA.collection => {}
        Stale::Document(..) | Stale::Everything => nudge.notify_one(),
    });
    deps.tasks.spawn(async move {
        while shutdown
            .run_until_cancelled(written.notified())
            .await
            .is_some()
        {
            if let Err(e) = service.new_mentions().await {
                tracing::warn!(error = e.report(), "mentions can't be worked off now");
            }
        }
    });
}

impl Records {
    async fn new_mentions(&self) -> Result<()> {
        let store = self.deps.store.as_ref();
        for mut mention in pending::oldest::<Mention>(store, "by_pending").await? {
            if pending::mark(&mention.pending) != Some(Mention::NEW) {
                continue;
            }
            let rev = mention.rev;
            mention.set(rev + 1, pending::begin(TAKEN));
            if store.replace(mention.clone(), rev).await? {
                self.mention(mention).await?;
            }
        }
        Ok(())
    }

    /// Tells everybody from the stored place on. At a shutdown it stops after a page, and a worker goes on.
    async fn mention(&self, mut mention: Mention) -> Result<()> {
        let store: &dyn Store = self.deps.store.as_ref();
        let ids = UserIds::decode(mention.mentioned.clone()).map_err(Error::internal)?;
        let listed: HashSet<String> = ids.ids.into_iter().collect();
        let everybody = mention.is_announcement || listed.contains(EVERYBODY);
        let size = self.config.mention_page.max(1);
        loop {
            let (members, last) = if everybody {
                self.members_after(&mention, size).await?
            } else {
                (self.listed(&mention.group_id, &listed).await?, None)
            };
            let is_announcement = mention.is_announcement;
            let kind = |user: &str| match (everybody, listed.contains(user)) {
                _ if is_announcement => ANNOUNCEMENT,
                (false, _) => ME,
                (true, false) => ALL,
                (true, true) => ALL_AND_ME,
            };
            let told: Vec<_> = members
                .into_iter()
                .filter(|m| m.left_time == 0 && m.user_id != mention.sender_id)
                .map(|m| (kind(&m.user_id), m))
                .map(|(kind, m)| self.point_out(m, kind))
                .collect();
            stream::iter(told)
                .buffer_unordered(self.config.concurrency.max(1))
                .try_collect::<()>()
                .await?;
            let Some(last) = last else {
                mention.done_at = now_ms();
                return pending::finish(store, mention).await;
            };
            mention.after = last;
            match pending::claim(store, mention).await? {
                Some(stored) if !self.deps.shutdown.is_cancelled() => mention = stored,
                _ => return Ok(()),
            }
        }
    }

    /// The next members, and where they end unless they were the last ones.
    async fn members_after(
        &self,
        mention: &Mention,
        size: usize,
    ) -> Result<(Vec<GroupMember>, Option<String>)> {
        let mut page = Page::of("key", key![mention.group_id.as_str()], size);
        page.after = (!mention.after.is_empty()).then(|| key![mention.after.as_str()]);
        let members: Vec<GroupMember> = self.deps.store.list(page).await?;
        let full = members.len() >= size;
        let last = members.last().map(|m| m.user_id.clone()).filter(|_| full);
        Ok((members, last))
    }

    async fn listed(&self, group: &str, users: &HashSet<String>) -> Result<Vec<GroupMember>> {
        let keys = users
            .iter()
            .map(|user| key![group, user.as_str()])
            .collect();
        let found: Vec<Option<GroupMember>> = self.deps.store.find_many(keys).await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn point_out(&self, member: GroupMember, kind: i32) -> Result<()> {
        let about = Identity {
            conversation_id: ConversationId::group(&member.group_id).into(),
            conversation_type: SessionType::Group.number(),
            peer: String::new(),
            group_id: member.group_id,
        };
        let patch = Patch {
            group_at_type: Some(kind),
            ..Patch::default()
        };
        let written = self
            .write(&member.user_id, &about, &patch, Follow::TELL_OWNER)
            .await?;
        match written {
            Some(record) => {
                let ctx = Context::internal("mention");
                self.roll_forward(&ctx, record).await
            }
            None => Ok(()),
        }
    }
}
