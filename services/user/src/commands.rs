//! Notes that a user's devices share (favourites and the like), by class and key.

use std::sync::Arc;

use bytes::Bytes;
use magpie_proto::openim::{
    protobuf::StringValue,
    sdkws::{UserCommandAddTips, UserCommandDeleteTips, UserCommandUpdateTips},
};
use magpie_service::{
    Context, lists,
    notification::{self, Notification},
    pending,
};
use magpie_store::{Document as _, Documents as _, documents::UserCommand, key};
use magpie_types::{Error, Result, msg::content_type, time::now_ms};

use crate::users::{Users, check_length};

/// Marks of an intent: what is announced (1305, 1307, 1306).
const ADDED: u8 = 1;
const UPDATED: u8 = 1 << 1;
const DELETED: u8 = 1 << 2;

/// Longest key, bytes.
const MAX_KEY: usize = 256;

/// Which note.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) user_id: String,
    pub(crate) kind: i32,
    pub(crate) uuid: String,
}

impl Place {
    /// A note that the caller may change, named by fields within their rules (1001).
    pub(crate) fn of(ctx: &Context, user_id: String, kind: i32, uuid: String) -> Result<Self> {
        if user_id.is_empty() || uuid.is_empty() || kind == 0 {
            return Err(Error::args("userID, uuid or type is empty"));
        }
        check_length(&[("uuid", &uuid)], MAX_KEY)?;
        ctx.require_self(&user_id)?;
        Ok(Self {
            user_id,
            kind,
            uuid,
        })
    }

    fn key(&self) -> magpie_store::Key {
        key![self.user_id.as_str(), self.kind, self.uuid.as_str()]
    }
}

/// Values to set; None stays, and is empty in a new note.
#[derive(Debug, Clone, Default)]
pub(crate) struct Values {
    pub(crate) value: Option<String>,
    pub(crate) ex: Option<String>,
}

impl Values {
    /// As they come in a request.
    pub(crate) fn of(value: Option<StringValue>, ex: Option<StringValue>) -> Self {
        Self {
            value: value.map(|v| v.value),
            ex: ex.map(|v| v.value),
        }
    }
}

impl Users {
    /// Adds a note; one that is there already gets the new values.
    pub(crate) async fn add_command(
        self: &Arc<Self>,
        ctx: &Context,
        place: &Place,
        values: Values,
    ) -> Result<()> {
        self.check_values(&values)?;
        let store = self.store.as_ref();
        let found: Option<UserCommand> = store.find(place.key()).await?;
        if !found.is_some_and(|command| command.is_present()) {
            let prefix = key![place.user_id.as_str()];
            let all = store.count(UserCommand::SCHEMA, "key", prefix).await?;
            if all >= self.config.max_commands {
                return Err(Error::args("the user has too many such records"));
            }
        }
        let written = pending::change(store, place.key(), |_: Option<UserCommand>| {
            let new = UserCommand {
                user_id: place.user_id.clone(),
                kind: place.kind,
                uuid: place.uuid.clone(),
                create_time: now_ms() / 1000,
                value: values.value.clone().unwrap_or_default(),
                ex: values.ex.clone().unwrap_or_default(),
                pending: Bytes::new(),
                rev: 0,
                deleted_at: 0,
            };
            Ok(Some((new, ADDED)))
        })
        .await?;
        self.follow_command(ctx, written).await;
        Ok(())
    }

    /// Sets what is given in a note; 1004 if there is none.
    pub(crate) async fn update_command(
        self: &Arc<Self>,
        ctx: &Context,
        place: &Place,
        values: Values,
    ) -> Result<()> {
        self.check_values(&values)?;
        let written = pending::change(self.store.as_ref(), place.key(), |found| {
            let mut command = present(found)?;
            if let Some(value) = &values.value {
                command.value.clone_from(value);
            }
            if let Some(ex) = &values.ex {
                command.ex.clone_from(ex);
            }
            Ok(Some((command, UPDATED)))
        })
        .await?;
        self.follow_command(ctx, written).await;
        Ok(())
    }

    /// Deletes a note; 1004 if there is none.
    pub(crate) async fn delete_command(
        self: &Arc<Self>,
        ctx: &Context,
        place: &Place,
    ) -> Result<()> {
        let now = now_ms();
        let written = pending::change(self.store.as_ref(), place.key(), |found| {
            let command = UserCommand {
                deleted_at: now,
                ..present(found)?
            };
            Ok(Some((command, DELETED)))
        })
        .await?;
        self.follow_command(ctx, written).await;
        Ok(())
    }

    /// A user's notes, of one class or all: the oldest first.
    pub(crate) async fn commands(
        &self,
        user_id: &str,
        kind: Option<i32>,
    ) -> Result<Vec<UserCommand>> {
        let mut prefix = key![user_id];
        prefix.extend(kind.map(Into::into));
        let mut found: Vec<UserCommand> = lists::all(self.store.as_ref(), "key", prefix).await?;
        found.retain(UserCommand::is_present);
        found.sort_by(|a, b| {
            (a.create_time, a.kind, &a.uuid).cmp(&(b.create_time, b.kind, &b.uuid))
        });
        Ok(found)
    }

    fn check_values(&self, values: &Values) -> Result<()> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let fields = [("value", text(&values.value)), ("ex", text(&values.ex))];
        check_length(
            &fields.each_ref().map(|(name, text)| (*name, text.as_str())),
            self.config.max_command_bytes,
        )
    }

    async fn follow_command(self: &Arc<Self>, ctx: &Context, written: Option<UserCommand>) {
        let (users, ctx) = (Arc::clone(self), ctx.clone());
        pending::follow_up(&self.deps, 1, written, move |command| {
            let (users, ctx) = (Arc::clone(&users), ctx.clone());
            async move { users.roll_command(&ctx, command).await }
        })
        .await;
    }

    /// Tells the user's devices what was done.
    pub(crate) async fn roll_command(&self, ctx: &Context, command: UserCommand) -> Result<()> {
        let user = &*command.user_id;
        let (from_user_id, to_user_id) = (user.to_owned(), user.to_owned());
        let mark = pending::mark(&command.pending).unwrap_or(0);
        let mut told = Vec::new();
        if mark & ADDED != 0 {
            let tips = UserCommandAddTips {
                from_user_id: from_user_id.clone(),
                to_user_id: to_user_id.clone(),
            };
            let kind = content_type::USER_COMMAND_ADD;
            told.push(Notification::to_user(kind, user, user, &tips)?);
        }
        if mark & UPDATED != 0 {
            let tips = UserCommandUpdateTips {
                from_user_id: from_user_id.clone(),
                to_user_id: to_user_id.clone(),
            };
            let kind = content_type::USER_COMMAND_UPDATE;
            told.push(Notification::to_user(kind, user, user, &tips)?);
        }
        if mark & DELETED != 0 {
            let tips = UserCommandDeleteTips {
                from_user_id,
                to_user_id,
            };
            let kind = content_type::USER_COMMAND_DELETE;
            told.push(Notification::to_user(kind, user, user, &tips)?);
        }
        for change in told {
            let id = pending::message_id(&command.pending, user, change.content_type);
            notification::send(&self.deps, ctx, change.client_msg_id(id)).await?;
        }
        pending::finish(self.store.as_ref(), command).await
    }
}

fn present(found: Option<UserCommand>) -> Result<UserCommand> {
    let present = found.filter(UserCommand::is_present);
    present.ok_or_else(|| Error::not_found("there is no such record"))
}
