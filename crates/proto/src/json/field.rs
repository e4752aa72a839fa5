//! Forms of single fields that serde's derive does not have; `build.rs` names them in the attributes it generates.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A scalar for which `null` is zero.
pub(crate) fn scalar<'de, D, T>(d: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// A map for which `null` is empty; a `null` inside is the zero value.
pub(crate) fn map<'de, D, T>(d: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    let entries: Option<BTreeMap<String, Option<T>>> = Option::deserialize(d)?;
    let entries = entries.unwrap_or_default().into_iter();
    Ok(entries
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

/// A list: `null` when empty, and a `null` inside is the zero value.
pub(crate) mod list {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer, T: Serialize>(
        list: &[T],
        s: S,
    ) -> Result<S::Ok, S::Error> {
        if list.is_empty() {
            s.serialize_none()
        } else {
            list.serialize(s)
        }
    }

    pub(crate) fn deserialize<'de, D, T>(d: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de> + Default,
    {
        d.deserialize_option(List(PhantomData))
    }

    /// Collects straight into the final list: no second allocation for the elements that may be `null`.
    struct List<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list or null")
        }

        fn visit_none<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }

        fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Vec<T>, D::Error> {
            d.deserialize_seq(self)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = seq.next_element::<Option<T>>()? {
                list.push(element.unwrap_or_default());
            }
            Ok(list)
        }
    }
}

/// Bytes as padded standard base64: `null` when empty.
pub(crate) mod base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        if bytes.is_empty() {
            s.serialize_none()
        } else {
            s.serialize_str(&STANDARD.encode(bytes))
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text: Option<Cow<'de, str>> = Option::deserialize(d)?;
        let bytes = STANDARD
            .decode(text.unwrap_or_default().as_bytes())
            .map_err(D::Error::custom)?;
        Ok(bytes.into())
    }
}
