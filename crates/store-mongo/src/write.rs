//! Changes of single documents, and deletions.

use magpie_store::{
    Change, Key, StoreError, Value,
    store::{MAX_ROW, check_row},
};
use mongodb::bson::{Document, doc};

use crate::{
    error::{is_duplicate, of_call},
    store::MongoStore,
    table::{ID, Table, bson, refused},
};

type Result<T> = std::result::Result<T, StoreError>;

/// Keys of one deletion.
const CHUNK: usize = 500;

/// Replaces all fields but the key, if the revision is `expected`. Fields that a newer version of this program has added stay.
pub(crate) async fn compare_and_set(
    store: &MongoStore,
    table: &Table,
    row: &[Value],
    expected: i64,
) -> Result<bool> {
    check_row(table.schema, row)?;
    let Some(revision) = table.schema.revision else {
        return Err(refused(table.schema, "the collection has no revision"));
    };
    let mut filter = doc! { ID: table.id(row) };
    filter.extend([table.equals(revision, &Value::Int(expected))]);
    let fields = row
        .iter()
        .enumerate()
        .filter(|(i, _)| !table.schema.key.fields.contains(i));
    let set: Document = fields
        .map(|(i, value)| (table.name(i).as_str().to_owned(), bson(value)))
        .collect();
    let changed = update_one(table, filter, doc! { "$set": set }).await?;
    if !changed {
        store.metrics.conflict();
    }
    Ok(changed)
}

/// Changes fields of one document.
pub(crate) async fn update(table: &Table, key: &Key, changes: &[Change]) -> Result<bool> {
    let filter = doc! { ID: table.id_of_key(key)? };
    if changes.is_empty() {
        let found = table
            .documents
            .find_one(filter)
            .projection(doc! { ID: 1 })
            .await;
        return found
            .map(|found| found.is_some())
            .map_err(|e| of_call(table.schema, &e));
    }
    let (mut max, mut inc, mut set) = (Document::new(), Document::new(), Document::new());
    for (position, change) in changes.iter().enumerate() {
        let (operator, field, value) = match change {
            Change::Max(field, v) => (&mut max, *field, Value::Int(*v)),
            Change::Inc(field, v) => (&mut inc, *field, Value::Int(*v)),
            Change::Set(field, v) => (&mut set, *field, v.clone()),
        };
        check_change(table, changes, position, &value)?;
        operator.insert(table.name(field).as_str(), bson(&value));
    }
    for change in changes {
        if let Change::Max(field, v) = change
            && let Some((mut missing, zero)) = table.zero_before_max(*field, *v)
        {
            missing.extend(filter.clone());
            update_one(table, missing, zero).await?;
        }
    }
    let parts = [("$max", max), ("$inc", inc), ("$set", set)];
    let used = parts.into_iter().filter(|(_, part)| !part.is_empty());
    let change = used
        .map(|(operator, part)| (operator.to_owned(), part.into()))
        .collect();
    update_one(table, filter, change).await
}

fn check_change(table: &Table, changes: &[Change], position: usize, value: &Value) -> Result<()> {
    let field = changes.get(position).map_or(usize::MAX, Change::field);
    let fits = table
        .schema
        .fields
        .get(field)
        .is_some_and(|(_, kind)| *kind == value.kind());
    let again = changes
        .iter()
        .take(position)
        .any(|change| change.field() == field);
    if !fits || again || table.schema.key.fields.contains(&field) {
        return Err(refused(
            table.schema,
            "a change names a key field, a field twice, or one of another type",
        ));
    }
    if value.size() > MAX_ROW {
        return Err(refused(table.schema, "the document is too large"));
    }
    Ok(())
}

/// True if there is such a document.
async fn update_one(table: &Table, filter: Document, change: Document) -> Result<bool> {
    match table.documents.update_one(filter, change).await {
        Ok(done) => Ok(done.matched_count > 0),
        Err(e) if is_duplicate(&e) => Err(refused(
            table.schema,
            "another document has these values in a unique index",
        )),
        Err(e) => Err(of_call(table.schema, &e)),
    }
}

/// Deletes one document, if its revision is `expected`.
pub(crate) async fn delete_at(table: &Table, key: &Key, expected: i64) -> Result<bool> {
    let Some(revision) = table.schema.revision else {
        return Err(refused(table.schema, "the collection has no revision"));
    };
    let mut filter = doc! { ID: table.id_of_key(key)? };
    filter.extend([table.equals(revision, &Value::Int(expected))]);
    match table.documents.delete_one(filter).await {
        Ok(done) => Ok(done.deleted_count > 0),
        Err(e) => Err(of_call(table.schema, &e)),
    }
}

/// Deletes documents; how many there were.
pub(crate) async fn delete(table: &Table, keys: &[Key]) -> Result<u64> {
    let ids: Vec<String> = keys
        .iter()
        .map(|key| table.id_of_key(key))
        .collect::<Result<_>>()?;
    let mut deleted = 0;
    for ids in ids.chunks(CHUNK) {
        let done = table
            .documents
            .delete_many(doc! { ID: { "$in": ids } })
            .await;
        deleted += done.map_err(|e| of_call(table.schema, &e))?.deleted_count;
    }
    Ok(deleted)
}
