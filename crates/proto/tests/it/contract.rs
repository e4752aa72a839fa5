//! Descriptors against the tables of the contract, in both directions.

use std::collections::BTreeSet;

use magpie_proto::DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

type Rows = BTreeSet<Vec<String>>;

fn files() -> Vec<FileDescriptorProto> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).unwrap();
    set.file
        .into_iter()
        .filter(|f| f.package().starts_with("openim."))
        .collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.iter().map(|c| (*c).to_owned()).collect()
}

fn table(text: &str) -> Rows {
    let mut rows = Rows::new();
    for record in csv::Reader::from_reader(text.as_bytes()).records() {
        let record = record.unwrap();
        assert!(
            rows.insert(record.iter().map(ToOwned::to_owned).collect()),
            "twice: {record:?}"
        );
    }
    rows
}

#[track_caller]
fn assert_same(ours: &Rows, contract: &Rows) {
    let missing: Vec<_> = contract.difference(ours).collect();
    let extra: Vec<_> = ours.difference(contract).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing: {missing:#?}\nextra: {extra:#?}"
    );
}

fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|o| o.map_entry())
}

/// The type as the tables write it.
fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        scalar => scalar
            .as_str_name()
            .trim_start_matches("TYPE_")
            .to_lowercase(),
    }
}

fn field_row(
    package: &str,
    name: &str,
    message: &DescriptorProto,
    field: &FieldDescriptorProto,
) -> Vec<String> {
    let own_entry = |m: &&DescriptorProto| {
        is_entry(m)
            && field
                .type_name()
                .ends_with(&format!(".{name}.{}", m.name()))
    };
    let kind = match message.nested_type.iter().find(own_entry) {
        Some(entry) => format!(
            "map<{},{}>",
            type_name(&entry.field[0]),
            type_name(&entry.field[1])
        ),
        None => type_name(field),
    };
    let label = match field.label() {
        Label::Repeated => "repeated",
        _ if field.proto3_optional() => "optional",
        _ => "singular",
    };
    let oneof = match field.oneof_index {
        Some(i) if !field.proto3_optional() => {
            message.oneof_decl[usize::try_from(i).unwrap()].name()
        }
        _ => "",
    };
    row([
        package,
        name,
        field.name(),
        &field.number().to_string(),
        &kind,
        label,
        oneof,
    ])
}

fn message_rows(rows: &mut Rows, package: &str, name: &str, message: &DescriptorProto) {
    if message.field.is_empty() {
        rows.insert(row([package, name, "", "", "", "", ""]));
    }
    rows.extend(
        message
            .field
            .iter()
            .map(|f| field_row(package, name, message, f)),
    );
    for nested in message.nested_type.iter().filter(|m| !is_entry(m)) {
        message_rows(rows, package, &format!("{name}.{}", nested.name()), nested);
    }
}

#[test]
fn messages_and_fields_are_those_of_the_contract() {
    let mut ours = Rows::new();
    for file in files() {
        for message in &file.message_type {
            message_rows(&mut ours, file.package(), message.name(), message);
        }
    }
    assert_same(&ours, &table(include_str!("../../contract/messages.csv")));
}

#[test]
fn services_and_methods_are_those_of_the_contract() {
    let mut ours = Rows::new();
    for file in files() {
        for service in &file.service {
            for m in &service.method {
                assert!(!m.client_streaming() && !m.server_streaming());
                let (input, output) = (
                    m.input_type().trim_start_matches('.'),
                    m.output_type().trim_start_matches('.'),
                );
                ours.insert(row([
                    file.package(),
                    service.name(),
                    m.name(),
                    input,
                    output,
                    "none",
                ]));
            }
        }
    }
    assert_same(&ours, &table(include_str!("../../contract/services.csv")));
}

#[test]
fn enums_are_those_of_the_contract() {
    let mut ours = Rows::new();
    for file in files() {
        assert!(file.message_type.iter().all(|m| m.enum_type.is_empty()));
        for e in &file.enum_type {
            for v in &e.value {
                ours.insert(row([
                    file.package(),
                    e.name(),
                    v.name(),
                    &v.number().to_string(),
                ]));
            }
        }
    }
    assert_same(&ours, &table(include_str!("../../contract/enums.csv")));
}

#[test]
fn every_file_is_proto3() {
    assert!(files().iter().all(|f| f.syntax() == "proto3"));
}

#[test]
fn no_message_has_two_fields_that_differ_in_case_alone() {
    for file in files() {
        for message in &file.message_type {
            let names: BTreeSet<_> = message
                .field
                .iter()
                .map(|f| f.name().to_lowercase())
                .collect();
            assert_eq!(names.len(), message.field.len(), "{}", message.name());
        }
    }
}
