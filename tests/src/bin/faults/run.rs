//! A run: devices at work, one nemesis after the other, and after each what is wrong.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use magpie_tests::evidence::{Evidence, Fault, Group, Kind, Pull, View};
use magpie_tests::load::row;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep, timeout};

use crate::archive::{pull_from, pull_window};
use crate::cast::{Cast, Size};
use crate::crowd::Crowd;
use crate::device::Device;
use crate::identity::Stage;
use crate::nemesis::{Nemesis, Scene};
use crate::reader::read;
use crate::table::Round;
use crate::world::World;

/// How long everything may take to work again after a repair.
const RECOVERY: Duration = Duration::from_secs(120);
/// How long it may take until everything is acknowledged, stored, or with everybody.
const SETTLE: Duration = Duration::from_secs(60);
/// Load without any fault between two.
const CALM: Duration = Duration::from_secs(3);
/// Between two looks at a state.
const LOOK: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct Run {
    pub(crate) world: Arc<World>,
    stage: Arc<Stage>,
    cast: Cast,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Run {
    /// Lets everybody send so many messages per second together.
    pub(crate) async fn start(world: Arc<World>, size: Size) -> anyhow::Result<Self> {
        let stage = Arc::new(Stage::default());
        let cast = Cast::gather(&world, &stage, &size).await?;
        let mut tasks = vec![tokio::spawn(show_gateways(
            Arc::clone(&world),
            Arc::clone(&stage),
        ))];
        tasks.extend(cast.devices().map(|d| tokio::spawn(Arc::clone(d).run())));
        let marks = cast.markers();
        tasks.extend(marks.map(|d| tokio::spawn(read(Arc::clone(&world), Arc::clone(d)))));
        for crowd in &cast.crowds {
            let churn = Arc::clone(crowd).churn(Arc::clone(&world), Arc::clone(&stage));
            tasks.push(tokio::spawn(churn));
        }
        Ok(Self {
            world,
            stage,
            cast,
            tasks,
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
        for device in self.cast.devices() {
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
        let slowest = self.cast.devices().map(|d| d.log().take_slowest()).max();
        self.pause(true);
        faults.extend(self.settle(&mut missed).await);
        let after = self.counts();
        self.stage.trouble.store(false, Ordering::Relaxed);
        self.pause(false);
        sleep(CALM).await;
        Ok(Round {
            nemesis: nemesis.name(),
            sent: after.sent - before.sent,
            acknowledged: after.acknowledged - before.acknowledged,
            to_groups: after.to_groups - before.to_groups,
            moved: after.moved - before.moved,
            refused: after.refused - before.refused,
            repeats: after.repeats - before.repeats,
            slowest: slowest.unwrap_or_default(),
            recovery,
            faults,
            missed,
            crashes: self.world.take_crashes(),
        })
    }

    /// At the end every device pulls everything that it can see, over a new connection.
    pub(crate) async fn finish(&mut self) -> anyhow::Result<Vec<Fault>> {
        self.pause(true);
        let mut missed = Vec::new();
        let mut faults = self.settle(&mut missed).await;
        anyhow::ensure!(missed.is_empty(), "{}", missed.join("; "));
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let mut evidence = self.evidence();
        let late = "a pull at the end takes too long";
        for device in &self.cast.paired {
            let pulling = pull_from(&self.world, &device.identity, 1);
            let messages = timeout(SETTLE, pulling).await.context(late)??;
            evidence.pulls.push(Pull {
                who: device.identity.who(),
                conversation: device.identity.conversation(),
                rows: messages.iter().map(row).collect(),
            });
        }
        for (crowd, group) in self.cast.crowds.iter().zip(&mut evidence.groups) {
            for device in crowd.guests.iter().flat_map(|guest| &guest.devices) {
                let pulling = pull_window(&self.world, &device.identity, group.due);
                group.views.push(View {
                    who: device.identity.who(),
                    user: device.identity.user.clone(),
                    rows: timeout(SETTLE, pulling).await.context(late)??,
                });
            }
        }
        faults.extend(evidence.judge());
        Ok(faults)
    }

    fn mark(&self) {
        self.stage.mark.fetch_add(1, Ordering::Relaxed);
    }

    /// What is stored, and what everybody has who comes and goes.
    fn evidence(&self) -> Evidence {
        let archive = &self.cast.archive;
        let group = |crowd: &Arc<Crowd>| {
            let conversation = crowd.conversation();
            Group {
                lines: archive.lines(&conversation, crowd),
                moves: crowd.moves(),
                holders: crowd.holders(),
                views: Vec::new(),
                due: archive.last(&conversation),
                conversation,
            }
        };
        Evidence {
            pulls: archive.pulls(),
            settled: archive.settled(),
            groups: self.cast.crowds.iter().map(group).collect(),
            ..Evidence::default()
        }
    }

    /// Waits until everything is acknowledged, stored and with everybody; then judges what was seen since the last time.
    async fn settle(&mut self, missed: &mut Vec<String>) -> Vec<Fault> {
        let cast = &self.cast;
        if !within(SETTLE, || !cast.crowds.iter().any(|c| c.is_busy())).await {
            missed.push("a member can't be let in or out".to_owned());
        }
        let unacknowledged = || -> usize { cast.devices().map(|d| d.log().unacknowledged()).sum() };
        if !within(SETTLE, || unacknowledged() == 0).await {
            missed.push(format!(
                "{} messages are not acknowledged",
                unacknowledged()
            ));
        }
        self.catch_up(missed).await;
        let mut faults = self.behind().await;
        // What comes from here on is judged next time.
        let dues: Vec<i64> = self.evidence().groups.iter().map(|g| g.due).collect();
        let (mut connections, mut cursors) = (Vec::new(), Vec::new());
        for device in self.cast.devices() {
            let mut log = device.log();
            faults.append(&mut log.faults);
            let (pieces, seen) = log.take();
            connections.extend(pieces);
            cursors.extend(seen);
        }
        // Something that was given up unacknowledged may have been stored meanwhile.
        let holders = self.cast.crowds.iter().map(|crowd| crowd.holders());
        let holders: Vec<_> = holders.collect();
        self.catch_up(missed).await;
        let mut evidence = self.evidence();
        for ((group, due), holders) in evidence.groups.iter_mut().zip(dues).zip(holders) {
            (group.due, group.holders) = (due, holders);
        }
        evidence.connections = connections;
        evidence.cursors = cursors;
        faults.extend(evidence.judge());
        self.cast.archive.settle();
        faults
    }

    /// Has the readers pull everything that was acknowledged.
    async fn catch_up(&mut self, missed: &mut Vec<String>) {
        let mut moved = std::collections::BTreeMap::new();
        for crowd in &self.cast.crowds {
            moved.insert(crowd.conversation(), crowd.moved());
        }
        let archive = &mut self.cast.archive;
        let guests = self.cast.crowds.iter().flat_map(|crowd| &crowd.guests);
        let guests = guests.flat_map(|guest| &guest.devices);
        for device in self.cast.paired.iter().chain(guests) {
            let ids = std::mem::take(&mut device.log().acknowledged_ids);
            archive.expect(&device.conversation, ids);
        }
        for conversation in archive.conversations() {
            let moved = moved.get(&conversation).copied().unwrap_or(0);
            let catching_up = archive.catch_up(&self.world, &conversation, moved);
            let caught_up = timeout(SETTLE, catching_up).await;
            if let Err(e) = caught_up.map_err(anyhow::Error::from).flatten() {
                missed.push(format!(
                    "{conversation}: not everything that was acknowledged can be pulled: {e:#}"
                ));
            }
        }
    }

    /// Waits until every device has everything that is stored for it; names those of pairs that have not.
    async fn behind(&self) -> Vec<Fault> {
        let archive = &self.cast.archive;
        let head = |d: &Device| archive.last_of(&d.conversation, &d.identity.user);
        let behind = |d: &Device| d.log().complete < head(d);
        if within(SETTLE, || !self.cast.devices().any(|d| behind(d))).await {
            return Vec::new();
        }
        // Groups are judged by what stands in their log.
        let stuck = self.cast.paired.iter().filter(|d| behind(d));
        stuck
            .map(|device| Fault {
                kind: Kind::Lost,
                text: format!(
                    "{} has everything up to {} only, of {}",
                    device.identity.who(),
                    device.log().complete,
                    head(device),
                ),
            })
            .collect()
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts {
            moved: self.cast.crowds.iter().map(|crowd| crowd.moved()).sum(),
            ..Counts::default()
        };
        for device in self.cast.devices() {
            let log = device.log();
            counts.sent += log.sent;
            counts.acknowledged += log.acknowledged;
            if device.identity.is_in_group() {
                counts.to_groups += log.acknowledged;
            }
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
        self.stage.paused.store(paused, Ordering::SeqCst);
    }

    fn pause_at(&self, gateway: Option<String>) {
        let quiet = self.stage.quiet.lock();
        *quiet.unwrap_or_else(PoisonError::into_inner) = gateway;
    }

    /// Every device has had a message acknowledged, and got one of another by push, that was written after the last mark; whoever is no
    /// member does not count.
    async fn flows(&self) -> anyhow::Result<()> {
        let mark = self.stage.mark.load(Ordering::Relaxed);
        let still = || -> Vec<String> {
            let stuck = self.cast.devices().filter(|d| {
                let log = d.log();
                d.seat.is_taken() && (log.acknowledged_mark < mark || log.pushed_mark < mark)
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
            let pairs = self.cast.paired.chunks(4).map(|all| all.iter().collect());
            let crowds = self.cast.crowds.iter().map(|crowd| {
                let there = crowd.guests.iter().filter(|guest| guest.seat.is_taken());
                there.flat_map(|guest| &guest.devices).collect()
            });
            let all = pairs.chain(crowds).filter(|all: &Vec<&Arc<Device>>| {
                let mut complete = all.iter().map(|d| d.log().complete);
                let unacknowledged = all.iter().any(|d| d.log().unacknowledged() > 0);
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
    to_groups: u64,
    moved: usize,
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
