//! A user with many friends, groups and conversations: his first login on a device, and every later one.
//!
//! The calls are those of the Go core (messages-and-sync.md 13.4): versions, then the whole lists by pages, then the ids;
//! 1001, and the newest message of each conversation by 1002.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::{
    GetMaxSeqReq, GetMaxSeqResp, PullMessageBySeqsReq, PullMessageBySeqsResp, SeqRange,
};
use prost::Message as _;
use serde_json::{Value, json};

use super::{
    client::{self, Socket},
    rest::Rest,
    server::Server,
};
use crate::{admin::Api, output::say};

/// Friends of the user.
pub(super) const FRIENDS: usize = 5000;
/// Groups that he is in.
pub(super) const GROUPS: usize = 1000;
/// Conversations: with friends and groups, the rest with others.
pub(super) const CONVERSATIONS: usize = 10_000;
/// Members of each group.
const MEMBERS: usize = 10;
/// Elements of one call that makes the world.
const CHUNK: usize = 500;
/// Calls under way while groups are made.
const CALLS: usize = 8;
/// Conversations asked for by one 1002.
const PULLED: usize = 100;
/// Groups of one request for members.
const BATCH: usize = 500;
const USER: &str = "sync";

/// A list with its version: routes for changes, for pages and for ids.
struct Versioned {
    changes: &'static str,
    pages: &'static str,
    /// The page's field that names the user, and the one that has the elements.
    owner: &'static str,
    elements: &'static str,
    size: usize,
    ids: &'static str,
    id: &'static str,
    count: usize,
}

const LISTS: [Versioned; 3] = [
    Versioned {
        changes: "/group/get_incremental_join_groups",
        pages: "/group/get_joined_group_list",
        owner: "fromUserID",
        elements: "groups",
        size: 100,
        ids: "/group/get_full_join_group_ids",
        id: "groupIDs",
        count: GROUPS,
    },
    Versioned {
        changes: "/friend/get_incremental_friends",
        pages: "/friend/get_friend_list",
        owner: "userID",
        elements: "friendsInfo",
        size: 100,
        ids: "/friend/get_full_friend_user_ids",
        id: "userIDs",
        count: FRIENDS,
    },
    Versioned {
        changes: "/conversation/get_incremental_conversations",
        pages: "/conversation/get_owner_conversation",
        owner: "userID",
        elements: "conversations",
        size: 300,
        ids: "/conversation/get_full_conversation_ids",
        id: "conversationIDs",
        count: CONVERSATIONS,
    },
];

/// Makes the user and all that he has.
pub(super) async fn populate(api: &Api, server: &Server) -> anyhow::Result<()> {
    let others: Vec<String> = (0..CONVERSATIONS - GROUPS)
        .map(|i| format!("syncs{i}"))
        .collect();
    let all = [&[USER.to_owned()], others.as_slice()].concat();
    client::register(api, &all).await?;
    let (friends, strangers) = others.split_at(FRIENDS);
    for (i, chunk) in friends.chunks(CHUNK).enumerate() {
        let wish = json!({ "ownerUserID": USER, "friendUserIDs": chunk });
        api.post("/friend/import_friend", wish).await?;
        say(&format!("  {} friends", i * CHUNK + chunk.len()));
    }
    for chunk in strangers.chunks(CHUNK) {
        let message = json!({
            "sendID": USER, "senderPlatformID": client::PLATFORM, "contentType": 101, "sessionType": 1,
            "content": { "content": "hello" }, "recvIDs": chunk,
        });
        api.post("/msg/batch_send_msg", message).await?;
    }
    say("  messages to the others");
    let groups: Vec<String> = (0..GROUPS).map(|i| format!("syncg{i}")).collect();
    let made = groups.iter().enumerate().map(async |(i, group)| {
        let members: Vec<_> = others.iter().cycle().skip(i * MEMBERS).take(MEMBERS - 1).collect();
        let (owner, members) = members.split_first().context("a group has members")?;
        let members = [&[USER], members.iter().map(|m| m.as_str()).collect::<Vec<_>>().as_slice()].concat();
        let wish = json!({
            "ownerUserID": owner, "memberUserIDs": members,
            "groupInfo": { "groupID": group, "groupName": group, "groupType": 2 },
        });
        api.post("/group/create_group", wish).await?;
        let message = json!({
            "sendID": owner, "senderPlatformID": client::PLATFORM, "contentType": 101, "sessionType": 3,
            "content": { "content": "hello" }, "groupID": group,
        });
        api.post("/msg/send_msg", message).await.map(drop)
    });
    stream::iter(made)
        .buffer_unordered(CALLS)
        .try_collect::<()>()
        .await?;
    say(&format!("  {GROUPS} groups"));
    server.settled().await
}

/// The user's device.
pub(super) struct Device {
    rest: Rest,
    socket: Socket,
    number: usize,
    /// Version and its id by route, as the last answers had them.
    versions: BTreeMap<&'static str, (u64, String)>,
    groups: Vec<String>,
    /// Of the groups' members.
    members: BTreeMap<String, (u64, String)>,
}

impl Device {
    /// Logs in.
    pub(super) async fn log_in(api: &Api, server: &Server) -> anyhow::Result<Self> {
        let request = json!({ "userID": USER, "platformID": client::PLATFORM });
        let answer = api.post("/auth/get_user_token", request).await?;
        let token = answer["token"].as_str().context("no token")?;
        Ok(Self {
            rest: Rest::connect(server.api(), token).await?,
            socket: client::connect(&server.ws, USER, token).await?,
            number: 0,
            versions: BTreeMap::new(),
            groups: Vec::new(),
            members: BTreeMap::new(),
        })
    }

    /// Everything that a device without a database reads.
    pub(super) async fn first_sync(&mut self, server: &Server) -> anyhow::Result<()> {
        let mut before = server.cpu_ms()?;
        let mut took = |what: &str| -> anyhow::Result<()> {
            let now = server.cpu_ms()?;
            say(&format!("  {what}: {:.0} ms of CPU", now - before));
            before = now;
            Ok(())
        };
        let heads = self.max_seqs().await?;
        if heads.len() < CONVERSATIONS {
            bail!("1001 names {} conversations", heads.len());
        }
        took("newest seqs")?;
        self.pull(heads).await?;
        took("newest messages")?;
        for list in &LISTS {
            self.read(list).await?;
            took(list.pages)?;
        }
        self.members(true).await?;
        took("members")?;
        self.ask(reqs::GET_READ_AND_MAX_SEQ, user_only()).await?;
        took("read positions")?;
        let page = json!({ "pageNumber": 1, "showNumber": 200 });
        for (route, body) in [
            ("/user/get_users_info", json!({ "userIDs": [USER] })),
            (
                "/friend/get_black_list",
                json!({ "userID": USER, "pagination": page }),
            ),
            ("/user/get_user_client_config", json!({ "userID": "" })),
        ] {
            self.rest.post(route, body).await?;
        }
        Ok(())
    }

    /// 1001.
    pub(super) async fn max_seqs(&mut self) -> anyhow::Result<BTreeMap<String, i64>> {
        let answer = self.ask(reqs::GET_MAX_SEQ, user_only()).await?;
        Ok(GetMaxSeqResp::decode(answer)?.max_seqs)
    }

    /// The three lists' changes since the versions that the device has: none.
    pub(super) async fn unchanged(&mut self) -> anyhow::Result<()> {
        for list in &LISTS {
            let answer = self.changes(list).await?;
            if answer["full"] == true {
                bail!("{} has changed", list.changes);
            }
        }
        Ok(())
    }

    /// What changed among the members of all groups: asked as a device does that knows nothing of them, or everything.
    pub(super) async fn members(&mut self, first: bool) -> anyhow::Result<()> {
        for chunk in self.groups.chunks(BATCH) {
            let wanted = chunk.iter().map(|id| {
                let known = self.members.get(id).filter(|_| !first).cloned();
                let (version, version_id) = known.unwrap_or_default();
                json!({ "groupID": id, "version": version, "versionID": version_id })
            });
            let request = json!({ "userID": USER, "reqList": wanted.collect::<Vec<_>>() });
            let route = "/group/get_incremental_group_members_batch";
            let answer = self.rest.post(route, request).await?;
            let found = answer["respList"].as_object().context("no list")?;
            if found.len() != chunk.len() || found.values().any(|g| (g["full"] == true) != first) {
                bail!("{route}: not what was asked for, {} groups", found.len());
            }
            for (id, group) in found {
                self.members.insert(id.clone(), version(group)?);
            }
        }
        Ok(())
    }

    async fn changes(&mut self, list: &Versioned) -> anyhow::Result<Value> {
        let (version, id) = self.versions.get(list.changes).cloned().unwrap_or_default();
        let known = json!({ "userID": USER, "version": version, "versionID": id });
        self.rest.post(list.changes, known).await
    }

    async fn read(&mut self, list: &Versioned) -> anyhow::Result<()> {
        let answer = self.changes(list).await?;
        if answer["full"] != true {
            bail!("{} does not ask for the whole list", list.changes);
        }
        let mut count = 0;
        for number in 1.. {
            let page = json!({
                list.owner: USER, "pagination": { "pageNumber": number, "showNumber": list.size },
            });
            let answer = self.rest.post(list.pages, page).await?;
            let found = answer[list.elements].as_array().map_or(0, Vec::len);
            count += found;
            if found < list.size {
                break;
            }
        }
        let answer = self
            .rest
            .post(list.ids, json!({ "userID": USER, "idHash": 0 }))
            .await?;
        let ids = answer[list.id].as_array().context("no ids")?;
        if count != list.count || ids.len() != list.count {
            bail!("{}: {count} elements, {} ids", list.pages, ids.len());
        }
        if list.id == "groupIDs" {
            self.groups = serde_json::from_value(answer[list.id].clone())?;
        }
        self.versions.insert(list.changes, version(&answer)?);
        Ok(())
    }

    /// The newest message of every conversation, as clients without any do.
    async fn pull(&mut self, heads: BTreeMap<String, i64>) -> anyhow::Result<()> {
        let heads: Vec<(String, i64)> = heads.into_iter().collect();
        for chunk in heads.chunks(PULLED) {
            let ranges = chunk.iter().map(|(id, head)| SeqRange {
                conversation_id: id.clone(),
                begin: 0,
                end: *head,
                num: 1,
            });
            let request = PullMessageBySeqsReq {
                user_id: USER.to_owned(),
                seq_ranges: ranges.collect(),
                ..PullMessageBySeqsReq::default()
            };
            let answer = self
                .ask(reqs::PULL_MSG_BY_RANGE, request.encode_to_vec())
                .await?;
            PullMessageBySeqsResp::decode(answer)?;
        }
        Ok(())
    }

    /// A request over the WebSocket; the data of its answer.
    async fn ask(&mut self, id: i32, data: Vec<u8>) -> anyhow::Result<Bytes> {
        self.number += 1;
        client::ask(&mut self.socket, USER, (id, self.number.to_string()), data).await
    }
}

fn version(answer: &Value) -> anyhow::Result<(u64, String)> {
    let id = answer["versionID"].as_str().context("no versionID")?;
    let number = answer["version"].as_u64().context("no version")?;
    Ok((number, id.to_owned()))
}

fn user_only() -> Vec<u8> {
    GetMaxSeqReq {
        user_id: USER.to_owned(),
    }
    .encode_to_vec()
}
