//! What every client of librdkafka shares: its log lines and errors become ours.

use rdkafka::{ClientContext, config::RDKafkaLogLevel, error::KafkaError, types::RDKafkaErrorCode};

/// Says what librdkafka has to say.
pub(crate) fn log(level: RDKafkaLogLevel, facility: &str, text: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {text}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::debug!(facility, "librdkafka: {text}");
        }
    }
}

/// Counts an error of the client. librdkafka recovers by itself from all but fatal ones; a broker that can't be reached makes
/// one per attempt, so only the end of the last connection is worth a line.
pub(crate) fn error(error: &KafkaError, reason: &str) {
    metrics::counter!("magpie_log_client_error_total").increment(1);
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AllBrokersDown) => {
            tracing::warn!("no Kafka broker can be reached: {reason}");
        }
        Some(RDKafkaErrorCode::Fatal) => tracing::error!("Kafka client failed: {reason}"),
        _ => tracing::debug!(%error, "Kafka: {reason}"),
    }
}

/// The context of clients that have no callbacks.
pub(crate) struct Plain;

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        log(level, facility, text);
    }

    fn error(&self, e: KafkaError, reason: &str) {
        error(&e, reason);
    }
}

impl rdkafka::consumer::ConsumerContext for Plain {}
