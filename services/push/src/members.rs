//! Who receives a group's record: the members at its place in the order.
//!
//! Every record of a group is stamped with the version of the membership at its place. The list of a group is read once, as it was at
//! the stamp, and then follows the changes that the records themselves carry; a record beyond what the list has followed makes it be
//! read again. Rows of the store are never behind a stamp (they are written before the change is logged), and say in which versions
//! a member came and left, so what is newer in them can be taken away again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use magpie_proto::magpie::log::Stored;
use magpie_service::{Deps, lists};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
    key,
};
use magpie_types::{Result, UserId, group::status};
use moka::sync::Cache;

/// Members of one group at one version.
struct List {
    version: i64,
    /// With the version that let him in.
    members: HashMap<UserId, i64>,
}

/// The lists of the groups that have records.
pub(crate) struct Members {
    deps: Deps,
    lists: Cache<String, Arc<Mutex<List>>>,
}

impl Members {
    pub(crate) fn new(deps: &Deps, entries: u64) -> Self {
        let weigh = |_: &String, list: &Arc<Mutex<List>>| {
            u32::try_from(lock(list).members.len() + 1).unwrap_or(u32::MAX)
        };
        Self {
            deps: deps.clone(),
            lists: Cache::builder()
                .weigher(weigh)
                .max_capacity(entries)
                .build(),
        }
    }

    /// Who gets this record of a group: who joins with it does, and so does who leaves with it.
    pub(crate) async fn audience(&self, record: &Stored) -> Result<Vec<UserId>> {
        let change = record.membership.as_ref();
        let before = change.map_or(record.member_version, |m| m.version - 1);
        let list = self.list(&record.group_id, before).await?;
        let mut list = lock(&list);
        let new = change.filter(|m| m.version > list.version);
        if let Some(change) = new {
            let joined = change.joined.iter().filter_map(|id| UserId::new(id).ok());
            list.members.extend(joined.map(|id| (id, change.version)));
        }
        let told = change.is_none_or(|m| !m.quiet);
        let receives = |id: &UserId, joined: i64| {
            told && joined <= record.member_version
                && !(record.skip_sender && id.as_str() == record.sender_id)
        };
        let mut audience: Vec<UserId> = list
            .members
            .iter()
            .filter(|(id, joined)| receives(id, **joined))
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(change) = new {
            for id in &change.left {
                list.members.remove(id.as_str());
            }
            if change.dismissed {
                list.members.clear();
            }
            list.version = change.version;
        } else if let Some(change) = change.filter(|_| told) {
            // A repeat: who left with it is off the list already.
            audience.extend(change.left.iter().filter_map(|id| UserId::new(id).ok()));
        }
        Ok(audience)
    }

    /// The group's list, at this version or later.
    async fn list(&self, group: &str, version: i64) -> Result<Arc<Mutex<List>>> {
        if let Some(list) = self.lists.get(group)
            && lock(&list).version >= version
        {
            return Ok(list);
        }
        let list = Arc::new(Mutex::new(self.read(group, version).await?));
        self.lists.insert(group.to_owned(), Arc::clone(&list));
        Ok(list)
    }

    /// The members as they were at a version.
    async fn read(&self, group: &str, version: i64) -> Result<List> {
        let store = self.deps.store.as_ref();
        let found: Option<Group> = store.find(key![group]).await?;
        let dismissed = |g: Group| g.status == status::DISMISSED && g.member_version <= version;
        let mut members = HashMap::new();
        if !found.is_none_or(dismissed) {
            let rows: Vec<GroupMember> = lists::all(store, "key", key![group]).await?;
            let there = |m: &GroupMember| {
                m.joined_version <= version && (m.left_time == 0 || m.member_version > version)
            };
            members = rows
                .into_iter()
                .filter(there)
                .filter_map(|m| Some((UserId::new(m.user_id).ok()?, m.joined_version)))
                .collect();
        }
        metrics::counter!("magpie_push_member_lists_total").increment(1);
        Ok(List { version, members })
    }
}

fn lock(list: &Mutex<List>) -> MutexGuard<'_, List> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
