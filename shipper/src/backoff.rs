//! When to try again: after 0.2 s, then twice as long each time, up to a minute, each time somewhat less or more, so that
//! many pipes of many machines do not come back at one moment. What the receiver asks for is waited for at least.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use standpipe_common::retry::Retry;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait that a receiver can ask for: beyond that it is looked after once an hour.
const ASKED_MAX: Duration = Duration::from_secs(3600);

/// Of a batch that did not fail yet.
pub fn retry() -> Retry {
    Retry::new(FIRST, LONGEST)
}

/// How long to wait, about so long as `span`, after a try that was answered with `Retry-After`, or not. `chance` is any
/// number between 0 and 1.
pub fn wait(span: Duration, asked: Option<Duration>, chance: f64) -> Duration {
    debug_assert!(FIRST <= span && span <= LONGEST && (0.0..=1.0).contains(&chance), "{span:?} {chance}");
    match asked {
        // Never earlier than that.
        Some(asked) => asked.min(ASKED_MAX).max(FIRST).mul_f64(1.0 + chance / 10.0),
        None => span.mul_f64(0.75 + chance / 2.0).min(LONGEST),
    }
}

/// A number between 0 and 1, another one each time.
pub fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    bits as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut retry = retry();
        let spans: Vec<Duration> = (1..=12).map(|_| retry.failed(Instant::now())).collect();
        let waits: Vec<f64> = spans.iter().map(|span| wait(*span, None, 0.5).as_secs_f64()).collect();
        for (wait, expected) in waits.iter().zip([0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0, 60.0]) {
            assert!((wait - expected).abs() < 1e-6, "{waits:?}");
        }
        assert!(waits.is_sorted());
        for span in spans {
            let [low, high] = [0.0, 1.0].map(|chance| wait(span, None, chance));
            assert!(low < high && low >= FIRST.mul_f64(0.7) && high <= LONGEST, "{span:?}: {low:?} to {high:?}");
        }
    }

    #[test]
    fn what_the_receiver_asks_for_is_waited_for_within_reason() {
        for (asked, chance, least, most) in
            [(3, 0.0, 3.0, 3.0), (3, 1.0, 3.0, 3.3), (0, 0.0, 0.2, 0.2), (1 << 40, 1.0, 3600.0, 3960.0)]
        {
            let waited = wait(FIRST, Some(Duration::from_secs(asked)), chance).as_secs_f64();
            assert!((least..=most + 0.001).contains(&waited), "{asked} s asked, {waited} waited");
        }
    }

    #[test]
    fn chances_differ() {
        let all: Vec<f64> = (0..20).map(|_| chance()).collect();
        let is_far = |other: &f64| (other - all[0]).abs() > 0.001;
        assert!(all.iter().all(|chance| (0.0..=1.0).contains(chance)) && all.iter().any(is_far));
    }
}
