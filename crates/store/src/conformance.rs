//! The contract of [`Store`](crate::Store) as tests, generic over a factory.
//!
//! An engine's test crate implements [`Factory`] and calls [`store_conformance!`](crate::store_conformance), which makes
//! one test per case from one table, so that none is forgotten. Each case owns a fresh namespace; nothing is serialised, and
//! nothing waits for time to pass. Crashes and speed are the engine's own tests.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Documents, SharedStore, StoreError};

pub mod changes;
pub mod heads;
pub mod inserts;
pub mod pages;
pub mod prepare;
pub mod reads;

/// What a case answers; an assertion may also panic.
pub type Verdict = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Makes stores. One factory value is one namespace.
#[async_trait]
pub trait Factory: Send + Sync {
    /// The store of this namespace; it is empty when opened for the first time.
    async fn open(&self) -> SharedStore;
    /// The same data after the engine was closed and opened; all handles of the store were dropped before.
    async fn reopen(&self) -> SharedStore;
}

/// Makes one test of each case; the argument is an expression that makes a fresh [`Factory`].
#[macro_export]
macro_rules! store_conformance {
    ($factory:expr) => {
        $crate::store_conformance! { @tests $factory;
            reads: finds_only_what_was_stored, keeps_the_order_of_many_keys, keeps_values_of_every_size,
                reopening_keeps_everything, refuses_a_key_that_does_not_fit;
            inserts: names_the_violated_index, stores_one_of_many_equal_ones, ends_a_run_at_its_first_failure,
                sees_duplicates_inside_one_call, follows_only_inserted_documents, refuses_what_does_not_fit_and_nothing_else,
                inserts_many_runs_at_once, concurrent_runs_store_each_place_once;
            changes: max_never_lowers, max_inserts_a_missing_document, max_of_many_writers_is_the_highest,
                newer_sets_once, insert_if_absent_keeps_the_first, applies_long_lists, refuses_a_max_that_could_fail,
                compare_and_set_compares, compare_and_set_loses_no_update, compare_and_set_keeps_unique_indexes,
                updates_change_named_fields_only, concurrent_updates_all_count, refuses_wrong_updates,
                deletes_at_the_expected_revision, deletes_and_counts;
            heads: reader_of_a_version_head_misses_nothing;
            pages: walks_the_key_in_order, walks_a_unique_index_both_ways, restricts_the_next_field, continues_without_gap,
                orders_ties_by_key, orders_blobs_of_one_length, caps_the_limit, counts_by_prefix, refuses_pages_that_do_not_fit;
            prepare: may_be_repeated, adds_fields_at_the_end, refuses_changed_fields;
        }
    };
    (@tests $factory:expr; $($module:ident: $($case:ident),+;)+) => {$(
        mod $module {
            #[allow(unused_imports, reason = "the factory may be an absolute path")]
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() -> $crate::conformance::Verdict {
                    $crate::conformance::$module::$case(&$factory).await
                }
            )+
        }
    )+};
}

crate::document! {
    /// A document with every kind of field and index.
    pub struct Item in "conformance_items", revision rev {
        /// First key field.
        pub shelf: String,
        /// Second key field.
        pub name: String,
        /// Unique within the shelf.
        pub place: i64,
        /// Not unique.
        pub color: String,
        /// Anything.
        pub body: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [shelf, name];
    unique by_place [shelf, place];
    index by_color [shelf, color];
}

crate::document! {
    /// A document of numbers.
    pub struct Counter in "conformance_counters", revision rev {
        /// Key.
        pub name: String,
        /// Raised by max.
        pub high: i64,
        /// Raised by max.
        pub higher: i64,
        /// Left alone.
        pub other: i64,
        /// Revision.
        pub rev: i64,
    }
    key [name];
}

crate::document! {
    /// A version head: a counter and the newest entries in one document.
    pub struct VersionedList in "conformance_lists", revision rev {
        /// Key.
        pub owner: String,
        /// Entries up to here were dropped.
        pub dropped: i64,
        /// The newest entries, one `version name` per line.
        pub entries: Bytes,
        /// The version.
        pub rev: i64,
    }
    key [owner];
}

crate::document! {
    /// A document with an index over bytes.
    pub struct Stamped in "conformance_stamps", revision rev {
        /// Key.
        pub name: String,
        /// Empty, or of one length.
        pub stamp: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [name];
    index by_stamp [stamp];
}

async fn opened(factory: &impl Factory) -> Result<SharedStore, StoreError> {
    let store = factory.open().await;
    prepare_all(&store).await?;
    Ok(store)
}

async fn prepare_all(store: &SharedStore) -> Result<(), StoreError> {
    use crate::Document;
    store
        .prepare(&[
            Item::SCHEMA,
            Counter::SCHEMA,
            VersionedList::SCHEMA,
            Stamped::SCHEMA,
        ])
        .await
}

fn item(shelf: &str, name: &str, place: i64) -> Item {
    Item {
        shelf: shelf.to_owned(),
        name: name.to_owned(),
        place,
        color: "red".to_owned(),
        body: Bytes::new(),
        rev: 1,
    }
}

fn counter(name: &str, high: i64) -> Counter {
    Counter {
        name: name.to_owned(),
        high,
        higher: high,
        other: 7,
        rev: 1,
    }
}

async fn find_item(
    store: &SharedStore,
    shelf: &str,
    name: &str,
) -> Result<Option<Item>, StoreError> {
    store.find::<Item>(crate::key![shelf, name]).await
}

async fn find_counter(store: &SharedStore, name: &str) -> Result<Option<Counter>, StoreError> {
    store.find::<Counter>(crate::key![name]).await
}

fn is_schema<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Schema { .. }))
}
