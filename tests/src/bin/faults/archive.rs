//! What is stored: readers, who write nothing, pull every conversation from its first message to its last.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use magpie_proto::openim::sdkws::{MsgData, PullMessageBySeqsResp};
use magpie_tests::Client;
use magpie_tests::evidence::{Line, Pull, Row};
use magpie_tests::load::row;
use tokio::time::sleep;

use crate::crowd::Crowd;
use crate::identity::{Identity, pull_request};
use crate::line::line;
use crate::world::World;

/// Between two pulls while something is missing.
const LOOK: Duration = Duration::from_millis(200);
/// Messages of one pull.
const PULL: i64 = 100;

/// A conversation as far as it was pulled.
#[derive(Default)]
struct Chat {
    rows: Vec<Row>,
    ids: HashSet<String>,
    /// Acknowledged and not seen yet.
    awaited: HashSet<String>,
    /// Who came and left, in a group.
    lines: Vec<Line>,
    /// Up to where it was judged.
    settled: i64,
}

impl Chat {
    fn take(&mut self, messages: &[MsgData]) {
        for message in messages {
            self.awaited.remove(&message.client_msg_id);
            self.ids.insert(message.client_msg_id.clone());
            self.lines.extend(line(message));
            self.rows.push(row(message));
        }
    }

    fn last(&self) -> i64 {
        self.rows.last().map_or(0, |row| row.seq)
    }

    /// Changes that the lines tell; the first line is the founding.
    fn moved(&self) -> usize {
        self.lines.iter().skip(1).map(|line| line.users.len()).sum()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Archive {
    readers: BTreeMap<String, Identity>,
    chats: BTreeMap<String, Chat>,
}

impl Archive {
    /// Adds the reader of a conversation.
    pub(crate) fn add(&mut self, reader: Identity) {
        let conversation = reader.conversation();
        self.chats.entry(conversation.clone()).or_default();
        self.readers.insert(conversation, reader);
    }

    /// The conversations.
    pub(crate) fn conversations(&self) -> Vec<String> {
        self.readers.keys().cloned().collect()
    }

    /// Messages that were acknowledged and have to come.
    pub(crate) fn expect(&mut self, conversation: &str, ids: Vec<String>) {
        if let Some(chat) = self.chats.get_mut(conversation) {
            let new = ids.into_iter().filter(|id| !chat.ids.contains(id));
            chat.awaited.extend(new);
        }
    }

    /// Pulls what is new of a conversation until everything is there that has to be, and so many changes of the membership.
    pub(crate) async fn catch_up(
        &mut self,
        world: &World,
        conversation: &str,
        moved: usize,
    ) -> anyhow::Result<()> {
        loop {
            if let Err(e) = self.refresh(world, conversation).await {
                eprintln!("  {conversation}: {e:#}");
            }
            let chat = self.chats.get(conversation).context("no such chat")?;
            if chat.awaited.is_empty() && chat.moved() >= moved {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    /// Pulls what is new of a conversation.
    pub(crate) async fn refresh(
        &mut self,
        world: &World,
        conversation: &str,
    ) -> anyhow::Result<()> {
        let reader = self.readers.get(conversation).context("no reader")?;
        let chat = self.chats.entry(conversation.to_owned()).or_default();
        let messages = pull_from(world, reader, chat.last() + 1).await?;
        chat.take(&messages);
        Ok(())
    }

    /// The newest seq.
    pub(crate) fn last(&self, conversation: &str) -> i64 {
        self.chats.get(conversation).map_or(0, Chat::last)
    }

    /// Up to where a user is to have everything.
    pub(crate) fn last_of(&self, conversation: &str, user: &str) -> i64 {
        let lines = self.chats.get(conversation).map(|chat| &chat.lines);
        let own = lines.into_iter().flatten().rev();
        match own.into_iter().find(|l| l.users.iter().any(|u| u == user)) {
            Some(line) if !line.joins => line.seq,
            _ => self.last(conversation),
        }
    }

    /// The lines of a group; the founding is told with all who were in it.
    pub(crate) fn lines(&self, conversation: &str, crowd: &Crowd) -> Vec<Line> {
        let lines = self.chats.get(conversation).map(|chat| &chat.lines);
        let mut lines = lines.cloned().unwrap_or_default();
        if let Some(founding) = lines.first_mut() {
            founding.users = crowd.users();
        }
        lines
    }

    /// Everything as evidence.
    pub(crate) fn pulls(&self) -> Vec<Pull> {
        let pull = |(conversation, chat): (&String, &Chat)| Pull {
            who: "the store".to_owned(),
            conversation: conversation.clone(),
            rows: chat.rows.clone(),
        };
        self.chats.iter().map(pull).collect()
    }

    /// Up to where each conversation was judged.
    pub(crate) fn settled(&self) -> BTreeMap<String, i64> {
        let settled = |(conversation, chat): (&String, &Chat)| (conversation.clone(), chat.settled);
        self.chats.iter().map(settled).collect()
    }

    /// Everything is judged.
    pub(crate) fn settle(&mut self) {
        for chat in self.chats.values_mut() {
            chat.settled = chat.last();
        }
    }
}

async fn connected(world: &World, who: &Identity) -> anyhow::Result<Client> {
    let gateways = world.gateways().await;
    who.connect(gateways.first().context("no gateway is ready")?)
        .await
}

async fn pulled(
    client: &mut Client,
    who: &Identity,
    begin: i64,
    end: i64,
) -> anyhow::Result<Vec<MsgData>> {
    let conversation = who.conversation();
    let mut body = pull_request(&who.user, &conversation, begin, end);
    body.seq_ranges
        .iter_mut()
        .for_each(|range| range.num = PULL);
    let mut answer: PullMessageBySeqsResp = client.call(1002, &body).await?;
    let pulled = answer.msgs.remove(&conversation);
    Ok(pulled.map(|pulled| pulled.msgs).unwrap_or_default())
}

/// Everything from a seq on, over a new connection.
pub(crate) async fn pull_from(
    world: &World,
    who: &Identity,
    begin: i64,
) -> anyhow::Result<Vec<MsgData>> {
    let mut client = connected(world, who).await?;
    let mut messages: Vec<MsgData> = Vec::new();
    loop {
        let begin = begin + i64::try_from(messages.len())?;
        match pulled(&mut client, who, begin, begin + PULL - 1).await? {
            more if more.is_empty() => return Ok(messages),
            more => messages.extend(more),
        }
    }
}

/// All that a user can see, wherever it begins and ends: backwards, as nobody says where it begins.
pub(crate) async fn pull_window(
    world: &World,
    who: &Identity,
    newest: i64,
) -> anyhow::Result<Vec<Row>> {
    let mut client = connected(world, who).await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut end = newest;
    while end > 0 {
        let more = pulled(&mut client, who, 1, end).await?;
        let Some(first) = more.first() else { break };
        end = first.seq - 1;
        rows.splice(0..0, more.iter().map(row));
    }
    Ok(rows)
}
