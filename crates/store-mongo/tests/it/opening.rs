//! Connecting: wrong connection strings, and that no password is ever printed.

use magpie_store::StoreError;
use magpie_store_mongo::{MongoStore, Options};

use crate::server::{impatient, shared_uri};

async fn why(uri: &str) -> String {
    match MongoStore::connect(impatient(uri)).await {
        Err(StoreError::Unavailable(why)) => why,
        Err(e) => panic!("{e}"),
        Ok(_) => panic!("connected to {uri}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_connection_strings_are_refused_without_the_password() {
    assert!(
        why("localhost:27017")
            .await
            .contains("the MongoDB URI is not usable: ")
    );
    for uri in [
        "mongodb://user:top@secret@host/",
        "mongodb://user:secret@host:notaport/",
        "mongodb://user:secret@host/?tls=perhaps",
        "user:secret@host",
        "mongodb://user:secret@127.0.0.1:1/?directConnection=true",
    ] {
        let why = why(uri).await;
        assert!(!why.contains("secret"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_do_not_print_the_connection_string() {
    let options = Options::new("mongodb://user:secret@host/");
    assert!(!format!("{options:?}").contains("secret"));
    let connected = MongoStore::connect(impatient(&shared_uri())).await;
    assert!(connected.is_ok());
}
