//! Presence subscriptions (request 2005): which connections want to know of whose platforms.
//!
//! A subscription belongs to its connection and ends with it. Changes come from the presence engine; after falling behind,
//! the present state of everybody subscribed to is looked up and pushed, which clients take like any other push. Nobody is told twice in
//! a row the same of a user.

use std::collections::HashMap;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use magpie_envelope::{Codec, Response, reqs};
use magpie_presence::{Change, Platforms};
use magpie_proto::openim::sdkws::{SubUserOnlineStatusElem, SubUserOnlineStatusTips};
use magpie_types::{Platform, UserId};
use prost::Message;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::conn::Conn;
use crate::hub::Hub;
use crate::{frame, metrics};

/// Users per lookup after falling behind.
const LOOKUP: usize = 500;

/// See the module.
#[derive(Default)]
pub(crate) struct Subscriptions {
    watchers: DashMap<UserId, Vec<Arc<Conn>>>,
    /// By number of the connection; with what its client was told last.
    watched: DashMap<u64, HashMap<UserId, Option<Platforms>>>,
}

impl Subscriptions {
    /// Subscribes a connection to users; texts that are no ids are passed over, as is what exceeds `limit`.
    pub(crate) fn add(&self, conn: &Arc<Conn>, users: &[String], limit: usize) {
        if users.is_empty() {
            return;
        }
        let mut watched = self.watched.entry(conn.number).or_default();
        for user in users.iter().filter_map(|id| UserId::new(id.as_str()).ok()) {
            if watched.contains_key(&user) {
                continue;
            }
            if watched.len() >= limit {
                metrics::subscriptions_refused();
                return;
            }
            watched.insert(user.clone(), None);
            self.watchers
                .entry(user)
                .or_default()
                .push(Arc::clone(conn));
        }
    }

    /// Notes what a client is told in an answer: the change that made it so may still be on its way.
    pub(crate) fn answered(&self, conn: &Conn, user: &str, platforms: Platforms) {
        if let Some(mut watched) = self.watched.get_mut(&conn.number)
            && let Some(told) = watched.get_mut(user)
        {
            told.get_or_insert(platforms);
        }
    }

    /// Whether this is news to the client of a connection that watches the user; from now on it is none.
    fn is_news(&self, conn: &Conn, user: &UserId, platforms: Platforms) -> bool {
        let mut watched = self.watched.get_mut(&conn.number);
        let told = watched.as_mut().and_then(|watched| watched.get_mut(user));
        told.is_some_and(|told| told.replace(platforms) != Some(platforms))
    }

    /// Ends subscriptions of a connection.
    pub(crate) fn remove(&self, conn: &Conn, users: &[String]) {
        let Some(mut watched) = self.watched.get_mut(&conn.number) else {
            return;
        };
        for user in users {
            if let Some((user, _)) = watched.remove_entry(user.as_str()) {
                self.unwatch(conn, user);
            }
        }
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn remove_all(&self, conn: &Conn) {
        let watched = self.watched.remove(&conn.number);
        for user in watched
            .map(|(_, users)| users)
            .unwrap_or_default()
            .into_keys()
        {
            self.unwatch(conn, user);
        }
    }

    fn unwatch(&self, conn: &Conn, user: UserId) {
        if let Entry::Occupied(mut watchers) = self.watchers.entry(user) {
            watchers.get_mut().retain(|c| c.number != conn.number);
            if watchers.get().is_empty() {
                watchers.remove();
            }
        }
    }

    /// Tells the subscribers of a user his platforms.
    fn announce(&self, user: &UserId, platforms: Platforms) {
        let Some(watchers) = self.watchers.get(user).map(|w| w.clone()) else {
            return;
        };
        let mut frames: [Option<bytes::Bytes>; Codec::ALL.len()] = Default::default();
        for conn in watchers {
            if !self.is_news(&conn, user, platforms) {
                continue;
            }
            let frame =
                frames[conn.codec.index()].get_or_insert_with(|| push(conn.codec, user, platforms));
            conn.send(frame.clone());
        }
    }

    fn users(&self) -> Vec<UserId> {
        self.watchers
            .iter()
            .map(|entry| entry.key().clone())
            .collect()
    }
}

fn push(codec: Codec, user: &UserId, platforms: Platforms) -> bytes::Bytes {
    let element = SubUserOnlineStatusElem {
        user_id: user.as_str().to_owned(),
        online_platform_i_ds: platforms.iter().map(Platform::number).collect(),
    };
    let tips = SubUserOnlineStatusTips {
        subscribers: vec![element],
    };
    let response = Response {
        req_identifier: reqs::SUBSCRIBE_PRESENCE,
        data: Some(tips.encode_to_vec().into()),
        ..Response::default()
    };
    frame::binary(&codec.encode_response(&response))
}

/// Passes changes on until the process stops.
pub(crate) async fn follow(hub: Arc<Hub>, mut changes: Receiver<Change>) {
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = hub.deps.shutdown.cancelled() => return,
        };
        match change {
            Ok(Change::User { user, platforms }) => hub.subscriptions.announce(&user, platforms),
            Ok(Change::Missed) | Err(RecvError::Lagged(_)) => catch_up(&hub).await,
            Err(RecvError::Closed) => return,
        }
    }
}

async fn catch_up(hub: &Hub) {
    for users in hub.subscriptions.users().chunks(LOOKUP) {
        match hub.deps.presence.lookup(users).await {
            Ok(found) => {
                for (user, places) in users.iter().zip(found.users) {
                    hub.subscriptions.announce(user, places.platforms());
                }
            }
            Err(e) => tracing::warn!(error = %e, "presence changes were missed"),
        }
    }
}
