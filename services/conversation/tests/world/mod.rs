//! A store, the user service with users u1 to u3, and a message service that only notes what it is asked to send.

use std::sync::{Arc, Mutex};

use magpie_discovery::{Channel, InProcess, Registry, name};
use magpie_proto::openim::{
    msg::{SendMsgReq, SendMsgResp},
    sdkws::MsgData,
};
use magpie_service::Deps;
use magpie_testkit::{Engines, register};
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
    _engines: Engines,
}

impl World {
    pub(crate) async fn new() -> Self {
        let sent = Sent::default();
        let engines = Engines::with_registry(|inner| {
            let sent = Arc::clone(&sent);
            Arc::new(Noting { inner, sent })
        })
        .await;
        let deps = engines.deps.clone();
        let registry = Arc::clone(&engines.registry);
        registry.serve(
            name::USER,
            magpie_user::routes(&deps, magpie_user::Config::default()),
        );
        register(&deps, &["u1", "u2", "u3"]).await;
        Self {
            deps,
            registry,
            sent,
            _engines: engines,
        }
    }

    /// Messages sent since the last call, as they were sent.
    pub(crate) fn messages(&self) -> Vec<MsgData> {
        std::mem::take(&mut *self.sent.lock().unwrap())
    }

    /// Notifications sent since the last call: content type, sender, receiver, whether the chat shows it, detail.
    pub(crate) fn sent(&self) -> Vec<(i32, String, String, bool, String)> {
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
        self.messages().into_iter().map(line).collect()
    }
}
