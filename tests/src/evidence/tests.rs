//! A right run, and each way to spoil it.

use super::*;

mod groups;

const CHAT: &str = "si_a_b";

fn row(seq: i64, id: &str) -> Row {
    Row {
        seq,
        client_msg_id: id.to_owned(),
        server_msg_id: format!("server-{id}"),
    }
}

fn send(operation_id: &str, id: &str) -> Send {
    Send {
        operation_id: operation_id.to_owned(),
        conversation: CHAT.to_owned(),
        client_msg_id: id.to_owned(),
    }
}

fn ack(operation_id: &str, id: &str) -> Frame {
    Frame::Acknowledged {
        operation_id: operation_id.to_owned(),
        server_msg_id: format!("server-{id}"),
    }
}

fn push(operation_id: &str, seq: i64, id: &str) -> Frame {
    Frame::Push {
        operation_id: operation_id.to_owned(),
        conversation: CHAT.to_owned(),
        row: row(seq, id),
    }
}

/// a sends x, y and z; z is never answered, y only when it is sent again on a second connection.
fn right() -> Evidence {
    let first = Connection {
        who: "a 1".to_owned(),
        sends: vec![send("o1", "x"), send("o2", "y"), send("o3", "z")],
        frames: vec![ack("o1", "x"), push("o1", 1, "x")],
        ..Connection::default()
    };
    let second = Connection {
        who: "a 2".to_owned(),
        sends: vec![send("o4", "y"), send("o5", "w")],
        frames: vec![
            push("o2", 2, "y"),
            push("o3", 3, "z"),
            ack("o4", "y"),
            push("o4", 2, "y"),
            ack("o5", "w"),
            push("o5", 4, "w"),
        ],
        ..Connection::default()
    };
    let receiver = Connection {
        who: "b 1".to_owned(),
        sends: Vec::new(),
        frames: vec![push("o1", 1, "x"), push("o2", 2, "y")],
        ..Connection::default()
    };
    let rows = vec![row(1, "x"), row(2, "y"), row(3, "z"), row(4, "w")];
    let pull = |who: &str| Pull {
        who: who.to_owned(),
        conversation: CHAT.to_owned(),
        rows: rows.clone(),
    };
    Evidence {
        connections: vec![first, second, receiver],
        pulls: vec![pull("a"), pull("b")],
        cursors: vec![("a".to_owned(), CHAT.to_owned(), 2), cursor(4)],
        ..Evidence::default()
    }
}

fn cursor(seq: i64) -> (String, String, i64) {
    ("a".to_owned(), CHAT.to_owned(), seq)
}

/// The one fault of a run that is right but for this change.
fn fault_of(spoil: impl FnOnce(&mut Evidence)) -> String {
    let mut evidence = right();
    spoil(&mut evidence);
    let faults = evidence.faults();
    assert!(!faults.is_empty(), "nothing was found");
    faults.join("\n")
}

/// Changes what everybody pulls.
fn pulled(change: impl Fn(&mut Vec<Row>)) -> String {
    fault_of(|e| e.pulls.iter_mut().for_each(|pull| change(&mut pull.rows)))
}

fn renumber(rows: &mut [Row]) {
    for (row, seq) in rows.iter_mut().zip(1..) {
        row.seq = seq;
    }
}

#[test]
fn a_right_run_has_no_fault() {
    let evidence = right();
    assert_eq!(evidence.faults(), [""; 0]);
    assert_eq!((evidence.acknowledged(), evidence.stored()), (3, 4));
    assert_eq!(evidence.stored_unacknowledged(), ["z"]);
}

#[test]
fn a_lost_message_is_found() {
    let found = pulled(|rows| {
        rows.truncate(3);
    });
    assert!(
        found.contains("w was acknowledged and is not stored"),
        "{found}"
    );
    let found = fault_of(|e| drop(e.pulls.drain(..)));
    assert!(
        found.contains("x was acknowledged and is not stored"),
        "{found}"
    );
}

#[test]
fn an_unacknowledged_message_may_be_missing() {
    let mut evidence = right();
    for pull in &mut evidence.pulls {
        pull.rows.remove(2);
        renumber(&mut pull.rows);
    }
    evidence.connections[1].frames.remove(1);
    let Frame::Push { row, .. } = &mut evidence.connections[1].frames[4] else {
        panic!("the last frame is a push");
    };
    row.seq = 3;
    assert_eq!(evidence.faults(), [""; 0]);
}

#[test]
fn a_doubled_message_is_found() {
    let found = pulled(|rows| rows.push(row(5, "x")));
    assert!(found.contains("x is stored twice, as 1 and 5"), "{found}");
    let found = pulled(|rows| {
        let mut again = row(5, "other");
        again.server_msg_id = "server-x".to_owned();
        rows.push(again);
    });
    assert!(found.contains("two messages are server-x"), "{found}");
}

#[test]
fn a_reordered_message_is_found() {
    let found = pulled(|rows| {
        rows.swap(1, 3);
        renumber(rows);
    });
    assert!(
        found.contains("was sent after the message of seq 4 and is stored as 2"),
        "{found}"
    );
}

#[test]
fn a_gap_and_a_reused_seq_are_found() {
    let found = pulled(|rows| rows[3].seq = 5);
    assert!(found.contains("seq 5 where 4 belongs"), "{found}");
    let found = pulled(|rows| rows[3].seq = 3);
    assert!(found.contains("seq 3 where 4 belongs"), "{found}");
}

#[test]
fn two_views_that_differ_are_found() {
    let found = fault_of(|e| e.pulls[1].rows.swap(0, 1));
    assert!(found.contains("see different messages"), "{found}");
    let found = fault_of(|e| e.pulls[1].rows.truncate(2));
    assert!(
        found.contains("see different messages from place 2"),
        "{found}"
    );
}

#[test]
fn a_message_that_nobody_sent_is_found() {
    let found = pulled(|rows| rows.push(row(5, "ghost")));
    assert!(
        found.contains("ghost is stored and nobody sent it"),
        "{found}"
    );
}

#[test]
fn another_id_than_the_acknowledged_one_is_found() {
    let found = pulled(|rows| rows[0].server_msg_id = "else".to_owned());
    assert!(
        found.contains("acknowledged as server-x and is stored as else"),
        "{found}"
    );
    let found = fault_of(|e| {
        e.connections[0].frames.push(Frame::Acknowledged {
            operation_id: "o2".to_owned(),
            server_msg_id: "else".to_owned(),
        })
    });
    assert!(
        found.contains("acknowledged as several messages"),
        "{found}"
    );
}

#[test]
fn a_frame_that_comes_twice_or_late_is_found() {
    let found = fault_of(|e| e.connections[2].frames.push(push("o2", 2, "y")));
    assert!(
        found.contains("seq 2 of si_a_b was pushed after 2"),
        "{found}"
    );
    let found = fault_of(|e| e.connections[2].frames.swap(0, 1));
    assert!(
        found.contains("seq 1 of si_a_b was pushed after 2"),
        "{found}"
    );
    let found = fault_of(|e| e.connections[1].frames.push(push("o4", 2, "y")));
    assert!(
        found.contains("seq 2 of si_a_b was pushed after 4"),
        "{found}"
    );
    let found = fault_of(|e| e.connections[1].frames.push(push("o5", 4, "w")));
    assert!(
        found.contains("seq 4 of si_a_b was pushed after 4"),
        "{found}"
    );
    let found = fault_of(|e| e.connections[0].frames.push(ack("o1", "x")));
    assert!(found.contains("o1 was answered twice"), "{found}");
}

#[test]
fn a_push_before_its_answer_is_found() {
    let found = fault_of(|e| e.connections[0].frames.swap(0, 1));
    assert!(
        found.contains("x was pushed before its send was answered"),
        "{found}"
    );
}

#[test]
fn a_push_of_something_else_is_found() {
    let found = fault_of(|e| e.connections[2].frames[1] = push("o2", 2, "x"));
    assert!(found.contains("which is stored otherwise"), "{found}");
}

#[test]
fn a_read_position_that_goes_back_is_found() {
    let found = fault_of(|e| e.cursors.push(cursor(3)));
    assert!(
        found.contains("the read position went from 4 back to 3"),
        "{found}"
    );
}

/// What the receiver of [`right`] has, changed.
fn received(change: impl FnOnce(&mut Connection)) -> Vec<Fault> {
    let mut evidence = right();
    change(&mut evidence.connections[2]);
    evidence.judge()
}

fn pulled_frame(seq: i64, id: &str) -> Frame {
    Frame::Pulled {
        conversation: CHAT.to_owned(),
        row: row(seq, id),
    }
}

#[test]
fn in_trouble_a_push_may_come_again_but_nothing_new_out_of_order() {
    let again = |c: &mut Connection| {
        c.frames.push(Frame::Trouble(true));
        c.frames.push(push("o1", 1, "x"));
        c.frames.push(push("o3", 3, "z"));
    };
    assert_eq!(received(again), []);
    let over = received(|c| {
        again(c);
        c.frames.push(Frame::Trouble(false));
        c.frames.push(push("o1", 1, "x"));
    });
    assert_eq!(over[0].kind, Kind::Doubled);
    let late = received(|c| {
        c.frames.remove(0);
        c.frames.push(Frame::Trouble(true));
        c.frames.push(push("o1", 1, "x"));
    });
    assert_eq!(late[0].kind, Kind::Reordered);
}

#[test]
fn a_push_that_is_left_out_in_calm_is_found() {
    let left_out = |c: &mut Connection| {
        c.stays = true;
        c.frames[1] = push("o3", 3, "z");
        c.frames.insert(2, pulled_frame(2, "y"));
    };
    let found = received(left_out);
    assert_eq!((found[0].kind, found.len()), (Kind::Lost, 1));
    let text = &found[0].text;
    assert!(
        text.contains("seq 3 of si_a_b was pushed, 2 was not"),
        "{text}"
    );
    let member_of_a_time = |c: &mut Connection| {
        left_out(c);
        c.stays = false;
    };
    assert_eq!(received(member_of_a_time), []);
    let pulled_before = |c: &mut Connection| {
        left_out(c);
        c.frames.swap(1, 2);
    };
    assert_eq!(received(pulled_before), []);
    let since_trouble = |c: &mut Connection| {
        left_out(c);
        c.frames.insert(1, Frame::Trouble(true));
        c.frames.insert(2, Frame::Trouble(false));
    };
    assert_eq!(received(since_trouble), []);
    let in_trouble = |c: &mut Connection| {
        left_out(c);
        c.trouble = true;
    };
    assert_eq!(received(in_trouble), []);
}

#[test]
fn a_device_may_be_pushed_what_it_has_pulled() {
    let both = received(|c| {
        c.frames.insert(0, pulled_frame(2, "y"));
        c.frames.swap(1, 2);
        c.had = 1;
    });
    assert_eq!(both, []);
    let other = received(|c| c.frames.push(pulled_frame(3, "x")));
    assert_eq!(other[0].kind, Kind::Reordered);
}

#[test]
fn what_a_piece_before_has_shown_is_known() {
    let mut evidence = right();
    evidence.connections.remove(0);
    assert!(!evidence.judge().is_empty());
    evidence.settled.insert(CHAT.to_owned(), 3);
    evidence.connections[0]
        .frames
        .retain(|f| !matches!(f, Frame::Push { operation_id, .. } if operation_id == "o4"));
    assert_eq!(evidence.judge(), []);
    evidence.connections[1].pushed = 2;
    assert_eq!(evidence.judge()[0].kind, Kind::Doubled);
}
