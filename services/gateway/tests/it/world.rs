//! A gateway on a free port with hand-made auth, msg and push services, and clients for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use magpie_discovery::{Channel, Registry, name};
use magpie_envelope::{Codec, Limits, Request, Response};
use magpie_gateway::{Config, Gateway};
use magpie_log_local::LocalLog;
use magpie_presence_memory::MemoryPresence;
use magpie_proto::magpie::gateway::{
    DeliverReq, DeliverResp, Item, delivery_client::DeliveryClient,
};
use magpie_proto::openim::sdkws::MsgData;
use magpie_proto::openim::{auth, msg};
use magpie_proto::status::to_status;
use magpie_service::{Context, Deps};
use magpie_store::{
    Documents as _, Store as _,
    documents::{Missed, SCHEMAS},
};
use magpie_store_sqlite::SqliteStore;
use magpie_testkit::{Fuse, rows};
use magpie_types::{Code, Error};
use prost::Message as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A second gateway, if a test has one.
const OTHER_GATEWAY: &str = "other gateway";

/// Decides the answer of a call: path and body to body.
type Answer = dyn Fn(String, Bytes) -> BoxFuture<'static, Result<Vec<u8>, Status>> + Send + Sync;

/// A send that has reached the msg service, and the way to answer it.
pub(crate) struct Sent {
    pub(crate) client_msg_id: String,
    pub(crate) answer: tokio::sync::oneshot::Sender<Result<(), Error>>,
}

#[derive(Default)]
struct Services {
    gateway: Mutex<Option<Routes>>,
    others: Mutex<HashMap<&'static str, Arc<Answer>>>,
}

struct TestRegistry(Arc<Services>);

impl Registry for TestRegistry {
    fn channel(&self, service: &'static str) -> Channel {
        let services = Arc::clone(&self.0);
        Channel::new(move |request| {
            if service == name::GATEWAY {
                let routes = services.gateway.lock().unwrap().clone().unwrap();
                return Box::pin(
                    async move { routes.oneshot(request).await.map_err(|e| match e {}) },
                );
            }
            let answer = services.others.lock().unwrap().get(service).cloned();
            Box::pin(async move {
                let Some(answer) = answer else {
                    return Err(Status::unavailable("no such service"));
                };
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await?.to_bytes();
                match answer(path, body.slice(5..)).await {
                    Ok(message) => {
                        let mut framed = BytesMut::new();
                        framed.put_u8(0);
                        framed.put_u32(u32::try_from(message.len()).unwrap());
                        framed.extend_from_slice(&message);
                        let ok = http::HeaderMap::from_iter([(
                            "grpc-status".parse().unwrap(),
                            "0".parse().unwrap(),
                        )]);
                        let body = Full::new(framed.freeze())
                            .with_trailers(async move { Some(Ok(ok)) }.boxed());
                        let mut response = http::Response::new(Body::new(body));
                        response
                            .headers_mut()
                            .insert("content-type", "application/grpc".parse().unwrap());
                        Ok(response)
                    }
                    Err(status) => Ok(status.into_http()),
                }
            })
        })
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        let mut instances = vec![(service.to_owned(), self.channel(service))];
        if service == name::GATEWAY && self.0.others.lock().unwrap().contains_key(OTHER_GATEWAY) {
            instances.push((OTHER_GATEWAY.to_owned(), self.channel(OTHER_GATEWAY)));
        }
        instances
    }
}

pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) address: String,
    /// Tokens that were marked, or whose platform was cleaned around them.
    pub(crate) marked: Arc<Mutex<Vec<String>>>,
    pub(crate) sent: mpsc::UnboundedReceiver<Sent>,
    pub(crate) server: JoinHandle<()>,
    pub(crate) fuse: Arc<Fuse>,
    services: Arc<Services>,
    _dir: tempfile::TempDir,
}

/// Tokens of the tests say whose they are: `user@platform` and anything after a dot.
pub(crate) fn token_owner(token: &str) -> Option<(String, i32)> {
    let (user, rest) = token.split_once('@')?;
    Some((user.to_owned(), rest.split('.').next()?.parse().ok()?))
}

impl World {
    pub(crate) async fn new(config: Config) -> Self {
        Self::over(config, Vec::new()).await
    }

    /// One whose store has these counts of missed deliveries when it starts.
    pub(crate) async fn over(config: Config, counts: Vec<Missed>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let services = Arc::new(Services::default());
        let store = SqliteStore::open(dir.path().join("store"), Default::default()).unwrap();
        store.prepare(SCHEMAS).await.unwrap();
        for count in counts {
            store.add(count).await.unwrap();
        }
        let deps = Deps {
            store,
            log: LocalLog::open(&dir.path().join("log"), Default::default()).unwrap(),
            presence: MemoryPresence::new(),
            registry: Arc::new(TestRegistry(Arc::clone(&services))),
            tasks: Default::default(),
            shutdown: Default::default(),
            invalidations: Default::default(),
            admins: Arc::from(["admin".to_owned()]),
        };
        let (fuse, deps) = Fuse::new(&deps);
        let marked = Arc::new(Mutex::new(Vec::new()));
        let (to_test, sent) = mpsc::unbounded_channel();
        services
            .others
            .lock()
            .unwrap()
            .insert(name::AUTH, auth_service(Arc::clone(&marked)));
        services
            .others
            .lock()
            .unwrap()
            .insert(name::MSG, msg_service(to_test));
        let gateway = Gateway::new(&deps, config, "gateway".into());
        *services.gateway.lock().unwrap() = Some(gateway.routes());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(gateway.serve(listener));
        Self {
            deps,
            address,
            marked,
            sent,
            server,
            fuse,
            services,
            _dir: dir,
        }
    }

    /// Lets a second gateway be there, which answers calls so.
    pub(crate) fn second_gateway<F>(&self, answer: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Vec<u8>, Status>> + Send + 'static,
    {
        let answer: Arc<Answer> = Arc::new(move |_, _| answer().boxed());
        let mut others = self.services.others.lock().unwrap();
        others.insert(OTHER_GATEWAY, answer);
    }

    pub(crate) async fn connect(&self, token: &str) -> Client {
        let (user, platform) = token_owner(token).unwrap();
        let query = format!(
            "sendID={user}&token={token}&platformID={platform}&operationID=o&isBackground=false&sdkType=js&isMsgResp=true"
        );
        let mut client = Client {
            socket: self.open(&query).await,
            user,
        };
        assert_eq!(
            client.text().await,
            r#"{"errCode":0,"errMsg":"","errDlt":""}"#
        );
        client
    }

    pub(crate) async fn open(&self, query: &str) -> Socket {
        tokio_tungstenite::connect_async(format!("ws://{}/?{query}", self.address))
            .await
            .unwrap()
            .0
    }

    /// Makes a group at this version with these members: who, the version that let him in, and the one that let him out.
    pub(crate) async fn group(&self, id: &str, version: i64, members: &[(&str, i64, i64)]) {
        let store = &self.deps.store;
        store.add(rows::group(id, "a", 0, version)).await.unwrap();
        for (who, joined, left) in members {
            self.member(id, who, *joined, *left).await;
        }
    }

    pub(crate) async fn member(&self, group: &str, who: &str, joined: i64, left: i64) {
        let row = rows::member(group, who, joined, left);
        self.deps.store.add(row).await.unwrap();
    }

    pub(crate) async fn deliver(&self, items: Vec<Item>) -> DeliverResp {
        let mut client = DeliveryClient::new(self.deps.channel(name::GATEWAY));
        client
            .deliver(Context::internal("push").request(DeliverReq { items }))
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn platforms(&self, user: &str) -> Vec<i32> {
        let found = self
            .deps
            .presence
            .lookup(&[user.parse().unwrap()])
            .await
            .unwrap();
        found.users[0]
            .platforms()
            .iter()
            .map(|p| p.number())
            .collect()
    }
}

fn auth_service(marked: Arc<Mutex<Vec<String>>>) -> Arc<Answer> {
    Arc::new(move |path, body| {
        let result = match path.rsplit('/').next().unwrap() {
            "parseToken" => {
                let token = auth::ParseTokenReq::decode(body).unwrap().token;
                match token_owner(&token).filter(|_| !token.contains("kicked")) {
                    Some((user_id, platform_id)) => Ok(auth::ParseTokenResp {
                        user_id,
                        platform_id,
                        expire_time_seconds: 1,
                    }
                    .encode_to_vec()),
                    None => Err(to_status(&Error::from(Code::TOKEN_KICKED))),
                }
            }
            "invalidateToken" => {
                marked.lock().unwrap().push(
                    auth::InvalidateTokenReq::decode(body)
                        .unwrap()
                        .preserved_token,
                );
                Ok(Vec::new())
            }
            "kickTokens" => {
                marked
                    .lock()
                    .unwrap()
                    .extend(auth::KickTokensReq::decode(body).unwrap().tokens);
                Ok(Vec::new())
            }
            other => Err(Status::unimplemented(other.to_owned())),
        };
        Box::pin(async move { result })
    })
}

/// Answers sends when the test says so, and everything else with an empty message.
fn msg_service(sent: mpsc::UnboundedSender<Sent>) -> Arc<Answer> {
    Arc::new(move |path, body| {
        let sent = sent.clone();
        Box::pin(async move {
            if !path.ends_with("/SendMsg") {
                return Ok(Vec::new());
            }
            let client_msg_id = msg::SendMsgReq::decode(body)
                .unwrap()
                .msg_data
                .unwrap()
                .client_msg_id;
            let (answer, result) = tokio::sync::oneshot::channel();
            sent.send(Sent {
                client_msg_id: client_msg_id.clone(),
                answer,
            })
            .ok()
            .unwrap();
            match result.await.unwrap() {
                Ok(()) => Ok(msg::SendMsgResp {
                    client_msg_id,
                    ..Default::default()
                }
                .encode_to_vec()),
                Err(e) => Err(to_status(&e)),
            }
        })
    })
}

pub(crate) struct Client {
    pub(crate) socket: Socket,
    pub(crate) user: String,
}

impl Client {
    pub(crate) async fn request(&mut self, req_identifier: i32, operation_id: &str, data: Vec<u8>) {
        let request = Request {
            req_identifier,
            send_id: self.user.clone(),
            operation_id: operation_id.to_owned(),
            msg_incr: operation_id.to_owned(),
            data: data.into(),
            ..Request::default()
        };
        self.socket
            .send(Message::Binary(JSON.encode_request(&request)))
            .await
            .unwrap();
    }

    pub(crate) async fn response(&mut self) -> Response {
        match self.next().await {
            Some(Message::Binary(frame)) => JSON.decode_response(&frame, &Limits::CLIENT).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    /// The next message; `None` is the end of the stream without a close frame.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), self.socket.next());
        next.await.expect("nothing came").and_then(Result::ok)
    }

    /// Asks for something that is answered at once; returns what came before the answer.
    pub(crate) async fn until_answered(&mut self) -> Vec<Response> {
        self.request(2004, "marker", Vec::new()).await;
        let mut before = Vec::new();
        loop {
            let response = self.response().await;
            if response.operation_id == "marker" {
                return before;
            }
            before.push(response);
        }
    }
}

pub(crate) const JSON: Codec = Codec {
    encoding: magpie_envelope::Encoding::Json,
    compressed: false,
};

pub(crate) fn body(client_msg_id: &str, recv: &str) -> Vec<u8> {
    MsgData {
        send_id: "u1".to_owned(),
        recv_id: recv.to_owned(),
        client_msg_id: client_msg_id.to_owned(),
        session_type: 1,
        ..MsgData::default()
    }
    .encode_to_vec()
}

pub(crate) fn item(offset: u64, operation_id: &str, users: &[&str]) -> Item {
    let msg = MsgData {
        client_msg_id: format!("m{offset}"),
        ..MsgData::default()
    };
    Item {
        conversation_id: "si_u1_u2".to_owned(),
        msg: msg.encode_to_vec().into(),
        operation_id: operation_id.to_owned(),
        user_ids: users.iter().map(|u| (*u).to_owned()).collect(),
        offset,
        ..Item::default()
    }
}
