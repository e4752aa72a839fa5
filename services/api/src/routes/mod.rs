//! The table of all routes, one file per group. It drives the router, the test of who may call what, `/openapi.json` and
//! `docs/coverage.md`.
//!
//! A route says who may call it, which the services enforce, and which RPCs it needs: one for a plain route, several for one that is
//! put together, none for one that has no RPC and is not built.

mod auth;
mod conversation;
mod friend;
mod group;
mod jssdk;
mod later;
mod msg;
mod statistics;
mod third;
mod user;

use std::fmt;

use futures::future::BoxFuture;

use crate::{answer::Answer, call::Call};

/// What answers a route.
pub(crate) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

/// HTTP method of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Everything that takes JSON.
    Post,
    /// Redirects and lists for other tools.
    Get,
}

/// Who may call a route (rest-api.md 2.1, bettered by corrections.md). An application administrator always may. Names are fields of
/// the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody, without a token.
    Open,
    /// Every user, for himself.
    Any,
    /// A user whom one of these fields names.
    Own(&'static [&'static str]),
    /// The user whom the first field names, or one who manages the group that the second one names.
    OwnOrManager(&'static str, &'static str),
    /// A member of the group that this field names.
    Member(&'static str),
    /// Its owner or one of its administrators.
    Manager(&'static str),
    /// Its owner.
    Owner(&'static str),
    /// Administrators of the application only.
    Admin,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("everybody"),
            Self::Any => f.write_str("every user"),
            Self::Own(fields) => f.write_str(&fields.join(" or ")),
            Self::OwnOrManager(user, group) => write!(f, "{user} or managers of {group}"),
            Self::Member(field) => write!(f, "members of {field}"),
            Self::Manager(field) => write!(f, "managers of {field}"),
            Self::Owner(field) => write!(f, "owner of {field}"),
            Self::Admin => f.write_str("administrators"),
        }
    }
}

/// One route.
pub struct Route {
    /// HTTP method.
    pub method: Method,
    /// Path; one that ends in `/*` stands for everything below it.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// RPCs it needs: the service's name in the registry and the generated method.
    pub rpcs: &'static [(&'static str, &'static str)],
    /// Lists that may be empty but not absent: 1001.
    pub(crate) not_null: &'static [&'static str],
    /// What it takes and gives, where that is not the RPC's.
    pub(crate) shapes: Option<(Shape, Shape)>,
    /// Absent if the route is not built.
    pub(crate) handler: Option<Handler>,
}

/// What a hand-made route takes, or gives as `data`.
pub(crate) enum Shape {
    /// A message of the contract, by its full name.
    Message(&'static str),
    /// A list of them.
    List(&'static str),
    /// JSON of its own.
    Own(fn() -> schemars::Schema),
}

impl Route {
    /// Whether it is one RPC, with the RPC's own body and answer.
    pub fn is_plain(&self) -> bool {
        self.is_implemented() && self.shapes.is_none()
    }

    /// Whether there is something behind it, if only an RPC that is not built.
    pub(crate) fn is_implemented(&self) -> bool {
        self.handler.is_some()
    }

    /// Whether it is built, given what the services lack: (service, method).
    pub fn is_built(&self, lacking: &[(&str, &str)]) -> bool {
        self.is_implemented() && !self.rpcs.iter().any(|rpc| lacking.contains(rpc))
    }

    const fn later(method: Method, path: &'static str, access: Access) -> Self {
        Self {
            method,
            path,
            access,
            rpcs: &[],
            not_null: &[],
            shapes: None,
            handler: None,
        }
    }

    const fn own(
        path: &'static str,
        access: Access,
        shapes: (Shape, Shape),
        rpcs: &'static [(&'static str, &'static str)],
        handler: Handler,
    ) -> Self {
        Self {
            method: Method::Post,
            path,
            access,
            rpcs,
            not_null: &[],
            shapes: Some(shapes),
            handler: Some(handler),
        }
    }
}

/// Plain routes of one service: path, who may call it, method of the generated client, and lists that must be present.
macro_rules! plain {
    ($table:ident: $client:ident of $service:expr; $($path:literal: $access:expr => $method:ident $(with $field:literal)?;)*) => {
        pub(super) const $table: &[super::Route] = &[$(super::Route {
            method: super::Method::Post,
            path: $path,
            access: $access,
            rpcs: &[($service, stringify!($method))],
            not_null: &[$($field)?],
            shapes: None,
            handler: Some(|call| Box::pin($crate::call::unary(call, |deps, request| async move {
                let client = $client::new(deps.channel($service));
                client.max_decoding_message_size($crate::call::MAX_MESSAGE).$method(request).await
            }))),
        }),*];
    };
}
use plain;

/// Every route.
pub fn all() -> impl Iterator<Item = &'static Route> {
    [
        auth::ROUTES,
        user::ROUTES,
        user::OWN,
        friend::ROUTES,
        group::ROUTES,
        msg::ROUTES,
        msg::OWN,
        conversation::ROUTES,
        third::ROUTES,
        third::OBJECTS,
        jssdk::ROUTES,
        statistics::USERS,
        statistics::GROUPS,
        statistics::MESSAGES,
        later::ROUTES,
    ]
    .into_iter()
    .flatten()
}

/// The GET route of a path.
pub(crate) fn get(path: &str) -> Option<&'static Route> {
    all()
        .filter(|route| route.method == Method::Get)
        .find(|route| match route.path.strip_suffix('*') {
            Some(folder) => path.starts_with(folder),
            None => path == route.path,
        })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_route_is_there_twice() {
        let mut seen = HashSet::new();
        for route in all() {
            assert!(seen.insert(route.path), "{}", route.path);
        }
        assert!(seen.len() > 140, "{}", seen.len());
    }

    #[test]
    fn a_folder_stands_for_what_is_below_it() {
        assert_eq!(get("/object/u1/a.png").map(|r| r.path), Some("/object/*"));
        assert!(get("/objects").is_none());
        assert!(get("/auth/get_admin_token").is_none());
    }
}
