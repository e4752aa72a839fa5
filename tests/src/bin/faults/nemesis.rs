//! What is done to the cluster: each fault with its repair.

use std::time::Duration;

use anyhow::Context as _;
use magpie_testdeps::{Kind, Server};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::member::Member;
use crate::world::{KINDS, SERVICES, Shape, World};
use magpie_tests::proxy::Mode;

/// How long a stopped process stands: longer than its lease (5 s) and its session at Kafka (6 s), so that others take over.
const STOPPED: Duration = Duration::from_secs(14);
/// After so long a stopped gateway has no mark of presence and no registration any more; its clients give it up after 10 s.
const FORGOTTEN: Duration = Duration::from_millis(6500);
const DOZING: Duration = Duration::from_secs(9);
/// How long a killed dependency is away.
const AWAY: Duration = Duration::from_secs(5);
/// How long a proxy is cut, slow or half-open.
const BROKEN: Duration = Duration::from_secs(8);
/// Delay of each piece of a slow connection.
const DELAY: Duration = Duration::from_millis(200);
/// How long a disk is full, and a clock wrong.
const FULL: Duration = Duration::from_secs(10);
/// How far a clock jumps, seconds.
const JUMP: i64 = 600;
/// The library that fakes the clock (Debian's libfaketime).
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
/// Services whose clock jumps.
const CLOCKS: [&str; 6] = ["auth", "msg", "transfer", "push", "gateway", "api"];

/// What a nemesis needs of the run.
pub(crate) trait Scene {
    /// The fault is there.
    fn begun(&self);
    /// Clients write nothing.
    fn pause(&self, paused: bool);
    /// Clients that are connected to this gateway write nothing.
    fn pause_at(&self, gateway: Option<String>);
    /// Waits until messages written from now on are acknowledged and pushed to everybody.
    async fn flows(&self) -> anyhow::Result<()>;
    /// Waits until all devices have the same, although nothing is written.
    async fn together(&self) -> anyhow::Result<()>;
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nemesis {
    /// Nothing happens.
    None,
    /// kill -9 of one process of a service.
    Kill(&'static str),
    /// SIGSTOP of one process of a service until others have taken over, then SIGCONT.
    Stop(&'static str),
    /// SIGSTOP of a gateway of which everybody has forgotten by the time when the next messages come, but its clients have not. They
    /// write nothing themselves: an answer would show them what they have not got.
    Doze,
    /// kill -9 of all processes of a service.
    KillAll(&'static str),
    /// kill -9 of a dependency, and its restart.
    KillServer(Kind),
    /// SIGSTOP of a dependency, then SIGCONT.
    StopServer(Kind),
    /// A dependency is replaced by an empty one.
    Empty(Kind),
    /// Its proxy closes everything.
    Cut(Kind),
    /// Its proxy delays everything.
    Delay(Kind),
    /// Its proxy lets it vanish without a word.
    HalfOpen(Kind),
    /// A process of transfer and one of push leave and come back.
    Rebalance,
    /// The clock of one process jumps by ten minutes and back.
    Clock(&'static str),
    /// The disk of a dependency is full.
    Full(Kind),
    /// One of three brokers is killed.
    KillBroker,
}

impl Nemesis {
    /// All that a world can have done to it.
    pub(crate) fn all(shape: Shape) -> Vec<Self> {
        if shape.three_brokers {
            return vec![Self::None, Self::KillBroker];
        }
        let services = SERVICES.iter().map(|(service, _)| *service);
        let mut all = vec![Self::None, Self::Rebalance, Self::Doze];
        all.extend(services.clone().map(Self::Kill));
        all.extend(services.map(Self::Stop));
        all.extend(["transfer", "push", "msg", "gateway"].map(Self::KillAll));
        for of in [
            Self::KillServer,
            Self::StopServer,
            Self::Cut,
            Self::Delay,
            Self::HalfOpen,
        ] {
            all.extend(KINDS.map(of));
        }
        all.extend([Kind::Etcd, Kind::Redis].map(Self::Empty));
        all.extend(CLOCKS.map(Self::Clock));
        all.extend([Kind::Kafka, Kind::Mongo].map(Self::Full));
        all
    }

    /// As the command line and the table call it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Kill(service) => format!("kill-{service}"),
            Self::Stop(service) => format!("stop-{service}"),
            Self::Doze => "doze-gateway".to_owned(),
            Self::KillAll(service) => format!("kill-all-{service}"),
            Self::KillServer(kind) => format!("kill-{}", kind.name()),
            Self::StopServer(kind) => format!("stop-{}", kind.name()),
            Self::Empty(kind) => format!("empty-{}", kind.name()),
            Self::Cut(kind) => format!("cut-{}", kind.name()),
            Self::Delay(kind) => format!("delay-{}", kind.name()),
            Self::HalfOpen(kind) => format!("half-open-{}", kind.name()),
            Self::Rebalance => "rebalance".to_owned(),
            Self::Clock(service) => format!("clock-{service}"),
            Self::Full(kind) => format!("full-{}", kind.name()),
            Self::KillBroker => "kill-broker".to_owned(),
        }
    }

    /// Whether a disk is needed for it.
    pub(crate) fn needs_disk(self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Does it, holds it, and repairs it.
    pub(crate) async fn strike(
        self,
        world: &World,
        chance: &mut StdRng,
        scene: &impl Scene,
    ) -> anyhow::Result<()> {
        match self {
            Self::None => {
                scene.begun();
                sleep(BROKEN).await;
            }
            Self::Kill(service) => {
                one(world, service, chance)?.kill().await?;
                scene.begun();
            }
            Self::KillAll(service) => {
                let members = world.of(service);
                let kills = members.iter().map(|member| member.kill());
                futures::future::try_join_all(kills).await?;
                scene.begun();
            }
            Self::Stop(service) => {
                let member = one(world, service, chance)?;
                member.signal("STOP").await?;
                scene.begun();
                sleep(STOPPED).await;
                // Others have taken its work over: from here on there are two who think that it is theirs.
                let taken_over = scene.flows().await;
                member.signal("CONT").await?;
                taken_over.context("nobody takes the work over")?;
            }
            Self::Doze => {
                let member = one(world, "gateway", chance)?;
                scene.pause(true);
                scene.pause_at(member.ready().and_then(|ready| ready.ws));
                sleep(Duration::from_millis(500)).await;
                member.signal("STOP").await?;
                sleep(FORGOTTEN).await;
                scene.begun();
                scene.pause(false);
                sleep(DOZING - FORGOTTEN).await;
                scene.pause(true);
                member.signal("CONT").await?;
                // Nothing that comes later shows what is missing.
                let together = scene.together().await;
                scene.pause_at(None);
                scene.pause(false);
                together?;
            }
            Self::KillServer(_) | Self::KillBroker | Self::StopServer(_) | Self::Empty(_) => {
                self.strike_server(world, chance, scene).await?;
            }
            Self::Cut(kind) => proxied(world, kind, Mode::Cut, scene).await?,
            Self::Delay(kind) => proxied(world, kind, Mode::Delay(DELAY), scene).await?,
            Self::HalfOpen(kind) => proxied(world, kind, Mode::HalfOpen, scene).await?,
            Self::Rebalance => {
                for service in ["transfer", "push"] {
                    one(world, service, chance)?.terminate().await?;
                }
                scene.begun();
                sleep(AWAY).await;
            }
            Self::Clock(service) => {
                clock(world, one(world, service, chance)?, chance, scene).await?
            }
            Self::Full(kind) => {
                let dependency = world.dependency(kind)?;
                let disk = dependency
                    .disk
                    .as_ref()
                    .context("it has no disk of its own")?;
                disk.fill()?;
                scene.begun();
                sleep(FULL).await;
                disk.free()?;
                // One that has given up is started again, as its supervisor would.
                for server in dependency.servers.clone() {
                    spawn_blocking(move || server.restart()).await?;
                }
            }
        }
        Ok(())
    }

    async fn strike_server(
        self,
        world: &World,
        chance: &mut StdRng,
        scene: &impl Scene,
    ) -> anyhow::Result<()> {
        let kind = match self {
            Self::KillServer(kind) | Self::StopServer(kind) | Self::Empty(kind) => kind,
            _ => Kind::Kafka,
        };
        let servers = &world.dependency(kind)?.servers;
        let server: Server = servers.choose(chance).context("no server")?.clone();
        match self {
            Self::StopServer(_) => {
                server.stop();
                scene.begun();
                sleep(BROKEN).await;
                server.cont();
            }
            Self::Empty(_) => {
                server.kill();
                scene.begun();
                spawn_blocking(move || server.restart_empty()).await?;
            }
            _ => {
                server.kill();
                scene.begun();
                sleep(AWAY).await;
                spawn_blocking(move || server.restart()).await?;
            }
        }
        Ok(())
    }
}

fn one<'a>(world: &'a World, service: &str, chance: &mut StdRng) -> anyhow::Result<&'a Member> {
    let members = world.of(service);
    members.choose(chance).copied().context("no such service")
}

async fn proxied(world: &World, kind: Kind, mode: Mode, scene: &impl Scene) -> anyhow::Result<()> {
    let proxy = world.dependency(kind)?.proxy.as_ref();
    let proxy = proxy.context("it has no proxy")?;
    proxy.set(mode);
    scene.begun();
    sleep(BROKEN).await;
    proxy.set(Mode::Pass);
    Ok(())
}

/// The process is started again under a clock that can jump; the jump comes when it is ready.
async fn clock(
    world: &World,
    member: &Member,
    chance: &mut StdRng,
    scene: &impl Scene,
) -> anyhow::Result<()> {
    let file = world.logs.join("clock");
    let jump = if chance.random() { JUMP } else { -JUMP };
    std::fs::write(&file, "+0")?;
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    member.set_extra(vec![
        variable("LD_PRELOAD", FAKETIME),
        variable("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
        variable("FAKETIME_CACHE_DURATION", "1"),
        // A clock that is set leaves the monotonic one alone.
        variable("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        variable("DONT_FAKE_MONOTONIC", "1"),
    ]);
    member.kill().await?;
    member.wait_ready().await;
    std::fs::write(&file, format!("{jump:+}"))?;
    scene.begun();
    sleep(FULL).await;
    std::fs::write(&file, "+0")?;
    sleep(AWAY).await;
    member.set_extra(Vec::new());
    member.kill().await
}
