//! How often one source says things of one kind: a few at once, and from then on one a second, whatever is done to its
//! file. The newest of those that are held back is said then, with how many more they were. Pure.

use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use crate::events::Event;

/// So many come at once: a rotation or two within a second say all that happens.
const AT_ONCE: u32 = 4;
const SPAN: Duration = Duration::from_secs(1);

/// What is held back of one source.
#[derive(Debug, Default)]
pub struct Spacing(Vec<EventKind>);

#[derive(Debug)]
struct EventKind {
    of: Discriminant<Event>,
    /// When all that was said would have been said at one a second.
    even_at: Instant,
    held: Option<Event>,
    /// Those before it that are not said at all.
    left_out: u64,
}

impl Spacing {
    /// Something is to be said. What is said of it now, or instead.
    pub fn admit(&mut self, event: Event, now: Instant) -> Vec<Event> {
        let of = discriminant(&event);
        let at = self.0.iter().position(|kind| kind.of == of).unwrap_or_else(|| {
            self.0.push(EventKind { of, even_at: now, held: None, left_out: 0 });
            self.0.len() - 1
        });
        let kind = &mut self.0[at];
        kind.left_out += u64::from(kind.held.replace(event).is_some());
        kind.take(now)
    }

    /// What was held back, as far as it may be said by now.
    pub fn take(&mut self, now: Instant) -> Vec<Event> {
        self.0.iter_mut().flat_map(|kind| kind.take(now)).collect()
    }

    /// All that was held back, for it is never said otherwise.
    pub fn take_all(&mut self) -> Vec<Event> {
        self.0.iter_mut().flat_map(EventKind::take_all).collect()
    }

    /// Whether anything is held back.
    pub fn is_holding(&self) -> bool {
        self.0.iter().any(|kind| kind.held.is_some())
    }
}

impl EventKind {
    fn take(&mut self, now: Instant) -> Vec<Event> {
        if self.held.is_none() || self.even_at > now + SPAN * (AT_ONCE - 1) {
            return Vec::new();
        }
        self.even_at = self.even_at.max(now) + SPAN;
        self.take_all()
    }

    fn take_all(&mut self) -> Vec<Event> {
        let Some(event) = self.held.take() else { return Vec::new() };
        let note = match std::mem::take(&mut self.left_out) {
            0 => None,
            1 => Some("1 more message like this was left out".to_owned()),
            more => Some(format!("{more} more messages like this were left out")),
        };
        std::iter::once(event).chain(note.map(Event::Note)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hole(bytes: u64) -> Event {
        Event::Hole { name: "app.log".to_owned(), bytes }
    }

    #[test]
    fn a_few_come_at_once_and_then_one_a_second_with_how_many_were_left_out() {
        let start = Instant::now();
        let mut spacing = Spacing::default();
        for bytes in 1..=4 {
            assert_eq!(spacing.admit(hole(bytes), start), [hole(bytes)]);
        }
        for bytes in 5..=8 {
            assert_eq!(spacing.admit(hole(bytes), start), []);
        }
        assert!(spacing.is_holding());
        let unfinished = Event::Unfinished { name: "app.log".to_owned(), bytes: 9 };
        assert_eq!(spacing.admit(unfinished.clone(), start), [unfinished], "of another kind");
        assert_eq!(spacing.take(start + SPAN / 2), []);
        let note = Event::Note("3 more messages like this were left out".to_owned());
        assert_eq!(spacing.take(start + SPAN), [hole(8), note]);
        assert!(!spacing.is_holding());
        assert_eq!(spacing.admit(hole(9), start + SPAN), []);
        assert_eq!(spacing.admit(hole(10), start + 2 * SPAN).len(), 2);
        // After a while without any a few may come at once again.
        for bytes in 1..=4 {
            assert_eq!(spacing.admit(hole(bytes), start + 20 * SPAN), [hole(bytes)]);
        }
    }

    #[test]
    fn ten_thousand_in_three_seconds_are_six() {
        let start = Instant::now();
        let mut spacing = Spacing::default();
        let said = (0..10_000).map(|step| spacing.admit(hole(step), start + 3 * SPAN / 10_000 * step as u32));
        let said: Vec<Event> = said.flatten().collect();
        assert_eq!(said.iter().filter(|event| matches!(event, Event::Hole { .. })).count(), 6);
    }
}
