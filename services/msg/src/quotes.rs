//! Quotes of revoked messages: readers get the quoted message in its revoked form (messages-and-sync.md 11.1).
//!
//! A quote carries the quoted message as the client of its writer had it, under that client's names. So what may hold its text is taken
//! out, and the rest stays.

use std::collections::{HashMap, hash_map::Entry};

use magpie_proto::openim::sdkws::MsgData;
use magpie_store::{Documents as _, Page, documents::Message, key};
use magpie_types::{ConversationId, Error, Result, msg::content_type};
use serde_json::{Map, Value};

use crate::{Service, load::state};

impl Service {
    /// Revokes the quotes in these messages of a conversation whose quoted message is revoked.
    pub(crate) async fn revoke_quotes(
        &self,
        conversation: &ConversationId,
        messages: &mut [MsgData],
    ) -> Result<()> {
        let mut revocations: HashMap<i64, Option<String>> = HashMap::new();
        for msg in messages {
            let Some((mut content, seq)) = quote(msg) else {
                continue;
            };
            if let Entry::Vacant(entry) = revocations.entry(seq) {
                entry.insert(self.revocation(conversation, seq).await?);
            }
            let Some(Some(revocation)) = revocations.get(&seq) else {
                continue;
            };
            if let Some(quoted) = content.get_mut(QUOTED).and_then(Value::as_object_mut) {
                quoted.retain(|name, _| !name.ends_with("Elem"));
                quoted.insert("contentType".to_owned(), content_type::MSG_REVOKE.into());
                quoted.insert("content".to_owned(), revocation.as_str().into());
                msg.content = serde_json::to_vec(&content)
                    .map_err(Error::internal)?
                    .into();
            }
        }
        Ok(())
    }

    /// What readers get instead of a message, if it is revoked.
    async fn revocation(&self, conversation: &ConversationId, seq: i64) -> Result<Option<String>> {
        let page = Page::of("by_seq", key![conversation.as_str()], 1).between(seq, seq);
        let found: Vec<Message> = self.deps.store.list(page).await?;
        let revoked = found.into_iter().find(|m| m.state == state::REVOKED);
        Ok(revoked.map(|m| String::from_utf8_lossy(&m.revocation).into_owned()))
    }
}

const QUOTED: &str = "quoteMessage";

/// The content of a message that quotes one, and the seq of that.
fn quote(msg: &MsgData) -> Option<(Map<String, Value>, i64)> {
    if ![content_type::QUOTE, content_type::AT_TEXT].contains(&msg.content_type) {
        return None;
    }
    let content: Map<String, Value> = serde_json::from_slice(&msg.content).ok()?;
    let seq = content.get(QUOTED)?.get("seq")?.as_i64()?;
    Some((content, seq))
}
