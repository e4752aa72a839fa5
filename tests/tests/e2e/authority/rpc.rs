//! Calls of RPCs that are known by their descriptors only.

use std::sync::LazyLock;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(magpie_proto::DESCRIPTOR_SET).expect("the build made it")
});

pub(super) struct Rpc {
    path: String,
    takes: MessageDescriptor,
}

impl Rpc {
    pub(super) fn new(service: &str, method: &str, takes: &str) -> Self {
        Self {
            path: format!("/{service}/{method}"),
            takes: POOL.get_message_by_name(takes).expect("a message"),
        }
    }

    pub(super) async fn call(
        &self,
        channel: Channel,
        token: Option<&str>,
        body: &Value,
    ) -> Result<(), Status> {
        let mut body = body.clone();
        wrap(&self.takes, &mut body);
        let message = DynamicMessage::deserialize(self.takes.clone(), &body);
        let message = message.unwrap_or_else(|e| panic!("{}: {e}", self.path));
        let mut request = Request::new(message.encode_to_vec());
        let metadata = request.metadata_mut();
        metadata.insert("operationid", "test".parse().expect("a value"));
        if let Some(token) = token {
            metadata.insert("token", token.parse().expect("a value"));
        }
        let mut client = Grpc::new(channel);
        client
            .ready()
            .await
            .map_err(|e| Status::unknown(e.to_string()))?;
        let path = self.path.parse().expect("a path");
        client.unary(request, path, Bytes).await.map(drop)
    }
}

/// Turns the bare values of wrapper messages, as REST has them, into messages.
fn wrap(message: &MessageDescriptor, body: &mut Value) {
    for field in message.fields() {
        let Kind::Message(inner) = field.kind() else {
            continue;
        };
        match body.get_mut(field.name()) {
            Some(Value::Array(all)) => all.iter_mut().for_each(|one| wrap(&inner, one)),
            Some(members @ Value::Object(_)) if !field.is_map() => wrap(&inner, members),
            Some(value) if inner.package_name() == "openim.protobuf" => {
                *value = json!({ "value": value.take() });
            }
            _ => {}
        }
    }
}

/// Encoded messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        let all = bytes::Buf::remaining(buffer);
        bytes::Buf::advance(buffer, all);
        Ok(Some(()))
    }
}
