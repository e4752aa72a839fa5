//! The collection of users: registration, look-up, and walks through all of it.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use magpie_proto::openim::sdkws::{RequestPagination, UserInfo};
use magpie_service::{Deps, rpc::at_most_bytes};
use magpie_store::{
    Document, Documents as _, Outcome, Page, RunItem, SharedStore, documents::User, key,
    versions::SORT_ELEMENT,
};
use magpie_types::{
    Code, EVERYBODY, Error, Result, ServerMsgId, UserId, time::now_ms, user::level,
};
use tokio::sync::OnceCell;

use crate::config::Config;

/// How many documents are read at once.
const CHUNK: usize = 500;

/// The users.
pub(crate) struct Users {
    pub(crate) deps: Deps,
    pub(crate) store: SharedStore,
    pub(crate) config: Config,
    admins: Arc<[String]>,
    ready: OnceCell<()>,
}

impl Users {
    pub(crate) fn new(deps: &Deps, config: Config) -> Self {
        let (store, admins) = (Arc::clone(&deps.store), Arc::clone(&deps.admins));
        Self {
            deps: deps.clone(),
            store,
            config,
            admins,
            ready: OnceCell::new(),
        }
    }

    pub(crate) fn is_admin(&self, user_id: &str) -> bool {
        self.admins.iter().any(|admin| admin == user_id)
    }

    /// Makes the administrators that are missing, once per process; a nickname changed in the configuration is written back.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.ready
            .get_or_try_init(|| async {
                for (i, id) in self.admins.iter().enumerate() {
                    self.make_admin(id, self.config.admin_nicknames.get(i).unwrap_or(id))
                        .await?;
                }
                Ok(())
            })
            .await
            .copied()
    }

    async fn make_admin(&self, id: &str, nickname: &str) -> Result<()> {
        if let Some(admin) = self.find(id).await? {
            if admin.nickname != nickname {
                let rev = admin.rev;
                self.store
                    .replace(
                        User {
                            nickname: nickname.to_owned(),
                            rev: rev + 1,
                            ..admin
                        },
                        rev,
                    )
                    .await?;
            }
            return Ok(());
        }
        let info = UserInfo {
            user_id: id.to_owned(),
            nickname: nickname.to_owned(),
            app_manger_level: level::ADMIN,
            ..Default::default()
        };
        self.store.add(document(info, 0)).await?;
        Ok(())
    }

    /// A user, if he is registered.
    pub(crate) async fn find(&self, user_id: &str) -> Result<Option<User>> {
        Ok(self.store.find(key![user_id]).await?)
    }

    /// The documents of these users, in their order.
    pub(crate) async fn find_many(&self, user_ids: &[String]) -> Result<Vec<Option<User>>> {
        if user_ids.len() > self.config.max_users {
            return Err(Error::args("too many users in one request"));
        }
        let mut found = Vec::with_capacity(user_ids.len());
        for chunk in user_ids.chunks(CHUNK) {
            found.extend(
                self.store
                    .find_many::<User>(chunk.iter().map(|id| key![id.as_str()]).collect())
                    .await?,
            );
        }
        Ok(found)
    }

    /// Registers all of these users, or none: 1102 if one is registered already. A process that ends in the middle may leave some of
    /// them registered; the same request, made again, registers the others.
    pub(crate) async fn register(&self, infos: Vec<UserInfo>) -> Result<()> {
        let registration = registration(&infos);
        let ids: Vec<String> = infos.iter().map(|u| u.user_id.clone()).collect();
        let found = self.find_many(&ids).await?;
        let complete = found.iter().all(Option::is_some);
        let mut known = found.iter().flatten();
        if let Some(user) = known.find(|user| complete || user.registration != registration) {
            return Err(taken(&user.user_id));
        }
        let missing = infos.into_iter().zip(&found).filter(|(_, u)| u.is_none());
        let infos: Vec<UserInfo> = missing.map(|(info, _)| info).collect();
        let ids: Vec<String> = infos.iter().map(|u| u.user_id.clone()).collect();
        let now = now_ms();
        let users = infos.into_iter().map(|info| User {
            registration: registration.clone(),
            ..document(info, now)
        });
        let run = users
            .map(|user| RunItem {
                row: user.into_row(),
                then: Vec::new(),
            })
            .collect();
        let outcomes = self.store.insert_runs(User::SCHEMA, vec![run]).await?;
        let inserted = outcomes
            .iter()
            .flatten()
            .take_while(|o| **o == Outcome::Inserted)
            .count();
        if inserted == ids.len() {
            return Ok(());
        }
        // Somebody else registered one of them since the look-up. If that was the same request, made twice, it registers the others too;
        // else take back what went in before it.
        let other = match ids.get(inserted) {
            Some(id) => self.find(id).await?,
            None => None,
        };
        if let Some(user) = other.filter(|user| user.registration == registration) {
            return Err(taken(&user.user_id));
        }
        let undo = ids
            .iter()
            .take(inserted)
            .map(|id| key![id.as_str()])
            .collect();
        self.store.remove::<User>(undo).await?;
        match outcomes.into_iter().flatten().nth(inserted) {
            Some(Outcome::Refused(reason)) => Err(Error::internal(reason)),
            _ => Err(taken(&ids[inserted])),
        }
    }

    /// Walks all users in the order of their ids and gives the page of those that `wanted` chooses, with their number.
    pub(crate) async fn page(
        &self,
        pagination: Option<RequestPagination>,
        wanted: impl Fn(&User) -> bool + Send + Sync,
    ) -> Result<(usize, Vec<User>)> {
        let (skip, take) = self.bounds(pagination)?;
        let (mut total, mut page) = (0usize, Vec::new());
        let mut last: Option<String> = None;
        loop {
            let from = last.clone().map(Into::into);
            let users: Vec<User> = self
                .store
                .list(Page {
                    from,
                    ..Page::of("key", Vec::new(), CHUNK)
                })
                .await?;
            let read = users.len();
            let next = users.last().map(|u| u.user_id.clone());
            for user in users
                .into_iter()
                .filter(|u| Some(&u.user_id) != last.as_ref())
            {
                if wanted(&user) {
                    if total >= skip && page.len() < take {
                        page.push(user);
                    }
                    total += 1;
                }
            }
            if read < CHUNK || next == last {
                return Ok((total, page));
            }
            last = next;
        }
    }

    /// How many entries a page skips and takes (rest-api.md 1.7).
    fn bounds(&self, pagination: Option<RequestPagination>) -> Result<(usize, usize)> {
        let page = pagination.ok_or_else(|| Error::args("pagination is empty"))?;
        let number = usize::try_from(page.page_number).ok().filter(|n| *n > 0);
        let number = number.ok_or_else(|| Error::args("pageNumber is invalid"))?;
        let show = usize::try_from(page.show_number)
            .unwrap_or(0)
            .min(self.config.max_page);
        Ok(((number - 1).saturating_mul(show), show))
    }
}

/// What tells a request to register users from every other one.
fn registration(infos: &[UserInfo]) -> String {
    infos.iter().fold(String::new(), |before, info| {
        let (level, opt) = (info.app_manger_level, info.global_recv_msg_opt);
        let rest = format!(
            "{:?}",
            (&info.nickname, &info.face_url, &info.ex, level, opt)
        );
        ServerMsgId::derive(&before, &info.user_id, &rest).to_string()
    })
}

fn taken(user_id: &str) -> Error {
    Error::new(
        Code::REGISTERED_ALREADY,
        format!("user {user_id} is registered already"),
    )
}

/// Refuses texts of a user that are longer than the limit.
pub(crate) fn check_length(fields: &[(&str, &str)], limit: usize) -> Result<()> {
    let mut fields = fields.iter();
    fields.try_for_each(|(name, text)| at_most_bytes(name, text, limit))
}

/// Checks the form of users to register (rest-api.md 4.2).
pub(crate) fn check_new(users: &[UserInfo], limit: usize) -> Result<()> {
    if users.is_empty() {
        return Err(Error::args("users is empty"));
    }
    for user in users {
        check_new_id(&user.user_id)?;
        if user.nickname.is_empty() {
            return Err(Error::args("nickname is empty"));
        }
        let fields = [
            ("nickname", user.nickname.as_str()),
            ("faceURL", &user.face_url),
            ("ex", &user.ex),
        ];
        check_length(&fields, limit)?;
    }
    Ok(())
}

/// Refuses the list that names a user twice.
pub(crate) fn check_distinct<'a>(ids: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    for id in ids {
        if !seen.insert(id) {
            return Err(Error::args(format!("userID is repeated: {id}")));
        }
    }
    Ok(())
}

/// Ids of new users: letters and digits of any script and `_`, but none that means something else to clients where ids of users
/// stand.
pub(crate) fn check_new_id(user_id: &str) -> Result<()> {
    UserId::new(user_id)?;
    if [EVERYBODY, SORT_ELEMENT].contains(&user_id) {
        return Err(Error::args(format!("userID {user_id} is reserved")));
    }
    if user_id.chars().all(|c| c.is_alphanumeric() || c == '_') {
        Ok(())
    } else {
        Err(Error::args("userID has a character that is not allowed"))
    }
}

/// A new document.
pub(crate) fn document(info: UserInfo, create_time: i64) -> User {
    let UserInfo {
        user_id,
        nickname,
        face_url,
        ex,
        app_manger_level,
        global_recv_msg_opt,
        ..
    } = info;
    User {
        user_id,
        nickname,
        face_url,
        ex,
        create_time,
        app_manger_level,
        global_recv_msg_opt,
        rev: 1,
        pending: Bytes::new(),
        operator_id: String::new(),
        registration: String::new(),
    }
}

/// How clients see a user.
pub(crate) fn info(user: User) -> UserInfo {
    let User {
        user_id,
        nickname,
        face_url,
        ex,
        create_time,
        app_manger_level,
        global_recv_msg_opt,
        ..
    } = user;
    UserInfo {
        user_id,
        nickname,
        face_url,
        ex,
        create_time,
        app_manger_level,
        global_recv_msg_opt,
    }
}
