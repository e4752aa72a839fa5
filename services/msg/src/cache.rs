//! What the checks before the append read: bounded caches, invalidated by every write, so that a warm send reads no store.

use std::{sync::Arc, time::Duration};

use magpie_proto::openim::sdkws::MsgData;
use magpie_service::{Deps, invalidation::Stale};
use magpie_store::{
    Document as _, Documents as _, Value,
    documents::{Black, Conversation, Friend, Group, GroupMember, Message, Participants, User},
    key,
};
use magpie_types::{Result, ServerMsgId, time::now_ms};
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
    users: Cache<String, Profile>,
    recv_opts: Cache<PairKey, i32>,
    friends: Cache<PairKey, bool>,
    /// Status of a group.
    groups: Cache<String, i32>,
    members: Cache<PairKey, Member>,
    blacks: Cache<PairKey, bool>,
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

fn bounded<K, V>(config: &Config) -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(config.cache_entries)
        .time_to_live(Duration::from_secs(config.cache_seconds))
        .build()
}

impl Caches {
    pub(crate) fn new(deps: &Deps, config: &Config) -> Self {
        let caches = Self {
            users: bounded(config),
            recv_opts: bounded(config),
            friends: bounded(config),
            groups: bounded(config),
            members: bounded(config),
            blacks: bounded(config),
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
        if let Some(hit) = self.users.get(user) {
            return Ok(Some(hit));
        }
        let found: Option<User> = deps.store.find(key![user]).await?;
        let profile = found.map(|u| Profile {
            level: u.app_manger_level,
            recv_opt: u.global_recv_msg_opt,
        });
        profile.inspect(|profile| self.users.insert(user.to_owned(), *profile));
        Ok(profile)
    }

    /// The receive option `owner` set for this conversation; 0 without a record.
    pub(crate) async fn recv_opt(
        &self,
        deps: &Deps,
        owner: &str,
        conversation: &str,
    ) -> Result<i32> {
        let cache_key = (owner.to_owned(), conversation.to_owned());
        if let Some(hit) = self.recv_opts.get(&cache_key) {
            return Ok(hit);
        }
        let found: Option<Conversation> = deps.store.find(key![owner, conversation]).await?;
        let found = found.filter(Conversation::is_present);
        let opt = found.map_or(0, |c| c.recv_msg_opt);
        self.recv_opts.insert(cache_key, opt);
        Ok(opt)
    }

    /// Whether `owner` has `friend` on his list.
    pub(crate) async fn is_friend(&self, deps: &Deps, owner: &str, friend: &str) -> Result<bool> {
        let cache_key = (owner.to_owned(), friend.to_owned());
        if let Some(hit) = self.friends.get(&cache_key) {
            return Ok(hit);
        }
        let found = deps
            .store
            .find::<Friend>(key![owner, friend])
            .await?
            .is_some_and(|f| f.is_present());
        self.friends.insert(cache_key, found);
        Ok(found)
    }

    /// The status of a group, `None` if there is no such group.
    pub(crate) async fn group_status(&self, deps: &Deps, group: &str) -> Result<Option<i32>> {
        if let Some(hit) = self.groups.get(group) {
            return Ok(Some(hit));
        }
        let found: Option<Group> = deps.store.find(key![group]).await?;
        let status = found.map(|g| g.status);
        status.inspect(|status| self.groups.insert(group.to_owned(), *status));
        Ok(status)
    }

    /// A user's membership of a group, `None` if he is no member.
    pub(crate) async fn member(
        &self,
        deps: &Deps,
        group: &str,
        user: &str,
    ) -> Result<Option<Member>> {
        let cache_key = (group.to_owned(), user.to_owned());
        if let Some(hit) = self.members.get(&cache_key) {
            return Ok(Some(hit));
        }
        let found: Option<GroupMember> = deps.store.find(key![group, user]).await?;
        let member = found.filter(|m| m.left_time == 0).map(|m| Member {
            role: m.role_level,
            mute_end: m.mute_end_time,
        });
        member.inspect(|member| self.members.insert(cache_key, *member));
        Ok(member)
    }

    /// Whether `owner` has `user` on his black list.
    pub(crate) async fn has_blocked(&self, deps: &Deps, owner: &str, user: &str) -> Result<bool> {
        let cache_key = (owner.to_owned(), user.to_owned());
        if let Some(hit) = self.blacks.get(&cache_key) {
            return Ok(hit);
        }
        let found = deps
            .store
            .find::<Black>(key![owner, user])
            .await?
            .is_some_and(|b| b.is_present());
        self.blacks.insert(cache_key, found);
        Ok(found)
    }

    pub(crate) async fn participants(
        &self,
        deps: &Deps,
        stem: &str,
    ) -> Result<Option<Arc<Participants>>> {
        if let Some(hit) = self.participants.get(stem) {
            return Ok(Some(hit));
        }
        let found: Option<Participants> = deps.store.find(key![stem]).await?;
        Ok(found.map(|p| self.keep_participants(p)))
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
