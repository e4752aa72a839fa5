//! `magpie admin`: what an application's back end does, from the command line and over the same REST routes.

mod http;

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use magpie_service::config::Secret;
use serde_json::{Value, json};
use tokio::runtime::{self, Runtime};

use self::http::Client;
#[cfg(feature = "cluster")]
use crate::process::cluster;
use crate::{
    cli::{Admin, AdminCommand, Server, Settings},
    config::{self, Config},
    output::{Failure, reachable, say},
    process::data,
};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Text message.
const TEXT: i32 = 101;

/// Runs one command.
pub(crate) fn run(args: &Admin) -> Result<ExitCode, Failure> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    let config = config(&args.server)?;
    if let AdminCommand::Stats { ops } = &args.command {
        if ops.is_none() && args.server.api.is_some() {
            return Err(Failure::Usage(
                "stats come from the operators' port, not from the REST API; name it with --ops"
                    .to_owned(),
            ));
        }
        let ops = address("--ops", ops.as_deref(), config.listen.ops)?;
        runtime.block_on(stats(&ops))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(done) = of_cluster(&args.command, &config, &runtime) {
        return done;
    }
    let access = Access::of(&args.server)?;
    runtime.block_on(async {
        let api = access.log_in().await?;
        command(&args.command, &api, &access.admin).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a command that uses the engines of a cluster; `None` if it is another one.
#[cfg_attr(
    not(feature = "cluster"),
    allow(
        unused_variables,
        reason = "without these engines they are only refused"
    )
)]
fn of_cluster(
    command: &AdminCommand,
    config: &Config,
    runtime: &Runtime,
) -> Option<Result<ExitCode, Failure>> {
    #[cfg(feature = "cluster")]
    return match command {
        AdminCommand::Status => {
            let shown = runtime.block_on(cluster::status::show(config));
            let of_cluster_only = |failure| match failure {
                Failure::Usage(text) => Failure::Usage(format!(
                    "{text}; `admin status` is about a cluster; of one process with embedded engines see `magpie admin stats`"
                )),
                other => other,
            };
            let code = |good| match good {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            };
            Some(shown.map(code).map_err(of_cluster_only))
        }
        AdminCommand::Repartition { partitions, wait } => {
            let wait = Duration::from_secs(*wait);
            let done = runtime.block_on(cluster::repartition::run(config, *partitions, wait));
            Some(done.map(|()| ExitCode::SUCCESS))
        }
        _ => None,
    };
    #[cfg(not(feature = "cluster"))]
    return match command {
        AdminCommand::Status | AdminCommand::Repartition { .. } => Some(Err(Failure::Usage(
            "this build has no cluster engines (cargo feature `cluster`)".to_owned(),
        ))),
        _ => None,
    };
}

/// What it takes to be a server's administrator.
pub(crate) struct Access {
    api: String,
    secret: Secret,
    admin: String,
}

impl Access {
    /// Reads the secret from where the server has it.
    pub(crate) fn of(server: &Server) -> Result<Self, Failure> {
        let config = config(server)?;
        Ok(Self {
            api: address("--api", server.api.as_deref(), config.listen.api)?,
            secret: data::secret(&config)?,
            admin: config
                .shared
                .admin_user_ids
                .first()
                .cloned()
                .unwrap_or_default(),
        })
    }

    /// Gets a token.
    pub(crate) async fn log_in(&self) -> anyhow::Result<Api> {
        let mut api = Api {
            client: Client::new(&self.api)?,
            token: None,
        };
        let token = api
            .post(
                "/auth/get_admin_token",
                json!({ "secret": self.secret.expose(), "userID": self.admin }),
            )
            .await?;
        api.token = Some(text(&token, "token")?);
        Ok(api)
    }
}

/// The configuration of the server that is named.
fn config(server: &Server) -> Result<Config, Failure> {
    let settings = Settings {
        config: server.config.clone(),
        data_dir: server.data_dir.clone(),
        secret_file: server.secret_file.clone(),
    };
    Ok(config::load(&settings, None)?.config)
}

/// Where the server is: as named, else where its configuration has it listen.
fn address(flag: &str, named: Option<&str>, configured: SocketAddr) -> Result<String, Failure> {
    match named {
        Some(url) => Ok(url.to_owned()),
        None if configured.port() == 0 => Err(Failure::Usage(format!(
            "the server listens on a free port; name it with {flag}"
        ))),
        None => Ok(format!("http://{}", reachable(configured))),
    }
}

async fn command(command: &AdminCommand, api: &Api, admin: &str) -> anyhow::Result<()> {
    match command {
        AdminCommand::Token { user: None, .. } => say(api.token.as_deref().unwrap_or_default()),
        AdminCommand::Token {
            user: Some(user),
            platform,
        } => {
            let answer = api
                .post(
                    "/auth/get_user_token",
                    json!({ "userID": user, "platformID": platform }),
                )
                .await?;
            say(&text(&answer, "token")?);
        }
        AdminCommand::CreateUser {
            user,
            nickname,
            face_url,
        } => {
            let nickname = nickname.as_deref().unwrap_or(user);
            let users =
                json!({ "users": [{ "userID": user, "nickname": nickname, "faceURL": face_url }] });
            api.post("/user/user_register", users).await?;
            say(&format!("created user {user}"));
        }
        AdminCommand::Send {
            text,
            to,
            group,
            from,
        } => {
            let from = from.as_deref().unwrap_or(admin);
            let answer = api
                .post(
                    "/msg/send_msg",
                    json!({
                        "sendID": from,
                        "senderNickname": from,
                        "senderPlatformID": 10,
                        "recvID": to.as_deref().unwrap_or_default(),
                        "groupID": group.as_deref().unwrap_or_default(),
                        "sessionType": if group.is_some() { 3 } else { 1 },
                        "contentType": TEXT,
                        "content": { "content": text },
                    }),
                )
                .await?;
            let id = answer
                .get("serverMsgID")
                .and_then(Value::as_str)
                .unwrap_or_default();
            say(&format!(
                "sent message {id} to {}",
                to.as_deref().or(group.as_deref()).unwrap_or_default()
            ));
        }
        AdminCommand::Stats { .. } | AdminCommand::Status | AdminCommand::Repartition { .. } => {}
    }
    Ok(())
}

/// The REST API with the envelope of its answers.
pub(crate) struct Api {
    client: Client,
    token: Option<String>,
}

impl Api {
    /// Calls a route; the `data` of its answer.
    pub(crate) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let operation = format!("admin-{:016x}", rand::random::<u64>());
        let mut headers = vec![
            ("operationID", operation.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend(self.token.as_deref().map(|token| ("token", token)));
        let (status, answer) = tokio::time::timeout(
            TIMEOUT,
            self.client.call("POST", path, &headers, body.to_string()),
        )
        .await
        .map_err(|_elapsed| anyhow!("{path}: no answer within {} s", TIMEOUT.as_secs()))??;
        let mut envelope: Value = serde_json::from_slice(&answer)
            .with_context(|| format!("{path}: HTTP {status} without a JSON answer"))?;
        match envelope.get("errCode").and_then(Value::as_i64) {
            Some(0) => Ok(envelope
                .get_mut("data")
                .map(Value::take)
                .unwrap_or_default()),
            code => {
                let field = |name| {
                    envelope
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                bail!(
                    "{path}: error {} {}: {}",
                    code.unwrap_or_default(),
                    field("errMsg"),
                    field("errDlt")
                )
            }
        }
    }
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    answer
        .get(field)
        .and_then(Value::as_str)
        .map(ToOwned::to_owned)
        .ok_or_else(|| anyhow!("the answer has no {field}"))
}

async fn stats(ops: &str) -> anyhow::Result<()> {
    say(&format!("build  {}", get(ops, "/buildinfo").await?));
    say(&format!("state  {}", get(ops, "/readyz").await?));
    let metrics = get(ops, "/metrics").await?;
    let shown =
        |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.contains("_bucket{");
    for line in metrics.lines().filter(shown) {
        say(line);
    }
    Ok(())
}

/// A page of the operators' port.
pub(crate) async fn get(ops: &str, path: &str) -> anyhow::Result<String> {
    let client = Client::new(ops)?;
    let (status, body) =
        tokio::time::timeout(TIMEOUT, client.call("GET", path, &[], String::new()))
            .await
            .map_err(|_elapsed| anyhow!("{path}: no answer within {} s", TIMEOUT.as_secs()))??;
    if status == 404 {
        bail!(
            "{path}: not found; --ops is the operators' port, which the server's first lines name"
        );
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}
