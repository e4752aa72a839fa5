//! Groups over the wire: two devices of each user, members who come and go under load, and kill -9 in the middle of changes.

use std::collections::BTreeSet;

use futures::future::join_all;
use magpie_proto::openim::sdkws::{GetMaxSeqReq, GetMaxSeqResp, MsgData};
use magpie_tests::{Client, Options, Rest, Server, text_message};
use prost::Message as _;
use serde_json::{Value, json};

const CHAT: &str = "sg_g1";

/// Groups with more members are large ones, whose receivers the gateways find; the default, and one that all groups here are above.
const LARGEST: [usize; 2] = [1000, 1];

async fn start(history: bool, largest: usize) -> (Server, Rest) {
    let variables = [
        ("GROUP_HISTORY_FOR_NEW_MEMBERS", history.to_string()),
        ("PUSH_LARGEST_GROUP", largest.to_string()),
    ];
    let server = Server::start_with(Options {
        env: variables
            .map(|(name, value)| (format!("MAGPIE_{name}"), value))
            .into(),
        ..Options::default()
    })
    .await
    .unwrap();
    server.register(&["u1", "u2", "u3", "u4"]).await;
    let owner = server.user("u1", 5).await;
    (server, owner)
}

fn creation(id: &str, members: &[&str]) -> Value {
    json!({
        "ownerUserID": "u1", "memberUserIDs": members,
        "groupInfo": {"groupID": id, "groupName": id, "groupType": 2},
    })
}

fn text(from: &str, group: &str, text: &str) -> MsgData {
    MsgData {
        recv_id: String::new(),
        group_id: group.to_owned(),
        session_type: 3,
        ..text_message(from, "", text)
    }
}

/// What a device is pushed of the group's chat until this text.
async fn pushed_until(device: &mut Client, last: &str) -> Vec<(i64, i32)> {
    let mut seen = Vec::new();
    loop {
        let push = device.push_where(|p| p.conversation == CHAT).await.unwrap();
        let (seq, kind) = (push.message.seq, push.message.content_type);
        seen.push((seq, kind));
        if push.message.client_msg_id == last {
            return seen;
        }
    }
}

fn seqs(messages: &[MsgData]) -> Vec<i64> {
    messages.iter().map(|m| m.seq).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_device_of_every_member_gets_what_happens_in_the_group() {
    for largest in LARGEST {
        every_device_gets_what_happens(largest).await;
    }
}

async fn every_device_gets_what_happens(largest: usize) {
    let (server, owner) = start(true, largest).await;
    let mut devices = Vec::new();
    for (user, platform) in [("u1", 1), ("u1", 3), ("u2", 1), ("u2", 3)] {
        devices.push(server.connect(user, platform).await);
    }
    owner
        .data("/group/create_group", &creation("g1", &["u2"]))
        .await;
    let hello = text("u1", "g1", "hello");
    devices[0].send_message(&hello).await.unwrap();
    for device in &mut devices {
        let seen = pushed_until(device, &hello.client_msg_id).await;
        assert_eq!(seen, [(1, 1501), (2, 101)]);
    }
    let leaver = server.user("u2", 5).await;
    let quit = json!({"groupID": "g1", "userID": "u2"});
    leaver.data("/group/quit_group", &quit).await;
    for device in &mut devices {
        let left = device
            .push_where(|p| p.conversation == CHAT && p.message.content_type == 1504)
            .await
            .unwrap();
        assert_eq!(left.message.seq, 3);
    }
    let refused = devices[2].send_message(&text("u2", "g1", "late")).await;
    assert!(refused.is_err());
    let joined = json!({"fromUserID": "u2", "pagination": {"pageNumber": 1, "showNumber": 10}});
    let list = leaver.data("/group/get_joined_group_list", &joined).await;
    assert_eq!(list["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaver_has_all_before_and_a_newcomer_nothing_from_before_whatever_is_in_flight() {
    for largest in LARGEST {
        leave_and_join_in_flight(largest).await;
    }
}

async fn leave_and_join_in_flight(largest: usize) {
    let (server, owner) = start(false, largest).await;
    owner
        .data("/group/create_group", &creation("g1", &["u2"]))
        .await;
    let mut speaker = server.connect("u1", 1).await;
    let mut leaver = server.connect("u2", 1).await;
    let mut newcomer = server.connect("u3", 1).await;
    let mut requests = Vec::new();
    let mut moves = Vec::new();
    for n in 0..150 {
        let msg = text("u1", "g1", &format!("text {n}"));
        let body = msg.encode_to_vec().into();
        requests.push(speaker.send_request(1003, body).await.unwrap());
        let (path, body) = match n {
            50 => (
                "/group/invite_user_to_group",
                json!({"groupID": "g1", "invitedUserIDs": ["u3"]}),
            ),
            90 => (
                "/group/kick_group",
                json!({"groupID": "g1", "kickedUserIDs": ["u2"]}),
            ),
            _ => continue,
        };
        let owner = owner.clone();
        moves.push(tokio::spawn(async move {
            owner.data(path, &body).await;
        }));
    }
    for request in requests {
        assert_eq!(speaker.answer(&request).await.unwrap().err_code, 0);
    }
    for moved in moves {
        moved.await.unwrap();
    }
    let last = text("u1", "g1", "after all of it");
    speaker.send_message(&last).await.unwrap();
    let got = pushed_until(&mut newcomer, &last.client_msg_id).await;
    let all = speaker.pull_all(CHAT).await.unwrap();
    assert_eq!(all.len(), 154, "151 texts and three lines");
    let place = |kind: i32| all.iter().find(|m| m.content_type == kind).unwrap().seq;
    let (came, left) = (place(1509), place(1508));
    // The newcomer is pushed, and can pull, everything from his coming on: it stands right before its line in the chat, unless a text
    // got between the two.
    let from = got.first().map(|(seq, _)| *seq).unwrap();
    assert!((2..=came).contains(&from), "{from} {came}");
    let pushed: Vec<i64> = got.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(pushed, (from..=154).collect::<Vec<i64>>());
    let body = json!({
        "userID": "u3", "order": 0,
        "seqRanges": [{"conversationID": CHAT, "begin": 1, "end": 500, "num": 500}],
    });
    let rest = server.user("u3", 5).await;
    let pulled = rest.data("/msg/pull_msg_by_seq", &body).await;
    let first = pulled["msgs"][CHAT]["Msgs"][0]["seq"].as_i64();
    assert_eq!(first, Some(from));
    // The leaver is pushed, and can pull, everything up to his line.
    let kept = leaver.pull_all(CHAT).await.unwrap();
    assert_eq!(seqs(&kept), (1..=left).collect::<Vec<i64>>());
    let line = all.iter().find(|m| m.content_type == 1508).unwrap();
    let seen = pushed_until(&mut leaver, &line.client_msg_id).await;
    let seen: BTreeSet<i64> = seen.into_iter().map(|(seq, _)| seq).collect();
    assert!(seen.contains(&(left - 1)) && seen.contains(&left));
    // Nothing of the chat follows: what the owner now does to him comes next.
    owner
        .data(
            "/group/invite_user_to_group",
            &json!({"groupID": "g1", "invitedUserIDs": ["u2"]}),
        )
        .await;
    let next = leaver.push_where(|p| p.conversation == CHAT).await.unwrap();
    assert_eq!(next.message.content_type, 1509);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_refused_is_heard_as_soon_as_he_belongs() {
    let (server, owner) = start(true, 1000).await;
    let admin = server.admin().await;
    owner
        .data("/group/create_group", &creation("g1", &["u3"]))
        .await;
    let to_group = json!({"sendID": "u2", "groupID": "g1", "senderPlatformID": 5, "sessionType": 3,
        "contentType": 101, "content": {"content": "hi"}});
    let to_new = json!({"sendID": "u1", "recvID": "new", "senderPlatformID": 5, "sessionType": 1,
        "contentType": 101, "content": {"content": "hi"}});
    // Each process hears of it: requests go to them in turn.
    for (message, refusal) in [(&to_group, 1203), (&to_new, 1004)] {
        for _ in 0..2 {
            let refused = admin.post("/msg/send_msg", message).await;
            assert_eq!(refused.code(), refusal, "{:?}", refused.body);
        }
    }
    let invite = json!({"groupID": "g1", "invitedUserIDs": ["u2"]});
    owner.data("/group/invite_user_to_group", &invite).await;
    server.register(&["new"]).await;
    for message in [&to_group, &to_new] {
        for _ in 0..2 {
            admin.data("/msg/send_msg", message).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_conversation_comes_back_with_the_next_message() {
    let (server, owner) = start(true, 1000).await;
    owner
        .data("/group/create_group", &creation("g1", &["u2"]))
        .await;
    let mut writer = server.connect("u1", 5).await;
    let remover = server.user("u2", 5).await;
    let ids = ["si_u1_u2", CHAT];
    let remove = json!({"ownerUserID": "u2", "conversationIDs": ids});
    for round in 1..=2 {
        writer.send_text("u2", "hi").await;
        let to_group = text("u1", "g1", "hi all");
        writer.send_message(&to_group).await.unwrap();
        for id in ids {
            assert!(is_listed(&server, id).await, "{round} {id}");
        }
        remover
            .data("/conversation/delete_conversations", &remove)
            .await;
        let owned = json!({"ownerUserID": "u2"});
        let path = "/conversation/get_all_conversations";
        let list = remover.data(path, &owned).await;
        assert_eq!(list["conversations"].as_array().map_or(0, Vec::len), 0);
    }
}

/// Whether a login of u2 learns of this conversation (1001). What was acknowledged a moment ago may have to be stored yet.
async fn is_listed(server: &Server, id: &str) -> bool {
    let mut device = server.connect("u2", 2).await;
    for _ in 0..500 {
        let request = GetMaxSeqReq {
            user_id: "u2".to_owned(),
        };
        let seqs: GetMaxSeqResp = device.call(1001, &request).await.unwrap();
        if seqs.max_seqs.contains_key(id) {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_a_change_has_happened_completely_or_not_at_all() {
    const GROUPS: usize = 12;
    let (mut server, owner) = start(true, 1000).await;
    let id = |n: usize| format!("k{n}");
    for n in 0..GROUPS {
        owner
            .data("/group/create_group", &creation(&id(n), &["u2"]))
            .await;
    }
    let changes: Vec<_> = (0..GROUPS)
        .map(|n| {
            let owner = owner.clone();
            tokio::spawn(async move {
                let invite = json!({"groupID": id(n), "invitedUserIDs": ["u3"]});
                let kick = json!({"groupID": id(n), "kickedUserIDs": ["u2"]});
                owner.post("/group/invite_user_to_group", &invite).await;
                owner.post("/group/kick_group", &kick).await;
            })
        })
        .collect();
    // As soon as one change is seen the others are under way.
    let joined = json!({"fromUserID": "u3", "pagination": {"pageNumber": 1, "showNumber": 100}});
    let newcomer = server.user("u3", 5).await;
    loop {
        let list = newcomer.data("/group/get_joined_group_list", &joined).await;
        if list["total"].as_i64() > Some(0) {
            break;
        }
    }
    server.kill().await;
    for change in &changes {
        change.abort();
    }
    server.restart().await.unwrap();
    // Whoever changes a group next finishes what was left in it.
    let owner = server.user("u1", 5).await;
    let renames = (0..GROUPS).map(|n| {
        let owner = owner.clone();
        async move {
            let name = json!({"groupID": id(n), "ex": "after the kill"});
            owner.data("/group/set_group_info_ex", &name).await;
        }
    });
    join_all(renames).await;
    let newcomer = server.user("u3", 5).await;
    let list = newcomer.data("/group/get_joined_group_list", &joined).await;
    let joined: BTreeSet<String> = names(&list["groups"], "groupID");
    let records = newcomer
        .data(
            "/conversation/get_all_conversations",
            &json!({"ownerUserID": "u3"}),
        )
        .await;
    let records = names(&records["conversations"], "conversationID");
    let mut reader = server.connect("u1", 1).await;
    for n in 0..GROUPS {
        let request = json!({"groupID": id(n)});
        let members = owner
            .data("/group/get_group_member_user_id", &request)
            .await;
        let members: Vec<&str> = members["userIDs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let told = reader.pull_all(&format!("sg_{}", id(n))).await.unwrap();
        let lines = |kind: i32| told.iter().filter(|m| m.content_type == kind).count();
        let came = members.contains(&"u3");
        assert_eq!(lines(1509), usize::from(came), "{members:?}");
        assert_eq!(
            lines(1508),
            usize::from(!members.contains(&"u2")),
            "{members:?}"
        );
        assert_eq!(joined.contains(&id(n)), came);
        if came {
            assert!(records.contains(&format!("sg_{}", id(n))));
        }
    }
}

fn names(list: &Value, field: &str) -> BTreeSet<String> {
    let all = list.as_array().into_iter().flatten();
    all.filter_map(|entry| entry[field].as_str().map(str::to_owned))
        .collect()
}
