//! A store, the user service with users u1 to u3, and a message service that only notes what it is asked to send.

use std::sync::{Arc, Mutex};

use magpie_discovery::{Channel, InProcess, Registry, name};
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_proto::openim::{
    msg::{SendMsgReq, SendMsgResp},
    sdkws::{MsgData, UserInfo},
    user::{UserRegisterReq, user_client::UserClient},
};
use magpie_service::{Caller, Context, Deps, invalidation::Invalidations};
use magpie_store::{Store as _, documents::SCHEMAS};
use magpie_store_sqlite::SqliteStore;
use magpie_types::UserId;
use tempfile::TempDir;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status};

type Sent = Arc<Mutex<Vec<MsgData>>>;

/// The services under test, with the message service replaced.
struct Noting {
    inner: Arc<InProcess>,
    sent: Sent,
}

impl Registry for Noting {
    fn channel(&self, service: &'static str) -> Channel {
        if service != name::MSG {
            return self.inner.channel(service);
        }
        let sent = Arc::clone(&self.sent);
        Channel::new(move |request| {
            let sent = Arc::clone(&sent);
            let note = tower::service_fn(move |request: Request<SendMsgReq>| {
                sent.lock().unwrap().extend(request.into_inner().msg_data);
                std::future::ready(Ok::<_, Status>(Response::new(SendMsgResp::default())))
            });
            Box::pin(async move {
                let codec = tonic_prost::ProstCodec::<SendMsgResp, SendMsgReq>::default();
                Ok(tonic::server::Grpc::new(codec).unary(note, request).await)
            })
        })
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        vec![(service.to_owned(), self.channel(service))]
    }
}

/// What a test works with.
pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) registry: Arc<InProcess>,
    sent: Sent,
    _dir: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store = SqliteStore::open(
            dir.path().join("store"),
            magpie_store_sqlite::Options::default(),
        )
        .unwrap();
        store.prepare(SCHEMAS).await.unwrap();
        let registry = InProcess::new();
        let sent = Sent::default();
        let deps = Deps {
            store,
            log: LocalLog::open(
                &dir.path().join("log"),
                magpie_log_local::Options::default(),
            )
            .unwrap(),
            presence: MemoryPresence::new(),
            registry: Arc::new(Noting {
                inner: Arc::clone(&registry),
                sent: Arc::clone(&sent),
            }),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            invalidations: Arc::new(Invalidations::default()),
            admins: ["imAdmin".to_owned()].into(),
        };
        registry.serve(
            name::USER,
            magpie_user::routes(&deps, magpie_user::Config::default()),
        );
        let users = ["u1", "u2", "u3"]
            .map(|id| UserInfo {
                user_id: id.to_owned(),
                nickname: format!("n-{id}"),
                ..UserInfo::default()
            })
            .to_vec();
        UserClient::new(deps.channel(name::USER))
            .user_register(admin().request(UserRegisterReq { users }))
            .await
            .unwrap();
        Self {
            deps,
            registry,
            sent,
            _dir: dir,
        }
    }

    /// Notifications sent since the last call: content type, sender, receiver, whether the chat shows it, detail.
    pub(crate) fn sent(&self) -> Vec<(i32, String, String, bool, String)> {
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        let line = |m: MsgData| {
            let elem: magpie_proto::openim::sdkws::NotificationElem =
                magpie_proto::json::from_slice(&m.content).unwrap();
            (
                m.content_type,
                m.send_id,
                m.recv_id,
                m.options["isSendMsg"],
                elem.detail,
            )
        };
        sent.into_iter().map(line).collect()
    }
}

/// An administrator's call.
pub(crate) fn admin() -> Context {
    Context {
        caller: Caller::Admin(UserId::new("imAdmin").unwrap()),
        ..Context::internal("test")
    }
}

/// A user's call.
pub(crate) fn user(id: &str) -> Context {
    Context {
        caller: Caller::User(UserId::new(id).unwrap()),
        ..Context::internal("test")
    }
}

/// 0, or the code of the refusal.
pub(crate) fn code<T>(answer: Result<Response<T>, Status>) -> i32 {
    answer.map_or_else(
        |status| magpie_proto::status::from_status(status).code().number(),
        |_| 0,
    )
}
