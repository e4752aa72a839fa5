//! One call: what a route's handler is given, and the handler that every plain route has.

use std::collections::BTreeMap;

use bytes::Bytes;
use magpie_service::{Context, Deps};
use magpie_types::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tonic::{Request, Response, Status};

use crate::{
    answer::{Answer, Failure, data},
    config::Config,
};

/// Longest gRPC message that the API takes from a service, bytes.
pub(crate) const MAX_MESSAGE: usize = 64 << 20;

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    /// Who calls; nobody on the routes that need no token.
    pub(crate) context: Option<Context>,
    pub(crate) body: Bytes,
    /// The query string.
    pub(crate) query: String,
    /// The header `Content-Type`, empty if there is none.
    pub(crate) content_type: String,
    /// Members of the body that must not be null; see [`crate::routes::Route`].
    pub(crate) not_null: &'static [&'static str],
}

impl Call {
    /// The caller; the routes without a token have no handler that asks.
    pub(crate) fn context(&self) -> Result<&Context> {
        self.context
            .as_ref()
            .ok_or_else(|| Error::no_permission("this call needs a token"))
    }

    /// The body of a plain route: JSON, whatever the content type says.
    pub(crate) fn json<T: DeserializeOwned + Default>(&self) -> Result<T> {
        let value = magpie_proto::json::from_slice(&self.body)
            .map_err(|e| Error::args(format!("request body: {}", without_types(&e.to_string()))))?;
        check_present(&self.body, self.not_null)?;
        Ok(value)
    }

    /// The body of a hand-made route, where a defect is HTTP status 400.
    pub(crate) fn bind<T: DeserializeOwned + Default>(&self) -> Result<T, Failure> {
        self.json().map_err(Failure::Unbound)
    }

    /// A gRPC request in the caller's name.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        match &self.context {
            Some(context) => context.request(message),
            None => Request::new(message),
        }
    }
}

/// Body to request, RPC, answer to `data`.
pub(crate) async fn unary<Req, Resp, F>(
    call: Call,
    rpc: impl FnOnce(Deps, Request<Req>) -> F + Send,
) -> Answer
where
    Req: DeserializeOwned + Default + Send,
    Resp: Serialize,
    F: Future<Output = Result<Response<Resp>, Status>> + Send,
{
    let request = call.request(call.json()?);
    let answer = rpc(call.deps, request).await?;
    data(answer.get_ref())
}

/// The text of a parser's error without the names that our types have.
fn without_types(text: &str) -> String {
    let mut told = Vec::new();
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        match word {
            "struct" => {
                told.push("object");
                words.next();
            }
            word => told.push(word),
        }
    }
    told.join(" ")
        .replace("expected object", "expected an object")
        .replace("recursion limit exceeded", "nested too deeply")
}

/// Refuses a body in which one of these lists is absent or null: once it is a protobuf message, nobody can tell that from
/// an empty list.
fn check_present(body: &[u8], fields: &[&str]) -> Result<()> {
    if fields.is_empty() {
        return Ok(());
    }
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let present = |field: &str| {
        members
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case(field) && value.get() != "null")
    };
    match fields.iter().find(|field| !present(field)) {
        Some(field) => Err(Error::args(format!("{} is empty", capitalised(field)))),
        None => Ok(()),
    }
}

fn capitalised(field: &str) -> String {
    let mut letters = field.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_no_type_of_ours() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        struct Inner {
            _a: i32,
        }
        let error = magpie_proto::json::from_slice::<Inner>(b"[1").unwrap_err();
        assert!(error.to_string().contains("struct Inner"), "{error}");
        let told = without_types(&error.to_string());
        assert!(
            told.contains("expected an object") && !told.contains("Inner"),
            "{told}"
        );
    }

    #[test]
    fn a_list_may_be_empty_where_it_may_not_be_absent() {
        let check = |body: &str| check_present(body.as_bytes(), &["userIDs"]);
        assert!(check(r#"{"userIDs":[]}"#).is_ok());
        assert!(check(r#"{"USERIDS":["a"],"x":1}"#).is_ok());
        for body in ["{}", r#"{"userIDs":null}"#, r#"{"userID":[]}"#] {
            assert_eq!(check(body).unwrap_err().detail(), "UserIDs is empty");
        }
    }
}
