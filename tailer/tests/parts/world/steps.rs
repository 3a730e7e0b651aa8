//! What can be done to a log and to who follows it. A step carries all that is random about it, and does nothing where
//! it makes no sense: so any list of steps can be played, and a failing one made shorter by leaving steps out.

/// Numbers that look random (xorshift); a seed says all of them.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// How a run is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The kernel says who writes.
    pub has_leases: bool,
    /// The live name is a link, and rotation is its swap.
    pub is_link: bool,
    /// Bytes that the output takes before they are delivered.
    pub room: usize,
}

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Lines by the writer; the first completes the unfinished one.
    Write {
        lines: usize,
    },
    /// A piece of a line.
    Piece,
    /// Lines by a second writer, which goes away again.
    Second {
        lines: usize,
    },
    /// `.1` to `.2`, the live name to `.1`. Without `creates` the writer goes on in the old file until a [`Step::Create`].
    Rotate {
        creates: bool,
        keeps_writer: bool,
    },
    /// Who had no new file gets one.
    Create {
        keeps_writer: bool,
    },
    /// Lines by a writer that still has an old file, after the end of the one that it had begun.
    Late {
        which: usize,
        lines: usize,
    },
    /// It goes away.
    CloseLate {
        which: usize,
    },
    Truncate,
    /// A copy to `.1`, lines that are in no copy, the truncation.
    CopyTruncate {
        between: usize,
        looks: bool,
    },
    RemoveOldest,
    /// The live file is unlinked, and a new one takes its name.
    RemoveLive {
        keeps_writer: bool,
    },
    /// Nobody but root can open the live file any more.
    Lock,
    /// And all can again.
    Unlock,
    /// Nobody looks: SIGSTOP.
    Pause,
    /// SIGCONT.
    Resume,
    /// SIGKILL; so much of what is on its way, in quarters, arrives later nevertheless.
    Kill {
        arrives: usize,
    },
    /// The same, and the next begins at once.
    KillAndStart {
        arrives: usize,
    },
    /// An end in order.
    Stop,
    Start,
    /// A rotated file is packed, whoever follows.
    Pack {
        which: usize,
        is_zstd: bool,
    },
    Advance {
        ms: u64,
    },
    /// What is put stays on its way.
    Clog,
    Unclog,
    /// The checkpoint is written.
    Save,
}

impl Step {
    pub fn random(random: &mut Random) -> Step {
        let few = random.below(6);
        match random.below(70) {
            0..=13 => Step::Write { lines: random.below(if few == 0 { 400 } else { 12 }) },
            14..=18 => Step::Piece,
            19..=20 => Step::Second { lines: 1 + few },
            21..=26 => Step::Rotate { creates: few > 0, keeps_writer: random.one_in(3) },
            27 => Step::Create { keeps_writer: random.one_in(3) },
            28..=32 => Step::Late { which: random.below(8), lines: few },
            33..=34 => Step::CloseLate { which: random.below(8) },
            35 => Step::Truncate,
            36..=40 => Step::CopyTruncate { between: if random.one_in(3) { few } else { 0 }, looks: random.one_in(2) },
            41 => Step::RemoveOldest,
            42 => Step::RemoveLive { keeps_writer: random.one_in(2) },
            43 => Step::Lock,
            44..=45 => Step::Unlock,
            46..=48 => Step::Pause,
            49..=51 => Step::Resume,
            52 => Step::Kill { arrives: random.below(5) },
            53 => Step::Stop,
            54..=56 => Step::Start,
            57 | 67..=69 => Step::Pack { which: random.below(8), is_zstd: random.one_in(2) },
            58..=60 => Step::Advance { ms: [100, 1500, 4000, 12_000, 70_000][random.below(5)] },
            61 => Step::Clog,
            62 => Step::Unclog,
            63..=64 => Step::KillAndStart { arrives: random.below(5) },
            _ => Step::Save,
        }
    }
}
