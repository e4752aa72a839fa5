//! Key and value settings for clients: everybody's, under the empty user id, and single users' own, which win.

use std::collections::BTreeMap;

use magpie_proto::openim::{sdkws::RequestPagination, user};
use magpie_service::{lists, rpc::at_most};
use magpie_store::{Change, Documents as _, Outcome, documents::ClientConfig, key};
use magpie_types::{Error, Result};

use crate::users::{Users, check_length};

/// Keys that one call may set or delete.
const MAX_KEYS: usize = 1000;
/// Longest key, bytes.
const MAX_KEY: usize = 256;
/// Tries of one setting.
const MAX_TRIES: usize = 100;

impl Users {
    /// What a client of this user reads; the empty id reads everybody's.
    pub(crate) async fn client_config(&self, user_id: &str) -> Result<BTreeMap<String, String>> {
        let mut configs = self.configs_of("").await?;
        if !user_id.is_empty() {
            configs.extend(self.configs_of(user_id).await?);
        }
        Ok(configs)
    }

    async fn configs_of(&self, user_id: &str) -> Result<BTreeMap<String, String>> {
        let found: Vec<ClientConfig> =
            lists::all(self.store.as_ref(), "key", key![user_id]).await?;
        Ok(found.into_iter().map(|c| (c.name, c.value)).collect())
    }

    /// Sets these keys; the last of several writers of one key wins.
    pub(crate) async fn set_client_config(
        &self,
        user_id: &str,
        configs: BTreeMap<String, String>,
    ) -> Result<()> {
        if configs.len() > MAX_KEYS {
            return Err(Error::args("configs has too many keys"));
        }
        for (name, value) in &configs {
            if name.is_empty() {
                return Err(Error::args("a key is empty"));
            }
            check_length(&[("key", name)], MAX_KEY)?;
            check_length(&[("value", value)], self.config.max_field_bytes)?;
        }
        for (name, value) in configs {
            self.set_one(user_id, &name, &value).await?;
        }
        Ok(())
    }

    async fn set_one(&self, user_id: &str, name: &str, value: &str) -> Result<()> {
        for _ in 0..MAX_TRIES {
            let change = vec![Change::Set(ClientConfig::value, value.into())];
            let key = key![user_id, name];
            if self.store.change::<ClientConfig>(key, change).await? {
                return Ok(());
            }
            let new = ClientConfig {
                user_id: user_id.to_owned(),
                name: name.to_owned(),
                value: value.to_owned(),
            };
            if self.store.add(new).await? == Outcome::Inserted {
                return Ok(());
            }
        }
        Err(Error::internal("a setting kept changing"))
    }

    /// Deletes these keys; missing ones are no error.
    pub(crate) async fn delete_client_config(&self, user_id: &str, keys: &[String]) -> Result<()> {
        at_most("keys", keys, MAX_KEYS)?;
        let keys = keys.iter().map(|name| key![user_id, name.as_str()]);
        self.store.remove::<ClientConfig>(keys.collect()).await?;
        Ok(())
    }

    /// Settings by user, then key: of one user and of one key where these are given. No pagination is an empty page.
    pub(crate) async fn page_client_config(
        &self,
        (user_id, name): (&str, &str),
        pagination: Option<RequestPagination>,
    ) -> Result<(usize, Vec<user::ClientConfig>)> {
        let prefix = if user_id.is_empty() {
            Vec::new()
        } else {
            key![user_id]
        };
        let mut found: Vec<ClientConfig> = lists::all(self.store.as_ref(), "key", prefix).await?;
        found.retain(|c| name.is_empty() || c.name == name);
        let total = found.len();
        let page =
            pagination.map_or_else(Vec::new, |p| lists::page(found, p, self.config.max_page));
        let page = page.into_iter().map(|c| user::ClientConfig {
            key: c.name,
            user_id: c.user_id,
            value: c.value,
        });
        Ok((total, page.collect()))
    }
}
