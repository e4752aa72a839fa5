//! Brings the database to the schemas: makes what is missing, refuses what has changed.
//!
//! The fields of each collection are kept in `magpie_schemas`. A field added at the end costs nothing: documents that lack it
//! read as zero. Only where an index needs it, it is written into them, at every start: during a rolling upgrade processes
//! of the version before still make documents without it, and until the next start an index of that field may list those
//! out of order.

use std::collections::HashMap;

use futures::TryStreamExt as _;
use magpie_store::{Index, Kind, Schema, StoreError, store::order_of};
use mongodb::{
    Collection, Database, IndexModel,
    bson::{Bson, Document, doc},
    error::Error,
    options::IndexOptions,
};

use crate::{
    error::{code, is_duplicate, of_call},
    table::{ID, Table, bson, has_key_index, is_key, refused, zero},
};

type Result<T> = std::result::Result<T, StoreError>;

const SCHEMAS: &str = "magpie_schemas";
/// Tries to write down a schema while other processes do the same.
const TRIES: usize = 10;
/// The collection is there already.
const NAMESPACE_EXISTS: i32 = 48;
/// An index of this name has other fields, or one of these fields another name.
const INDEX_CHANGED: [i32; 2] = [85, 86];

/// Prepares all of them.
pub(crate) async fn prepare(
    database: &Database,
    schemas: &[&'static Schema],
) -> Result<Vec<Table>> {
    let mut tables = Vec::with_capacity(schemas.len());
    for schema in schemas {
        check_schema(schema)?;
        let made_with = write_down(database, schema).await?;
        let table = Table::new(schema, database.collection(schema.collection), made_with)?;
        make_collection(database, schema).await?;
        fill_indexed_fields(&table).await?;
        make_indexes(&table).await?;
        tables.push(table);
    }
    Ok(tables)
}

/// Compares the schema with what is written down, adds its new fields there, and answers how many fields the collection was
/// made with.
async fn write_down(database: &Database, schema: &'static Schema) -> Result<usize> {
    let schemas: Collection<Document> = database.collection(SCHEMAS);
    let fields: Vec<String> = schema
        .fields
        .iter()
        .map(|(name, kind)| format!("{name} {}", kind_name(*kind)))
        .collect();
    let key: Vec<&str> = schema
        .key
        .fields
        .iter()
        .map(|&i| field_name(schema, i))
        .collect();
    let id = doc! { ID: schema.collection };
    for _ in 0..TRIES {
        let Some(stored) = schemas
            .find_one(id.clone())
            .await
            .map_err(|e| of_call(schema, &e))?
        else {
            let made_with = i64::try_from(fields.len()).unwrap_or(i64::MAX);
            let record = doc! { ID: schema.collection, "key": &key, "fields": &fields, "made_with": made_with };
            match schemas.insert_one(record).await {
                Err(e) if !is_duplicate(&e) => return Err(of_call(schema, &e)),
                _ => continue,
            }
        };
        let texts = |name| -> Vec<&str> {
            let list = stored
                .get_array(name)
                .map(Vec::as_slice)
                .unwrap_or_default();
            list.iter().filter_map(Bson::as_str).collect()
        };
        if texts("key") != key {
            return Err(changed(schema, "the key"));
        }
        let before = texts("fields");
        if let Some((now, before)) = fields
            .iter()
            .zip(&before)
            .find(|(now, before)| now != *before)
        {
            return Err(changed(schema, &format!("field {now} ({before} before)")));
        }
        if before.len() > fields.len() {
            return Err(changed(schema, "the number of fields"));
        }
        if before.len() == fields.len() {
            return Ok(stored
                .get_i64("made_with")
                .ok()
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(0));
        }
        let unchanged = doc! { ID: schema.collection, "fields": &before };
        let grown = schemas
            .update_one(unchanged, doc! { "$set": { "fields": &fields } })
            .await;
        grown.map_err(|e| of_call(schema, &e))?;
    }
    Err(StoreError::Unavailable(format!(
        "other processes keep changing the schema of {}",
        schema.collection
    )))
}

async fn make_collection(database: &Database, schema: &'static Schema) -> Result<()> {
    match database.create_collection(schema.collection).await {
        Err(e) if code(&e) != Some(NAMESPACE_EXISTS) => Err(of_call(schema, &e)),
        _ => Ok(()),
    }
}

/// Writes the zero of later fields into documents that lack them, as far as an index needs it.
async fn fill_indexed_fields(table: &Table) -> Result<()> {
    let schema = table.schema;
    for (i, (name, kind)) in schema
        .fields
        .iter()
        .enumerate()
        .filter(|(i, _)| table.is_later(*i))
    {
        let is_indexed = schema
            .unique
            .iter()
            .chain(schema.indexes)
            .any(|index| index.fields.contains(&i));
        if is_indexed {
            let missing = doc! { *name: { "$exists": false } };
            let zero = doc! { "$set": { *name: bson(&zero(*kind)) } };
            let filled = table
                .documents
                .update_many(missing, zero)
                .await
                .map_err(|e| of_call(schema, &e))?;
            if filled.modified_count > 0 {
                tracing::info!(
                    collection = schema.collection,
                    field = name,
                    documents = filled.modified_count,
                    "filled an added field"
                );
            }
        }
    }
    Ok(())
}

/// Makes the missing indexes. A unique one that no schema names any more would go on refusing documents and is dropped; others
/// may be an operator's and stay.
async fn make_indexes(table: &Table) -> Result<()> {
    let schema = table.schema;
    let fail = |e: Error| of_call(schema, &e);
    let listed: Vec<IndexModel> = table
        .documents
        .list_indexes()
        .await
        .map_err(fail)?
        .try_collect()
        .await
        .map_err(fail)?;
    let mut stored: HashMap<String, IndexModel> = listed
        .into_iter()
        .filter_map(|model| Some((model.options.as_ref()?.name.clone()?, model)))
        .collect();
    for (name, keys, unique) in indexes(schema) {
        if let Some(before) = stored.remove(name) {
            if before.keys != keys || is_unique(&before) != unique {
                return Err(changed(schema, &format!("index {name}")));
            }
            continue;
        }
        let options = IndexOptions::builder()
            .name(name.to_owned())
            .unique(unique.then_some(true))
            .build();
        let model = IndexModel::builder().keys(keys).options(options).build();
        if let Err(e) = table.documents.create_index(model).await {
            return Err(match code(&e) {
                Some(code) if INDEX_CHANGED.contains(&code) => {
                    changed(schema, &format!("index {name}"))
                }
                _ => of_call(schema, &e),
            });
        }
    }
    for (name, _) in stored.into_iter().filter(|(_, model)| is_unique(model)) {
        tracing::warn!(
            collection = schema.collection,
            index = name,
            "dropping a unique index that no schema names"
        );
        table.documents.drop_index(name).await.map_err(fail)?;
    }
    Ok(())
}

/// Name, fields and uniqueness of the indexes that a collection has besides `_id`.
fn indexes(schema: &'static Schema) -> Vec<(&'static str, Document, bool)> {
    let named = |i: usize| (field_name(schema, i).to_owned(), Bson::Int32(1));
    let fields =
        |index: &Index| -> Document { order_of(schema, index).into_iter().map(named).collect() };
    let mut indexes = Vec::new();
    if let Some(&first) = schema.key.fields.first().filter(|_| has_key_index(schema)) {
        let keys = [named(first), (ID.to_owned(), Bson::Int32(1))];
        indexes.push((schema.key.name, keys.into_iter().collect(), false));
    }
    indexes.extend(
        schema
            .unique
            .iter()
            .map(|index| (index.name, fields(index), true)),
    );
    indexes.extend(
        schema
            .indexes
            .iter()
            .map(|index| (index.name, fields(index), false)),
    );
    indexes
}

fn is_unique(model: &IndexModel) -> bool {
    model.options.as_ref().and_then(|options| options.unique) == Some(true)
}

fn check_schema(schema: &'static Schema) -> Result<()> {
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let mut names: Vec<_> = schema.fields.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let all = std::iter::once(&schema.key)
        .chain(schema.unique)
        .chain(schema.indexes);
    let sound = word(schema.collection)
        && !schema.collection.starts_with("system")
        && schema.collection != SCHEMAS
        && names.len() == schema.fields.len()
        && names.iter().all(|name| word(name) && **name != ID)
        && all
            .clone()
            .all(|index| word(index.name) && !index.fields.is_empty())
        && all
            .clone()
            .all(|index| index.fields.iter().all(|&i| i < schema.fields.len()))
        && all.filter(|index| is_key(schema, index)).count() == 1;
    if sound {
        return Ok(());
    }
    Err(refused(schema, "the schema is not well formed"))
}

fn field_name(schema: &'static Schema, field: usize) -> &'static str {
    schema.fields.get(field).map_or("", |(name, _)| name)
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "int",
        Kind::Text => "text",
        Kind::Blob => "blob",
    }
}

fn changed(schema: &'static Schema, what: &str) -> StoreError {
    refused(
        schema,
        format!("{what} differs from the stored collection; fields may only be added at the end"),
    )
}
