//! A group, whose members come and go: each has what stands in the log while he is a member, and nothing else of it.
//!
//! The lines of the chat that tell of comings and leavings divide it into stays. The line of a leaving is the last thing that the
//! leaver has. A coming takes effect with the notification that is logged before its line, so messages may stand between the place
//! and the line; where a stay begins is what a user's devices have before the line, in one piece, and they must agree on it. It is after
//! everything that was acknowledged before the coming was asked for.

use std::collections::BTreeMap;

use super::{Fault, Held, Kind, Order, Row};

/// What was seen of one group from its first message on.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its conversation; the whole of it is among the pulls.
    pub conversation: String,
    /// The lines of it that tell who came and who left, in order.
    pub lines: Vec<Line>,
    /// What was asked for.
    pub moves: Vec<Move>,
    /// What the devices of everybody who ever was a member have.
    pub holders: Vec<Holder>,
    /// What users can pull now.
    pub views: Vec<View>,
    /// Up to this seq everybody has had the time to get everything.
    pub due: i64,
}

/// A line that tells who came or left.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its place.
    pub seq: i64,
    /// Its id.
    pub client_msg_id: String,
    /// Who.
    pub users: Vec<String>,
    /// They came.
    pub joins: bool,
}

/// Somebody was to come or to leave, and it was asked for until it was so.
#[derive(Debug, Clone)]
pub struct Move {
    /// Who.
    pub user: String,
    /// He was to come.
    pub joins: bool,
    /// How often that was asked for; each request may have been carried out.
    pub asked: usize,
    /// One of them was certainly carried out, as its answer says.
    pub sure: bool,
    /// Messages that were acknowledged before the first request.
    pub after: Vec<String>,
}

/// A device and what it has.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Name for the report.
    pub who: String,
    /// Whose.
    pub user: String,
    /// What came to it, pushed or pulled.
    pub held: Held,
}

/// What a user can pull, from his first message to his last.
#[derive(Debug, Clone)]
pub struct View {
    /// Name for the report.
    pub who: String,
    /// Whose.
    pub user: String,
    /// In order.
    pub rows: Vec<Row>,
}

/// A membership from its line to that of its end.
struct Stay {
    came: i64,
    left: Option<i64>,
    /// Nothing up to here is his.
    floor: i64,
}

impl Group {
    /// The stays of everybody; tells lines that can't follow each other and lines that are missing or too many.
    fn stays(&self, order: &Order<'_>, faults: &mut Vec<Fault>) -> BTreeMap<&str, Vec<Stay>> {
        let mut stays: BTreeMap<&str, Vec<Stay>> = BTreeMap::new();
        let conversation = &self.conversation;
        for line in &self.lines {
            for user in &line.users {
                let of_user = stays.entry(user).or_default();
                let open = of_user.last_mut().filter(|stay| stay.left.is_none());
                match (line.joins, open) {
                    (true, None) => of_user.push(Stay {
                        came: line.seq,
                        left: None,
                        floor: 0,
                    }),
                    (false, Some(stay)) => stay.left = Some(line.seq),
                    (joins, _) => {
                        let what = if joins { "came" } else { "left" };
                        let text = format!("{conversation}: {user} {what} twice, at {}", line.seq);
                        faults.push(Fault::new(Kind::Doubled, text));
                    }
                }
            }
        }
        for (user, stays) in &mut stays {
            self.set_floors(user, stays, order);
        }
        stays
    }

    /// As long as every coming was asked for once, the lines are those of the requests.
    fn set_floors(&self, user: &str, stays: &mut [Stay], order: &Order<'_>) {
        let comings = self.moves.iter().filter(|m| m.user == user && m.joins);
        for (stay, coming) in stays.iter_mut().zip(comings) {
            let before = coming.after.iter();
            let before = before.filter_map(|id| Some(order.get(id.as_str())?.seq));
            stay.floor = before.max().unwrap_or(0);
            if coming.asked > 1 {
                break;
            }
        }
    }

    /// What was answered with success is in the log, and nothing that was not asked for.
    fn check_moves(&self, faults: &mut Vec<Fault>) {
        let mut counts: BTreeMap<(&str, bool), (usize, usize, usize)> = BTreeMap::new();
        for asked in &self.moves {
            let count = counts.entry((&asked.user, asked.joins)).or_default();
            count.0 += usize::from(asked.sure);
            count.1 += asked.asked;
        }
        for line in &self.lines {
            for user in &line.users {
                counts.entry((user, line.joins)).or_default().2 += 1;
            }
        }
        for ((user, joins), (sure, asked, told)) in counts {
            let what = if joins { "came" } else { "left" };
            let text = format!(
                "{}: {user} {what} {sure} times by the answers to {asked} requests, and {told} times by the log",
                self.conversation
            );
            if told < sure {
                faults.push(Fault::new(Kind::Lost, text));
            } else if told > asked {
                faults.push(Fault::new(Kind::Doubled, text));
            }
        }
    }

    /// Checks everything that was seen of the group; `rows` is the whole of it.
    pub(super) fn check(&self, rows: &[Row], order: &Order<'_>, faults: &mut Vec<Fault>) {
        self.check_moves(faults);
        let stays = self.stays(order, faults);
        let mut begins: BTreeMap<(&str, i64), (&str, i64)> = BTreeMap::new();
        for holder in &self.holders {
            let of_user = stays
                .get(holder.user.as_str())
                .map_or(&[][..], Vec::as_slice);
            for (came, begin) in self.check_holder(holder, of_user, faults) {
                let first = begins.entry((&holder.user, came));
                let (other, expected) = *first.or_insert((&holder.who, begin));
                if expected != begin {
                    let text = format!(
                        "{}: for the coming at {came} {other} has everything from {expected} on and {} from {begin} on",
                        self.conversation, holder.who
                    );
                    faults.push(Fault::new(Kind::Lost, text));
                }
            }
        }
        for view in &self.views {
            let last = stays.get(view.user.as_str()).and_then(|stays| stays.last());
            let begin = last.and_then(|stay| begins.get(&(view.user.as_str(), stay.came)));
            self.check_view(view, last, begin.map(|(_, begin)| *begin), rows, faults);
        }
    }

    /// Answers with each coming where its stay begins for this device.
    fn check_holder(
        &self,
        holder: &Holder,
        stays: &[Stay],
        faults: &mut Vec<Fault>,
    ) -> Vec<(i64, i64)> {
        let Holder { who, held, .. } = holder;
        let conversation = &self.conversation;
        let mut begins = Vec::new();
        // Up to here everything is judged.
        let mut judged = 0;
        let mut leak = |from: i64, to: i64, why: &str| {
            if let Some(seq) = held.any(from, to) {
                let text = format!("{who} has seq {seq} of {conversation}, {why}");
                faults.push(Fault::new(Kind::Leaked, text));
            }
        };
        let mut lost = Vec::new();
        for stay in stays {
            let end = stay.left.unwrap_or(i64::MAX);
            let begin = held.begin_of(stay.came).map(|at| at.max(judged + 1));
            match begin {
                Some(begin) => {
                    leak(judged + 1, begin - 1, "where he was no member");
                    let why = format!("from before he was asked in for seq {}", stay.came);
                    leak(begin, stay.floor, &why);
                    begins.push((stay.came, begin));
                    lost.extend(held.first_missing(begin, end.min(self.due)));
                }
                None => {
                    leak(judged + 1, stay.came - 1, "where he was no member");
                    lost.extend((stay.came <= self.due).then_some(stay.came));
                }
            }
            judged = end;
        }
        if judged < i64::MAX {
            leak(judged + 1, i64::MAX, "where he was no member");
        }
        for seq in lost {
            let text = format!("{who} does not have seq {seq} of {conversation}");
            faults.push(Fault::new(Kind::Lost, text));
        }
        begins
    }

    /// A pull shows the last stay, as it is stored, and as the devices have it.
    fn check_view(
        &self,
        view: &View,
        stay: Option<&Stay>,
        begin: Option<i64>,
        rows: &[Row],
        faults: &mut Vec<Fault>,
    ) {
        let (who, conversation) = (&view.who, &self.conversation);
        let (Some(first), Some(last)) = (view.rows.first(), view.rows.last()) else {
            if stay.is_some_and(|stay| stay.came <= self.due) {
                let text = format!("{who} can pull nothing of {conversation}");
                faults.push(Fault::new(Kind::Lost, text));
            }
            return;
        };
        let stored = rows.iter().skip_while(|row| row.seq < first.seq);
        if let Some((seen, _)) = view.rows.iter().zip(stored).find(|(a, b)| a != b) {
            let text =
                format!("{who}: pulled {seen:?}, which is stored otherwise in {conversation}");
            faults.push(Fault::new(Kind::Reordered, text));
        }
        let window = format!(
            "{who} can pull {} to {} of {conversation}",
            first.seq, last.seq
        );
        let Some(stay) = stay else {
            let text = format!("{window} and never was a member");
            return faults.push(Fault::new(Kind::Leaked, text));
        };
        let begin = begin.unwrap_or(stay.came);
        let end = stay.left.unwrap_or(self.due);
        let is_over = stay.left.is_some();
        if first.seq < begin || is_over && last.seq > end {
            let text = format!("{window}, and {begin} to {end} is his");
            faults.push(Fault::new(Kind::Leaked, text));
        }
        if first.seq > begin || last.seq < end {
            let text = format!("{window} only, and {begin} to {end} is his");
            faults.push(Fault::new(Kind::Lost, text));
        }
    }
}
