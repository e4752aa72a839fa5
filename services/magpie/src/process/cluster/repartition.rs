//! `magpie admin repartition`: the log moves to topics with another number of partitions.
//!
//! A key changes its partition by that, so nothing may be under way: while no msg appends, transfer and push finish what is there.
//! Then the log is *marked* (nothing starts on it any more), the inbound topic is closed (a msg that nobody knows of is refused by
//! the brokers), what may have come in until then is finished too, new topics are made, and one compare-and-set of the inbound
//! topic's document puts them into use. Only then the old topics are deleted. A run that is interrupted before that write is taken
//! back by the next one, and one after it is finished by the next one.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use magpie_discovery::{Registry as _, name};
use magpie_discovery_etcd::EtcdRegistry;
use magpie_log::{MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options, Repartition};
use magpie_service::internal::Internal;
use magpie_store::{
    Document as _, Documents as _, Page, SharedStore,
    documents::{AppliedOffset, LogTopic},
    key,
    store::MAX_PAGE,
};
use tokio::time::{Instant, sleep, timeout};

use super::{Place, log};
use crate::{
    config::Config,
    output::{Failure, say},
};

/// Longest wait for an engine's first answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Gives the log so many partitions. Each of the three conditions is waited for so long.
pub(crate) async fn run(config: &Config, partitions: u32, wait: Duration) -> Result<(), Failure> {
    let place = Place::take(config)?;
    let internal = Internal::new(&place.secrets.internal.into());
    let registry = EtcdRegistry::start(place.discovery, Arc::new(move |r| internal.seal(r)))
        .map_err(|e| Failure::Usage(e.to_string()))?;
    let store = timeout(PATIENCE, super::store(config))
        .await
        .context("MongoDB does not answer (mongo.uri)")??;
    let moving = Move {
        config,
        store,
        wait,
    };
    Ok(moving.to(partitions, &registry).await?)
}

struct Move<'a> {
    config: &'a Config,
    store: SharedStore,
    wait: Duration,
}

impl Move<'_> {
    async fn to(&self, partitions: u32, registry: &EtcdRegistry) -> anyhow::Result<()> {
        let Some(mut known) = log::known(&self.store).await? else {
            bail!("there is no message log yet: set kafka.partitions and start the services");
        };
        if known.moving_to != 0 {
            say("an interrupted repartition is taken back");
            known = self.take_back(&known).await?;
        }
        if known.partitions != partitions {
            self.runs(name::TRANSFER, registry).await?;
            self.runs(name::PUSH, registry).await?;
            self.is_gone(name::MSG, registry).await?;
            let kafka = self.open(&known).await?;
            self.drained(&kafka).await?;
            say("everything in the log is stored and delivered");
            let moved = self.replace(&kafka, &known, partitions).await;
            kafka.close().await.ok();
            known = match moved {
                Ok(moved) => moved,
                Err(e) => {
                    let back = self.take_back(&known).await;
                    let now = back.context("it can't be taken back now: run it again")?;
                    // The answer to the last write may have been lost.
                    if now.generation == known.generation {
                        return Err(e.context("nothing was changed"));
                    }
                    now
                }
            };
        }
        self.tidy(&known).await?;
        say(&format!(
            "the message log has {partitions} partitions: set kafka.partitions = {partitions} and start msg, transfer and push"
        ));
        Ok(())
    }

    /// Kafka with the topics that the store knows, whatever the configuration wants.
    fn options(&self, known: &LogTopic) -> Options {
        Options {
            partitions: known.partitions,
            watched: Vec::new(),
            ..log::options(self.config, &self.store, known.generation)
        }
    }

    async fn open(&self, known: &LogTopic) -> anyhow::Result<Arc<KafkaLog>> {
        KafkaLog::open(self.options(known))
            .await
            .context("Kafka (kafka.brokers) can't be used")
    }

    fn steps(&self, known: &LogTopic) -> anyhow::Result<Repartition> {
        Ok(Repartition::of(self.options(known))?)
    }

    /// It takes a transfer and a push to drain the log, and one that is seen shows that etcd answers.
    async fn runs(&self, service: &'static str, registry: &EtcdRegistry) -> anyhow::Result<()> {
        let seen = timeout(self.wait.max(PAUSE), registry.wait_for(service)).await;
        seen.with_context(|| {
            format!("no {service} is registered in etcd: start one, it finishes what is in the log")
        })
    }

    /// Waits until no instance is there, for longer than one may be unknown to an etcd that came back empty.
    async fn is_gone(&self, service: &'static str, registry: &EtcdRegistry) -> anyhow::Result<()> {
        let lease = Duration::from_secs(self.config.etcd.lease_s);
        let end = Instant::now() + self.wait;
        loop {
            if timeout(lease, registry.wait_for(service)).await.is_err() {
                say(&format!("no {service} runs"));
                return Ok(());
            }
            let seen = registry.instances(service);
            let ids: Vec<_> = seen.into_iter().map(|(id, _)| id).collect();
            ensure!(
                ids.is_empty() || Instant::now() < end,
                "{service} is running: stop {}",
                ids.join(", ")
            );
            sleep(PAUSE).await;
        }
    }

    /// Waits until no group has anything left to do. Upstream first: what was behind there is further down afterwards.
    async fn drained(&self, kafka: &KafkaLog) -> anyhow::Result<()> {
        let end = Instant::now() + self.wait;
        for (topic, group) in log::GROUPS {
            loop {
                let behind = kafka.backlog(topic, group).await?.records;
                if behind == 0 {
                    break;
                }
                ensure!(
                    Instant::now() < end,
                    "{group} is {behind} records behind: see that it runs (`magpie admin status`), or give it more --wait"
                );
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    /// Moves a drained log.
    async fn replace(
        &self,
        kafka: &KafkaLog,
        known: &LogTopic,
        partitions: u32,
    ) -> anyhow::Result<LogTopic> {
        // From now on nothing starts on this log.
        let marked = self.mark(known, partitions).await?;
        let steps = self.steps(&marked)?;
        steps.close_inbound().await?;
        say("the inbound topic is closed");
        self.drained(kafka).await?;
        let next = LogTopic {
            partitions,
            generation: marked.generation + 1,
            moving_to: 0,
            ..marked.clone()
        };
        steps.create(&self.options(&next)).await?;
        say("the new topics are made");
        let made = self.open(&next).await?;
        let [inbound, ..] = made.topics();
        made.close().await?;
        let next = LogTopic {
            incarnation: inbound.incarnation.cast_signed(),
            ..next
        };
        let next = self.write(next, &marked).await?;
        say("the new topics are in use");
        Ok(next)
    }

    /// Undoes what a run may have done before it put new topics into use; the mark goes last.
    async fn take_back(&self, known: &LogTopic) -> anyhow::Result<LogTopic> {
        let found = log::known(&self.store).await?;
        let mut now = found.context("the store has lost what it knew of the log")?;
        if now.generation != known.generation {
            return Ok(now);
        }
        if now.moving_to != 0 {
            // Whoever set it can't put anything into use after this write.
            now = self.mark(&now, now.moving_to).await?;
        }
        self.steps(&now)?.reopen_inbound().await?;
        let next = LogTopic {
            generation: now.generation + 1,
            ..now.clone()
        };
        self.steps(&next)?.delete().await?;
        self.mark(&now, 0).await
    }

    async fn mark(&self, known: &LogTopic, moving_to: u32) -> anyhow::Result<LogTopic> {
        let marked = LogTopic {
            moving_to,
            ..known.clone()
        };
        self.write(marked, known).await
    }

    /// Writes the document that decides, if nobody else has.
    async fn write(&self, mut now: LogTopic, known: &LogTopic) -> anyhow::Result<LogTopic> {
        now.rev = known.rev + 1;
        let written = self.store.replace(now.clone(), known.rev).await?;
        ensure!(written, "somebody else changes the log at the same time");
        Ok(now)
    }

    /// What may follow at any time once the topics are in use.
    async fn tidy(&self, known: &LogTopic) -> anyhow::Result<()> {
        let kafka = self.open(known).await?;
        let states = kafka.topics();
        kafka.close().await?;
        for state in states {
            log::remember(&self.store, &state, known.generation).await?;
        }
        if let Some(generation) = known.generation.checked_sub(1) {
            let before = LogTopic {
                generation,
                ..known.clone()
            };
            self.steps(&before)?
                .delete()
                .await
                .context("the new topics are in use and the old ones are still there: run it again, or delete them by hand")?;
        }
        for (topic, group) in log::GROUPS {
            let state = states.iter().find(|state| state.topic == topic);
            let incarnation = state.map_or(0, |state| state.incarnation.cast_signed());
            self.forget_offsets(topic, group, incarnation).await?;
        }
        Ok(())
    }

    /// Deletes what is noted of topics that are gone.
    async fn forget_offsets(
        &self,
        topic: Topic,
        group: &str,
        incarnation: i64,
    ) -> anyhow::Result<()> {
        let mut page = Page::of("key", key![topic.name(), group], MAX_PAGE);
        loop {
            let rows = self.store.page(AppliedOffset::SCHEMA, page.clone()).await?;
            let Some(last) = rows.last().cloned() else {
                return Ok(());
            };
            let mut gone = Vec::new();
            for row in rows {
                let noted = AppliedOffset::from_row(row)?;
                if noted.incarnation != incarnation {
                    let partition = i64::from(noted.partition);
                    gone.push(key![topic.name(), group, noted.incarnation, partition]);
                }
            }
            self.store.remove::<AppliedOffset>(gone).await?;
            page = page.after_row(AppliedOffset::SCHEMA, &last);
        }
    }
}
