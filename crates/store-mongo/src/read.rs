//! Queries: by key, a page of an index, a count.

use std::{collections::HashMap, time::Duration};

use futures::TryStreamExt as _;
use magpie_store::{
    Key, Page, Row, StoreError, Value,
    store::{MAX_PAGE, index_of, order_of},
};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use crate::{
    error::of_call,
    id::{id_of, lower, upper},
    table::{ID, Table, is_key},
};

/// Keys that one query looks up.
const CHUNK: usize = 500;

/// The documents with these keys.
pub(crate) async fn get_many(
    table: &Table,
    keys: &[Key],
    limit: Duration,
) -> Result<Vec<Option<Row>>, StoreError> {
    let ids: Vec<String> = keys
        .iter()
        .map(|key| table.id_of_key(key))
        .collect::<Result<_, _>>()?;
    let mut found: HashMap<String, Row> = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(CHUNK) {
        let filter = match ids {
            [id] => doc! { ID: id },
            ids => doc! { ID: { "$in": ids } },
        };
        for document in find(table, filter, Document::new(), ids.len(), limit).await? {
            let id = document
                .get_str(ID)
                .map_err(|e| table.corrupt(e.to_string()))?;
            found.insert(id.to_owned(), table.row(&document)?);
        }
    }
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// A page, walked along its index.
pub(crate) async fn page(
    table: &Table,
    page: &Page,
    limit: Duration,
) -> Result<Vec<Row>, StoreError> {
    let Some((filter, sort)) = query(table, page)? else {
        return Ok(Vec::new());
    };
    let documents = find(table, filter, sort, page.limit.min(MAX_PAGE), limit).await?;
    documents
        .iter()
        .map(|document| table.row(document))
        .collect()
}

/// How many documents share these first values of the index.
pub(crate) async fn count(
    table: &Table,
    index: &str,
    prefix: &[Value],
    limit: Duration,
) -> Result<u64, StoreError> {
    let page = Page::of(index_of(table.schema, index)?.name, prefix.to_vec(), 1);
    let (filter, _) = query(table, &page)?.unwrap_or_default();
    let count = table
        .documents
        .count_documents(filter)
        .max_time(limit)
        .await;
    count.map_err(|e| of_call(table.schema, &e))
}

async fn find(
    table: &Table,
    filter: Document,
    sort: Document,
    count: usize,
    limit: Duration,
) -> Result<Vec<RawDocumentBuf>, StoreError> {
    // To the server a limit of 0 is none.
    let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) else {
        return Ok(Vec::new());
    };
    let query = table
        .documents
        .find(filter)
        .sort(sort)
        .limit(i64::from(count))
        .batch_size(count)
        .max_time(limit);
    let answer = async { query.await?.try_collect().await };
    answer.await.map_err(|e| of_call(table.schema, &e))
}

/// Filter and sort of a page; `None` if nothing can be on it.
fn query(table: &Table, page: &Page) -> Result<Option<(Document, Document)>, StoreError> {
    let schema = table.schema;
    let index = index_of(schema, page.index)?;
    table.check_values(index.fields, &page.prefix, false)?;
    let order = order_of(schema, index);
    let (shared, rest) = order
        .split_at_checked(page.prefix.len())
        .unwrap_or((&order, &[]));
    for bound in [&page.from, &page.to].into_iter().flatten() {
        table.check_values(
            rest.get(..1).unwrap_or(&[]),
            std::slice::from_ref(bound),
            true,
        )?;
    }
    if let Some(after) = &page.after {
        table.check_values(rest, after, true)?;
        if rest.is_empty() {
            return Ok(None);
        }
    }
    Ok(Some(if is_key(schema, index) {
        by_id(table, page, rest)
    } else {
        by_fields(table, page, shared, rest)
    }))
}

fn direction(page: &Page) -> i32 {
    if page.descending { -1 } else { 1 }
}

/// A page of the primary key.
fn by_id(table: &Table, page: &Page, rest: &[usize]) -> (Document, Document) {
    let prefix = &page.prefix;
    if rest.is_empty() {
        return (doc! { ID: id_of(prefix) }, Document::new());
    }
    let (mut low, mut high) = (
        lower(prefix, page.from.as_ref()),
        upper(prefix, page.to.as_ref()),
    );
    let mut above = "$gte";
    if let Some(after) = &page.after {
        let id = id_of(&[prefix.as_slice(), after].concat());
        if page.descending {
            high = Some(high.map_or_else(|| id.clone(), |high| high.min(id.clone())));
        } else if low.as_ref().is_none_or(|low| *low <= id) {
            (low, above) = (Some(id), "$gt");
        }
    }
    let mut filter = Document::new();
    // The index of first field and id, where there is one, needs the field; the id alone says the same.
    if let (Some(&first), Some(value)) = (table.schema.key.fields.first(), prefix.first()) {
        let (name, condition) = table.equals(first, value);
        filter.insert(name, condition);
    }
    let mut range = Document::new();
    range.extend(low.map(|low| (above.to_owned(), Bson::String(low))));
    range.extend(high.map(|high| ("$lt".to_owned(), Bson::String(high))));
    if !range.is_empty() {
        filter.insert(ID, range);
    }
    (filter, doc! { ID: direction(page) })
}

/// A page of another index.
fn by_fields(table: &Table, page: &Page, shared: &[usize], rest: &[usize]) -> (Document, Document) {
    let same = shared.iter().zip(&page.prefix);
    let mut filter: Document = same.map(|(&i, value)| table.equals(i, value)).collect();
    let name = |i: usize| table.name(i).as_str().to_owned();
    let beyond = if page.descending { "$lt" } else { "$gt" };
    let mut range = Document::new();
    range.extend(
        page.from
            .iter()
            .map(|v| ("$gte".to_owned(), crate::table::bson(v))),
    );
    range.extend(page.to.iter().map(|v| match v {
        // SecantusDB takes $lte on a field that others follow in the index for a bound on the whole entry.
        Value::Int(n) if *n < i64::MAX && rest.len() > 1 => {
            ("$lt".to_owned(), crate::table::bson(&Value::Int(n + 1)))
        }
        v => ("$lte".to_owned(), crate::table::bson(v)),
    }));
    match page.after.as_deref() {
        None | Some([]) => {}
        Some([after]) => {
            range.insert(beyond, crate::table::bson(after));
        }
        // (a, b) > (x, y) as a > x, or a = x and b > y: each branch is a range of the index, in its order.
        Some(after) => {
            let branches = rest.iter().zip(after).enumerate().map(|(n, (&i, value))| {
                let before = rest.iter().zip(after).take(n);
                let mut branch: Document =
                    before.map(|(&i, value)| table.equals(i, value)).collect();
                branch.insert(name(i), doc! { beyond: crate::table::bson(value) });
                Bson::Document(branch)
            });
            filter.insert("$or", branches.collect::<Vec<_>>());
        }
    }
    if let Some(&first) = rest.first().filter(|_| !range.is_empty()) {
        filter.insert(name(first), range);
    }
    let sort = rest
        .iter()
        .map(|&i| (name(i), Bson::Int32(direction(page))));
    (filter, sort.collect())
}

#[cfg(test)]
mod tests {
    use magpie_store::{
        Document as _,
        documents::{Conversation, Hidden, Message},
        key,
    };
    use mongodb::{Client, options::ClientOptions};

    use super::*;

    /// What a page asks for; nobody is connected to.
    fn asked(schema: &'static magpie_store::Schema, page: &Page) -> (Document, Document) {
        let client = Client::with_options(ClientOptions::default()).unwrap();
        let documents = client.database("d").collection(schema.collection);
        let table = Table::new(schema, documents, schema.fields.len()).unwrap();
        query(&table, page).unwrap().unwrap()
    }

    #[tokio::test]
    async fn pages_are_ranges_of_one_index_in_its_order() {
        let newest = Page::of("by_seq", key!["si_a"], 1).descending();
        assert_eq!(
            asked(Message::SCHEMA, &newest),
            (doc! { "conversation_id": "si_a" }, doc! { "seq": -1 })
        );
        let pull = Page::of("by_seq", key!["si_a"], 50).between(10, 60);
        let pull = Page {
            after: Some(key![20]),
            ..pull
        };
        assert_eq!(
            asked(Message::SCHEMA, &pull),
            (
                doc! { "conversation_id": "si_a", "seq": { "$gte": 10_i64, "$lte": 60_i64, "$gt": 20_i64 } },
                doc! { "seq": 1 }
            )
        );
        let list = Page {
            after: Some(key!["si_b"]),
            ..Page::of("key", key!["u"], 50)
        };
        assert_eq!(
            asked(Conversation::SCHEMA, &list),
            (
                doc! { "owner_id": "u", "_id": { "$gt": "u\u{1}si_b", "$lt": "u\u{2}" } },
                doc! { "_id": 1 }
            )
        );
        let hidden = Page::of("key", key!["u", "si_a"], 50).between(1, 2);
        let (filter, _) = asked(Hidden::SCHEMA, &hidden);
        let range = doc! { "$gte": "u\u{1}si_a\u{1}8000000000000001", "$lt": "u\u{1}si_a\u{1}8000000000000002\u{2}" };
        assert_eq!(filter, doc! { "user_id": "u", "_id": range });
        let pending = Page {
            after: Some(vec![
                Value::Blob("p".into()),
                Value::from("u"),
                Value::from("c"),
            ]),
            ..Page::of("by_pending", Vec::new(), 50)
        };
        let (filter, sort) = asked(Conversation::SCHEMA, &pending);
        assert_eq!(
            sort,
            doc! { "pending": 1, "owner_id": 1, "conversation_id": 1 }
        );
        assert_eq!(filter.get_array("$or").unwrap().len(), 3);
    }
}
