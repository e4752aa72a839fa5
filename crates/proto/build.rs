//! Compiles `proto/` without a system `protoc`: messages, gRPC clients and servers, the descriptor set, and, from the
//! descriptors, the serde attributes that give every `openim.*` message its JSON form (see `src/json.rs`). For the tests
//! it also writes a table of all these messages and their Rust types.

use std::error::Error;
use std::path::{Path, PathBuf};

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost::Message as _;
use prost_build::Config;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());

    let set = protox::compile(sources(root)?, [root])?;
    std::fs::write(out.join("descriptor.bin"), set.encode_to_vec())?;
    std::fs::write(out.join("messages.rs"), message_table(&set))?;

    let mut config = Config::new();
    config.bytes(["."]).btree_map(["."]);
    derive_json(&mut config, &set);
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds_with_config(set, config)?;
    Ok(())
}

/// Every `.proto` file, sorted so that builds are reproducible.
fn sources(root: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for folder in ["openim", "magpie"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "proto") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn derive_json(config: &mut Config, set: &FileDescriptorSet) {
    let derive = "#[derive(serde::Serialize, serde::Deserialize)]";
    config.message_attribute(".openim", derive);
    config.enum_attribute(".openim", derive);
    for file in &set.file {
        let package = format!(".{}", file.package());
        if !package.starts_with(".openim.") {
            continue;
        }
        let wrappers = package == ".openim.protobuf";
        if !wrappers {
            config.message_attribute(&package, "#[serde(default)]");
        }
        for message in &file.message_type {
            let path = format!("{package}.{}", message.name());
            if wrappers {
                let wrapper = message.name().ends_with("Value");
                config.message_attribute(
                    &path,
                    if wrapper {
                        "#[serde(transparent)]"
                    } else {
                        "#[serde(default)]"
                    },
                );
            }
            derive_fields(config, message, &path);
        }
    }
}

fn derive_fields(config: &mut Config, message: &DescriptorProto, path: &str) {
    for nested in &message.nested_type {
        derive_fields(config, nested, &format!("{path}.{}", nested.name()));
    }
    for oneof in &message.oneof_decl {
        // A path without a leading dot is a suffix, so the variants below the oneof do not match it.
        let oneof = format!("{path}.{}", oneof.name());
        config.field_attribute(oneof.trim_start_matches('.'), "#[serde(flatten)]");
    }
    for field in &message.field {
        let name = field.name();
        let (parent, form) = match (field.oneof_index, field.proto3_optional()) {
            (Some(i), false) => (
                format!("{path}.{}", message.oneof_decl[i as usize].name()),
                "",
            ),
            _ => (path.to_owned(), form(message, field)),
        };
        config.field_attribute(
            format!("{parent}.{name}"),
            format!("#[serde(rename = \"{name}\"{form})]"),
        );
    }
}

/// The serde options that a field's kind needs beside its name.
fn form(message: &DescriptorProto, field: &FieldDescriptorProto) -> &'static str {
    match (field.label(), field.r#type()) {
        (Label::Repeated, Type::Bytes) => {
            panic!(
                "no JSON form for repeated bytes: {}.{}",
                message.name(),
                field.name()
            )
        }
        (Label::Repeated, _) if is_map(message, field) => {
            ", skip_serializing_if = \"std::collections::BTreeMap::is_empty\", deserialize_with = \"crate::json::field::map\""
        }
        (Label::Repeated, _) => ", with = \"crate::json::field::list\"",
        (_, Type::Bytes) => ", with = \"crate::json::field::base64\"",
        (_, Type::Message) => "",
        _ if field.proto3_optional() => "",
        _ => ", deserialize_with = \"crate::json::field::scalar\"",
    }
}

fn is_map(message: &DescriptorProto, field: &FieldDescriptorProto) -> bool {
    let name = field.type_name().rsplit('.').next();
    message
        .nested_type
        .iter()
        .any(|n| is_entry(n) && Some(n.name()) == name)
}

/// Whether a nested message is only the form that a map has on the wire.
fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

/// `each_message!(m)` expands to `m! { "full.name" => rust::Type; .. }` with all messages of `openim.*`.
fn message_table(set: &FileDescriptorSet) -> String {
    let mut rows = String::new();
    for file in &set.file {
        let package = file.package();
        if package.starts_with("openim.") {
            let module = format!("magpie_proto::{}", package.replace('.', "::"));
            table_rows(&mut rows, &file.message_type, package, &module);
        }
    }
    format!("macro_rules! each_message {{ ($m:ident) => {{ $m! {{\n{rows}}} }} }}\n")
}

fn table_rows(rows: &mut String, messages: &[DescriptorProto], scope: &str, module: &str) {
    for message in messages.iter().filter(|m| !is_entry(m)) {
        let name = message.name();
        *rows += &format!(
            "\"{scope}.{name}\" => {module}::{};\n",
            name.to_upper_camel_case()
        );
        let (scope, module) = (
            format!("{scope}.{name}"),
            format!("{module}::{}", name.to_snake_case()),
        );
        table_rows(rows, &message.nested_type, &scope, &module);
    }
}
