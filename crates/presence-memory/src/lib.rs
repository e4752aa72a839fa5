//! Presence of one process, in memory: entries die with the process that owns them, so there are no leases to expire.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use dashmap::DashMap;
use magpie_presence::{Change, GatewayId, Lookup, Notice, Places, Platforms, Presence, Result};
use magpie_types::UserId;
use tokio::sync::broadcast;

/// Changes a slow subscriber may be behind before it has to look up the present state.
const CHANGES: usize = 4096;

/// See the crate's documentation.
pub struct MemoryPresence {
    users: DashMap<UserId, Vec<(GatewayId, Platforms)>>,
    gateways: RwLock<BTreeSet<GatewayId>>,
    changes: broadcast::Sender<Change>,
    notices: broadcast::Sender<Notice>,
}

impl MemoryPresence {
    /// Nobody is online.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            users: DashMap::new(),
            gateways: RwLock::default(),
            changes: broadcast::channel(CHANGES).0,
            notices: broadcast::channel(CHANGES).0,
        })
    }

    fn know(&self, gateway: &GatewayId) {
        let known = {
            let all = self.gateways.read().unwrap_or_else(PoisonError::into_inner);
            all.contains(gateway)
        };
        if !known {
            let mut all = self
                .gateways
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            all.insert(Arc::clone(gateway));
        }
    }

    fn set(&self, gateway: &GatewayId, user: &UserId, platforms: Platforms) {
        let all = |entry: &[(GatewayId, Platforms)]| {
            entry
                .iter()
                .fold(Platforms::default(), |all, (_, p)| all.union(*p))
        };
        let (before, after) = {
            let mut entry = self.users.entry(user.clone()).or_default();
            let before = all(entry.as_slice());
            entry.retain(|(g, _)| g != gateway);
            if !platforms.is_empty() {
                entry.push((Arc::clone(gateway), platforms));
            }
            entry.shrink_to_fit();
            let after = all(entry.as_slice());
            (before, after)
        };
        if after.is_empty() {
            self.users.remove_if(user, |_, entry| entry.is_empty());
        }
        // No subscriber is no error.
        if before != after && self.changes.receiver_count() > 0 {
            drop(self.changes.send(Change::User {
                user: user.clone(),
                platforms: after,
            }));
        }
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn report(&self, gateway: &GatewayId, users: &[(UserId, Platforms)]) -> Result<()> {
        self.know(gateway);
        for (user, platforms) in users {
            self.set(gateway, user, *platforms);
        }
        Ok(())
    }

    async fn renew(&self, gateway: &GatewayId) -> Result<Vec<UserId>> {
        self.know(gateway);
        Ok(Vec::new())
    }

    async fn leave(&self, gateway: &GatewayId) -> Result<()> {
        self.gateways
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(gateway);
        let users: Vec<UserId> = self
            .users
            .iter()
            .filter(|e| e.value().iter().any(|(g, _)| g == gateway))
            .map(|e| e.key().clone())
            .collect();
        for user in users {
            self.set(gateway, &user, Platforms::default());
        }
        Ok(())
    }

    async fn gateways(&self) -> Result<Vec<GatewayId>> {
        let all = self.gateways.read().unwrap_or_else(PoisonError::into_inner);
        Ok(all.iter().cloned().collect())
    }

    async fn lookup(&self, users: &[UserId]) -> Result<Lookup> {
        let users = users
            .iter()
            .map(|u| Places {
                gateways: self
                    .users
                    .get(u)
                    .map(|e| e.value().clone())
                    .unwrap_or_default(),
            })
            .collect();
        Ok(Lookup {
            users,
            unknown: Vec::new(),
        })
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    async fn announce(&self, notice: String) -> Result<()> {
        // No receiver is no error.
        drop(self.notices.send(Notice::Said(notice)));
        Ok(())
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }
}
