//! Searching stored chats for administration.

use magpie_proto::openim::{msg::*, sdkws::RequestPagination};
use magpie_testkit::{admin, code, user};
use magpie_types::time::{now_ms, utc_day};

use crate::world::World;

const ARGS: i32 = 1001;
const NO_PERMISSION: i32 = 1002;

fn page(page_number: i32, show_number: i32) -> SearchMessageReq {
    SearchMessageReq {
        pagination: Some(RequestPagination {
            page_number,
            show_number,
        }),
        ..SearchMessageReq::default()
    }
}

/// The texts found, a `!` before those of revoked messages, and the number of hits.
async fn search(world: &World, request: SearchMessageReq) -> (Vec<String>, i32) {
    let mut client = world.client();
    let answer = client.search_message(admin().request(request));
    let answer = answer.await.unwrap().into_inner();
    let text = |found: SearchChatLog| {
        let mark = if found.is_revoked { "!" } else { "" };
        format!("{mark}{}", found.chat_log.unwrap().content)
    };
    let texts = answer.chat_logs.into_iter().map(text);
    (texts.collect(), answer.chat_logs_num)
}

async fn chats() -> World {
    let world = World::new().await;
    world.chat("u1", "u2", &["a", "b"]).await;
    world.chat("u2", "u1", &["c"]).await;
    world.chat("u2", "u3", &["d"]).await;
    world
}

#[tokio::test]
async fn each_field_narrows_the_search_and_hits_come_in_the_order_of_their_chats() {
    let world = chats().await;
    let from_to = |from: &str, to: &str| SearchMessageReq {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        ..page(1, 10)
    };
    for (request, texts) in [
        (page(1, 10), vec!["a", "b", "c", "d"]),
        (from_to("u2", ""), vec!["c", "d"]),
        (from_to("", "u2"), vec!["a", "b"]),
        (from_to("u2", "u3"), vec!["d"]),
        (from_to("u3", "u2"), vec![]),
        (from_to("nobody", ""), vec![]),
    ] {
        let count = i32::try_from(texts.len()).unwrap();
        let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
        assert_eq!(search(&world, request).await, (texts, count));
    }
    let with = |set: fn(&mut SearchMessageReq)| {
        let mut request = page(1, 10);
        set(&mut request);
        request
    };
    assert_eq!(search(&world, with(|r| r.session_type = 3)).await.1, 0);
    assert_eq!(search(&world, with(|r| r.session_type = 1)).await.1, 4);
    assert_eq!(search(&world, with(|r| r.content_type = 101)).await.1, 4);
    assert_eq!(search(&world, with(|r| r.content_type = 110)).await.1, 0);
    assert_eq!(
        search(&world, with(|r| r.send_time = "2020-01-01".to_owned()))
            .await
            .1,
        0
    );
    let mut found = 0;
    for day in [now_ms() - 86_400_000, now_ms()] {
        let mut request = page(1, 10);
        request.send_time = utc_day(day);
        found += search(&world, request).await.1;
    }
    assert_eq!(found, 4, "all of today, or of the day that ended meanwhile");
}

#[tokio::test]
async fn pages_follow_each_other_and_all_hits_are_counted() {
    let world = chats().await;
    for (number, size, texts) in [
        (0, 1, &["a"][..]),
        (1, 3, &["a", "b", "c"]),
        (2, 3, &["d"]),
        (3, 3, &[]),
        (1, 0, &[]),
        (-7, -1, &[]),
    ] {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        assert_eq!(search(&world, page(number, size)).await, (texts, 4));
    }
    assert_eq!(
        search(&world, SearchMessageReq::default()).await,
        (vec![], 4)
    );
}

#[tokio::test]
async fn names_are_completed_and_what_was_revoked_or_deleted_shows_it() {
    let world = chats().await;
    let revoke = RevokeMsgReq {
        conversation_id: "si_u1_u2".to_owned(),
        seq: 1,
        user_id: "u1".to_owned(),
    };
    let mut client = world.client();
    client.revoke_msg(user("u1").request(revoke)).await.unwrap();
    let erase = DeleteMsgPhysicalBySeqReq {
        conversation_id: "si_u1_u2".to_owned(),
        seqs: vec![2],
    };
    let erased = client.delete_msg_physical_by_seq(admin().request(erase));
    erased.await.unwrap();
    let mine = SearchMessageReq {
        send_id: "u1".to_owned(),
        ..page(1, 10)
    };
    assert_eq!(
        search(&world, mine.clone()).await,
        (vec!["!a".to_owned()], 1)
    );
    let answer = client.search_message(admin().request(mine)).await.unwrap();
    let log = answer.into_inner().chat_logs.remove(0).chat_log.unwrap();
    assert_eq!((log.seq, log.status, log.session_type), (1, 2, 1));
    assert_eq!((log.send_id.as_str(), log.recv_id.as_str()), ("u1", "u2"));
    assert_eq!(
        (log.sender_nickname.as_str(), log.recv_nickname.as_str()),
        ("n-u1", "n-u2")
    );
}

#[tokio::test]
async fn users_may_not_search_and_days_are_checked() {
    let world = chats().await;
    let mut client = world.client();
    let refused = client.search_message(user("u1").request(page(1, 1))).await;
    assert_eq!(code(refused), NO_PERMISSION);
    for day in [
        "bad",
        "2026-1-1",
        "2026-13-01",
        "2026-01-32",
        "2026-01-0é",
        "+026-01-01",
    ] {
        let request = SearchMessageReq {
            send_time: day.to_owned(),
            ..page(1, 1)
        };
        let refused = client.search_message(admin().request(request)).await;
        assert_eq!(code(refused), ARGS, "{day}");
    }
}
