//! A short-lived process that logs into a spool: `write DIR` puts its standard input there as one file.
//!
//! `rustc write.rs` builds it; it needs nothing but the standard library.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

/// A file of a spool. Dropped without [`Spooled::complete`] it gets no marker, so nothing of it is delivered.
pub struct Spooled {
    pub log: BufWriter<File>,
    marker: PathBuf,
}

impl Spooled {
    /// Opened once, and never in place of another one's file: a process of our number may have left half of one.
    pub fn create(dir: &Path, stem: &str) -> io::Result<Spooled> {
        let mut again = 0;
        loop {
            let name = format!("{stem}.{}.{again}.log", std::process::id());
            match OpenOptions::new().append(true).create_new(true).open(dir.join(&name)) {
                Ok(file) => return Ok(Spooled { log: BufWriter::new(file), marker: dir.join("done").join(name) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => again += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Write, fsync if wanted, close, touch the marker.
    pub fn complete(self, is_durable: bool) -> io::Result<()> {
        let file = self.log.into_inner().map_err(io::IntoInnerError::into_error)?;
        if is_durable {
            file.sync_all()?;
        }
        drop(file);
        // An old marker of this name, if there is one, is touched.
        File::create(self.marker).map(drop)
    }
}

fn main() -> io::Result<()> {
    let dir = std::env::args_os().nth(1).expect("usage: write DIR");
    let mut spooled = Spooled::create(Path::new(&dir), "job")?;
    io::copy(&mut io::stdin(), &mut spooled.log)?;
    spooled.complete(false)
}
