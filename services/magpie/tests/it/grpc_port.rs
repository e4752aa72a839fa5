//! The gRPC port: who gets in.

use magpie_proto::openim::{
    auth::{GetAdminTokenReq, auth_client::AuthClient},
    user::{AccountCheckReq, user_client::UserClient},
};
use tonic::{Code, Request, transport::Channel};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::process::Server;

fn check(token: Option<&str>) -> Request<AccountCheckReq> {
    let mut request = Request::new(AccountCheckReq {
        check_user_i_ds: vec!["imAdmin".to_owned()],
    });
    let metadata = request.metadata_mut();
    metadata.insert("operationid", "op".parse().expect("a value"));
    if let Some(token) = token {
        metadata.insert("token", token.parse().expect("a value"));
    }
    request
}

async fn connect(server: &Server) -> Channel {
    let endpoint = Channel::from_shared(server.url("grpc").to_owned()).expect("a URL");
    endpoint.connect().await.expect("a connection")
}

#[tokio::test]
async fn a_call_needs_a_token_and_the_token_route_gives_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let channel = connect(&server).await;
    let mut users = UserClient::new(channel.clone());
    let code = |answer: Result<_, tonic::Status>| answer.map(drop).unwrap_err().code();
    assert_eq!(
        code(users.account_check(check(None)).await),
        Code::Unauthenticated
    );
    assert_eq!(
        code(users.account_check(check(Some("x.y.z"))).await),
        Code::Unauthenticated
    );

    let secret = std::fs::read_to_string(dir.path().join("secret")).unwrap();
    let request = GetAdminTokenReq {
        secret: secret.trim().to_owned(),
        user_id: "imAdmin".to_owned(),
    };
    let answer = AuthClient::new(channel)
        .get_admin_token(request)
        .await
        .unwrap();
    let token = answer.into_inner().token;
    let found = users
        .account_check(check(Some(&token)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.results.len(), 1);
}

#[tokio::test]
async fn reflection_names_the_services_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let channel = connect(&server).await;
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection
        .server_reflection_info(futures::stream::iter([request]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}")
    };
    let names: Vec<_> = list.service.into_iter().map(|s| s.name).collect();
    for (service, _) in magpie_service::grpc::SERVICES {
        assert!(
            names.iter().any(|name| name == service),
            "{service} of {names:?}"
        );
    }
    let internal = names.iter().find(|name| name.starts_with("magpie."));
    assert_eq!(internal, None, "it is not served here");
}

#[tokio::test]
async fn health_is_open_and_internal_packages_are_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let channel = connect(&server).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let answer = health.check(request).await.unwrap().into_inner();
    assert_eq!(answer.status(), tonic_health::ServingStatus::Serving.into());
    let mut delivery = magpie_proto::magpie::gateway::delivery_client::DeliveryClient::new(channel);
    let refused = delivery
        .deliver(Request::new(Default::default()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}
