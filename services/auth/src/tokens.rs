//! Reads and changes the stored tokens of users, with a short-lived copy in memory for the checks, which is used as long as no other
//! process changes tokens: a kicked token that is taken for good would end the login that replaced it.
//!
//! A change is a compare-and-set on the user's document, tried again a few times when another process was faster; changes of
//! one process to the same user wait for each other. The copy in memory is replaced by every change of this process, and is
//! never replaced by an older revision.

use std::{sync::Arc, time::Duration};

use magpie_store::{Documents as _, Outcome, SharedStore, documents::UserTokens, key};
use magpie_types::{Code, Error, Result};
use moka::{ops::compute::Op, sync::Cache};
use prost::Message as _;
use tokio::sync::Mutex;

use crate::{
    config::Config,
    record::{Tokens, state},
};

/// How often a change is tried.
const ATTEMPTS: u32 = 8;

/// Locks that keep changes to one user apart; different users rarely share one.
const STRIPES: usize = 64;

/// The tokens of one user as last seen.
#[derive(Debug, Clone, Default)]
struct Seen {
    rev: i64,
    tokens: Arc<Tokens>,
}

/// The tokens of all users.
pub(crate) struct TokenStore {
    store: SharedStore,
    seen: Cache<String, Seen>,
    stripes: Vec<Mutex<()>>,
}

impl TokenStore {
    pub(crate) fn new(store: SharedStore, config: &Config) -> Self {
        let seen = Cache::builder()
            .max_capacity(config.cache_users)
            .time_to_live(Duration::from_millis(config.cache_ms))
            .build();
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Self {
            store,
            seen,
            stripes,
        }
    }

    /// All tokens of a user, at most as old as the configuration allows.
    pub(crate) async fn of(&self, user_id: &str) -> Result<Arc<Tokens>> {
        if let Some(seen) = self.seen.get(user_id) {
            return Ok(seen.tokens);
        }
        self.reload(user_id).await
    }

    async fn reload(&self, user_id: &str) -> Result<Arc<Tokens>> {
        let seen = self.load(user_id).await?;
        self.remember(user_id, seen.clone());
        Ok(seen.tokens)
    }

    /// Whether this token may be used at `now` (Unix seconds): 1507, 1506 or 1505 if not (rest-api.md 2.3). `alone`: no other process
    /// changes tokens.
    pub(crate) async fn check(
        &self,
        alone: bool,
        user_id: &str,
        platform: i32,
        hash: &[u8],
        now: i64,
    ) -> Result<()> {
        let mut tokens = if alone {
            self.of(user_id).await?
        } else {
            self.reload(user_id).await?
        };
        if alone && tokens.get(hash).is_none() {
            // A process that was not known yet may have issued it.
            tokens = self.reload(user_id).await?;
        }
        let found = tokens
            .get(hash)
            .filter(|e| e.platform == platform && e.expires > now);
        match found.map(|e| e.state) {
            None => Err(Code::TOKEN_NOT_EXIST.into()),
            Some(state::NORMAL) => Ok(()),
            Some(state::KICKED) => Err(Code::TOKEN_KICKED.into()),
            Some(_) => Err(Code::TOKEN_UNKNOWN.into()),
        }
    }

    /// Changes the tokens of a user. `change` may run several times, each time on what is stored then.
    pub(crate) async fn change(
        &self,
        user_id: &str,
        change: impl Fn(&mut Tokens) + Send + Sync,
    ) -> Result<()> {
        let _turn = match self.stripes.get(stripe(user_id)) {
            Some(stripe) => Some(stripe.lock().await),
            None => None,
        };
        for _ in 0..ATTEMPTS {
            let before = self.load(user_id).await?;
            let mut tokens = Tokens::clone(&before.tokens);
            change(&mut tokens);
            if tokens == *before.tokens {
                self.remember(user_id, before);
                return Ok(());
            }
            let after = Seen {
                rev: before.rev + 1,
                tokens: Arc::new(tokens),
            };
            if self.save(user_id, &before, &after).await? {
                self.remember(user_id, after);
                return Ok(());
            }
        }
        Err(Error::internal(format!(
            "the tokens of {user_id} changed {ATTEMPTS} times while they were changed"
        )))
    }

    async fn load(&self, user_id: &str) -> Result<Seen> {
        let Some(document) = self.store.find::<UserTokens>(key![user_id]).await? else {
            return Ok(Seen::default());
        };
        let tokens = Tokens::decode(document.tokens).map_err(Error::internal)?;
        Ok(Seen {
            rev: document.rev,
            tokens: Arc::new(tokens),
        })
    }

    async fn save(&self, user_id: &str, before: &Seen, after: &Seen) -> Result<bool> {
        let tokens = after.tokens.encode_to_vec().into();
        let document = UserTokens {
            user_id: user_id.to_owned(),
            tokens,
            rev: after.rev,
        };
        if before.rev == 0 {
            return Ok(self.store.add(document).await? == Outcome::Inserted);
        }
        Ok(self.store.replace(document, before.rev).await?)
    }

    fn remember(&self, user_id: &str, seen: Seen) {
        self.seen
            .entry_by_ref(user_id)
            .and_compute_with(|known| match known {
                Some(known) if known.value().rev > seen.rev => Op::Nop,
                _ => Op::Put(seen),
            });
    }
}

fn stripe(user_id: &str) -> usize {
    user_id.bytes().fold(0usize, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(usize::from(byte))
    }) % STRIPES
}
