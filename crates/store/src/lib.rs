//! Document collections: the [`Store`] trait that engines implement, typed documents over it, the document types of all
//! services, and the conformance suite that every engine passes.
//!
//! - [`value`]: values, rows, schemas. [`store`]: the trait. [`mod@document`]: the typed layer and the `document!` macro.
//! - [`documents`]: every collection that Magpie keeps, one file each.
//! - [`conformance`]: the contract as tests, generic over a factory.

pub mod conformance;
pub mod document;
pub mod documents;
pub mod store;
pub mod value;
pub mod versions;

pub use document::{Document, Documents, FieldValue, Intends, next_field};
pub use store::{Change, Follow, Outcome, Page, RunItem, SharedStore, Store, StoreError};
pub use value::{Index, Key, Kind, Row, Schema, Value};
