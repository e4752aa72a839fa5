//! Opens the client: what every call of this process promises, and what the server must be for it.

use std::time::Duration;

use magpie_store::StoreError;
use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::{
        ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria,
        WriteConcern,
    },
};
use secrecy::ExposeSecret as _;

use crate::{
    Options,
    error::{code, unavailable},
    options::unusable,
};

/// The oldest supported release.
const OLDEST: i64 = 6;

const COMMAND_NOT_FOUND: i32 = 59;

/// Connects and asks the server what it is.
pub(crate) async fn connect(options: &Options) -> Result<Database, StoreError> {
    let client_options = client_options(options).await?;
    tracing::info!(
        hosts = ?client_options.hosts,
        database = options.database,
        tls = client_options.tls.is_some(),
        "connecting to MongoDB"
    );
    let client = Client::with_options(client_options).map_err(|e| unavailable(&e))?;
    let settings = DatabaseOptions::builder()
        .read_concern(ReadConcern::majority())
        .write_concern(write_concern(options.call_timeout))
        .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
        .build();
    let database = client.database_with_options(&options.database, settings);
    check_server(&database).await?;
    Ok(database)
}

/// A write is answered once a majority has it in its journals, or refused shortly before the call would give up.
pub(crate) fn write_concern(timeout: Duration) -> WriteConcern {
    WriteConcern::builder()
        .w(mongodb::options::Acknowledgment::Majority)
        .journal(true)
        .w_timeout(timeout.mul_f32(0.8))
        .build()
}

async fn client_options(options: &Options) -> Result<ClientOptions, StoreError> {
    let uri = options.uri.expose_secret();
    let mut parsed = ClientOptions::parse(uri).await.map_err(|e| {
        let reason = unusable(uri, &e);
        StoreError::Unavailable(format!("the MongoDB URI is not usable: {reason}"))
    })?;
    parsed.app_name = Some(options.app_name.clone());
    parsed.connect_timeout = Some(options.connect_timeout);
    parsed.server_selection_timeout = Some(options.server_selection_timeout);
    parsed.heartbeat_freq = Some(options.heartbeat);
    parsed.max_pool_size = Some(options.pool_size.max(1));
    Ok(parsed)
}

async fn check_server(database: &Database) -> Result<(), StoreError> {
    let hello = ask(database, doc! { "hello": 1 }).await?;
    let build = ask(database, doc! { "buildInfo": 1 }).await?;
    let is_router = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    if !is_router && !hello.contains_key("setName") {
        tracing::warn!(
            "this MongoDB server is no member of a replica set: a write is safe on one machine only, and one whose answer is \
             lost is not repeated; start it with --replSet, one member is enough for that"
        );
    }
    let version = build.get_str("version").unwrap_or("unknown");
    let major = version
        .split('.')
        .next()
        .and_then(|v| v.parse::<i64>().ok());
    if major.is_none_or(|major| major < OLDEST) {
        tracing::warn!(version, "MongoDB before 6.0 is not supported");
    }
    tracing::info!(version, "connected to MongoDB");
    Ok(())
}

/// Runs a command; a server that does not know it answers nothing.
async fn ask(database: &Database, command: Document) -> Result<Document, StoreError> {
    match database.run_command(command).await {
        Err(e) if code(&e) == Some(COMMAND_NOT_FOUND) => Ok(Document::new()),
        answer => answer.map_err(|e| unavailable(&e)),
    }
}
