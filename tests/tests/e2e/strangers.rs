//! What a record of a conversation gives to whom takes no part in it: nothing; and names that are too large to be told.

use magpie_tests::{Rest, Server};
use serde_json::{Value, json};

const SECRET: &str = "for members only";

/// u1 owns g1 with u2; u3 is nobody there, and u4 has left. The chat has a message from after that.
async fn start() -> (Server, Rest) {
    let server = Server::start().await;
    server.register(&["u1", "u2", "u3", "u4"]).await;
    let owner = server.user("u1", 5).await;
    let group = json!({
        "ownerUserID": "u1", "memberUserIDs": ["u2", "u4"],
        "groupInfo": {"groupID": "g1", "groupName": "g1", "groupType": 2, "needVerification": 2},
    });
    owner.data("/group/create_group", &group).await;
    let quit = json!({"groupID": "g1", "userID": "u4"});
    let left = server.user("u4", 5).await;
    assert_eq!(left.post("/group/quit_group", &quit).await.code(), 0);
    let message = json!({
        "sendID": "u1", "groupID": "g1", "sessionType": 3, "contentType": 101, "content": {"content": SECRET},
    });
    let admin = server.admin().await;
    admin.data("/msg/send_msg", &message).await;
    loop {
        if last_text(&owner)
            .await
            .is_some_and(|text| text.contains(SECRET))
        {
            return (server, owner);
        }
    }
}

/// The newest message that the owner's list of conversations shows, as JSON.
async fn last_text(owner: &Rest) -> Option<String> {
    let all = overview(owner, "u1").await;
    let elements = all["conversationElems"].as_array()?;
    let group = elements.iter().find(|e| e["conversationID"] == "sg_g1")?;
    Some(group["msgInfo"].to_string())
}

async fn overview(user: &Rest, id: &str) -> Value {
    let page = json!({"userID": id, "conversationIDs": [], "pagination": {"pageNumber": 1, "showNumber": 9}});
    user.data("/conversation/get_sorted_conversation_list", &page)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_makes_himself_a_record_of_a_group_reads_and_changes_nothing_of_it() {
    let (server, owner) = start().await;
    for id in ["u3", "u4"] {
        let stranger = server.user(id, 5).await;
        let record = json!({
            "userIDs": [id],
            "conversation": {
                "conversationID": "sg_g1", "conversationType": 3, "groupID": "g1", "isPinned": true,
            },
        });
        stranger
            .post("/conversation/set_conversations", &record)
            .await;
        let seen = overview(&stranger, id).await.to_string();
        assert!(!seen.contains(SECRET), "{id}: {seen}");
        let user = json!({"userID": id});
        let newest = stranger.data("/msg/newest_seq", &user).await;
        if id == "u3" {
            assert_eq!(newest["maxSeqs"]["sg_g1"], Value::Null);
            let path = "/msg/get_conversations_has_read_and_max_seq";
            let read = stranger.data(path, &user).await;
            assert_eq!(read["seqs"]["sg_g1"], Value::Null, "{read}");
        }
        let everybody = json!({"IsSyncOther": true});
        let clear = json!({"userID": id, "conversationIDs": ["sg_g1"], "deleteSyncOpt": everybody});
        stranger.post("/msg/clear_conversation_msg", &clear).await;
        let all = json!({"userID": id, "deleteSyncOpt": everybody});
        stranger.post("/msg/user_clear_all_msg", &all).await;
        let delete = json!({
            "userID": id, "conversationID": "sg_g1", "seqs": [1, 2, 3], "deleteSyncOpt": everybody,
        });
        assert_ne!(
            stranger.post("/msg/delete_msgs", &delete).await.code(),
            0,
            "{id}"
        );
    }
    let text = last_text(&owner).await.unwrap();
    assert!(text.contains(SECRET), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_too_large_to_be_told_stop_no_group() {
    let (server, owner) = start().await;
    let guest = server.user("u3", 5).await;
    let control = "\u{1}".repeat(16_000);
    let profile = json!({"userInfo": {"userID": "u3", "nickname": control, "faceURL": control, "ex": control}});
    assert_eq!(
        guest
            .post("/user/update_user_info_ex", &profile)
            .await
            .code(),
        0
    );
    let rules = json!({"groupID": "g1", "notification": control, "introduction": control});
    assert_eq!(
        owner.post("/group/set_group_info_ex", &rules).await.code(),
        0
    );
    let join = json!({"groupID": "g1", "joinSource": 3, "inviterUserID": "u3"});
    let joined = guest.post("/group/join_group", &join).await;
    assert_eq!(joined.code(), 0, "{}", joined.json());
    let members = json!({"groupID": "g1", "pagination": {"pageNumber": 1, "showNumber": 9}});
    let listed = owner.data("/group/get_group_member_list", &members).await;
    assert_eq!(listed["total"], 3);
    let kick = json!({"groupID": "g1", "kickedUserIDs": ["u3"]});
    assert_eq!(owner.post("/group/kick_group", &kick).await.code(), 0);
    let listed = owner.data("/group/get_group_member_list", &members).await;
    assert_eq!(listed["total"], 2);
    let apply = json!({"fromUserID": "u3", "toUserID": "u1", "reqMsg": control});
    assert_eq!(guest.post("/friend/add_friend", &apply).await.code(), 0);
    let dismiss = json!({"groupID": "g1"});
    assert_eq!(owner.post("/group/dismiss_group", &dismiss).await.code(), 0);
    let log = server.log();
    assert!(!log.contains("can't be finished yet"), "{log}");
}
