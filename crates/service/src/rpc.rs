//! What every generated trait's method does around its own work: who calls, the rules on fields, the answer's status.
//!
//! ```ignore
//! async fn get(&self, request: Request<GetReq>) -> Answer<GetResp> {
//!     answer(async {
//!         let (ctx, req) = open(request)?;
//!         filled("userID", &req.user_id)?;
//!         ctx.require_self(&req.user_id)?;
//!         Ok(GetResp { .. })
//!     })
//!     .await
//! }
//! ```
//!
//! Rules on fields run before any check of the caller (rest-api.md 1.4) and all give 1001.

use std::{collections::HashSet, hash::Hash};

use magpie_types::{Code, Error, Result};
use tonic::{Request, Response, Status};

use crate::{Context, IntoStatus as _};

/// What a method of a generated trait returns.
pub type Answer<T> = std::result::Result<Response<T>, Status>;

/// The whole of a method whose rules live in a capability: `call!(self, request, method)`, or `=> Resp {}` for one that answers nothing.
#[macro_export]
macro_rules! call {
    ($self:ident, $request:ident, $method:ident) => {
        $crate::rpc::answer(async {
            let (ctx, req) = $crate::rpc::open($request)?;
            $self.0.$method(&ctx, req).await
        })
        .await
    };
    ($self:ident, $request:ident, $method:ident => $resp:expr) => {
        $crate::rpc::answer(async {
            let (ctx, req) = $crate::rpc::open($request)?;
            $self.0.$method(&ctx, req).await?;
            Ok($resp)
        })
        .await
    };
}

/// Runs a method's work and turns its result into what tonic sends.
pub async fn answer<T>(work: impl Future<Output = Result<T>>) -> Answer<T> {
    work.await.map(Response::new).map_err(|e| e.into_status())
}

/// Who calls and what he asks; 1507 for an anonymous call.
pub fn open<T>(mut request: Request<T>) -> Result<(Context, T)> {
    let context = request
        .extensions_mut()
        .remove::<Context>()
        .ok_or_else(|| Error::new(Code::TOKEN_NOT_EXIST, "this call needs a token"))?;
    Ok((context, request.into_inner()))
}

/// Refuses an empty text.
pub fn filled(field: &'static str, text: &str) -> Result<()> {
    if text.is_empty() {
        Err(Error::args(format!("{field} is empty")))
    } else {
        Ok(())
    }
}

/// Refuses an empty list.
pub fn some<T>(field: &'static str, list: &[T]) -> Result<()> {
    if list.is_empty() {
        Err(Error::args(format!("{field} is empty")))
    } else {
        Ok(())
    }
}

/// Refuses a list of more than `max` elements.
pub fn at_most<T>(field: &'static str, list: &[T], max: usize) -> Result<()> {
    if list.len() > max {
        Err(Error::args(format!("{field} has more than {max} elements")))
    } else {
        Ok(())
    }
}

/// Refuses a text of more than `max` bytes.
pub fn at_most_bytes(field: &str, text: &str, max: usize) -> Result<()> {
    if text.len() > max {
        Err(Error::args(format!("{field} is longer than {max} bytes")))
    } else {
        Ok(())
    }
}

/// Each of these ids once, in their order.
#[must_use]
pub fn distinct(mut ids: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::with_capacity(ids.len());
    ids.retain(|id| seen.insert(id.clone()));
    ids
}

/// Refuses a list with an element that occurs twice.
pub fn unique<T: Hash + Eq>(field: &'static str, list: &[T]) -> Result<()> {
    let mut seen = HashSet::with_capacity(list.len());
    if list.iter().all(|element| seen.insert(element)) {
        Ok(())
    } else {
        Err(Error::args(format!("{field} repeated")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_an_anonymous_call() {
        assert_eq!(
            open(Request::new(())).unwrap_err().code(),
            Code::TOKEN_NOT_EXIST
        );
        assert!(open(Context::internal("op").request(())).is_ok());
    }

    #[test]
    fn rules_name_the_field() {
        assert_eq!(
            filled("userID", "").unwrap_err().detail(),
            "userID is empty"
        );
        assert!(unique("userIDs", &["a", "b"]).is_ok());
        assert!(unique("userIDs", &["a", "a"]).is_err());
        assert!(at_most("userIDs", &[1, 2, 3], 2).is_err());
    }
}
