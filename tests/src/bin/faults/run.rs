//! A run: devices at work, one nemesis after the other, and after each what is wrong.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use magpie_proto::openim::sdkws::PullMessageBySeqsResp;
use magpie_tests::Rest;
use magpie_tests::evidence::{Evidence, Fault, Kind, Pull, Row};
use magpie_tests::load::row;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::device::Device;
use crate::identity::{Identity, Stage, pull_request};
use crate::nemesis::{Nemesis, Scene};
use crate::reader::read;
use crate::table::Round;
use crate::world::{World, text};

/// How long everything may take to work again after a repair.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long it may take until everything is acknowledged, stored, or with everybody.
const SETTLE: Duration = Duration::from_secs(60);
/// Load without any fault between two.
const CALM: Duration = Duration::from_secs(3);
/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(20);
/// Messages of one pull.
const PULL: i64 = 100;

/// See the module.
pub(crate) struct Run {
    pub(crate) world: Arc<World>,
    stage: Arc<Stage>,
    devices: Vec<Arc<Device>>,
    /// One of each conversation, which only pulls.
    readers: Vec<Identity>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// By conversation: what is stored, as far as it was pulled.
    stored: BTreeMap<String, Vec<Row>>,
    /// By conversation: up to where that was judged.
    settled: BTreeMap<String, i64>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Run {
    /// Registers users, two devices each, and lets them send so many messages per second together.
    pub(crate) async fn start(world: Arc<World>, pairs: usize, rate: f64) -> anyhow::Result<Self> {
        let stage = Arc::new(Stage::default());
        let admin = world.admin().await?;
        let names: Vec<[String; 2]> = (0..pairs)
            .map(|n| [format!("ann{n}"), format!("bob{n}")])
            .collect();
        let users: Vec<_> = names
            .iter()
            .flatten()
            .map(|id| json!({"userID": id, "nickname": id, "faceURL": ""}))
            .collect();
        admin
            .data("/user/user_register", &json!({"users": users}))
            .await;
        let pause = Duration::from_secs_f64(pairs as f64 * 4.0 / rate);
        let (mut devices, mut readers) = (Vec::new(), Vec::new());
        for [ann, bob] in &names {
            for (user, peer) in [(ann, bob), (bob, ann)] {
                for platform in [5, 2] {
                    let identity = identity(&admin, user, peer, platform).await?;
                    devices.push(Arc::new(Device::new(identity, &stage, pause)));
                }
            }
            readers.push(identity(&admin, ann, bob, 4).await?);
        }
        let mut tasks = vec![tokio::spawn(show_gateways(
            Arc::clone(&world),
            Arc::clone(&stage),
        ))];
        tasks.extend(devices.iter().map(|d| tokio::spawn(Arc::clone(d).run())));
        let marks = devices.iter().step_by(4);
        tasks.extend(marks.map(|d| tokio::spawn(read(Arc::clone(&world), Arc::clone(d)))));
        Ok(Self {
            world,
            stage,
            devices,
            readers,
            tasks,
            stored: BTreeMap::new(),
            settled: BTreeMap::new(),
        })
    }

    /// Waits until messages flow, then says that the calm has begun.
    pub(crate) async fn warm_up(&self) -> anyhow::Result<()> {
        self.mark();
        self.flows()
            .await
            .context("no message flows at the start")?;
        Ok(())
    }

    /// One nemesis, from the fault to the checked end.
    pub(crate) async fn round(
        &mut self,
        nemesis: Nemesis,
        chance: &mut StdRng,
    ) -> anyhow::Result<Round> {
        let before = self.counts();
        for device in &self.devices {
            device.log().take_slowest();
        }
        self.stage.trouble.store(true, Ordering::Relaxed);
        let mut faults: Vec<Fault> = Vec::new();
        let mut missed = Vec::new();
        if let Err(e) = nemesis.strike(&self.world, chance, self).await {
            missed.push(format!("{e:#}"));
        }
        self.mark();
        let repaired = Instant::now();
        if let Err(e) = self.flows().await {
            missed.push(format!("{e:#}"));
        }
        let recovery = repaired.elapsed();
        if timeout(RECOVERY, self.world.all_ready()).await.is_err() {
            missed.push("not every process is ready again".to_owned());
        }
        let slowest = self.devices.iter().map(|d| d.log().take_slowest()).max();
        self.stage.paused.store(true, Ordering::Relaxed);
        faults.extend(self.settle(&mut missed).await);
        let after = self.counts();
        self.stage.trouble.store(false, Ordering::Relaxed);
        self.stage.paused.store(false, Ordering::Relaxed);
        sleep(CALM).await;
        Ok(Round {
            nemesis: nemesis.name(),
            sent: after.sent - before.sent,
            acknowledged: after.acknowledged - before.acknowledged,
            refused: after.refused - before.refused,
            repeats: after.repeats - before.repeats,
            slowest: slowest.unwrap_or_default(),
            recovery,
            faults,
            missed,
            crashes: self.world.take_crashes(),
        })
    }

    /// At the end every device pulls everything from the first message on, over a new connection.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<Vec<Fault>> {
        self.stage.paused.store(true, Ordering::Relaxed);
        let mut missed = Vec::new();
        let mut faults = self.settle(&mut missed).await;
        anyhow::ensure!(missed.is_empty(), "{}", missed.join("; "));
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let mut evidence = Evidence {
            pulls: self.pulls(),
            settled: self.settled.clone(),
            ..Evidence::default()
        };
        for device in &self.devices {
            let rows = timeout(SETTLE, self.pull(&device.identity, 1)).await;
            evidence.pulls.push(Pull {
                who: device.identity.who(),
                conversation: device.identity.conversation(),
                rows: rows.context("a pull at the end takes too long")??,
            });
        }
        faults.extend(evidence.judge());
        Ok(faults)
    }

    fn mark(&self) {
        self.stage.mark.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until everything is acknowledged, stored and with everybody; then judges what was seen since the last time.
    async fn settle(&mut self, missed: &mut Vec<String>) -> Vec<Fault> {
        let unacknowledged = || -> usize {
            let each = self.devices.iter().map(|d| d.log().unacknowledged());
            each.sum()
        };
        if !within(SETTLE, || unacknowledged() == 0).await {
            missed.push(format!(
                "{} messages are not acknowledged",
                unacknowledged()
            ));
        }
        let mut faults = Vec::new();
        for reader in self.readers.clone() {
            let caught_up = timeout(SETTLE, self.catch_up(&reader)).await;
            if let Err(e) = caught_up.map_err(anyhow::Error::from).flatten() {
                let conversation = reader.conversation();
                missed.push(format!(
                    "{conversation}: not everything that was acknowledged can be pulled: {e:#}"
                ));
            }
        }
        let head = |d: &Device| -> i64 {
            let rows = self.stored.get(&d.identity.conversation());
            rows.and_then(|rows| rows.last()).map_or(0, |row| row.seq)
        };
        let behind = |d: &Device| d.log().complete < head(d);
        if !within(SETTLE, || !self.devices.iter().any(|d| behind(d))).await {
            for device in self.devices.iter().filter(|d| behind(d)) {
                let text = format!(
                    "{} has everything up to {} only, of {}",
                    device.identity.who(),
                    device.log().complete,
                    head(device),
                );
                faults.push(Fault {
                    kind: Kind::Lost,
                    text,
                });
            }
        }
        let mut evidence = Evidence {
            pulls: self.pulls(),
            settled: self.settled.clone(),
            ..Evidence::default()
        };
        for device in &self.devices {
            faults.append(&mut device.log().faults);
            let (pieces, cursors) = device.log().take();
            evidence.connections.extend(pieces);
            evidence.cursors.extend(cursors);
        }
        faults.extend(evidence.judge());
        let heads = self.stored.iter();
        self.settled = heads
            .filter_map(|(conversation, rows)| Some((conversation.clone(), rows.last()?.seq)))
            .collect();
        faults
    }

    /// Pulls what is new of a conversation, until as much is stored as was acknowledged.
    async fn catch_up(&mut self, reader: &Identity) -> anyhow::Result<()> {
        let conversation = reader.conversation();
        let own = self
            .devices
            .iter()
            .filter(|d| d.identity.conversation() == conversation);
        let acknowledged: u64 = own.map(|d| d.log().acknowledged).sum();
        loop {
            let stored = self.stored.entry(conversation.clone()).or_default();
            if stored.len() as u64 >= acknowledged {
                return Ok(());
            }
            let begin = stored.last().map_or(0, |row| row.seq) + 1;
            match self.pull(reader, begin).await {
                Ok(rows) => self
                    .stored
                    .entry(conversation.clone())
                    .or_default()
                    .extend(rows),
                Err(e) => eprintln!("  {conversation}: {e:#}"),
            }
            sleep(LOOK * 10).await;
        }
    }

    /// Everything from a seq on, over a new connection.
    async fn pull(&self, who: &Identity, begin: i64) -> anyhow::Result<Vec<Row>> {
        let gateways = self.world.gateways().await;
        let mut client = who
            .connect(gateways.first().context("no gateway is ready")?)
            .await?;
        let mut rows: Vec<Row> = Vec::new();
        loop {
            let begin = begin + i64::try_from(rows.len())?;
            let body = pull_request(&who.user, &who.conversation(), begin, begin + PULL - 1);
            let answer: PullMessageBySeqsResp = client.call(1002, &body).await?;
            let pulled = answer.msgs.get(&who.conversation());
            match pulled.filter(|pulled| !pulled.msgs.is_empty()) {
                Some(pulled) => rows.extend(pulled.msgs.iter().map(row)),
                None => return Ok(rows),
            }
        }
    }

    fn pulls(&self) -> Vec<Pull> {
        let pull = |(conversation, rows): (&String, &Vec<Row>)| Pull {
            who: "the store".to_owned(),
            conversation: conversation.clone(),
            rows: rows.clone(),
        };
        self.stored.iter().map(pull).collect()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for device in &self.devices {
            let log = device.log();
            counts.sent += log.sent;
            counts.acknowledged += log.acknowledged;
            counts.refused += log.refused;
            counts.repeats += log.repeats;
        }
        counts
    }
}

impl Scene for Run {
    fn begun(&self) {
        self.mark();
    }

    fn pause(&self, paused: bool) {
        self.stage.paused.store(paused, Ordering::Relaxed);
    }

    /// Every device has had a message acknowledged, and got one of its peer by push, that was written after the last mark.
    async fn flows(&self) -> anyhow::Result<()> {
        let mark = self.stage.mark.load(Ordering::Relaxed);
        let still = || -> Vec<String> {
            let stuck = self.devices.iter().filter(|d| {
                let log = d.log();
                log.acknowledged_mark < mark || log.pushed_mark < mark
            });
            stuck.map(|d| d.identity.who()).collect()
        };
        let wait = async {
            while !still().is_empty() {
                sleep(LOOK).await;
            }
        };
        if timeout(RECOVERY, wait).await.is_err() {
            bail!("nothing flows after {RECOVERY:?} for {:?}", still());
        }
        Ok(())
    }

    async fn together(&self) -> anyhow::Result<()> {
        let apart = || -> Vec<String> {
            let all = self.devices.chunks(4).filter(|of_pair| {
                let mut complete = of_pair.iter().map(|d| d.log().complete);
                let unacknowledged = of_pair.iter().any(|d| d.log().unacknowledged() > 0);
                let first = complete.next();
                unacknowledged || complete.any(|other| Some(other) != first)
            });
            all.flatten()
                .map(|d| format!("{} {}", d.identity.who(), d.log().complete))
                .collect()
        };
        if !within(SETTLE, || apart().is_empty()).await {
            bail!(
                "some have less than others although nothing is written: {:?}",
                apart()
            );
        }
        Ok(())
    }
}

#[derive(Default)]
struct Counts {
    sent: u64,
    acknowledged: u64,
    refused: u64,
    repeats: u64,
}

async fn within(bound: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let wait = async {
        while !holds() {
            sleep(LOOK).await;
        }
    };
    timeout(bound, wait).await.is_ok()
}

async fn identity(admin: &Rest, user: &str, peer: &str, platform: i32) -> anyhow::Result<Identity> {
    let body = json!({"userID": user, "platformID": platform});
    let data = admin.data("/auth/get_user_token", &body).await;
    Ok(Identity {
        user: user.to_owned(),
        peer: peer.to_owned(),
        platform,
        token: text(&data["token"])?.to_owned(),
    })
}

/// Tells devices of the gateways that are ready.
async fn show_gateways(world: Arc<World>, stage: Arc<Stage>) {
    loop {
        let gateways = world.gateways().await;
        *stage
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = gateways;
        sleep(LOOK * 10).await;
    }
}
