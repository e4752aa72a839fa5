//! Who is there: the registrations as the watch tells them, and the judgement on those that went missing.
//!
//! A registration that is deleted may mean that its instance left, that it died, or only that its lease was not renewed in time
//! (a stopped etcd ends all leases when it goes on). So the instance is asked. One that leaves in good order says so to the
//! question; one that serves stays, and is asked again every lease time. After an interruption of the watch nothing is
//! known of what is missing in the new snapshot (an etcd that came back empty misses everything), so the question waits for one
//! lease time, in which everybody registers again. One that says nothing may only stand still: before it is forgotten, those here
//! whom that concerns have their farewell.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use magpie_discovery::Farewell;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Calls, Hook,
    endpoint::{Endpoint, Instance, State as Answer},
    service::Service,
};

/// A registration: service and instance.
pub(crate) type Key = (String, String);

pub(crate) struct Table {
    lease: Duration,
    limits: Arc<Calls>,
    hook: Hook,
    state: Mutex<State>,
    /// Whether etcd has answered once.
    read: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    services: HashMap<String, Arc<Service>>,
    /// Ordered by instance, so that every process sees the same order.
    entries: HashMap<String, BTreeMap<String, Entry>>,
}

struct Entry {
    endpoint: Arc<Endpoint>,
    /// There while the registration is missing: the task that asks.
    doubt: Option<AbortOnDropHandle<()>>,
}

impl Table {
    pub(crate) fn new(lease: Duration, calls: Calls, hook: Hook) -> Self {
        Self {
            lease,
            limits: Arc::new(calls),
            hook,
            state: Mutex::default(),
            read: watch::Sender::new(false),
        }
    }

    /// Returns once etcd has told what is registered.
    pub(crate) async fn was_read(&self) {
        let mut read = self.read.subscribe();
        // It fails only without the sender, which is borrowed here.
        let _there = read.wait_for(|read| *read).await;
    }

    pub(crate) fn service(&self, name: &str) -> Arc<Service> {
        let mut state = self.lock();
        if let Some(found) = state.services.get(name) {
            return Arc::clone(found);
        }
        let made = Arc::new(Service::new(
            name,
            Arc::clone(&self.limits),
            Arc::clone(&self.hook),
        ));
        made.set_members(state.members(name));
        state.services.insert(name.to_owned(), Arc::clone(&made));
        made
    }

    /// Everything that is registered now. What is missing is doubted after one lease time.
    pub(crate) fn snapshot(self: &Arc<Self>, registered: Vec<(Key, Instance)>) {
        let there: HashSet<&Key> = registered.iter().map(|(key, _)| key).collect();
        let missing: Vec<Key> = {
            let state = self.lock();
            let known = state
                .entries
                .iter()
                .flat_map(|(service, all)| all.keys().map(move |id| (service.clone(), id.clone())));
            known.filter(|key| !there.contains(key)).collect()
        };
        for key in missing {
            self.doubt(&key, self.lease);
        }
        for (key, instance) in registered {
            self.put(key, instance);
        }
        self.read.send_replace(true);
    }

    /// An instance is registered, for the first time or again.
    pub(crate) fn put(&self, (service, id): Key, instance: Instance) {
        let mut state = self.lock();
        let all = state.entries.entry(service.clone()).or_default();
        if let Some(entry) = all.get_mut(&id)
            && *entry.endpoint.instance() == instance
        {
            entry.doubt = None;
            return;
        }
        let Some(endpoint) = Endpoint::new(&service, &id, instance, Arc::clone(&self.limits))
        else {
            tracing::warn!(
                service,
                instance = id,
                "an instance with an address that can't be used is left out"
            );
            return;
        };
        tracing::info!(
            service,
            instance = id,
            address = endpoint.instance().address,
            "an instance is there"
        );
        all.insert(
            id,
            Entry {
                endpoint,
                doubt: None,
            },
        );
        state.publish(&service);
    }

    /// A registration was deleted.
    pub(crate) fn delete(self: &Arc<Self>, key: &Key) {
        self.doubt(key, Duration::ZERO);
    }

    fn doubt(self: &Arc<Self>, (service, id): &Key, wait: Duration) {
        let mut state = self.lock();
        let entry = state
            .entries
            .get_mut(service)
            .and_then(|all| all.get_mut(id));
        if let Some(entry) = entry
            && entry.doubt.is_none()
        {
            let task = doubtful(
                Arc::downgrade(self),
                Arc::clone(&entry.endpoint),
                service.clone(),
                wait,
                self.lease,
            );
            entry.doubt = Some(AbortOnDropHandle::new(tokio::spawn(task)));
        }
    }

    fn farewell(&self, service: &str) -> Option<Farewell> {
        self.lock().services.get(service)?.farewell()
    }

    fn remove(&self, service: &str, endpoint: &Arc<Endpoint>) {
        let mut state = self.lock();
        let Some(all) = state.entries.get_mut(service) else {
            return;
        };
        // It may have been registered again, or replaced, between the answer and now.
        if all
            .get(endpoint.id())
            .is_some_and(|e| Arc::ptr_eq(&e.endpoint, endpoint) && e.doubt.is_some())
        {
            tracing::info!(service, instance = endpoint.id(), "an instance is gone");
            all.remove(endpoint.id());
            state.publish(service);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn members(&self, service: &str) -> Arc<[Arc<Endpoint>]> {
        let all = self.entries.get(service);
        all.into_iter()
            .flat_map(BTreeMap::values)
            .map(|e| Arc::clone(&e.endpoint))
            .collect()
    }

    fn publish(&mut self, service: &str) {
        let members = self.members(service);
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        metrics::gauge!("magpie_discovery_instances", "service" => service.to_owned()).set(count);
        if let Some(found) = self.services.get(service) {
            found.set_members(members);
        }
        if let hash_map::Entry::Occupied(all) = self.entries.entry(service.to_owned())
            && all.get().is_empty()
        {
            all.remove();
        }
    }
}

/// Asks an instance whose registration is missing until it is gone; a new registration ends the task.
async fn doubtful(
    table: Weak<Table>,
    endpoint: Arc<Endpoint>,
    service: String,
    wait: Duration,
    lease: Duration,
) {
    tokio::time::sleep(wait).await;
    let last = loop {
        let answer = endpoint.state().await;
        if answer != Answer::Serving {
            break answer;
        }
        tracing::warn!(
            service,
            instance = endpoint.id(),
            "an instance is not registered, but serves"
        );
        tokio::time::sleep(lease).await;
    };
    if last == Answer::Silent
        && let Some(farewell) = table.upgrade().and_then(|table| table.farewell(&service))
    {
        farewell(endpoint.id().to_owned()).await;
    }
    if let Some(table) = table.upgrade() {
        table.remove(&service, &endpoint);
    }
}
