//! The table of all routes, one file per group.
//!
//! A route says which RPCs it needs, so that `docs/coverage.md` can be written from it: one for a plain route, several for
//! one that is put together, none for one that has no RPC and is not built.

mod auth;
mod conversation;
mod friend;
mod group;
mod msg;
mod operations;
mod third;
mod user;

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

/// One route.
pub struct Route {
    /// HTTP method.
    pub method: Method,
    /// Path; one that ends in `/*` stands for everything below it.
    pub path: &'static str,
    /// RPCs it needs: the service's name in the registry and the generated method.
    pub rpcs: &'static [(&'static str, &'static str)],
    /// Lists that may be empty but not absent: 1001.
    pub(crate) not_null: &'static [&'static str],
    /// Absent if the route is not built.
    pub(crate) handler: Option<Handler>,
}

impl Route {
    /// Whether it is built, given what the services lack: (service, method).
    pub fn is_built(&self, lacking: &[(&str, &str)]) -> bool {
        self.handler.is_some() && !self.rpcs.iter().any(|rpc| lacking.contains(rpc))
    }

    const fn later(method: Method, path: &'static str) -> Self {
        Self {
            method,
            path,
            rpcs: &[],
            not_null: &[],
            handler: None,
        }
    }

    const fn own(
        path: &'static str,
        rpcs: &'static [(&'static str, &'static str)],
        handler: Handler,
    ) -> Self {
        Self {
            method: Method::Post,
            path,
            rpcs,
            not_null: &[],
            handler: Some(handler),
        }
    }
}

/// Plain routes of one service: path, method of the generated client, and lists that must be present.
macro_rules! plain {
    ($table:ident: $client:ident of $service:expr; $($path:literal => $method:ident $(with $field:literal)?;)*) => {
        pub(super) const $table: &[super::Route] = &[$(super::Route {
            method: super::Method::Post,
            path: $path,
            rpcs: &[($service, stringify!($method))],
            not_null: &[$($field)?],
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
        operations::JSSDK,
        operations::STATISTICS_USERS,
        operations::STATISTICS_GROUPS,
        operations::STATISTICS_MESSAGES,
        operations::LATER,
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
