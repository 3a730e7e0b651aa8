//! How many blocks there were, and how many of them were read for what reason.

use standpipe_common::shown::counted;

/// How many blocks, and how many archives whose search filter was of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks in all.
    pub total: u64,
    /// Blocks in which something could be wanted by their times.
    pub wanted: u64,
    /// Those of them in which it could be by the search filters, too.
    pub likely: u64,
    /// Archives that were asked for a filter and have none.
    pub missing: u64,
    /// Archives with a damaged one.
    pub damaged: u64,
    /// Archives with one of a version that we do not know.
    pub newer: u64,
}

impl Counts {
    /// The sums, of two logs.
    #[must_use]
    pub fn plus(self, other: Counts) -> Counts {
        self.each(other, |one, other| one + other)
    }

    /// The larger ones, of two readings of the same log.
    #[must_use]
    pub fn most(self, other: Counts) -> Counts {
        self.each(other, u64::max)
    }

    /// What is said of the blocks, if so many were read.
    pub fn frames(&self, read: u64) -> String {
        let Counts { total, wanted, likely, .. } = self;
        format!("frames: {total} total, {wanted} by time, {likely} by filter, {read} decompressed")
    }

    /// What is said of archives that were read as if there were no filters.
    pub fn without_filter(&self) -> Option<String> {
        let Counts { missing, damaged, newer, .. } = *self;
        let archives = missing + damaged + newer;

        let why = [(missing, "without one"), (damaged, "damaged"), (newer, "of a later version")];
        let why: Vec<String> =
            why.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
        (archives > 0).then(|| {
            let archives = counted(archives, "archive");
            format!("no usable search filter in {archives} ({}); no frame skipped there", why.join(", "))
        })
    }

    /// Whether no more blocks are likely than wanted, and no more of these than there are.
    pub fn are_in_order(&self) -> bool {
        self.likely <= self.wanted && self.wanted <= self.total
    }

    fn each(self, other: Counts, of: impl Fn(u64, u64) -> u64) -> Counts {
        Counts {
            total: of(self.total, other.total),
            wanted: of(self.wanted, other.wanted),
            likely: of(self.likely, other.likely),
            missing: of(self.missing, other.missing),
            damaged: of(self.damaged, other.damaged),
            newer: of(self.newer, other.newer),
        }
    }
}
