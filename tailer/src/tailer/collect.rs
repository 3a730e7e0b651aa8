//! The spools within the rounds of the tailer: which there are, and what is told of them.

use std::time::Instant;

use standpipe_common::error::Stop;
use standpipe_common::shown::Shown as _;

use super::Tailer;
use crate::config::spool::SpoolConfig;
use crate::events::Event;
use crate::fair::Group;
use crate::spool::{Spool, place, set};
use crate::timestamp::Format;

impl Tailer {
    /// Begins with all spools of the configuration that are not at work.
    pub(super) fn enroll_spools(&mut self, now: Instant) -> std::result::Result<(), Stop> {
        for index in 0..self.config.spools.len() {
            let config = self.config.spools[index].clone();
            if self.spools.iter().any(|spool| spool.config().dir == config.dir) {
                continue;
            }
            self.enroll_spool(index, config, now)?;
        }
        Ok(())
    }

    fn enroll_spool(&mut self, index: usize, config: SpoolConfig, now: Instant) -> std::result::Result<(), Stop> {
        let output = self.output_for(config.pipe.as_deref())?;
        let id = self.roster.next_id();
        let mut spool = Spool::new(id, config, output, place::neighbours(&self.config, index), now);
        spool.limit(self.is_batch, now);
        self.outputs.introduce(output, id, &spool.name(), Format::Auto);
        self.outputs.keep_files_apart(output, id);
        self.printer.print(&Event::Note(format!("collecting files of {}", spool.config().dir.shown())));
        self.spools.add(spool);
        self.turns.add(id, Group::Spool(id));
        Ok(())
    }

    /// After another configuration: what is said differently of a spool begins anew.
    pub(super) fn change_spools(&mut self, now: Instant) {
        let config = &self.config;
        self.spools.keep(|spool| config.spools.contains(spool.config()));
        self.spools.set_neighbours(|dir| {
            let index = config.spools.iter().position(|spool| spool.dir == dir)?;
            Some(place::neighbours(config, index))
        });
        self.replace_left_spools(now);
    }

    /// Where a spool has left, the one that the configuration names now takes over.
    pub(super) fn replace_left_spools(&mut self, now: Instant) {
        let mut left = self.spools.take_left();
        for spool in &left {
            self.board.release(spool.id());
            self.turns.remove(spool.id());
        }
        if let Some(watch) = &mut self.watch {
            for spool in &left {
                set::unwatch(watch, spool);
            }
        }
        if let Err(stop) = self.enroll_spools(now) {
            self.printer.print(&Event::Error(stop.to_string()));
        }
        self.spools.inherit(&mut left);
    }

    /// Looks into the spools that are due.
    pub(super) fn look_into_spools(&mut self, now: Instant, now_ns: i64) {
        self.spools.take_up(&mut self.outputs);
        self.spools.look(now, now_ns, self.config.poll_interval, self.watch.as_mut());
    }

    /// Removes what is delivered, and tells what happened.
    pub(super) fn clear_spools(&mut self, now: Instant) {
        self.spools.remove_delivered(&mut self.outputs);
        for event in self.spools.take_events() {
            self.printer.print(&event);
        }
        if self.spools.iter().any(|spool| spool.is_leaving() && spool.is_idle()) {
            self.replace_left_spools(now);
        }
    }
}
