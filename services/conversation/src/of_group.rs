//! The records of a group's members: made, or opened again, when they come. The group service asks for it and tells them (1300).

use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_service::Context;
use magpie_store::{
    Document as _, Documents as _, Follow as Write,
    documents::Conversation,
    key,
    versions::{self, List, State},
};
use magpie_types::{ConversationId, Result, SessionType};

use crate::{
    records::{Follow, Identity, Records, blank},
    settings::Patch,
};

impl Records {
    /// Makes the records that are missing, all at once, and enters all of them into their owners' version lists: what a call before
    /// this one did not come to is done too.
    pub(crate) async fn create_of_group(
        &self,
        ctx: &Context,
        group: &str,
        users: Vec<String>,
    ) -> Result<()> {
        let about = Identity {
            conversation_id: ConversationId::group(group).into(),
            conversation_type: SessionType::Group.number(),
            peer: String::new(),
            group_id: group.to_owned(),
        };
        let id = about.conversation_id.as_str();
        let keys = users.iter().map(|user| key![user.as_str(), id]).collect();
        let found: Vec<Option<Conversation>> = self.deps.store.find_many(keys).await?;
        let left = |record: &Option<Conversation>| record.as_ref().is_some_and(|r| r.max_seq != 0);
        let missing = users.iter().zip(&found).filter(|(_, r)| r.is_none());
        let writes = missing.map(|(user, _)| Write::InsertIfAbsent {
            schema: Conversation::SCHEMA,
            row: Conversation {
                rev: 1,
                ..blank(user, &about)
            }
            .into_row(),
        });
        self.deps.store.apply(writes.collect()).await?;
        let open = Patch {
            max_seq: Some(0),
            ..Patch::default()
        };
        let again: Vec<bool> = found.iter().map(left).collect();
        let entries = users.into_iter().zip(again).map(|(user, again)| {
            let (about, open) = (&about, &open);
            async move { self.enter_member(ctx, user, again, (about, open)).await }
        });
        stream::iter(entries)
            .buffer_unordered(self.config.concurrency.max(1))
            .try_collect()
            .await
    }

    async fn enter_member(
        &self,
        ctx: &Context,
        user: String,
        again: bool,
        (about, open): (&Identity, &Patch),
    ) -> Result<()> {
        if again && let Some(record) = self.write(&user, about, open, Follow::QUIET).await? {
            return self.roll_forward(ctx, record).await;
        }
        let store = self.deps.store.as_ref();
        let created = [(about.conversation_id.as_str(), State::Insert)];
        versions::record(store, &user, List::Conversations, &created).await?;
        Ok(())
    }
}
