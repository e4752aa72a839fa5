//! The producer: records go to librdkafka in the order of the calls, a thread takes the acknowledgements.
//!
//! librdkafka's own timeout is off. It fails records one by one, so that a record could be given up while a later one of its
//! key is still sent; a caller that sends the failed one again would then have put it behind the later one. Here the thread
//! looks for the oldest record without an acknowledgement, and when it is older than the delivery timeout, everything that
//! waits fails at once, and appends are refused until a moment after. So of the appends that a caller makes in one go, none
//! succeeds behind one that timed out, and sending those that failed again keeps the order.
//! What failed this way may be in the log all the same (Kafka had it, its answer was lost): sending it again is a resend for
//! the pipeline, which recognises it.
//!
//! A producer that had to be given up, or that librdkafka calls failed, is replaced by a new one: after Kafka stood still for some
//! seconds, one did not find the leaders of some partitions again, and would have kept what was appended to them for ever.

use std::{
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use magpie_log::{LogError, Position, Result};
use rdkafka::{
    ClientConfig, ClientContext, Message as _,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{
        BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig,
    },
};
use tokio::sync::{oneshot, watch};

use crate::{context, options::Options, topic::TopicHandle};

/// How long one poll takes without an acknowledgement. rdkafka spins through the last millisecond of each: at four in a second that
/// was half of what an idle process used.
const POLL: Duration = Duration::from_secs(1);
/// How long appends are refused after everything that waited has failed: longer than a caller's loop over a batch.
const PAUSE: Duration = Duration::from_millis(250);
/// Steps of 10 ms in which what was given up is told.
const TELL_STEPS: u32 = 200;

type Producer = BaseProducer<Acks>;

/// Takes appends until it is closed.
pub(crate) struct Appender {
    shared: Arc<Shared>,
    /// The outcome of the thread's end.
    ended: watch::Receiver<Option<Result<()>>>,
}

struct Shared {
    config: ClientConfig,
    gate: RwLock<Gate>,
    closing: AtomicBool,
    waiting: Arc<Waiting>,
    delivery_timeout: Duration,
    close_timeout: Duration,
}

/// What an append passes, under the read lock until the record has its place.
#[derive(Default)]
struct Gate {
    /// None: closed.
    producer: Option<Arc<Producer>>,
    /// Everything that waits is being failed,
    refusing: bool,
    /// and a moment after.
    refuse_until: Option<Instant>,
}

impl Gate {
    fn open(&self) -> Result<&Arc<Producer>> {
        let producer = self.producer.as_ref().ok_or(LogError::Closed)?;
        let pause = self
            .refuse_until
            .is_some_and(|until| Instant::now() < until);
        match self.refusing || pause {
            true => Err(LogError::Unavailable(
                "busy: Kafka does not acknowledge".to_owned(),
            )),
            false => Ok(producer),
        }
    }
}

/// An append under way.
pub(crate) struct Delivery {
    topic: Arc<TopicHandle>,
    bytes: usize,
    slot: usize,
    started: Instant,
    done: oneshot::Sender<Result<Position>>,
}

impl Appender {
    pub(crate) fn start(options: &Options) -> Result<Self> {
        let shared = Arc::new(Shared {
            config: options.producer(),
            gate: RwLock::default(),
            closing: AtomicBool::new(false),
            waiting: Arc::new(Waiting::new(options.delivery_timeout)),
            delivery_timeout: options.delivery_timeout,
            close_timeout: options.close_timeout,
        });
        let producer = shared.make().map_err(|e| {
            LogError::Unavailable(format!("the Kafka producer's settings are refused: {e}"))
        })?;
        shared.gate_mut().producer = Some(producer);
        let (tell, ended) = watch::channel(None);
        let thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("log-acks".to_owned())
            .spawn(move || {
                thread.run();
                tell.send_replace(Some(thread.end()));
            })
            .map_err(|e| LogError::Unavailable(format!("no thread for acknowledgements: {e}")))?;
        Ok(Self { shared, ended })
    }

    /// Gives the record its place behind the earlier ones of its partition.
    pub(crate) fn append(
        &self,
        topic: &Arc<TopicHandle>,
        partition: u32,
        key: &[u8],
        value: &Bytes,
    ) -> Result<BoxFuture<'static, Result<Position>>> {
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(LogError::Closed);
        }
        let gate = self.shared.gate();
        let producer = gate
            .open()
            .inspect_err(|_| topic.metrics.refused.increment(1))?;
        let (done, answer) = oneshot::channel();
        let delivery = Box::new(Delivery {
            topic: Arc::clone(topic),
            bytes: key.len() + value.len(),
            slot: self.shared.waiting.enter(),
            started: Instant::now(),
            done,
        });
        let record = BaseRecord::with_opaque_to(&topic.name, delivery)
            .partition(partition.cast_signed())
            .key(key)
            .payload(&value[..]);
        let Err((error, record)) = producer.send(record) else {
            return Ok(Box::pin(async move {
                answer.await.unwrap_or(Err(LogError::Closed))
            }));
        };
        self.shared.waiting.leave(record.delivery_opaque.slot);
        topic.metrics.refused.increment(1);
        Err(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => LogError::Unavailable(
                "busy: too many records wait for Kafka, which is slow or away".to_owned(),
            ),
            _ => LogError::Unavailable(format!("Kafka takes no records: {error}")),
        })
    }

    /// Waits for the acknowledgements of what was appended, at most for the close timeout.
    pub(crate) async fn close(&self) -> Result<()> {
        self.shared.closing.store(true, Ordering::Relaxed);
        let mut ended = self.ended.clone();
        let outcome = ended.wait_for(Option::is_some).await;
        outcome
            .map_err(|_panicked| LogError::Closed)?
            .clone()
            .unwrap_or(Ok(()))
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn make(&self) -> Result<Arc<Producer>, KafkaError> {
        let acks = Acks(Arc::clone(&self.waiting));
        self.config.create_with_context(acks).map(Arc::new)
    }

    fn gate(&self) -> RwLockReadGuard<'_, Gate> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn gate_mut(&self) -> RwLockWriteGuard<'_, Gate> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes acknowledgements and gives up what is overdue, until it is closing.
    fn run(&self) {
        let interval = POLL.min(self.delivery_timeout / 16);
        while !self.closing.load(Ordering::Relaxed) {
            let Some(producer) = self.gate().producer.clone() else {
                return;
            };
            producer.poll(interval);
            if let Some((code, reason)) = producer.client().fatal_error() {
                tracing::error!(%code, reason, "the Kafka producer failed");
                self.start_over(&producer);
            } else if self.waiting.overdue() {
                tracing::error!(
                    timeout = ?self.delivery_timeout,
                    records = producer.in_flight_count(),
                    "Kafka does not acknowledge; what waits for it fails"
                );
                self.start_over(&producer);
            }
        }
    }

    /// Fails everything that waits, and goes on with a new producer.
    fn start_over(&self, producer: &Producer) {
        metrics::counter!("magpie_log_producer_replaced_total").increment(1);
        self.gate_mut().refusing = true;
        producer.purge(PurgeConfig::default().queue().inflight());
        for _ in 0..TELL_STEPS {
            if !self.waiting.any() {
                break;
            }
            producer.poll(Duration::from_millis(10));
        }
        let new = self.make();
        let mut gate = self.gate_mut();
        match new {
            Ok(new) => gate.producer = Some(new),
            Err(e) => tracing::error!(error = %e, "no new Kafka producer can be made"),
        }
        gate.refusing = false;
        gate.refuse_until = Some(Instant::now() + PAUSE);
    }

    fn end(&self) -> Result<()> {
        let Some(producer) = self.gate_mut().producer.take() else {
            return Ok(());
        };
        // Its drop fails what is left.
        producer.flush(self.close_timeout).map_err(|_timeout| {
            LogError::Unavailable(format!(
                "{} appends were not acknowledged before the close",
                producer.in_flight_count()
            ))
        })
    }
}

/// Takes the outcome of each record, on the thread of the appender.
struct Acks(Arc<Waiting>);

impl ClientContext for Acks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        context::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Acks {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        let Delivery {
            topic,
            bytes,
            slot,
            started,
            done,
        } = *delivery;
        self.0.leave(slot);
        let place = |message: &rdkafka::message::BorrowedMessage<'_>| {
            Some(Position {
                incarnation: topic.state.incarnation,
                partition: u32::try_from(message.partition()).ok()?,
                offset: u64::try_from(message.offset()).ok()?,
            })
        };
        let outcome = match result {
            // Without an offset the record is in the log, but not known where: as after a timeout.
            Ok(message) => place(message).ok_or(None),
            Err((error, _)) => Err(Some(error)),
        };
        let outcome = match outcome {
            Ok(position) => {
                topic.saw(bytes);
                topic.metrics.appended.increment(1);
                topic.metrics.appended_bytes.increment(bytes as u64);
                topic
                    .metrics
                    .ack_seconds
                    .record(started.elapsed().as_secs_f64());
                Ok(position)
            }
            Err(error) => {
                topic.metrics.failed.increment(1);
                Err(LogError::Unavailable(describe(error)))
            }
        };
        // Nobody may wait for it any more.
        drop(done.send(outcome));
    }
}

fn describe(error: Option<&KafkaError>) -> String {
    let code = error.and_then(KafkaError::rdkafka_error_code);
    match (code, error) {
        (Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight) | None, _) => {
            "Kafka has not acknowledged the record in time; it may be in the log, and may be sent again".to_owned()
        }
        (_, Some(error)) => format!("Kafka refused the record: {error}"),
        (Some(code), None) => format!("Kafka refused the record: {code}"),
    }
}

/// How many records wait, by the time of their append: enough to know the age of the oldest to a sixteenth of the timeout.
struct Waiting {
    started: Instant,
    width: Duration,
    slots: [AtomicI64; SLOTS],
}

const SLOTS: usize = 64;
const TIMEOUT_SLOTS: usize = 16;

impl Waiting {
    fn new(timeout: Duration) -> Self {
        Self {
            started: Instant::now(),
            width: (timeout / TIMEOUT_SLOTS as u32).max(Duration::from_millis(1)),
            slots: std::array::from_fn(|_| AtomicI64::new(0)),
        }
    }

    fn slot_now(&self) -> usize {
        (self.started.elapsed().as_nanos() / self.width.as_nanos()) as usize % SLOTS
    }

    /// Notes a record; answers its slot.
    fn enter(&self) -> usize {
        let slot = self.slot_now();
        self.add(slot, 1);
        slot
    }

    fn leave(&self, slot: usize) {
        self.add(slot, -1);
    }

    fn add(&self, slot: usize, n: i64) {
        if let Some(count) = self.slots.get(slot) {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn any(&self) -> bool {
        self.slots
            .iter()
            .any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Some record waits for longer than the timeout.
    fn overdue(&self) -> bool {
        let now = self.slot_now();
        let old = (TIMEOUT_SLOTS + 1..SLOTS).map(|age| (now + SLOTS - age) % SLOTS);
        old.filter_map(|slot| self.slots.get(slot))
            .any(|count| count.load(Ordering::Relaxed) > 0)
    }
}
