//! Who calls: the identity and the trace of a request, as a typed extension.
//!
//! The edge (gateway, api, the gRPC listener) checks the token once and attaches a [`Context`]. In process it travels as an
//! extension of the request; between processes it is carried in metadata that only cluster members may set. A request without
//! one is anonymous and is refused by everything but the token routes.

use magpie_types::{Error, Result, UserId};
use tonic::{Request, Status};

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// A logged-in user.
    User(UserId),
    /// An application administrator.
    Admin(UserId),
    /// Another service of the cluster, on nobody's behalf.
    Internal,
}

/// What travels with every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who calls.
    pub caller: Caller,
    /// The client's name for this operation; echoed in every effect of it.
    pub operation_id: String,
    /// The connection it came on; empty for REST and gRPC.
    pub connection_id: String,
    /// Platform number of the caller's token; 0 if there is none.
    pub platform_id: i32,
}

impl Context {
    /// A call of the cluster itself.
    pub fn internal(operation_id: impl Into<String>) -> Self {
        Self {
            caller: Caller::Internal,
            operation_id: operation_id.into(),
            connection_id: String::new(),
            platform_id: 0,
        }
    }

    /// The same operation, continued by the cluster itself.
    #[must_use]
    pub fn as_internal(&self) -> Self {
        Self {
            caller: Caller::Internal,
            ..self.clone()
        }
    }

    /// The context of a request, or 1507 for an anonymous one.
    pub fn of<T>(request: &Request<T>) -> Result<&Self, Status> {
        request.extensions().get::<Self>().ok_or_else(|| {
            Error::new(
                magpie_types::Code::TOKEN_NOT_EXIST,
                "this call needs a token",
            )
            .into_status()
        })
    }

    /// A request that carries this context.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.clone());
        request
    }

    /// The calling user's id; empty for the cluster itself.
    pub fn user_id(&self) -> &str {
        match &self.caller {
            Caller::User(id) | Caller::Admin(id) => id.as_str(),
            Caller::Internal => "",
        }
    }

    /// Whether the caller is an administrator or the cluster itself.
    pub fn is_admin(&self) -> bool {
        !matches!(self.caller, Caller::User(_))
    }

    /// Refuses everybody but administrators and the cluster itself (1002).
    pub fn require_admin(&self) -> Result<()> {
        if self.is_admin() {
            Ok(())
        } else {
            Err(Error::no_permission("only administrators may do this"))
        }
    }

    /// Refuses everybody but this user, administrators and the cluster itself (1002).
    pub fn require_self(&self, user_id: &str) -> Result<()> {
        if self.is_admin() || self.user_id() == user_id {
            Ok(())
        } else {
            Err(Error::no_permission(
                "only the user himself or an administrator may do this",
            ))
        }
    }

    /// Refuses everybody but the cluster itself (1002).
    pub fn require_internal(&self) -> Result<()> {
        if self.caller == Caller::Internal {
            Ok(())
        } else {
            Err(Error::no_permission(
                "only services of the cluster may do this",
            ))
        }
    }
}

/// `Error` to `Status`, as services answer it.
pub trait IntoStatus {
    /// The status that carries code and detail.
    fn into_status(self) -> Status;
}

impl IntoStatus for Error {
    fn into_status(self) -> Status {
        // The cause stays behind in this process, so this is the place to log it.
        if std::error::Error::source(&self).is_some() && self.code() == magpie_types::Code::INTERNAL
        {
            tracing::warn!(error = self.report(), "a call failed");
        }
        magpie_proto::status::to_status(&self)
    }
}
