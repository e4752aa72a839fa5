//! All services that a change of a group passes, and what transfer hands to push.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use magpie_discovery::{Channel, name};
use magpie_group::Config;
use magpie_log::{BatchLimits, Consumer, Topic};
use magpie_proto::{
    magpie::log::Stored,
    openim::{
        group::{group_client::GroupClient, *},
        msg::{SendMsgReq, msg_client::MsgClient},
        sdkws::{GroupInfo, MsgData, NotificationElem, PullMessageBySeqsReq, SeqRange},
    },
};
use magpie_service::{Context, Deps};
use magpie_store::{
    Documents as _,
    documents::{Conversation, Group, GroupMember, UserSeq},
    key,
};
use magpie_testkit::{Engines, Fuse, code, register, user};
use prost::Message as _;
use serde_json::Value;
use tokio::time::timeout;
use tonic::{Response, Status};

pub(crate) const G: &str = "g1";
/// Who is registered.
const USERS: [&str; 6] = ["u1", "u2", "u3", "u4", "u5", "u6"];
/// Content type of marks.
const MARK: i32 = 110;
const BOUND: Duration = Duration::from_secs(20);

/// A notification as push gets it.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    pub(crate) kind: i32,
    pub(crate) conversation: String,
    pub(crate) sender: String,
    pub(crate) seq: i64,
    pub(crate) member_version: i64,
    pub(crate) operation: String,
    pub(crate) tips: Value,
}

pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) fuse: Arc<Fuse>,
    engines: Engines,
    stored: Box<dyn Consumer>,
    pending: VecDeque<Stored>,
}

impl World {
    /// With the users u1 to u6.
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let engines = Engines::new().await;
        let (deps, registry) = (engines.deps.clone(), &engines.registry);
        let (fuse, fused) = Fuse::new(&deps);
        registry.serve(name::USER, magpie_user::routes(&deps, Default::default()));
        registry.serve(name::MSG, magpie_msg::routes(&deps, Default::default()));
        registry.serve(
            name::CONVERSATION,
            magpie_conversation::routes(&deps, Default::default()),
        );
        registry.serve(name::GROUP, magpie_group::routes(&fused, config));
        magpie_transfer::start(&deps, Default::default());
        register(&deps, &USERS).await;
        let stored = deps
            .log
            .subscribe(Topic::Stored, "test", BatchLimits::default())
            .await
            .unwrap();
        Self {
            deps,
            fuse,
            engines,
            stored,
            pending: VecDeque::new(),
        }
    }

    /// Starts the service anew: its workers look at once for what was left.
    pub(crate) fn start_again(&self) {
        let routes = magpie_group::routes(&self.deps, Config::default());
        self.engines.registry.serve(name::GROUP, routes);
    }

    pub(crate) fn client(&self) -> GroupClient<Channel> {
        GroupClient::new(self.deps.channel(name::GROUP))
    }

    /// u1 makes a group with these members.
    pub(crate) async fn group(&self, id: &str, members: &[&str]) -> GroupInfo {
        let request = CreateGroupReq {
            owner_user_id: "u1".to_owned(),
            member_user_i_ds: owned(members),
            group_info: Some(info(id)),
            ..CreateGroupReq::default()
        };
        let made = self
            .client()
            .create_group(user("u1").request(request))
            .await;
        made.unwrap().into_inner().group_info.unwrap()
    }

    pub(crate) async fn invite(&self, by: &Context, users: &[&str]) -> i32 {
        let request = InviteUserToGroupReq {
            group_id: G.to_owned(),
            invited_user_i_ds: owned(users),
            ..InviteUserToGroupReq::default()
        };
        code(
            self.client()
                .invite_user_to_group(by.request(request))
                .await,
        )
    }

    pub(crate) async fn kick(&self, by: &Context, users: &[&str]) -> i32 {
        let request = KickGroupMemberReq {
            group_id: G.to_owned(),
            kicked_user_i_ds: owned(users),
            ..KickGroupMemberReq::default()
        };
        code(self.client().kick_group_member(by.request(request)).await)
    }

    pub(crate) async fn quit(&self, by: &Context, who: &str) -> i32 {
        let request = QuitGroupReq {
            group_id: G.to_owned(),
            user_id: who.to_owned(),
        };
        code(self.client().quit_group(by.request(request)).await)
    }

    pub(crate) async fn join(&self, who: &str) -> i32 {
        code(
            self.client()
                .join_group(user(who).request(joining(who)))
                .await,
        )
    }

    pub(crate) async fn dismiss(&self, by: &Context) -> i32 {
        let request = DismissGroupReq {
            group_id: G.to_owned(),
            ..DismissGroupReq::default()
        };
        code(self.client().dismiss_group(by.request(request)).await)
    }

    pub(crate) async fn set(&self, by: &Context, change: SetGroupInfoExReq) -> i32 {
        let request = SetGroupInfoExReq {
            group_id: G.to_owned(),
            ..change
        };
        code(self.client().set_group_info_ex(by.request(request)).await)
    }

    /// Sends a text to the group; answers the refusal's code.
    pub(crate) async fn say(&self, who: &str, text: &str) -> i32 {
        let msg = MsgData {
            send_id: who.to_owned(),
            group_id: G.to_owned(),
            session_type: 3,
            msg_from: 100,
            content_type: 101,
            content: text.as_bytes().to_vec().into(),
            ..MsgData::default()
        };
        let request = SendMsgReq {
            msg_data: Some(msg),
        };
        let mut client = MsgClient::new(self.deps.channel(name::MSG));
        code(client.send_msg(user(who).request(request)).await)
    }

    /// What a user can pull of the group's chat: seq and content type; the refusal's code.
    pub(crate) async fn sees(&self, who: &str) -> Result<Vec<(i64, i32)>, i32> {
        let request = PullMessageBySeqsReq {
            user_id: who.to_owned(),
            seq_ranges: vec![SeqRange {
                conversation_id: format!("sg_{G}"),
                begin: 1,
                end: 1000,
                num: 1000,
            }],
            order: 0,
        };
        let mut client = MsgClient::new(self.deps.channel(name::MSG));
        let answer = client
            .pull_message_by_seqs(user(who).request(request))
            .await;
        let pulled = refused(answer)?;
        let msgs = pulled.msgs.into_values().flat_map(|p| p.msgs);
        Ok(msgs.map(|m| (m.seq, m.content_type)).collect())
    }

    pub(crate) async fn document(&self) -> Group {
        self.deps.store.find(key![G]).await.unwrap().unwrap()
    }

    /// The row of a member, also one that has left.
    pub(crate) async fn row(&self, who: &str) -> Option<GroupMember> {
        self.deps.store.find(key![G, who]).await.unwrap()
    }

    pub(crate) async fn is_member(&self, who: &str) -> bool {
        self.row(who).await.is_some_and(|m| m.left_time == 0)
    }

    pub(crate) async fn bounds(&self, who: &str) -> Option<UserSeq> {
        let chat = format!("sg_{G}");
        self.deps
            .store
            .find(key![who, chat.as_str()])
            .await
            .unwrap()
    }

    pub(crate) async fn record(&self, who: &str) -> Option<Conversation> {
        let chat = format!("sg_{G}");
        self.deps
            .store
            .find(key![who, chat.as_str()])
            .await
            .unwrap()
    }

    pub(crate) async fn member_ids(&self) -> Vec<String> {
        let request = GetGroupMemberUserIDsReq {
            group_id: G.to_owned(),
        };
        let by = magpie_testkit::admin();
        let mut client = self.client();
        let answer = client.get_group_member_user_i_ds(by.request(request));
        answer.await.unwrap().into_inner().user_i_ds
    }

    /// The next record of this kind, or of any if it is 0; those before it are dropped.
    pub(crate) async fn notice(&mut self, kind: i32) -> Notice {
        loop {
            let stored = self.next().await;
            if kind == 0 || stored.content_type == kind {
                return notice(stored);
            }
        }
    }

    /// All records since the last look, those of the group first. Order holds inside a conversation only, so to know that none follows
    /// it sends unstored messages into the group and between all users, and waits for them.
    pub(crate) async fn until_now(&mut self) -> Vec<Notice> {
        let mut all = vec![mark("u1", "", G)];
        for (at, from) in USERS.iter().enumerate() {
            all.extend(USERS[at..].iter().map(|to| mark(from, to, "")));
        }
        let mut marks = all.len();
        for msg in all {
            let from = msg.send_id.clone();
            let request = SendMsgReq {
                msg_data: Some(msg),
            };
            let mut client = MsgClient::new(self.deps.channel(name::MSG));
            client.send_msg(user(&from).request(request)).await.unwrap();
        }
        let mut seen = Vec::new();
        while marks > 0 {
            match self.next().await {
                stored if stored.content_type == MARK => marks -= 1,
                stored => seen.push(notice(stored)),
            }
        }
        seen.sort_by_key(|n| !n.conversation.ends_with(G));
        seen
    }

    async fn next(&mut self) -> Stored {
        loop {
            if let Some(stored) = self.pending.pop_front() {
                return stored;
            }
            let batch = timeout(BOUND, self.stored.next()).await;
            let records = batch.expect("a record in time").unwrap().records;
            let decoded = records
                .into_iter()
                .map(|r| Stored::decode(r.value).unwrap());
            self.pending.extend(decoded);
        }
    }
}

fn mark(from: &str, to: &str, group: &str) -> MsgData {
    MsgData {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        group_id: group.to_owned(),
        session_type: if group.is_empty() { 1 } else { 3 },
        content_type: MARK,
        content: b"mark".to_vec().into(),
        options: [("history".to_owned(), false)].into(),
        ..MsgData::default()
    }
}

fn notice(stored: Stored) -> Notice {
    let msg = MsgData::decode(stored.msg).unwrap();
    let elem = magpie_proto::json::from_slice::<NotificationElem>(&msg.content);
    let detail = elem.map(|e| e.detail).unwrap_or_default();
    Notice {
        kind: stored.content_type,
        conversation: stored.conversation_id,
        sender: stored.sender_id,
        seq: stored.seq,
        member_version: stored.member_version,
        operation: stored.operation_id,
        tips: serde_json::from_str(&detail).unwrap_or_default(),
    }
}

/// How often each kind of record stands in each conversation.
pub(crate) fn kinds(notices: &[Notice]) -> BTreeMap<(String, i32), usize> {
    let mut all = BTreeMap::new();
    for notice in notices {
        *all.entry((notice.conversation.clone(), notice.kind))
            .or_insert(0) += 1;
    }
    all
}

pub(crate) fn info(id: &str) -> GroupInfo {
    GroupInfo {
        group_id: id.to_owned(),
        group_name: format!("name-{id}"),
        group_type: 2,
        ..GroupInfo::default()
    }
}

pub(crate) fn joining(who: &str) -> JoinGroupReq {
    JoinGroupReq {
        group_id: G.to_owned(),
        req_message: "please".to_owned(),
        join_source: 3,
        inviter_user_id: who.to_owned(),
        ex: String::new(),
    }
}

pub(crate) fn named(name: &str) -> SetGroupInfoExReq {
    SetGroupInfoExReq {
        group_name: Some(text(name)),
        ..SetGroupInfoExReq::default()
    }
}

pub(crate) fn verification(need: i32) -> SetGroupInfoExReq {
    SetGroupInfoExReq {
        need_verification: Some(magpie_proto::openim::protobuf::Int32Value { value: need }),
        ..SetGroupInfoExReq::default()
    }
}

pub(crate) fn text(value: &str) -> magpie_proto::openim::protobuf::StringValue {
    magpie_proto::openim::protobuf::StringValue {
        value: value.to_owned(),
    }
}

pub(crate) fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

pub(crate) fn refused<T>(answer: Result<Response<T>, Status>) -> Result<T, i32> {
    answer
        .map(Response::into_inner)
        .map_err(|status| magpie_proto::status::from_status(status).code().number())
}
