//! The RPCs of the public contract, as the descriptor set has them.

use std::sync::LazyLock;

use magpie_service::grpc::SERVICES;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// The descriptors of the contract. They are our own, made by the build.
pub(crate) static DESCRIPTORS: LazyLock<FileDescriptorSet> =
    LazyLock::new(|| FileDescriptorSet::decode(magpie_proto::DESCRIPTOR_SET).unwrap_or_default());

/// One RPC.
#[derive(Debug, Clone)]
pub struct Rpc {
    /// Full name of its gRPC service.
    pub service: &'static str,
    /// The service in the registry.
    pub owner: &'static str,
    /// Its name in the contract.
    pub name: String,
    /// Its generated method.
    pub method: String,
    /// Full name of the message that it takes.
    pub takes: String,
    /// Full name of the message that it gives.
    pub gives: String,
}

/// All of them.
pub fn rpcs() -> Vec<Rpc> {
    let mut rpcs = Vec::new();
    for file in &DESCRIPTORS.file {
        for service in &file.service {
            let full = format!("{}.{}", file.package(), service.name());
            let Some((full, owner)) = SERVICES.iter().find(|(known, _)| *known == full) else {
                continue;
            };
            rpcs.extend(service.method.iter().map(|m| Rpc {
                service: full,
                owner,
                name: m.name().to_owned(),
                method: snake(m.name()),
                takes: m.input_type().trim_start_matches('.').to_owned(),
                gives: m.output_type().trim_start_matches('.').to_owned(),
            }));
        }
    }
    rpcs
}

/// The generated name of a method: a word starts at an upper-case letter that follows or precedes a lower-case one.
fn snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (i, letter) in letters.iter().enumerate() {
        let after_lower = i > 0 && letters[i - 1].is_lowercase();
        let before_lower = i > 0 && letters.get(i + 1).is_some_and(|c| c.is_lowercase());
        if letter.is_uppercase() && (after_lower || before_lower) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
