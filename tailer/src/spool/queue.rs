//! Files that may be complete, oldest first, with how many and how long they were when they were found.

use std::collections::VecDeque;

use super::scan::Arrival;

/// What one look found and what is not examined yet.
#[derive(Debug, Default)]
pub struct Queue {
    list: VecDeque<Arrival>,
    files: u64,
    bytes: u64,
}

impl Queue {
    /// Takes what was found in place of what it has.
    pub fn set(&mut self, found: Vec<Arrival>) {
        let files = found.iter().filter_map(|candidate| candidate.file);
        (self.files, self.bytes) = files.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.size));
        self.list = found.into();
    }

    /// Forgets all: it is found again.
    pub fn clear(&mut self) {
        *self = Queue::default();
    }

    /// The oldest one.
    pub fn pop(&mut self) -> Option<Arrival> {
        let candidate = self.list.pop_front()?;
        if let Some(file) = candidate.file {
            self.files -= 1;
            self.bytes -= file.size;
        }
        debug_assert!(!self.list.is_empty() || (self.files, self.bytes) == (0, 0));
        Some(candidate)
    }

    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Files in it.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::spool::dir::kept;
    use crate::spool::scan::Short;

    #[test]
    fn a_marker_without_a_file_is_no_file_that_waits() {
        let candidate = |name: &str, size: Option<u64>| {
            let name = kept(OsStr::new(name));
            let file = size.map(|size| Short { id: (1, 2), size });
            Arrival { is_last: true, stamp_ns: 1, name, is_marked: true, file }
        };
        let mut queue = Queue::default();
        queue.set(vec![candidate("a", Some(5)), candidate("b", None), candidate("c", Some(0))]);
        assert_eq!((queue.files(), queue.bytes()), (2, 5));
        let names = std::iter::from_fn(|| queue.pop()).map(|candidate| candidate.name).collect::<Vec<_>>();
        assert_eq!(names.len(), 3);
        assert_eq!((queue.files(), queue.bytes(), queue.is_empty()), (0, 0, true));
    }
}
