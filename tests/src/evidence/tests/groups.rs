//! A group in which u comes and goes, and each way to spoil what is seen of it.

use super::*;

const GROUP: &str = "sg_g";

fn line(seq: i64, joins: bool) -> Line {
    Line {
        seq,
        client_msg_id: format!("line{seq}"),
        users: vec!["u".to_owned()],
        joins,
    }
}

fn asked(joins: bool, after: &str) -> Move {
    Move {
        user: "u".to_owned(),
        joins,
        asked: 1,
        sure: true,
        after: vec![after.to_owned()],
    }
}

fn holder(who: &str, user: &str, seqs: impl IntoIterator<Item = i64>) -> Holder {
    Holder {
        who: who.to_owned(),
        user: user.to_owned(),
        held: seqs.into_iter().collect(),
    }
}

fn name(seq: i64) -> String {
    match seq {
        1 => "new".to_owned(),
        4 | 9 => format!("line{seq}"),
        7 => "line7".to_owned(),
        _ => format!("m{seq}"),
    }
}

fn rows(seqs: impl IntoIterator<Item = i64>) -> Vec<Row> {
    seqs.into_iter().map(|seq| row(seq, &name(seq))).collect()
}

fn view(user: &str, seqs: impl IntoIterator<Item = i64>) -> View {
    View {
        who: format!("{user} by pull"),
        user: user.to_owned(),
        rows: rows(seqs),
    }
}

/// The owner writes 2, 3, 5, 6, 8, 10; u leaves at 4, comes at 7 with a message between the place of his coming and its line,
/// and leaves at 9.
fn group_run() -> Evidence {
    let written = [2, 3, 5, 6, 8, 10];
    let owner = Connection {
        who: "o 1".to_owned(),
        sends: written
            .iter()
            .map(|seq| Send {
                operation_id: format!("o{seq}"),
                conversation: GROUP.to_owned(),
                client_msg_id: name(*seq),
            })
            .collect(),
        frames: written
            .iter()
            .map(|seq| ack(&format!("o{seq}"), &name(*seq)))
            .collect(),
        ..Connection::default()
    };
    let everybody = Line {
        seq: 1,
        client_msg_id: "new".to_owned(),
        users: vec!["o".to_owned(), "u".to_owned()],
        joins: true,
    };
    let founded = |user: &str| Move {
        user: user.to_owned(),
        after: Vec::new(),
        ..asked(true, "")
    };
    let group = Group {
        conversation: GROUP.to_owned(),
        lines: vec![everybody, line(4, false), line(7, true), line(9, false)],
        moves: vec![
            founded("o"),
            founded("u"),
            asked(false, "m2"),
            asked(true, "m5"),
            asked(false, "m8"),
        ],
        holders: vec![
            holder("o 1", "o", 1..=10),
            holder("u 1", "u", (1..=4).chain(6..=9)),
            holder("u 2", "u", (1..=4).chain(6..=9)),
        ],
        views: vec![view("o", 1..=10), view("u", 6..=9)],
        due: 10,
    };
    Evidence {
        connections: vec![owner],
        pulls: vec![Pull {
            who: "o".to_owned(),
            conversation: GROUP.to_owned(),
            rows: rows(1..=10),
        }],
        groups: vec![group],
        ..Evidence::default()
    }
}

/// The faults of a run that is right but for this change.
fn found(spoil: impl FnOnce(&mut Group)) -> Vec<Fault> {
    let mut evidence = group_run();
    spoil(&mut evidence.groups[0]);
    evidence.judge()
}

fn only(faults: &[Fault], kind: Kind, text: &str) {
    let fits = |fault: &&Fault| fault.kind == kind && fault.text.contains(text);
    assert!(faults.iter().any(|fault| fits(&fault)), "{faults:?}");
    assert!(faults.iter().all(|fault| fault.kind == kind), "{faults:?}");
}

#[test]
fn a_right_group_has_no_fault() {
    assert_eq!(group_run().judge(), []);
    assert_eq!(group_run().acknowledged(), 6);
}

#[test]
fn a_member_who_misses_something_of_his_time_is_found() {
    let inside = found(|g| g.holders[1].held = (1..=4).chain(6..=7).chain([9]).collect());
    only(&inside, Kind::Lost, "u 1 does not have seq 8 of sg_g");
    let last = found(|g| g.holders[1].held = (1..=3).chain(6..=9).collect());
    only(&last, Kind::Lost, "u 1 does not have seq 4 of sg_g");
    let coming = found(|g| {
        for u in &mut g.holders[1..] {
            u.held = (1..=4).chain(8..=9).collect();
        }
    });
    assert!(
        coming
            .iter()
            .any(|f| f.text == "u 1 does not have seq 7 of sg_g"),
        "{coming:?}"
    );
    let owner = found(|g| g.holders[0].held = (1..=9).collect());
    only(&owner, Kind::Lost, "o 1 does not have seq 10 of sg_g");
    let not_yet = found(|g| {
        g.holders[0].held = (1..=9).collect();
        g.due = 9;
    });
    assert_eq!(not_yet, []);
}

#[test]
fn devices_that_do_not_agree_where_a_stay_begins_are_found() {
    let apart = found(|g| g.holders[2].held = (1..=4).chain(7..=9).collect());
    only(
        &apart,
        Kind::Lost,
        "u 1 has everything from 6 on and u 2 from 7 on",
    );
}

#[test]
fn what_came_to_somebody_who_was_no_member_is_found() {
    let after = found(|g| g.holders[1].held.insert(10));
    only(
        &after,
        Kind::Leaked,
        "u 1 has seq 10 of sg_g, where he was no member",
    );
    let before = found(|g| {
        for u in &mut g.holders[1..] {
            u.held.insert(5);
        }
    });
    assert!(
        before
            .iter()
            .any(|f| f.kind == Kind::Leaked
                && f.text.contains("from before he was asked in for seq 7")),
        "{before:?}"
    );
    let apart = found(|g| {
        for u in &mut g.holders[1..] {
            u.held = (1..=5).chain(7..=9).collect();
        }
        g.views[1] = view("u", 7..=9);
    });
    only(
        &apart,
        Kind::Leaked,
        "u 1 has seq 5 of sg_g, where he was no member",
    );
    let stranger = found(|g| g.holders.push(holder("v 1", "v", [3])));
    only(&stranger, Kind::Leaked, "v 1 has seq 3");
}

#[test]
fn a_pull_that_shows_another_time_than_the_last_stay_is_found() {
    let more = found(|g| g.views[1] = view("u", 5..=9));
    only(
        &more,
        Kind::Leaked,
        "u by pull can pull 5 to 9 of sg_g, and 6 to 9 is his",
    );
    let late = found(|g| g.views[1] = view("u", 6..=10));
    only(&late, Kind::Leaked, "u by pull can pull 6 to 10");
    let less = found(|g| g.views[1] = view("u", 7..=9));
    only(&less, Kind::Lost, "u by pull can pull 7 to 9 of sg_g only");
    let nothing = found(|g| g.views[1] = view("u", []));
    only(&nothing, Kind::Lost, "u by pull can pull nothing");
    let stranger = found(|g| g.views.push(view("v", 3..=4)));
    only(&stranger, Kind::Leaked, "never was a member");
    let other = found(|g| g.views[0].rows.swap(4, 5));
    only(&other, Kind::Reordered, "which is stored otherwise");
}

#[test]
fn a_change_that_is_lost_or_told_twice_is_found() {
    let lost = found(|g| g.moves.push(asked(true, "m10")));
    only(
        &lost,
        Kind::Lost,
        "u came 3 times by the answers to 3 requests, and 2 times by the log",
    );
    let unsure = found(|g| {
        g.moves.push(Move {
            sure: false,
            ..asked(true, "m10")
        });
    });
    assert_eq!(unsure, []);
    let unasked = found(|g| drop(g.moves.pop()));
    only(
        &unasked,
        Kind::Doubled,
        "u left 1 times by the answers to 1 requests, and 2 times",
    );
    let twice = found(|g| g.lines.insert(3, line(8, true)));
    only(&twice, Kind::Doubled, "u came twice, at 8");
    let twice = found(|g| g.lines.push(line(10, false)));
    only(&twice, Kind::Doubled, "u left twice, at 10");
}

#[test]
fn a_line_that_is_stored_twice_or_by_nobody_is_found() {
    let mut evidence = group_run();
    evidence.groups[0].lines.remove(2);
    let faults = evidence.judge();
    let ghost = |f: &Fault| f.text.contains("line7 is stored and nobody sent it");
    assert!(faults.iter().any(ghost), "{faults:?}");
    let mut evidence = group_run();
    evidence.pulls[0].rows.push(row(11, "line9"));
    let faults = evidence.judge();
    let twice = |f: &Fault| f.text.contains("line9 is stored twice, as 9 and 11");
    assert!(faults.iter().any(twice), "{faults:?}");
}
