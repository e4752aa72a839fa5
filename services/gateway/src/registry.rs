//! Who is connected to this process: user → connections.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use magpie_presence::Platforms;
use magpie_service::members::Receivers;
use magpie_types::UserId;

use crate::conn::Conn;

/// See the module. Connections are few per user, so a list is searched.
#[derive(Default)]
pub(crate) struct Registry {
    users: DashMap<Arc<str>, Vec<Arc<Conn>>>,
}

impl Registry {
    /// From now on the connection gets what is pushed to its user.
    pub(crate) fn insert(&self, conn: &Arc<Conn>) {
        match self.users.entry(Arc::clone(&conn.user)) {
            Entry::Occupied(mut conns) => conns.get_mut().push(Arc::clone(conn)),
            Entry::Vacant(vacant) => {
                vacant.insert(vec![Arc::clone(conn)]);
            }
        }
    }

    /// Forgets a connection; whether it was there.
    pub(crate) fn remove(&self, conn: &Conn) -> bool {
        let Entry::Occupied(mut conns) = self.users.entry(Arc::clone(&conn.user)) else {
            return false;
        };
        let before = conns.get().len();
        conns.get_mut().retain(|c| c.number != conn.number);
        let found = conns.get().len() < before;
        if conns.get().is_empty() {
            conns.remove();
        }
        found
    }

    /// Shows each connection of a user. The table is locked meanwhile: `f` must not come back here.
    pub(crate) fn each(&self, user: &str, mut f: impl FnMut(&Arc<Conn>)) {
        if let Some(conns) = self.users.get(user) {
            conns.iter().for_each(&mut f);
        }
    }

    /// Those of the receivers who are connected. Walks the smaller set: the users here, or the receivers.
    pub(crate) fn among(&self, receivers: &Receivers<'_>) -> Vec<UserId> {
        if receivers.at_most() < self.users.len() {
            let here = receivers
                .iter()
                .filter(|id| self.users.contains_key(id.as_str()));
            return here.cloned().collect();
        }
        let users = self.users.iter();
        let here = users.filter(|conns| receivers.contains(conns.key()));
        here.filter_map(|conns| UserId::new(&**conns.key()).ok())
            .collect()
    }

    /// The connections of a user now.
    pub(crate) fn of(&self, user: &str) -> Vec<Arc<Conn>> {
        self.users
            .get(user)
            .map(|conns| conns.clone())
            .unwrap_or_default()
    }

    /// The platforms a user is connected on now.
    pub(crate) fn platforms(&self, user: &str) -> Platforms {
        let mut platforms = Platforms::default();
        self.each(user, |conn| platforms.insert(conn.platform));
        platforms
    }

    /// All connections now.
    pub(crate) fn all(&self) -> Vec<Arc<Conn>> {
        self.users
            .iter()
            .flat_map(|conns| conns.value().clone())
            .collect()
    }
}
