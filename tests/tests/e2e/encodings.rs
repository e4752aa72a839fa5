//! The gob encoding with gzip, as the Go core speaks it, carries everything that JSON does: two devices of each user, one of each
//! kind, live through the same day and see the same.

use std::collections::{BTreeMap, BTreeSet};

use magpie_proto::openim::{
    msg::{
        ConversationSeqs, GetConversationsHasReadAndMaxSeqReq, GetLastMessageReq, GetSeqMessageReq,
    },
    sdkws::{
        GetMaxSeqReq, MsgData, PullMessageBySeqsReq, SeqRange, SetAppBackgroundStatusReq,
        SubUserOnlineStatus,
    },
};
use magpie_tests::{Client, Handshake, Server, text_message};
use prost::Message as _;
use serde_json::{Value, json};

const CHAT: &str = "si_u1_u2";
const GROUP: &str = "sg_g1";

/// A user's device that speaks gob and one that speaks JSON.
struct Person {
    gob: Client,
    json: Client,
    rest: magpie_tests::Rest,
}

impl Person {
    async fn log_in(server: &Server, user: &str) -> Self {
        let (phone, web) = (
            server.user_token(user, 2).await,
            server.user_token(user, 5).await,
        );
        let gob = server.connect_with(Handshake::go(user, 2, &phone)).await;
        let json = server.connect_with(Handshake::js(user, 5, &web)).await;
        Self {
            gob: gob.expect("a login"),
            json: json.expect("a login"),
            rest: server.anonymous().with_token(&web),
        }
    }

    async fn does(&self, path: &str, body: Value) {
        self.rest.data(path, &body).await;
    }

    /// Both devices are pushed these kinds; what they are pushed of a conversation is the same, in the same order.
    async fn are_pushed(&mut self, kinds: &[i32]) {
        let wanted: BTreeSet<i32> = kinds.iter().copied().collect();
        let mut views = Vec::new();
        for device in [&mut self.gob, &mut self.json] {
            let mut view: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            let mut missing = wanted.clone();
            while !missing.is_empty() {
                let push = device.push().await.unwrap_or_else(|e| {
                    panic!(
                        "{} on {}: {missing:?} did not come: {e}",
                        device.user, device.platform
                    )
                });
                missing.remove(&push.message.content_type);
                let stream = view.entry(push.conversation).or_default();
                stream.push(push.message.encode_to_vec());
            }
            views.push(view);
        }
        for (conversation, gob) in &views[0] {
            let json = views[1].get(conversation).map_or(&[][..], Vec::as_slice);
            let common = gob.len().min(json.len());
            assert!(
                gob[..common] == json[..common],
                "{conversation} looks different"
            );
        }
    }

    /// Both get the same answer.
    async fn ask(&mut self, kind: i32, body: &impl prost::Message) -> Vec<u8> {
        let [gob, json] = [
            self.gob.request(kind, body).await.expect("an answer"),
            self.json.request(kind, body).await.expect("an answer"),
        ];
        assert_eq!((gob.err_code, json.err_code), (0, 0), "{kind}");
        assert!(gob.data == json.data, "the answers to {kind} are different");
        gob.data.unwrap_or_default().to_vec()
    }
}

fn in_group(from: &str, kind: i32, content: &str) -> MsgData {
    MsgData {
        recv_id: String::new(),
        group_id: "g1".to_owned(),
        session_type: 3,
        content_type: kind,
        content: content.as_bytes().to_vec().into(),
        ..text_message(from, "", "")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gob_with_gzip_carries_everything_that_json_does() {
    let server = Server::start().await;
    server.register(&["u1", "u2"]).await;
    let mut u1 = Person::log_in(&server, "u1").await;
    let mut u2 = Person::log_in(&server, "u2").await;

    u1.does(
        "/friend/add_friend",
        json!({"fromUserID": "u1", "toUserID": "u2", "reqMsg": "hi"}),
    )
    .await;
    let accept = json!({"fromUserID": "u1", "toUserID": "u2", "handleResult": 1});
    u2.does("/friend/add_friend_response", accept).await;
    u2.are_pushed(&[1203]).await;
    u1.are_pushed(&[1201]).await;

    // Messages from either kind of device, one too long for a frame without compression to be short.
    let long = "好".repeat(5000);
    let first = u1.gob.send_text("u2", &long).await;
    let second = u2.json.send_text("u1", "an answer").await;
    assert!(!first.server_msg_id.is_empty() && !second.server_msg_id.is_empty());
    u1.json.send_text("u2", "to be read").await;
    let mut typing = text_message("u1", "u2", "");
    typing.content_type = 113;
    typing.content = br#"{"msgTips":"yes"}"#.to_vec().into();
    u1.gob.send_message(&typing).await.expect("typing is taken");
    u2.are_pushed(&[101, 113]).await;
    let read = json!({"userID": "u2", "conversationID": CHAT, "hasReadSeq": 100, "seqs": []});
    u2.does("/msg/mark_conversation_as_read", read).await;
    let newest = u1.json.pull_all(CHAT).await.expect("a pull");
    let mine = newest
        .iter()
        .find(|m| m.content_type == 101 && m.send_id == "u1");
    let revoke =
        json!({"userID": "u1", "conversationID": CHAT, "seq": mine.expect("it is stored").seq});
    u1.does("/msg/revoke_msg", revoke).await;
    u1.are_pushed(&[2200, 2101]).await;
    u2.are_pushed(&[2101]).await;

    u1.does(
        "/user/update_user_info_ex",
        json!({"userInfo": {"userID": "u1", "nickname": "One"}}),
    )
    .await;
    let command = json!({"userID": "u1", "type": 1, "uuid": "u", "value": "v", "ex": ""});
    u1.does("/user/process_user_command_add", command).await;
    let pin = json!({"userIDs": ["u1"], "conversation": {"conversationID": CHAT, "conversationType": 1, "userID": "u2", "isPinned": true}});
    u1.does("/conversation/set_conversations", pin).await;
    u1.are_pushed(&[1303, 1305, 1300]).await;
    u2.are_pushed(&[1209]).await;

    let found = json!({"ownerUserID": "u1", "memberUserIDs": ["u2"], "groupInfo": {"groupID": "g1", "groupName": "g", "groupType": 2}});
    u1.does("/group/create_group", found).await;
    for person in [&mut u1, &mut u2] {
        person.are_pushed(&[1501]).await;
    }
    let said = in_group("u2", 101, r#"{"content":"hello all"}"#);
    u2.gob.send_message(&said).await.expect("it is taken");
    let pointed = in_group(
        "u1",
        106,
        r#"{"text":"hey","atUserList":["u2"],"isAtSelf":false}"#,
    );
    u1.json.send_message(&pointed).await.expect("it is taken");
    u1.does(
        "/group/set_group_info_ex",
        json!({"groupID": "g1", "notification": "news"}),
    )
    .await;
    u1.does(
        "/group/mute_group_member",
        json!({"groupID": "g1", "userID": "u2", "mutedSeconds": 60}),
    )
    .await;
    u1.does("/group/mute_group", json!({"groupID": "g1"})).await;
    u1.does(
        "/group/kick_group",
        json!({"groupID": "g1", "kickedUserIDs": ["u2"]}),
    )
    .await;
    for person in [&mut u1, &mut u2] {
        person.are_pushed(&[101, 106, 1519, 1512, 1514, 1508]).await;
    }

    let conversations = || vec![CHAT.to_owned(), GROUP.to_owned()];
    for (person, user) in [(&mut u1, "u1"), (&mut u2, "u2")] {
        let user = user.to_owned();
        assert!(
            !person
                .ask(
                    1001,
                    &GetMaxSeqReq {
                        user_id: user.clone()
                    }
                )
                .await
                .is_empty()
        );
        let range = |conversation: &str| SeqRange {
            conversation_id: conversation.to_owned(),
            begin: 1,
            end: 100,
            num: 100,
        };
        let pull = PullMessageBySeqsReq {
            user_id: user.clone(),
            seq_ranges: vec![range(CHAT), range(GROUP), range("n_u1_u2")],
            order: 0,
        };
        assert!(person.ask(1002, &pull).await.len() > 1000);
        let some = GetSeqMessageReq {
            user_id: user.clone(),
            conversations: vec![ConversationSeqs {
                conversation_id: CHAT.to_owned(),
                seqs: vec![1, 2],
            }],
            order: 0,
        };
        person.ask(1005, &some).await;
        let read = GetConversationsHasReadAndMaxSeqReq {
            user_id: user.clone(),
            conversation_i_ds: conversations(),
            return_pinned: true,
        };
        person.ask(1006, &read).await;
        let last = GetLastMessageReq {
            user_id: user.clone(),
            conversation_i_ds: conversations(),
        };
        person.ask(1007, &last).await;
        let background = SetAppBackgroundStatusReq {
            user_id: user,
            is_background: false,
        };
        person.ask(2004, &background).await;
        let watch = SubUserOnlineStatus {
            subscribe_user_id: vec!["u1".to_owned(), "u2".to_owned()],
            unsubscribe_user_id: Vec::new(),
        };
        person.ask(2005, &watch).await;
    }
    assert!(!server.log().contains("panicked"));
}
