//! Searching stored chats, for administration (rest-api.md, `/msg/search_msg`).
//!
//! No index serves it, as every message would pay for a route that few call: the chats that may match are walked in the store's
//! order (conversation, seq) and the walk ends after `max_search` messages, or a while after the page that was asked for. So
//! the number of hits is a lower bound in a large store.

use std::collections::{BTreeSet, HashMap};

use magpie_proto::openim::{
    msg::{ChatLog, SearchChatLog, SearchMessageReq, SearchMessageResp},
    sdkws::MsgData,
};
use magpie_service::{Context, lists};
use magpie_store::{
    Document, Documents as _, Key, Page,
    documents::{Conversation, Group, Message, User, UserSeq},
    key,
};
use magpie_types::{ConversationId, Error, Result, SessionType, msg::status, time::utc_day};
use prost::Message as _;

use crate::{
    Service,
    load::{Budget, state},
};

/// Messages read at once.
const STEP: usize = 500;
/// Hits counted beyond the page.
const COUNTED_BEYOND: usize = 1000;

impl Service {
    pub(crate) async fn search(
        &self,
        ctx: &Context,
        req: SearchMessageReq,
    ) -> Result<SearchMessageResp> {
        ctx.require_admin()?;
        if !is_day_or_empty(&req.send_time) {
            return Err(Error::args(format!(
                "sendTime {:?} is no day of the form YYYY-MM-DD",
                req.send_time
            )));
        }
        let mut hits = Hits::new(&req, self.config.max_pull, self.config.max_pull_bytes);
        let mut left = self.config.max_search;
        for mut page in self.candidates(&req).await? {
            while left > 0 && !hits.is_enough() {
                let rows = self.deps.store.page(Message::SCHEMA, page.clone()).await?;
                let last = rows.len() < STEP;
                left = left.saturating_sub(rows.len());
                if let Some(row) = rows.last() {
                    page = page.after_row(Message::SCHEMA, row);
                }
                for row in rows {
                    hits.look(Message::from_row(row)?, &req)?;
                }
                if last {
                    break;
                }
            }
        }
        let chat_logs = self.complete(hits.shown).await?;
        Ok(SearchMessageResp {
            chat_logs,
            chat_logs_num: i32::try_from(hits.count).unwrap_or(i32::MAX),
        })
    }

    /// The chats that may have hits: those of the sender or the receiver, else all.
    async fn candidates(&self, req: &SearchMessageReq) -> Result<Vec<Page>> {
        let (from, to) = (req.send_id.as_str(), req.recv_id.as_str());
        let group = || ConversationId::group(to).to_string();
        let ids: BTreeSet<String> = match (from.is_empty(), to.is_empty()) {
            (true, true) => {
                let all = Page::of("by_seq", Vec::new(), STEP);
                return Ok(vec![all.between("sg_", "si_\u{10ffff}")]);
            }
            (false, false) => [ConversationId::single(from, to).to_string(), group()].into(),
            (false, true) => self.chats_of(from).await?,
            (true, false) => {
                let mut ids = self.chats_of(to).await?;
                ids.insert(group());
                ids
            }
        };
        let page = |id: String| Page::of("by_seq", key![id], STEP);
        Ok(ids.into_iter().map(page).collect())
    }

    /// Chats that a user has a record of, or a position in.
    async fn chats_of(&self, user: &str) -> Result<BTreeSet<String>> {
        let store = self.deps.store.as_ref();
        let records: Vec<Conversation> = lists::all(store, "key", key![user]).await?;
        let positions: Vec<UserSeq> = lists::all(store, "key", key![user]).await?;
        let ids = records.into_iter().map(|record| record.conversation_id);
        let ids = ids.chain(positions.into_iter().map(|seqs| seqs.conversation_id));
        Ok(ids
            .filter(|id| id.starts_with("si_") || id.starts_with("sg_"))
            .collect())
    }

    /// Adds the names of users and groups.
    async fn complete(&self, shown: Vec<(MsgData, bool)>) -> Result<Vec<SearchChatLog>> {
        let users = shown
            .iter()
            .flat_map(|(msg, _)| [&msg.send_id, &msg.recv_id]);
        let groups = shown.iter().map(|(msg, _)| &msg.group_id);
        let users: HashMap<String, User> = self.named(users, |user: &User| &user.user_id).await?;
        let groups: HashMap<String, Group> =
            self.named(groups, |group: &Group| &group.group_id).await?;
        let log = |(msg, is_revoked): (MsgData, bool)| SearchChatLog {
            chat_log: Some(chat_log(msg, &users, &groups)),
            is_revoked,
        };
        Ok(shown.into_iter().map(log).collect())
    }

    async fn named<'a, D: Document>(
        &self,
        ids: impl Iterator<Item = &'a String>,
        id: impl Fn(&D) -> &String,
    ) -> Result<HashMap<String, D>> {
        let ids: BTreeSet<&String> = ids.filter(|id| !id.is_empty()).collect();
        let keys: Vec<Key> = ids.into_iter().map(|id| key![id.as_str()]).collect();
        let found: Vec<Option<D>> = self.deps.store.find_many(keys).await?;
        let found = found.into_iter().flatten();
        Ok(found.map(|found| (id(&found).clone(), found)).collect())
    }
}

/// What was found so far.
struct Hits {
    /// Hits before the page.
    before: usize,
    /// Hits of the page.
    size: usize,
    count: usize,
    /// The page's messages, and whether each is revoked.
    shown: Vec<(MsgData, bool)>,
    budget: Budget,
}

impl Hits {
    /// For the page that is asked for, of at most so many messages and bytes; page 0 is the first.
    fn new(req: &SearchMessageReq, most: usize, bytes: usize) -> Self {
        let asked = req.pagination.unwrap_or_default();
        let size = usize::try_from(asked.show_number).unwrap_or(0).min(most);
        let pages = usize::try_from(asked.page_number).unwrap_or(0);
        Self {
            before: pages.saturating_sub(1).saturating_mul(size),
            size,
            count: 0,
            shown: Vec::new(),
            budget: Budget::new(bytes),
        }
    }

    fn end(&self) -> usize {
        self.before.saturating_add(self.size)
    }

    fn is_enough(&self) -> bool {
        self.count >= self.end().saturating_add(COUNTED_BEYOND)
    }

    fn look(&mut self, message: Message, req: &SearchMessageReq) -> Result<()> {
        let is_of = |wanted: &str, value: &str| wanted.is_empty() || wanted == value;
        if message.state == state::DELETED
            || !is_of(&req.send_id, &message.sender_id)
            || !(req.send_time.is_empty() || req.send_time == utc_day(message.send_time))
        {
            return Ok(());
        }
        let msg = MsgData::decode(message.body).map_err(Error::internal)?;
        let is_group = msg.session_type == SessionType::Group.number();
        let receiver = if is_group {
            &msg.group_id
        } else {
            &msg.recv_id
        };
        let is_kind = |wanted: i32, kind: i32| wanted == 0 || wanted == kind;
        if is_of(&req.recv_id, receiver)
            && is_kind(req.content_type, msg.content_type)
            && is_kind(req.session_type, msg.session_type)
        {
            if (self.before..self.end()).contains(&self.count) && self.budget.take(&msg) {
                self.shown.push((msg, message.state == state::REVOKED));
            }
            self.count += 1;
        }
        Ok(())
    }
}

fn chat_log(
    msg: MsgData,
    users: &HashMap<String, User>,
    groups: &HashMap<String, Group>,
) -> ChatLog {
    let nickname = |id: &str| users.get(id).map(|user| user.nickname.clone());
    let mut log = ChatLog {
        sender_nickname: nickname(&msg.send_id).unwrap_or(msg.sender_nickname),
        recv_nickname: nickname(&msg.recv_id).unwrap_or_default(),
        server_msg_id: msg.server_msg_id,
        client_msg_id: msg.client_msg_id,
        send_id: msg.send_id,
        recv_id: msg.recv_id,
        sender_platform_id: msg.sender_platform_id,
        sender_face_url: msg.sender_face_url,
        session_type: msg.session_type,
        msg_from: msg.msg_from,
        content_type: msg.content_type,
        content: String::from_utf8_lossy(&msg.content).into_owned(),
        status: status::SENT,
        send_time: msg.send_time,
        create_time: msg.create_time,
        ex: msg.ex,
        seq: msg.seq,
        ..ChatLog::default()
    };
    if msg.session_type == SessionType::Group.number() {
        log.recv_id.clone_from(&msg.group_id);
        log.recv_nickname = String::new();
        if let Some(group) = groups.get(&msg.group_id) {
            log.group_name.clone_from(&group.name);
            log.group_face_url.clone_from(&group.face_url);
            log.group_owner.clone_from(&group.owner_id);
            log.group_member_count = group.member_count;
            log.group_type = group.group_type;
        }
        log.group_id = msg.group_id;
    }
    log
}

fn is_day_or_empty(text: &str) -> bool {
    let part = |range, most| {
        let part: Option<&str> = text.get(range);
        part.is_some_and(|part| {
            part.bytes().all(|b| b.is_ascii_digit())
                && part.parse().is_ok_and(|n| (1..=most).contains(&n))
        })
    };
    let dashes = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    text.is_empty() || dashes && part(0..4, 9999) && part(5..7, 12) && part(8..10, 31)
}
