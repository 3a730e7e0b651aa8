//! The thread that opens FIFOs for the others.
//!
//! A FIFO is opened read+write, which the sandbox takes for a change, and a link can lead anywhere. So a thread that was
//! started outside opens what was found to be a FIFO, and does nothing else.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use standpipe_common::error::{Cannot, Result};
use standpipe_common::fifo;

/// Whoever wants FIFOs opened.
pub struct Opener {
    asked: Sender<RawFd>,
    opened: Receiver<io::Result<File>>,
}

impl Opener {
    /// Starts the thread, with the rights of this one.
    pub fn start() -> Result<Opener> {
        let (asked, places) = channel();
        let (answer, opened) = channel();
        let work = move || {
            for place in places {
                if answer.send(fifo::open_place(place)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("opener".to_owned()).spawn(work).cannot("start", "the thread that opens FIFOs")?;
        Ok(Opener { asked, opened })
    }

    /// Opens the FIFO at the end of a walk, read+write.
    pub fn open(&self, place: BorrowedFd<'_>) -> io::Result<File> {
        let gone = || io::Error::other("the thread that opens FIFOs has ended");
        self.asked.send(place.as_raw_fd()).map_err(|_| gone())?;
        // All threads have the same descriptors, and this one stays open meanwhile.
        self.opened.recv().map_err(|_| gone())?
    }
}
