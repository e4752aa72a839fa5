//! Queries: by key, a page of an index, a count.

use magpie_store::{
    Key, Page, Row, Schema, StoreError, Value,
    store::{MAX_PAGE, index_of, order_of},
};
use rusqlite::{Connection, params_from_iter};

use crate::{
    error::Failure,
    table::{Sql, Table, column, equal, quote},
};

/// The documents with these keys, from one state of the database.
pub(crate) fn get_many(
    conn: &Connection,
    table: &Table,
    keys: &[Key],
) -> Result<Vec<Option<Row>>, Failure> {
    keys.iter().try_for_each(|key| table.check_key(key))?;
    let transaction = if keys.len() > 1 {
        Some(conn.unchecked_transaction()?)
    } else {
        None
    };
    let mut statement = conn.prepare_cached(&table.get)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let mut rows = statement.query(params_from_iter(key.iter().map(Sql)))?;
        found.push(rows.next()?.map(|row| table.read(row)).transpose()?);
    }
    drop(statement);
    if let Some(transaction) = transaction {
        transaction.commit()?;
    }
    Ok(found)
}

/// A page, walked along its index.
pub(crate) fn page(conn: &Connection, table: &Table, page: &Page) -> Result<Vec<Row>, Failure> {
    let (sql, values) = page_sql(table, page)?;
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values.iter().map(Sql)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(table.read(row)?);
    }
    Ok(found)
}

/// How many documents share these first values of the index.
pub(crate) fn count(
    conn: &Connection,
    table: &Table,
    index: &str,
    prefix: &[Value],
) -> Result<u64, Failure> {
    let index = index_of(table.schema, index)?;
    table.check_values(index.fields, prefix, false)?;
    let mut sql = format!("SELECT count(*) FROM {}", quote(table.schema.collection));
    if let Some(shared) = index.fields.get(..prefix.len()).filter(|f| !f.is_empty()) {
        sql.push_str(" WHERE ");
        sql.push_str(&equal(table.schema, shared, 1));
    }
    let mut statement = conn.prepare_cached(&sql)?;
    let count: i64 =
        statement.query_row(params_from_iter(prefix.iter().map(Sql)), |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The query of a page and its parameters.
pub(crate) fn page_sql(table: &Table, page: &Page) -> Result<(String, Vec<Value>), StoreError> {
    let schema = table.schema;
    let index = index_of(schema, page.index)?;
    table.check_values(index.fields, &page.prefix, false)?;
    let order = order_of(schema, index);
    let (shared, rest) = order
        .split_at_checked(page.prefix.len())
        .unwrap_or((&order, &[]));
    let mut values = page.prefix.clone();
    let mut conditions: Vec<String> = shared
        .iter()
        .enumerate()
        .map(|(n, &i)| format!("{}=?{}", column(schema, i), n + 1))
        .collect();
    for (bound, operator) in [(&page.from, ">="), (&page.to, "<=")] {
        if let Some(value) = bound {
            table.check_values(
                rest.get(..1).unwrap_or(&[]),
                std::slice::from_ref(value),
                true,
            )?;
            values.push(value.clone());
            conditions.push(format!(
                "{}{operator}?{}",
                first_column(schema, rest),
                values.len()
            ));
        }
    }
    if let Some(after) = &page.after {
        table.check_values(rest, after, true)?;
        if rest.is_empty() {
            conditions.push("0".to_owned());
        } else {
            let numbers: Vec<_> = (0..after.len())
                .map(|n| format!("?{}", values.len() + n + 1))
                .collect();
            let operator = if page.descending { '<' } else { '>' };
            conditions.push(format!(
                "({}){operator}({})",
                list(schema, rest, ""),
                numbers.join(",")
            ));
            values.extend(after.iter().cloned());
        }
    }
    let mut sql = table.select();
    if !conditions.is_empty() {
        sql.push_str(" WHERE ");
        sql.push_str(&conditions.join(" AND "));
    }
    if !rest.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&list(
            schema,
            rest,
            if page.descending { " DESC" } else { "" },
        ));
    }
    values.push(Value::Int(
        i64::try_from(page.limit.min(MAX_PAGE)).unwrap_or(0),
    ));
    sql.push_str(&format!(" LIMIT ?{}", values.len()));
    Ok((sql, values))
}

fn first_column(schema: &Schema, fields: &[usize]) -> String {
    fields
        .first()
        .map_or_else(String::new, |&i| column(schema, i))
}

fn list(schema: &Schema, fields: &[usize], suffix: &str) -> String {
    fields
        .iter()
        .map(|&i| format!("{}{suffix}", column(schema, i)))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use magpie_store::{Document, conformance::Item, documents::Message};
    use rusqlite::StatementStatus;

    use super::*;
    use crate::{Options, connection::configure, prepare::prepare, table::Table};

    fn plan(schema: &'static Schema, page: &Page) -> String {
        let mut conn = Connection::open_in_memory().unwrap();
        configure(&conn, &Options::default(), 1 << 20).unwrap();
        prepare(&mut conn, &[schema]).unwrap();
        let (sql, values) = page_sql(&Table::new(schema), page).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement
            .query_map(params_from_iter(values.iter().map(Sql)), |row| {
                row.get::<_, String>(3)
            })
            .unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn pages_walk_their_index_without_sorting() {
        let shelf = || vec![Value::from("a")];
        let after = |values: Vec<Value>, page: Page| Page {
            after: Some(values),
            ..page
        };
        for descending in [false, true] {
            for (index, columns, page) in [
                ("key", "(shelf=?)", Page::of("key", shelf(), 9)),
                ("by_place", "(shelf=?)", Page::of("by_place", shelf(), 9)),
                (
                    "by_place",
                    "(shelf=? AND place>? AND place<?)",
                    Page::of("by_place", shelf(), 9).between(1, 5),
                ),
                (
                    "by_place",
                    "(shelf=? AND place",
                    after(vec![Value::Int(3)], Page::of("by_place", shelf(), 9)),
                ),
                ("by_color", "(shelf=?)", Page::of("by_color", shelf(), 9)),
                (
                    "by_color",
                    "(shelf=? AND (color,name)",
                    after(
                        vec![Value::from("red"), Value::from("n")],
                        Page::of("by_color", shelf(), 9),
                    ),
                ),
            ] {
                let plan = plan(Item::SCHEMA, &Page { descending, ..page });
                assert!(
                    plan.starts_with(&format!(
                        "SEARCH conformance_items USING INDEX conformance_items.{index} "
                    )),
                    "{plan}"
                );
                assert!(
                    plan.contains(columns) && !plan.contains("TEMP B-TREE"),
                    "{columns}: {plan}"
                );
            }
        }
        let pull = Page::of("by_seq", vec![Value::from("si_a_b")], 50).between(10, 60);
        assert!(
            plan(Message::SCHEMA, &pull)
                .contains("messages.by_seq (conversation_id=? AND seq>? AND seq<?)")
        );
    }

    #[test]
    fn a_page_is_planned_once() {
        let mut conn = Connection::open_in_memory().unwrap();
        configure(&conn, &Options::default(), 1 << 20).unwrap();
        prepare(&mut conn, &[Item::SCHEMA]).unwrap();
        let table = Table::new(Item::SCHEMA);
        let page = |limit: usize| Page::of("by_place", vec![Value::from("a")], limit).between(1, 5);
        let (sql, _) = page_sql(&table, &page(1)).unwrap();
        let mut statement = conn.prepare(&sql).unwrap();
        for limit in 1..9 {
            let (_, values) = page_sql(&table, &page(limit)).unwrap();
            let mut rows = statement
                .query(params_from_iter(values.iter().map(Sql)))
                .unwrap();
            assert!(rows.next().unwrap().is_none());
        }
        assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
    }
}
