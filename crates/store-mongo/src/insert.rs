//! Inserting runs: one ordered insert of all of them, then the follow-up writes of what was inserted.
//!
//! An ordered insert stops at its first error. That item is resolved, the rest of its run is dropped, and the insert goes on
//! behind it. At the first conflict the keys of all that is left are looked up in one query, because after a crash a whole
//! batch is a replay: it costs two round trips then, not one per message.

use std::collections::{HashSet, VecDeque};

use futures::TryStreamExt as _;
use magpie_store::{Follow, Outcome, RunItem, StoreError};
use mongodb::{
    bson::{RawDocumentBuf, doc},
    error::ErrorKind,
    options::ReadConcern,
};

use crate::{
    error::{DUPLICATE, of_call, of_code, unavailable, violated},
    follow,
    store::MongoStore,
    table::{ID, Table},
};

type Result<T> = std::result::Result<T, StoreError>;

/// Documents of one insert.
const CHUNK: usize = 1000;

/// A document under way.
struct Pending {
    run: usize,
    item: usize,
    document: RawDocumentBuf,
}

impl Pending {
    fn id(&self) -> &str {
        self.document.get_str(ID).unwrap_or_default()
    }
}

/// What the server said to an insert.
enum Answer {
    Stored,
    /// All before this one are stored, this one is not, and those behind it were not tried.
    StoppedAt(usize, Stop),
}

enum Stop {
    /// The values are taken, as far as the server says in this index.
    Conflict(Result<&'static str>),
    Refused(String),
}

/// Inserts the runs, then writes what follows them.
pub(crate) async fn insert_runs(
    store: &MongoStore,
    table: &Table,
    runs: Vec<Vec<RunItem>>,
) -> Result<Vec<Vec<Outcome>>> {
    let mut inserts = Inserts {
        store,
        table,
        outcomes: runs
            .iter()
            .map(|run| vec![Outcome::Skipped; run.len()])
            .collect(),
        pending: VecDeque::new(),
        looked_up: false,
    };
    for (number, run) in runs.iter().enumerate() {
        inserts.check(number, run);
    }
    inserts.finish().await?;
    let outcomes = inserts.outcomes;
    let items = runs.into_iter().flatten().zip(outcomes.iter().flatten());
    let inserted = items.filter(|(_, outcome)| **outcome == Outcome::Inserted);
    let follows: Vec<Follow> = inserted.flat_map(|(item, _)| item.then).collect();
    follow::apply(store, follows).await?;
    Ok(outcomes)
}

struct Inserts<'s> {
    store: &'s MongoStore,
    table: &'s Table,
    outcomes: Vec<Vec<Outcome>>,
    pending: VecDeque<Pending>,
    looked_up: bool,
}

impl Inserts<'_> {
    /// Takes a run's items up to the first that does not fit.
    fn check(&mut self, number: usize, run: &[RunItem]) {
        for (item, run_item) in run.iter().enumerate() {
            let followed = run_item
                .then
                .iter()
                .try_for_each(|then| follow::check(self.store, then));
            match followed.and_then(|()| self.table.document(&run_item.row)) {
                Ok(document) => self.pending.push_back(Pending {
                    run: number,
                    item,
                    document,
                }),
                Err(e) => return self.end(number, item, Outcome::Refused(e.to_string())),
            }
        }
    }

    /// Inserts all that is pending. Each round ends a run or inserts a whole chunk.
    async fn finish(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            match self.send().await? {
                Answer::Stored => self.inserted(CHUNK),
                Answer::StoppedAt(count, stop) => {
                    self.inserted(count);
                    self.stopped(stop).await?;
                }
            }
        }
        Ok(())
    }

    async fn send(&self) -> Result<Answer> {
        let documents = self
            .pending
            .iter()
            .take(CHUNK)
            .map(|pending| &pending.document);
        let Err(e) = self.table.documents.insert_many(documents).await else {
            return Ok(Answer::Stored);
        };
        let ErrorKind::InsertMany(error) = &*e.kind else {
            return Err(of_call(self.table.schema, &e));
        };
        // What was stored may not stay; the caller finds out by trying again.
        if error.write_concern_error.is_some() {
            return Err(unavailable(&e));
        }
        let Some(first) = error.write_errors.iter().flatten().next() else {
            return Err(unavailable(&e));
        };
        let stop = if first.code == DUPLICATE {
            Stop::Conflict(violated(self.table.schema, &first.message))
        } else {
            match of_code(self.table.schema, first.code, &first.message) {
                e @ StoreError::Unavailable(_) => return Err(e),
                e => Stop::Refused(e.to_string()),
            }
        };
        Ok(Answer::StoppedAt(first.index, stop))
    }

    fn inserted(&mut self, count: usize) {
        for pending in self.pending.drain(..count.min(self.pending.len())) {
            if let Some(outcome) = self
                .outcomes
                .get_mut(pending.run)
                .and_then(|run| run.get_mut(pending.item))
            {
                *outcome = Outcome::Inserted;
            }
        }
    }

    /// Resolves the first pending item, which was not stored.
    async fn stopped(&mut self, stop: Stop) -> Result<()> {
        let Some(Pending { run, item, .. }) = self.pending.front() else {
            return Ok(());
        };
        let (run, item) = (*run, *item);
        let named = match stop {
            Stop::Refused(reason) => {
                self.end(run, item, Outcome::Refused(reason));
                return Ok(());
            }
            Stop::Conflict(named) => named,
        };
        self.store.metrics.conflict();
        // Servers differ in which of two violated indexes they name; the contract says the key.
        let stored = self.look_up().await?;
        let key = self.table.schema.key.name;
        let is_stored = self
            .pending
            .front()
            .is_some_and(|first| stored.contains(first.id()));
        let index = if is_stored { key } else { named? };
        self.end(run, item, Outcome::Conflict(index));
        let mut ended = HashSet::new();
        let found: Vec<_> = self
            .pending
            .iter()
            .filter(|p| stored.contains(p.id()))
            .map(|p| (p.run, p.item))
            .collect();
        for (run, item) in found {
            if ended.insert(run) {
                self.end(run, item, Outcome::Conflict(key));
            }
        }
        Ok(())
    }

    /// Which of the pending keys are stored: at the call's first conflict of all, later of the first one.
    async fn look_up(&mut self) -> Result<HashSet<String>> {
        let count = if self.looked_up { 1 } else { CHUNK };
        self.looked_up = true;
        let ids: Vec<&str> = self.pending.iter().take(count).map(Pending::id).collect();
        // A local read sees what the insert has seen.
        let query = self
            .table
            .documents
            .find(doc! { ID: { "$in": &ids } })
            .projection(doc! { ID: 1 })
            .read_concern(ReadConcern::local())
            .batch_size(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        let answer = async { query.await?.try_collect::<Vec<RawDocumentBuf>>().await };
        let found = answer.await.map_err(|e| of_call(self.table.schema, &e))?;
        Ok(found
            .iter()
            .filter_map(|document| document.get_str(ID).ok().map(str::to_owned))
            .collect())
    }

    /// Ends a run at this item: it has this outcome, and those behind it are not tried.
    fn end(&mut self, run: usize, item: usize, outcome: Outcome) {
        for (place, i) in self.outcomes.get_mut(run).into_iter().flatten().zip(0..) {
            if i >= item {
                *place = if i == item {
                    outcome.clone()
                } else {
                    Outcome::Skipped
                };
            }
        }
        self.pending
            .retain(|pending| pending.run != run || pending.item < item);
    }
}
