//! What the checks before the append read: bounded caches, invalidated by every write, so that a warm send reads no store.

use std::{
    borrow::Borrow,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use magpie_proto::openim::sdkws::MsgData;
use magpie_service::{Deps, invalidation::Stale};
use magpie_store::{
    Document as _, Documents as _, Key, Value,
    documents::{Black, Conversation, Friend, Group, GroupMember, Message, Participants, User},
    key,
};
use magpie_types::{Result, ServerMsgId, time::now_ms, user::recv_opt};
use moka::sync::Cache;

use crate::Config;

/// What the checks need of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) level: i32,
    pub(crate) recv_opt: i32,
}

/// What the checks need of a member of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) role: i32,
    pub(crate) mute_end: i64,
}

type PairKey = (String, String);

/// The caches of one msg instance. That a user, a group or a member is not there is never kept: he may come at any moment, in another
/// process, and the next send is his.
pub(crate) struct Caches {
    users: Kept<String, Profile>,
    recv_opts: Kept<PairKey, i32>,
    friends: Kept<PairKey, bool>,
    /// Status of a group.
    groups: Kept<String, i32>,
    members: Kept<PairKey, Member>,
    blacks: Kept<PairKey, bool>,
    participants: Cache<String, Arc<Participants>>,
    sent: Cache<[u8; 16], i64>,
    started_at: i64,
}

fn pair(key: &[Value]) -> Option<PairKey> {
    match key {
        [Value::Text(a), Value::Text(b)] => Some((a.clone(), b.clone())),
        _ => None,
    }
}

/// What was read of the store, until it is invalidated. What is overtaken while it is read is answered, but never kept.
#[derive(Clone)]
struct Kept<K, V> {
    entries: Cache<K, V>,
    /// Raised by every invalidation before it removes anything.
    generation: Arc<AtomicU64>,
}

impl<K, V> Kept<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new(config: &Config) -> Self {
        Self {
            entries: Cache::builder()
                .max_capacity(config.cache_entries)
                .time_to_live(Duration::from_secs(config.cache_seconds))
                .build(),
            generation: Arc::default(),
        }
    }

    /// What is kept under this key, else what `read` finds; `None` is not kept.
    async fn get_or<Q>(
        &self,
        key: &Q,
        read: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(hit) = self.entries.get(key) {
            return Ok(Some(hit));
        }
        let before = self.generation.load(Ordering::SeqCst);
        let found = read.await?;
        let overtaken = || self.generation.load(Ordering::SeqCst) != before;
        if let Some(value) = found.clone().filter(|_| !overtaken()) {
            self.entries.insert(key.to_owned(), value);
            // An invalidation after the look may have removed before the insert; one from here on finds the entry.
            if overtaken() {
                self.entries.invalidate(key);
            }
        }
        Ok(found)
    }

    fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate(key);
    }

    fn invalidate_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.entries.invalidate_all();
    }
}

impl Caches {
    pub(crate) fn new(deps: &Deps, config: &Config) -> Self {
        let caches = Self {
            users: Kept::new(config),
            recv_opts: Kept::new(config),
            friends: Kept::new(config),
            groups: Kept::new(config),
            members: Kept::new(config),
            blacks: Kept::new(config),
            // Participants never change once written, so they only need a bound.
            participants: Cache::builder().max_capacity(config.cache_entries).build(),
            sent: Cache::builder()
                .max_capacity(config.cache_entries)
                .time_to_live(Duration::from_secs(24 * 3600))
                .build(),
            started_at: now_ms(),
        };
        let (users, recv_opts, friends, blacks) = (
            caches.users.clone(),
            caches.recv_opts.clone(),
            caches.friends.clone(),
            caches.blacks.clone(),
        );
        let (groups, members) = (caches.groups.clone(), caches.members.clone());
        deps.invalidations.listen(move |stale| match stale {
            Stale::Document(schema, key) if schema.collection == User::SCHEMA.collection => {
                if let [Value::Text(id)] = key {
                    users.invalidate(id);
                }
            }
            Stale::Document(schema, key)
                if schema.collection == Conversation::SCHEMA.collection =>
            {
                pair(key).inspect(|k| recv_opts.invalidate(k));
            }
            Stale::Document(schema, key) if schema.collection == Friend::SCHEMA.collection => {
                pair(key).inspect(|k| friends.invalidate(k));
            }
            Stale::Document(schema, key) if schema.collection == Group::SCHEMA.collection => {
                if let [Value::Text(id)] = key {
                    groups.invalidate(id);
                }
            }
            Stale::Document(schema, key) if schema.collection == GroupMember::SCHEMA.collection => {
                pair(key).inspect(|k| members.invalidate(k));
            }
            Stale::Document(schema, key) if schema.collection == Black::SCHEMA.collection => {
                pair(key).inspect(|k| blacks.invalidate(k));
            }
            Stale::Document(..) => {}
            Stale::Everything => {
                groups.invalidate_all();
                members.invalidate_all();
                users.invalidate_all();
                recv_opts.invalidate_all();
                friends.invalidate_all();
                blacks.invalidate_all();
            }
        });
        caches
    }

    pub(crate) async fn profile(&self, deps: &Deps, user: &str) -> Result<Option<Profile>> {
        let read = async {
            let found: Option<User> = deps.store.find(key![user]).await?;
            Ok(found.map(|u| Profile {
                level: u.app_manger_level,
                recv_opt: u.global_recv_msg_opt,
            }))
        };
        self.users.get_or(user, read).await
    }

    /// The receive option `owner` set for this conversation; `RECEIVE` without a record.
    pub(crate) async fn recv_opt(
        &self,
        deps: &Deps,
        owner: &str,
        conversation: &str,
    ) -> Result<i32> {
        let cache_key = (owner.to_owned(), conversation.to_owned());
        let read = async {
            let found: Option<Conversation> = deps.store.find(key![owner, conversation]).await?;
            let found = found.filter(Conversation::is_present);
            Ok(Some(found.map_or(recv_opt::RECEIVE, |c| c.recv_msg_opt)))
        };
        let opt = self.recv_opts.get_or(&cache_key, read).await?;
        Ok(opt.unwrap_or(recv_opt::RECEIVE))
    }

    /// Whether `owner` has `friend` on his list.
    pub(crate) async fn is_friend(&self, deps: &Deps, owner: &str, friend: &str) -> Result<bool> {
        let cache_key = (owner.to_owned(), friend.to_owned());
        let read = async {
            let found: Option<Friend> = deps.store.find(key![owner, friend]).await?;
            Ok(Some(found.is_some_and(|f| f.is_present())))
        };
        let is_friend = self.friends.get_or(&cache_key, read).await?;
        Ok(is_friend.unwrap_or(false))
    }

    /// The status of a group, `None` if there is no such group.
    pub(crate) async fn group_status(&self, deps: &Deps, group: &str) -> Result<Option<i32>> {
        let read = async {
            let found: Option<Group> = deps.store.find(key![group]).await?;
            Ok(found.map(|g| g.status))
        };
        self.groups.get_or(group, read).await
    }

    /// A user's membership of a group, `None` if he is no member.
    pub(crate) async fn member(
        &self,
        deps: &Deps,
        group: &str,
        user: &str,
    ) -> Result<Option<Member>> {
        let cache_key = (group.to_owned(), user.to_owned());
        let read = async {
            let found: Option<GroupMember> = deps.store.find(key![group, user]).await?;
            Ok(found.filter(|m| m.left_time == 0).map(|m| Member {
                role: m.role_level,
                mute_end: m.mute_end_time,
            }))
        };
        self.members.get_or(&cache_key, read).await
    }

    /// Whether `owner` has `user` on his black list.
    pub(crate) async fn has_blocked(&self, deps: &Deps, owner: &str, user: &str) -> Result<bool> {
        let cache_key = (owner.to_owned(), user.to_owned());
        let read = async {
            let found: Option<Black> = deps.store.find(key![owner, user]).await?;
            Ok(Some(found.is_some_and(|b| b.is_present())))
        };
        let has_blocked = self.blacks.get_or(&cache_key, read).await?;
        Ok(has_blocked.unwrap_or(false))
    }

    pub(crate) async fn participants(
        &self,
        deps: &Deps,
        stem: &str,
    ) -> Result<Option<Arc<Participants>>> {
        let mut found = self.participants_of(deps, &[stem]).await?;
        Ok(found.pop().flatten())
    }

    /// The participants of these stems, in their order.
    pub(crate) async fn participants_of(
        &self,
        deps: &Deps,
        stems: &[&str],
    ) -> Result<Vec<Option<Arc<Participants>>>> {
        let hits = stems.iter().map(|stem| self.participants.get(*stem));
        let mut all: Vec<_> = hits.collect();
        let missing = stems.iter().zip(&all).filter(|(_, hit)| hit.is_none());
        let missing: Vec<Key> = missing.map(|(stem, _)| key![*stem]).collect();
        if missing.is_empty() {
            return Ok(all);
        }
        let mut read = deps.store.find_many(missing).await?.into_iter();
        for hit in all.iter_mut().filter(|hit| hit.is_none()) {
            *hit = read.next().flatten().map(|p| self.keep_participants(p));
        }
        Ok(all)
    }

    pub(crate) fn keep_participants(&self, p: Participants) -> Arc<Participants> {
        let p = Arc::new(p);
        self.participants.insert(p.stem.clone(), Arc::clone(&p));
        p
    }

    /// The time of the first send with this id; remembers `now` if there was none.
    ///
    /// A message that its client made before this process started may be a resend of one that an earlier process took: only
    /// then the store is asked.
    pub(crate) async fn first_sent(
        &self,
        deps: &Deps,
        stem: &str,
        id: ServerMsgId,
        msg: &MsgData,
    ) -> Result<i64> {
        if let Some(time) = self.sent.get(&id.0) {
            return Ok(time);
        }
        let stored: Option<Message> = if msg.create_time < self.started_at {
            deps.store
                .find(vec![Value::from(stem), Value::Blob(id.0.to_vec().into())])
                .await?
        } else {
            None
        };
        let first = stored.map_or(msg.send_time, |message| message.send_time);
        Ok(self.sent.get_with(id.0, || first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_read_is_kept_until_it_is_invalidated() {
        let cache: Kept<String, i32> = Kept::new(&Config::default());
        let read = cache.get_or("a", async { Ok(Some(1)) }).await;
        assert_eq!(read.unwrap(), Some(1));
        let hit = cache.get_or("a", async { Ok(Some(2)) }).await;
        assert_eq!(hit.unwrap(), Some(1));
        cache.invalidate("a");
        let gone = cache.get_or("a", async { Ok(None) }).await;
        assert_eq!(gone.unwrap(), None);
        let back = cache.get_or("a", async { Ok(Some(3)) }).await;
        assert_eq!(back.unwrap(), Some(3));
    }

    #[tokio::test]
    async fn what_is_overtaken_while_it_is_read_is_not_kept() {
        let cache: Kept<String, i32> = Kept::new(&Config::default());
        let overtake: [fn(&Kept<String, i32>); 2] = [
            |cache| cache.invalidate("a"),
            |cache| cache.invalidate_all(),
        ];
        for invalidate in overtake {
            // The row is read, then it is written, and only then the reader goes on.
            let read = cache.get_or("a", async {
                invalidate(&cache);
                Ok(Some(1))
            });
            assert_eq!(read.await.unwrap(), Some(1));
            assert_eq!(cache.entries.get("a"), None);
        }
        let next = cache.get_or("a", async { Ok(Some(2)) }).await;
        assert_eq!(next.unwrap(), Some(2));
        assert_eq!(cache.entries.get("a"), Some(2));
    }
}
