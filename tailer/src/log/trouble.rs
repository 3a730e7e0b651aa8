//! A file that cannot be opened or read now: it is tried again, less and less often, until something tells that it
//! changed. That is said once, until it can be read or fails for another reason.

use std::time::Instant;

use nix::errno::Errno;
use standpipe_common::retry::Retry;

/// A failure that is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Why.
    pub errno: Errno,
    /// When it is tried again.
    pub retry: Retry,
}

impl Trouble {
    /// Another failure after `before`.
    pub fn after(before: Option<Trouble>, errno: Errno, now: Instant) -> Trouble {
        let mut retry = before.map_or_else(Retry::default, |trouble| trouble.retry);
        retry.failed(now);
        Trouble { errno, retry }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::file::identity::Origin;
    use crate::log::generation::Generation;
    use crate::log::happening::Happening;
    use crate::log::life::Hand;
    use crate::log::notes::Notes;
    use crate::out::lines::GenerationId;

    #[test]
    fn a_failure_is_said_once_however_often_the_file_changes_meanwhile() {
        let start = Instant::now();
        let path = std::path::PathBuf::from("app.log");
        let mut generation = Generation::new(GenerationId(0), Origin::default(), path.clone(), Hand::Parked, start);
        let mut notes = Notes::default();
        generation.recover(&mut notes);
        for round in 0..5 {
            let now = start + Duration::from_millis(round);
            assert!(!generation.must_wait(now), "{round}");
            generation.fail(Errno::EIO, now, &mut notes);
            assert!(generation.must_wait(now + Duration::from_millis(999)));
            assert!(!generation.must_wait(now + Duration::from_secs(1)));
            generation.try_again(now);
        }
        generation.fail(Errno::EACCES, start, &mut notes);
        generation.recover(&mut notes);
        generation.recover(&mut notes);
        let error = |errno| Happening::OpenError { path: path.clone(), errno };
        let retry = Happening::Retry { after: Duration::from_secs(1) };
        let recovered = Happening::Recovered { path: path.clone() };
        assert_eq!(notes.take(), [error(Errno::EIO), retry.clone(), error(Errno::EACCES), retry, recovered]);
    }
}
