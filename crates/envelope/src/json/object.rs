//! Reads one JSON object straight into a struct, with the member rules of [`json`](super).

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// A struct that is filled member by member.
pub(crate) trait Members<'de>: Default {
    /// Takes the value of the member `name` from `map`.
    fn member<A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// A string, borrowed from the input where it has no escapes.
#[derive(Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Reads `text`, which must be one object and nothing else.
pub(crate) fn parse<'de, M: Members<'de>>(text: &'de [u8]) -> Result<M, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = deserializer.deserialize_map(Object(PhantomData))?;
    deserializer.end()?;
    Ok(members)
}

/// Whether a member's name is `known`, in any case.
pub(crate) fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

/// Reads a value; `null` leaves the slot as it is.
pub(crate) fn set<'de, T, A>(slot: &mut T, map: &mut A) -> Result<(), A::Error>
where
    T: Deserialize<'de>,
    A: MapAccess<'de>,
{
    if let Some(value) = map.next_value::<Option<T>>()? {
        *slot = value;
    }
    Ok(())
}

/// Passes over a value of any shape.
pub(crate) fn ignore<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(drop)
}

struct Object<M>(PhantomData<M>);

impl<'de, M: Members<'de>> Visitor<'de> for Object<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<M, A::Error> {
        let mut members = M::default();
        while let Some(Text(name)) = map.next_key()? {
            members.member(&name, &mut map)?;
        }
        Ok(members)
    }
}
