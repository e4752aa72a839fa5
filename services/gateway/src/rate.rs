//! How fast one client may send: a token bucket. Above its rate a client is read more slowly, and closed when it stays there.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Config;

/// Shortest pause of a throttled connection, so that it is not woken for every message.
const PAUSE: Duration = Duration::from_millis(20);

/// What may happen next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Go,
    /// Read nothing until then.
    Wait(Instant),
    /// Above the rate for too long.
    Close,
}

/// The bucket of one connection.
pub(crate) struct Rate {
    tokens: f32,
    at: Instant,
    over_since: Option<Instant>,
}

impl Rate {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            tokens: config.message_burst as f32,
            at: now,
            over_since: None,
        }
    }

    /// Counts one message.
    pub(crate) fn take(&mut self, config: &Config, now: Instant) -> Verdict {
        let rate = config.messages_per_second.max(1) as f32;
        let burst = config.message_burst.max(1) as f32;
        let refill = now.saturating_duration_since(self.at).as_secs_f32() * rate;
        self.tokens = (self.tokens + refill).min(burst) - 1.0;
        self.at = now;
        if self.tokens >= burst / 2.0 {
            self.over_since = None;
        }
        if self.tokens >= 0.0 {
            return Verdict::Go;
        }
        let since = *self.over_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= config.rate_patience() {
            return Verdict::Close;
        }
        Verdict::Wait(now + PAUSE.max(Duration::from_secs_f32(-self.tokens / rate)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_patience_ends() {
        let config = Config {
            messages_per_second: 10,
            message_burst: 3,
            rate_patience_ms: 1000,
            ..Config::default()
        };
        let start = Instant::now();
        let mut rate = Rate::new(&config, start);
        for _ in 0..3 {
            assert_eq!(rate.take(&config, start), Verdict::Go);
        }
        assert!(
            matches!(rate.take(&config, start), Verdict::Wait(until) if until > start + Duration::from_millis(99))
        );
        assert_eq!(
            rate.take(&config, start + Duration::from_millis(1000)),
            Verdict::Go
        );
        let mut now = start + Duration::from_millis(1000);
        let verdict = loop {
            match rate.take(&config, now) {
                Verdict::Go => {}
                Verdict::Wait(until) => now = until,
                Verdict::Close => break now,
            }
        };
        assert!(verdict >= start + Duration::from_millis(1000));
    }
}
