//! The reference: what every life of every file has, how much of that can still be read, and what came out.
//!
//! A life is what is written into a file until it is truncated. Of a life a part can become unreadable, always its end:
//! where the only files that have it are truncated or unlinked before they were looked at. All that is before its
//! `limit` comes out once, in order, as whole lines; of all that is behind it nothing does. A line that ends nowhere
//! comes with a newline once nobody can complete it any more.

use standpipe_tailer::file::identity::Identity;

/// Where the bytes of a life are.
#[derive(Clone, Copy, Debug)]
pub struct Home {
    pub file: Identity,
    /// It has the bytes up to here. `None`: it is the file that is written to.
    pub copied: Option<usize>,
}

#[derive(Debug, Default)]
pub struct Life {
    pub bytes: Vec<u8>,
    pub homes: Vec<Home>,
    /// Behind this everything is destroyed.
    pub limit: Option<usize>,
    /// Behind this a line may come after lines of later lives: it was not complete when the next one began.
    pub late_from: Option<usize>,
    /// All of it may come late: for a while it could not be opened.
    pub is_late: bool,
    /// A writer kept it: its last line may be completed late, or never.
    pub is_kept: bool,
    /// Put, and delivered, up to here.
    pub put: usize,
    pub delivered: usize,
    /// Known to the process that follows: put, or held.
    pub known: usize,
    /// The unfinished line at the end was given a newline.
    is_concluded: bool,
}

impl Life {
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX).min(self.bytes.len())
    }

    pub fn has_partial(&self) -> bool {
        self.bytes.last().is_some_and(|byte| *byte != b'\n')
    }
}

#[derive(Debug, Default)]
pub struct Reference {
    pub lives: Vec<Life>,
    /// To which life each line belongs, by its number.
    owners: Vec<usize>,
    /// The life of the last line that was put, or delivered, that was not late.
    put_in: usize,
    delivered_in: usize,
    /// A newline that is added comes in order as well.
    is_strict: bool,
}

impl Reference {
    pub fn new(is_strict: bool) -> Reference {
        Reference { is_strict, ..Reference::default() }
    }

    /// A number for a line of this life.
    pub fn next_line(&mut self, life: usize) -> usize {
        self.owners.push(life);
        self.owners.len() - 1
    }

    pub fn lines(&self) -> usize {
        self.owners.len()
    }

    pub fn begin(&mut self, file: Identity) -> usize {
        // Lives that are not written to any more are behind: what they get from now on is late.
        for life in &mut self.lives {
            let end = life.bytes.len();
            life.late_from.get_or_insert(end);
        }
        self.lives.push(Life { homes: vec![Home { file, copied: None }], ..Life::default() });
        self.lives.len() - 1
    }

    /// Bytes can become unreadable only: what the process knows, and what can be reached, is left.
    pub fn destroy(&mut self, is_alive: bool, can_be_reached: impl Fn(&Identity) -> bool) {
        for life in &mut self.lives {
            let base = if is_alive { life.known } else { life.delivered };
            let homes = life.homes.iter().filter(|home| can_be_reached(&home.file));
            let reach = homes.map(|home| home.copied.unwrap_or(life.bytes.len())).max().unwrap_or(0);
            let left = base.max(reach);
            if left < life.limit() {
                life.limit = Some(left);
            }
        }
    }

    /// The process is gone, and all that it knew.
    pub fn forget(&mut self) {
        for life in &mut self.lives {
            life.put = life.delivered;
            life.known = life.delivered;
            life.is_concluded &= life.delivered == life.bytes.len();
        }
        self.put_in = self.delivered_in;
    }

    /// Whole lines were put.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (index, end) = self.take(line, |life| life.put, true)?;
            self.lives[index].put = end;
            self.lives[index].known = self.lives[index].known.max(end);
        }
        Ok(())
    }

    /// Whole lines were delivered.
    pub fn deliver(&mut self, bytes: &[u8]) -> Result<(), String> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (index, end) = self.take(line, |life| life.delivered, false)?;
            self.lives[index].delivered = end;
            let life = &mut self.lives[index];
            life.put = life.put.max(end);
            life.known = life.known.max(end);
        }
        Ok(())
    }

    /// Which life goes on with this line, and to where.
    fn take(&mut self, line: &[u8], at: impl Fn(&Life) -> usize, is_put: bool) -> Result<(usize, usize), String> {
        let text = String::from_utf8_lossy(line).into_owned();
        let number = text.get(..8).and_then(|number| number.parse::<usize>().ok());
        let owner = number.and_then(|number| self.owners.get(number)).copied();
        let Some(index) = owner else { return Err(format!("nobody wrote {text:?}")) };
        let life = &self.lives[index];
        let from = at(life);
        let rest = &life.bytes[from..];
        let (end, is_added) = if rest.starts_with(line) {
            (from + line.len(), false)
        } else if rest == &line[..line.len() - 1]
            || life.limit.is_some_and(|end| life.bytes[from..end.max(from)] == line[..line.len() - 1])
        {
            (from + line.len() - 1, true)
        } else {
            let expected = String::from_utf8_lossy(&rest[..rest.len().min(60)]).into_owned();
            return Err(format!("life {index} at {from} expects {expected:?} and got {text:?}"));
        };
        let is_late = life.is_late
            || life.late_from.is_some_and(|late| end > late)
            || (is_added && (life.is_kept || !self.is_strict));
        let last = if is_put { &mut self.put_in } else { &mut self.delivered_in };
        if !is_late {
            if index < *last {
                return Err(format!("{text:?} of life {index} comes after lines of life {last}"));
            }
            *last = index;
        }
        if is_added && is_put {
            self.lives[index].is_concluded = true;
        }
        Ok((index, end))
    }
}
