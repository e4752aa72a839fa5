//! Reading: single records, a user's whole list, and what of it changed since a version (rest-api.md 5).

use std::sync::Arc;

use magpie_proto::openim::sdkws::RequestPagination;
use magpie_service::lists::{self, FullIds, Incremental};
use magpie_store::{
    Documents as _,
    documents::Conversation,
    key,
    versions::{self, List},
};
use magpie_types::{ConversationId, Result};

use crate::records::Records;

impl Records {
    /// One record.
    pub(crate) async fn find(
        self: &Arc<Self>,
        owner: &str,
        conversation_id: &str,
    ) -> Result<Option<Conversation>> {
        let mut found = self.find_many(owner, &[conversation_id.to_owned()]).await?;
        Ok(found.pop())
    }

    /// Those of these records that exist, in the order asked for.
    pub(crate) async fn find_many(
        self: &Arc<Self>,
        owner: &str,
        conversation_ids: &[String],
    ) -> Result<Vec<Conversation>> {
        let keys = conversation_ids.iter().map(|id| key![owner, id.as_str()]);
        let keys: Vec<_> = keys.collect();
        let present = |found: Vec<Option<Conversation>>| -> Vec<Conversation> {
            let found = found.into_iter().flatten();
            found.filter(Conversation::is_present).collect()
        };
        let found = present(self.deps.store.find_many(keys.clone()).await?);
        if found.len() == keys.len() {
            return Ok(found);
        }
        self.revive(owner).await?;
        Ok(present(self.deps.store.find_many(keys).await?))
    }

    /// These users' records of one conversation; None where there is none.
    pub(crate) async fn of_users(
        &self,
        user_ids: &[String],
        conversation_id: &str,
    ) -> Result<Vec<Option<Conversation>>> {
        let keys = user_ids
            .iter()
            .map(|id| key![id.as_str(), conversation_id])
            .collect();
        let found = self.deps.store.find_many::<Conversation>(keys).await?;
        let present = |record: Option<Conversation>| record.filter(Conversation::is_present);
        Ok(found.into_iter().map(present).collect())
    }

    /// All records of a user, by time of creation, then id.
    pub(crate) async fn of_owner(self: &Arc<Self>, owner: &str) -> Result<Vec<Conversation>> {
        self.revive(owner).await?;
        let mut records: Vec<Conversation> =
            lists::all(self.deps.store.as_ref(), "key", key![owner]).await?;
        records.retain(Conversation::is_present);
        records.sort_by(|a, b| {
            (a.create_time, &a.conversation_id).cmp(&(b.create_time, &b.conversation_id))
        });
        Ok(records)
    }

    /// All owners' records of one conversation.
    pub(crate) async fn of_conversation(&self, conversation_id: &str) -> Result<Vec<Conversation>> {
        let mut records: Vec<Conversation> = lists::all(
            self.deps.store.as_ref(),
            "by_conversation",
            key![conversation_id],
        )
        .await?;
        records.retain(Conversation::is_present);
        Ok(records)
    }

    /// The users of a group who have set this receive option for it.
    pub(crate) async fn receiving(
        &self,
        conversation_id: &ConversationId,
        recv_msg_opt: i32,
    ) -> Result<Vec<String>> {
        let records = self.of_conversation(conversation_id.as_str()).await?;
        Ok(records
            .into_iter()
            .filter(|r| r.recv_msg_opt == recv_msg_opt)
            .map(|r| r.owner_id)
            .collect())
    }

    /// Ids of a user's records that pass.
    pub(crate) async fn ids(
        self: &Arc<Self>,
        owner: &str,
        pass: impl Fn(&Conversation) -> bool,
    ) -> Result<Vec<String>> {
        Ok(self
            .of_owner(owner)
            .await?
            .into_iter()
            .filter(|r| pass(r))
            .map(|r| r.conversation_id)
            .collect())
    }

    /// A page of a user's records and how many there are; no pagination is an empty page.
    pub(crate) async fn page(
        self: &Arc<Self>,
        owner: &str,
        pagination: Option<RequestPagination>,
    ) -> Result<(usize, Vec<Conversation>)> {
        let (store, max) = (self.deps.store.as_ref(), self.config.max_page);
        let page = pagination.unwrap_or_default();
        let all = self.of_owner(owner);
        self.walks.page(store, owner, page, max, all).await
    }

    /// All ids with the version they have at least.
    pub(crate) async fn full_ids(self: &Arc<Self>, owner: &str, hash: u64) -> Result<FullIds> {
        self.revive(owner).await?;
        let version =
            versions::current(self.deps.store.as_ref(), owner, List::Conversations).await?;
        FullIds::new(version, self.ids(owner, |_| true).await?, hash)
    }

    /// What changed since a version.
    pub(crate) async fn incremental(
        self: &Arc<Self>,
        owner: &str,
        known: (&str, u64),
    ) -> Result<Incremental<Conversation>> {
        self.revive(owner).await?;
        let list = (owner, List::Conversations);
        lists::incremental(
            self.deps.store.as_ref(),
            list,
            known,
            |id| key![owner, id],
            Conversation::is_present,
        )
        .await
    }
}
