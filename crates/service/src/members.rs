//! Who receives a group's record: the members at its place in the order.
//!
//! Every record of a group is stamped with the version of the membership at its place. The list of a group is read once, as it was at
//! the stamp, and then follows the changes that the records themselves carry; a record beyond what the list has followed makes it be
//! read again. Rows of the store are never behind a stamp (they are written before the change is logged), and say in which versions
//! a member came and left, so what is newer in them can be taken away again.
//!
//! Push keeps the lists of small groups. Of a large one it knows no more than that, and the gateways keep its list (ADR 8).

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::join_all;
use magpie_proto::magpie::gateway::Audience;
use magpie_store::{
    Documents as _, SharedStore,
    documents::{Group, GroupMember},
    key,
};
use magpie_types::{Error, Result, UserId, group::status};
use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::{sync::Mutex as AsyncMutex, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::{Deps, lists};

/// Turns to read lists; groups share them by hash.
const TURNS: usize = 16;

/// The groups that have records. Cheap to clone.
#[derive(Clone)]
pub struct Members {
    store: SharedStore,
    tasks: TaskTracker,
    /// Members of the largest group whose list is kept.
    largest: usize,
    groups: Cache<String, Arc<Known>>,
    turns: Arc<[AsyncMutex<()>]>,
    hasher: RandomState,
}

enum Known {
    Small(Mutex<List>),
    Large,
}

/// Members of one group at one version.
struct List {
    version: i64,
    /// With the version that let him in.
    members: HashMap<UserId, i64>,
    /// What the cache takes for its size.
    weighed: usize,
}

/// Those members of a list who get a record.
pub struct Receivers<'a> {
    members: &'a HashMap<UserId, i64>,
    audience: &'a Audience,
}

impl Receivers<'_> {
    /// Members of the list, a few of whom may not be receivers.
    pub fn at_most(&self) -> usize {
        self.members.len()
    }

    /// Whether this user gets the record.
    pub fn contains(&self, user: &str) -> bool {
        let joined = self.members.get(user);
        joined.is_some_and(|joined| self.receives(user, *joined))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &UserId> {
        let all = self.members.iter();
        all.filter_map(|(id, joined)| self.receives(id.as_str(), *joined).then_some(id))
    }

    fn receives(&self, user: &str, joined: i64) -> bool {
        joined <= self.audience.member_version && user != self.audience.except
    }
}

impl Members {
    /// Keeps the lists of groups of at most `largest` members, and of `entries` members all together.
    pub fn new(deps: &Deps, largest: usize, entries: u64) -> Self {
        let weigh = |_: &String, group: &Arc<Known>| match &**group {
            Known::Small(list) => u32::try_from(lock(list).members.len() + 1).unwrap_or(u32::MAX),
            Known::Large => 1,
        };
        let groups = Cache::builder()
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(entries);
        Self {
            store: Arc::clone(&deps.store),
            tasks: deps.tasks.clone(),
            largest,
            groups: groups.build(),
            turns: (0..TURNS).map(|_| AsyncMutex::new(())).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Reads the lists that are missing for these, some at a time. What can't be read is left to [`receivers`](Self::receivers).
    pub async fn prepare(&self, audiences: &[&Audience]) {
        let missing = audiences.iter().filter(|a| self.known(a).is_none());
        let reads: Vec<_> = missing.map(|audience| self.read_soon(audience)).collect();
        drop(join_all(reads).await);
    }

    /// Picks from those who get a record; `None` if the group is too large for its list to be kept here. Who joins with the record
    /// gets it, and so does who leaves with it, picked or not. Records of a group are to be shown in their order.
    pub async fn receivers(
        &self,
        audience: &Audience,
        pick: impl FnOnce(&Receivers<'_>) -> Vec<UserId>,
    ) -> Result<Option<Vec<UserId>>> {
        let (id, change) = (&audience.group_id, &audience.change);
        let group = self.group(audience).await?;
        let Known::Small(kept) = &*group else {
            // It may become a small one.
            if change
                .as_ref()
                .is_some_and(|c| c.dismissed || !c.left.is_empty())
            {
                self.groups.invalidate(id);
            }
            return Ok(None);
        };
        let mut list = lock(kept);
        let receivers = list.show(audience, pick);
        let count = list.members.len();
        let outgrown = count > list.weighed * 2;
        if outgrown {
            list.weighed = count;
        }
        drop(list);
        if count > self.largest {
            self.groups.insert(id.clone(), Arc::new(Known::Large));
        } else if outgrown {
            self.groups.insert(id.clone(), group);
        }
        Ok(Some(receivers))
    }

    /// The group, with its list as it was before the record, or later.
    async fn group(&self, audience: &Audience) -> Result<Arc<Known>> {
        match self.known(audience) {
            Some(group) => Ok(group),
            None => self.read_soon(audience).await.map_err(Error::internal)?,
        }
    }

    /// Has the list read in a task of its own: who gives up waiting leaves it behind for the next one.
    fn read_soon(&self, audience: &Audience) -> JoinHandle<Result<Arc<Known>>> {
        let (members, audience) = (self.clone(), audience.clone());
        self.tasks.spawn(async move {
            let id = &audience.group_id;
            let turn = members.hasher.hash_one(id) as usize % TURNS;
            let _turn = members.turns[turn].lock().await;
            if let Some(group) = members.known(&audience) {
                return Ok(group);
            }
            let group = Arc::new(members.read(id, version_before(&audience)).await?);
            members.groups.insert(id.clone(), Arc::clone(&group));
            Ok(group)
        })
    }

    /// The group, if its list has followed as far.
    fn known(&self, audience: &Audience) -> Option<Arc<Known>> {
        let group = self.groups.get(&audience.group_id);
        group.filter(|group| match &**group {
            Known::Small(list) => lock(list).version >= version_before(audience),
            Known::Large => true,
        })
    }

    /// The members as they were at a version.
    async fn read(&self, id: &str, version: i64) -> Result<Known> {
        let mut members = HashMap::new();
        let found: Option<Group> = self.store.find(key![id]).await?;
        if let Some(group) = found {
            if usize::try_from(group.member_count).is_ok_and(|count| count > self.largest) {
                return Ok(Known::Large);
            }
            let dismissed = group.status == status::DISMISSED && group.member_version <= version;
            let there = |m: &GroupMember| {
                m.joined_version <= version && (m.left_time == 0 || m.member_version > version)
            };
            let add = |rows: Vec<GroupMember>| {
                let there = rows.into_iter().filter(there);
                members.extend(
                    there.filter_map(|m| Some((UserId::new(m.user_id).ok()?, m.joined_version))),
                );
                true
            };
            if !dismissed {
                lists::each(self.store.as_ref(), "key", key![id], add).await?;
            }
        }
        metrics::counter!("magpie_member_lists_read_total").increment(1);
        Ok(Known::Small(Mutex::new(List {
            version,
            weighed: members.len(),
            members,
        })))
    }
}

impl List {
    /// Picks from those who get the record, and follows the change that it makes.
    fn show(
        &mut self,
        audience: &Audience,
        pick: impl FnOnce(&Receivers<'_>) -> Vec<UserId>,
    ) -> Vec<UserId> {
        let change = audience.change.as_ref();
        let new = change.filter(|c| c.version > self.version);
        if let Some(change) = new {
            let joined = change.joined.iter().filter_map(|id| UserId::new(id).ok());
            self.members.extend(joined.map(|id| (id, change.version)));
        }
        let told = change.is_none_or(|c| !c.quiet);
        let mut receivers = Vec::new();
        if told {
            receivers = pick(&Receivers {
                members: &self.members,
                audience,
            });
        }
        if let Some(change) = new {
            for id in &change.left {
                self.members.remove(id.as_str());
            }
            if change.dismissed {
                self.members.clear();
            }
            self.version = change.version;
        } else if let Some(change) = change.filter(|_| told) {
            // A repeat: who left with it is off the list already.
            receivers.extend(change.left.iter().filter_map(|id| UserId::new(id).ok()));
        }
        receivers
    }
}

/// The membership before what the record itself changes.
fn version_before(audience: &Audience) -> i64 {
    let change = audience.change.as_ref();
    change.map_or(audience.member_version, |c| c.version - 1)
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
