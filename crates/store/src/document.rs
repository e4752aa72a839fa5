//! Typed documents over the engine's rows: the [`Document`] trait, the [`document!`](macro@crate::document) macro, [`Documents`].

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    store::{Change, Outcome, Page, Result, Store, StoreError},
    value::{Key, Kind, Row, Schema, Value},
};

/// A Rust type that can be one field of a document.
pub trait FieldValue: Sized {
    /// The stored type.
    const KIND: Kind;
    /// To the stored form.
    fn into_value(self) -> Value;
    /// From the stored form.
    fn from_value(value: Value) -> Option<Self>;
}

macro_rules! field_value {
    ($ty:ty, $kind:ident, $self:ident => $into:expr, $v:ident => $from:expr) => {
        impl FieldValue for $ty {
            const KIND: Kind = Kind::$kind;
            fn into_value($self) -> Value {
                Value::$kind($into)
            }
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$kind($v) => $from,
                    _ => None,
                }
            }
        }
    };
}
field_value!(i64, Int, self => self, v => Some(v));
field_value!(i32, Int, self => i64::from(self), v => i32::try_from(v).ok());
field_value!(u32, Int, self => i64::from(self), v => u32::try_from(v).ok());
field_value!(bool, Int, self => i64::from(self), v => Some(v != 0));
field_value!(String, Text, self => self, v => Some(v));
field_value!(Bytes, Blob, self => self, v => Some(v));

/// A type stored as one collection.
pub trait Document: Sized + Send + Sync + 'static {
    /// Its collection.
    const SCHEMA: &'static Schema;
    /// To the stored form.
    fn into_row(self) -> Row;
    /// From the stored form.
    fn from_row(row: Row) -> Result<Self>;
}

/// A document whose changes cause something that follows. Its `pending` field is written in the same step as the change and
/// says what is left to do; see `magpie_service::pending`.
pub trait Intends: Document + Clone {
    /// Its key.
    fn key(&self) -> Key;
    /// Revision.
    fn rev(&self) -> i64;
    /// What is left to do; empty when nothing is.
    fn pending(&self) -> &Bytes;
    /// Sets both, before it is written.
    fn set(&mut self, rev: i64, pending: Bytes);
}

/// Declares a document type:
///
/// ```ignore
/// document! {
///     /// A user.
///     pub struct User in "users", revision rev {
///         pub user_id: String,
///         pub nickname: String,
///         pub rev: i64,
///     }
///     key [user_id];
///     index by_nickname [nickname];
/// }
/// ```
///
/// `revision rev, pending pending` makes it one that [`Intends`]. `unique NAME [fields]` declares a unique constraint. Fields are only ever added at the end. The position of a field, for
/// [`Change`] and [`Follow::Max`](crate::Follow), is an associated constant with the field's name: `User::nickname`.
#[macro_export]
macro_rules! document {
    (
        $(#[$doc:meta])*
        pub struct $name:ident in $collection:literal $(, revision $rev:ident $(, pending $pending:ident)?)? {
            $($(#[$fdoc:meta])* pub $field:ident : $ty:ty),+ $(,)?
        }
        key [$($key:ident),+];
        $(unique $uname:ident [$($ufield:ident),+];)*
        $(index $iname:ident [$($ifield:ident),+];)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $ty),+
        }

        const _: () = {
            #[expect(non_camel_case_types, reason = "named like the fields whose positions they are")]
            enum Position { $($field),+ }

            #[expect(non_upper_case_globals, reason = "named like the fields whose positions they are")]
            impl $name {
                $(
                    #[doc = concat!("Position of `", stringify!($field), "`.")]
                    pub const $field: usize = Position::$field as usize;
                )+
            }

            static SCHEMA: $crate::Schema = $crate::Schema {
                collection: $collection,
                fields: &[$((stringify!($field), <$ty as $crate::FieldValue>::KIND)),+],
                key: $crate::Index { name: "key", fields: &[$(Position::$key as usize),+] },
                unique: &[$($crate::Index { name: stringify!($uname), fields: &[$(Position::$ufield as usize),+] }),*],
                indexes: &[$($crate::Index { name: stringify!($iname), fields: &[$(Position::$ifield as usize),+] }),*],
                revision: $crate::document!(@rev $($rev)?),
            };

            impl $crate::Document for $name {
                const SCHEMA: &'static $crate::Schema = &SCHEMA;

                fn into_row(self) -> $crate::Row {
                    vec![$($crate::FieldValue::into_value(self.$field)),+]
                }

                fn from_row(row: $crate::Row) -> $crate::store::Result<Self> {
                    let mut values = row.into_iter();
                    Ok(Self {
                        $($field: $crate::next_field(&SCHEMA, stringify!($field), &mut values)?),+
                    })
                }
            }

            $crate::document!(@intends $name [$($key),+] $($rev $($pending)?)?);
        };
    };
    (@intends $name:ident [$($key:ident),+] $rev:ident $pending:ident) => {
        impl $crate::Intends for $name {
            fn key(&self) -> $crate::Key {
                vec![$($crate::FieldValue::into_value(self.$key.clone())),+]
            }

            fn rev(&self) -> i64 {
                self.$rev
            }

            fn pending(&self) -> &bytes::Bytes {
                &self.$pending
            }

            fn set(&mut self, rev: i64, pending: bytes::Bytes) {
                self.$rev = rev;
                self.$pending = pending;
            }
        }
    };
    (@intends $($rest:tt)*) => {};
    (@rev $rev:ident) => { Some(Position::$rev as usize) };
    (@rev) => { None };
}

/// Reads the next field of a row; used by [`document!`](macro@crate::document).
pub fn next_field<T: FieldValue>(
    schema: &'static Schema,
    name: &str,
    values: &mut impl Iterator<Item = Value>,
) -> Result<T> {
    values
        .next()
        .and_then(T::from_value)
        .ok_or_else(|| StoreError::Corrupt {
            collection: schema.collection,
            reason: format!("field {name}"),
        })
}

/// Typed access on any store.
#[async_trait]
pub trait Documents {
    /// The document with this key.
    async fn find<D: Document>(&self, key: Key) -> Result<Option<D>>;
    /// The documents with these keys, in order.
    async fn find_many<D: Document>(&self, keys: Vec<Key>) -> Result<Vec<Option<D>>>;
    /// A page of documents.
    async fn list<D: Document>(&self, page: Page) -> Result<Vec<D>>;
    /// Inserts a document.
    async fn add<D: Document>(&self, document: D) -> Result<Outcome>;
    /// Replaces the document if its revision is still `expected`; the document carries the new one.
    async fn replace<D: Document>(&self, document: D, expected: i64) -> Result<bool>;
    /// Changes fields of one document.
    async fn change<D: Document>(&self, key: Key, changes: Vec<Change>) -> Result<bool>;
    /// Deletes the document if its revision is still `expected`.
    async fn remove_at<D: Document>(&self, key: Key, expected: i64) -> Result<bool>;
    /// Deletes documents.
    async fn remove<D: Document>(&self, keys: Vec<Key>) -> Result<u64>;
}

#[async_trait]
impl<S: Store + ?Sized> Documents for S {
    async fn find<D: Document>(&self, key: Key) -> Result<Option<D>> {
        self.get(D::SCHEMA, key).await?.map(D::from_row).transpose()
    }

    async fn find_many<D: Document>(&self, keys: Vec<Key>) -> Result<Vec<Option<D>>> {
        let rows = self.get_many(D::SCHEMA, keys).await?;
        rows.into_iter()
            .map(|row| row.map(D::from_row).transpose())
            .collect()
    }

    async fn list<D: Document>(&self, page: Page) -> Result<Vec<D>> {
        self.page(D::SCHEMA, page)
            .await?
            .into_iter()
            .map(D::from_row)
            .collect()
    }

    async fn add<D: Document>(&self, document: D) -> Result<Outcome> {
        self.insert(D::SCHEMA, document.into_row()).await
    }

    async fn replace<D: Document>(&self, document: D, expected: i64) -> Result<bool> {
        self.compare_and_set(D::SCHEMA, document.into_row(), expected)
            .await
    }

    async fn change<D: Document>(&self, key: Key, changes: Vec<Change>) -> Result<bool> {
        self.update(D::SCHEMA, key, changes).await
    }

    async fn remove_at<D: Document>(&self, key: Key, expected: i64) -> Result<bool> {
        self.delete_at(D::SCHEMA, key, expected).await
    }

    async fn remove<D: Document>(&self, keys: Vec<Key>) -> Result<u64> {
        self.delete(D::SCHEMA, keys).await
    }
}

/// The key made of these values: `key!["u1", 5]`.
#[macro_export]
macro_rules! key {
    ($($part:expr),+ $(,)?) => { vec![$($crate::Value::from($part)),+] };
}
