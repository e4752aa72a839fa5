//! Follow-up writes: the raises of one collection as one `update` command of upserts, its insertions as one unordered insert,
//! different collections at once. All of it may be repeated, so a command whose answer is lost is sent again.

use std::{collections::HashMap, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use magpie_store::{Follow, Row, StoreError, Value, store::check_follow};
use mongodb::{
    bson::{Document, RawArrayBuf, RawDocumentBuf, raw::cstr, rawdoc},
    error::{Error, ErrorKind},
};

use crate::{
    error::{DUPLICATE, is_passing, of_call, of_code, unavailable},
    store::MongoStore,
    table::{Table, raw},
};

type Result<T> = std::result::Result<T, StoreError>;

/// Writes of one command.
const CHUNK: usize = 500;
/// Commands under way at once for one call.
const AT_ONCE: usize = 4;
/// How often a command is sent while its upserts race with others for the same document, or the connection is lost.
const TRIES: usize = 10;

/// Checks a follow-up write, also that its collection was prepared.
pub(crate) fn check(store: &MongoStore, follow: &Follow) -> Result<()> {
    check_follow(follow)?;
    store.table(follow.schema()).map(|_| ())
}

/// Carries them out; they have been checked.
pub(crate) async fn apply(store: &MongoStore, writes: Vec<Follow>) -> Result<()> {
    let mut groups: HashMap<&'static str, Group> = HashMap::new();
    for write in writes {
        let table = store.table(write.schema())?;
        let group = groups
            .entry(table.schema.collection)
            .or_insert_with(|| Group::new(table));
        group.add(write)?;
    }
    let mut commands = Vec::new();
    for group in groups.into_values() {
        group.commands(store, &mut commands);
    }
    stream::iter(commands)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The writes of one collection.
struct Group {
    table: Arc<Table>,
    /// Raises by document and fields: several become one.
    raises: HashMap<(String, &'static [usize]), Row>,
    /// Statements that set what is newer.
    settings: Vec<RawDocumentBuf>,
    insertions: Vec<RawDocumentBuf>,
}

impl Group {
    fn new(table: Arc<Table>) -> Self {
        Self {
            table,
            raises: HashMap::new(),
            settings: Vec::new(),
            insertions: Vec::new(),
        }
    }

    fn add(&mut self, write: Follow) -> Result<()> {
        match write {
            Follow::Max { row, fields, .. } => {
                let row_before = self
                    .raises
                    .entry((self.table.id(&row), fields))
                    .or_insert_with(|| row.clone());
                for &field in fields {
                    if let (Some(value), Some(other)) = (row_before.get_mut(field), row.get(field))
                    {
                        *value = value.clone().max(other.clone());
                    }
                }
            }
            Follow::Newer {
                row,
                version,
                fields,
                ..
            } => {
                let id = self.table.id(&row);
                self.settings
                    .extend(set_newer(&self.table, &id, &row, version, fields));
            }
            Follow::InsertIfAbsent { row, .. } => self.insertions.push(self.table.document(&row)?),
        }
        Ok(())
    }

    fn commands<'s>(self, store: &'s MongoStore, commands: &mut Vec<BoxFuture<'s, Result<()>>>) {
        let Self {
            table,
            raises,
            settings,
            insertions,
        } = self;
        let statements: Vec<_> = raises
            .into_iter()
            .flat_map(|((id, fields), row)| raise(&table, &id, &row, fields))
            .chain(settings)
            .collect();
        for statements in statements.chunks(CHUNK) {
            commands.push(send_raises(store, Arc::clone(&table), statements.to_vec()).boxed());
        }
        for documents in insertions.chunks(CHUNK) {
            commands.push(send_insertions(Arc::clone(&table), documents.to_vec()).boxed());
        }
    }
}

/// The statements that raise `fields` of one document or insert it as it stands.
fn raise(table: &Table, id: &str, row: &[Value], fields: &[usize]) -> Vec<RawDocumentBuf> {
    let mut statements = Vec::new();
    let (mut max, mut insert) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    for (i, value) in row.iter().enumerate() {
        let raised = fields.contains(&i);
        if let (true, Value::Int(v)) = (raised, value)
            && let Some((missing, zero)) = table.zero_before_max(i, *v)
        {
            let mut query = missing;
            query.insert(crate::table::ID, id);
            let (query, change) = (
                RawDocumentBuf::try_from(&query),
                RawDocumentBuf::try_from(&zero),
            );
            if let (Ok(query), Ok(change)) = (query, change) {
                statements.push(rawdoc! { "q": query, "u": change });
            }
        }
        let part = if raised { &mut max } else { &mut insert };
        part.append(table.name(i), raw(value));
    }
    let mut change = RawDocumentBuf::new();
    for (operator, part) in [(cstr!("$max"), max), (cstr!("$setOnInsert"), insert)] {
        if !part.is_empty() {
            change.append(operator, part);
        }
    }
    statements.push(rawdoc! { "q": { "_id": id }, "u": change, "upsert": true });
    statements
}

/// The statements that insert one document as it stands, or set `fields` and `version` if `version` is lower. In either order: what was
/// inserted is not lower, and what is missing is set by nobody.
fn set_newer(
    table: &Table,
    id: &str,
    row: &[Value],
    version: usize,
    fields: &[usize],
) -> [RawDocumentBuf; 2] {
    let (mut whole, mut set) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    let mut lower = rawdoc! { "_id": id };
    for (i, value) in row.iter().enumerate() {
        whole.append(table.name(i), raw(value));
        if i == version || fields.contains(&i) {
            set.append(table.name(i), raw(value));
        }
        if i == version {
            let mut below = RawDocumentBuf::new();
            below.append(cstr!("$lt"), raw(value));
            lower.append(table.name(i), below);
        }
    }
    [
        rawdoc! { "q": { "_id": id }, "u": { "$setOnInsert": whole }, "upsert": true },
        rawdoc! { "q": lower, "u": { "$set": set } },
    ]
}

async fn send_raises(
    store: &MongoStore,
    table: Arc<Table>,
    mut statements: Vec<RawDocumentBuf>,
) -> Result<()> {
    let mut last = None;
    for _ in 0..TRIES {
        match send_updates(store, &table, &statements).await {
            Ok(racing) if racing.is_empty() => return Ok(()),
            Ok(racing) => {
                let left = statements
                    .into_iter()
                    .enumerate()
                    .filter(|(i, _)| racing.contains(i));
                statements = left.map(|(_, statement)| statement).collect();
            }
            Err(Failure::Passing(e)) => last = Some(unavailable(&e)),
            Err(Failure::Final(e)) => return Err(e),
        }
        store.metrics.repeat();
    }
    let racing = || StoreError::Unavailable("too many writers make the same document".to_owned());
    Err(last.unwrap_or_else(racing))
}

enum Failure {
    /// The same command may succeed on another connection.
    Passing(Error),
    Final(StoreError),
}

/// Sends the statements as one command; answers which of them another upsert of the same document was faster than.
async fn send_updates(
    store: &MongoStore,
    table: &Table,
    statements: &[RawDocumentBuf],
) -> std::result::Result<Vec<usize>, Failure> {
    let mut updates = RawArrayBuf::new();
    for statement in statements {
        updates.push(&**statement);
    }
    // `run_command` takes no write concern from the database's settings.
    let command = rawdoc! {
        "update": table.schema.collection,
        "ordered": false,
        "writeConcern": store.write_concern.clone(),
        "updates": updates,
    };
    let answer = match store.database.run_raw_command(command).await {
        Ok(answer) => answer,
        Err(e) if is_passing(&e) => return Err(Failure::Passing(e)),
        Err(e) => return Err(Failure::Final(of_call(table.schema, &e))),
    };
    racing(table, &answer).map_err(Failure::Final)
}

fn racing(table: &Table, answer: &Document) -> Result<Vec<usize>> {
    if let Ok(error) = answer.get_document("writeConcernError") {
        return Err(StoreError::Unavailable(format!(
            "a majority of the replica set did not confirm a write in time: {error}"
        )));
    }
    let Ok(errors) = answer.get_array("writeErrors") else {
        return Ok(Vec::new());
    };
    let mut racing = Vec::with_capacity(errors.len());
    for error in errors.iter().filter_map(|error| error.as_document()) {
        let code = error.get_i32("code").unwrap_or_default();
        if code != DUPLICATE {
            return Err(of_code(
                table.schema,
                code,
                error.get_str("errmsg").unwrap_or_default(),
            ));
        }
        racing.extend(
            error
                .get_i32("index")
                .ok()
                .and_then(|i| usize::try_from(i).ok()),
        );
    }
    Ok(racing)
}

async fn send_insertions(table: Arc<Table>, documents: Vec<RawDocumentBuf>) -> Result<()> {
    let Err(e) = table.documents.insert_many(&documents).ordered(false).await else {
        return Ok(());
    };
    let ErrorKind::InsertMany(error) = &*e.kind else {
        return Err(of_call(table.schema, &e));
    };
    if error.write_concern_error.is_some() {
        return Err(unavailable(&e));
    }
    match error
        .write_errors
        .iter()
        .flatten()
        .find(|e| e.code != DUPLICATE)
    {
        Some(error) => Err(of_code(table.schema, error.code, &error.message)),
        None => Ok(()),
    }
}
