//! Which blocks of a part need not be read, since its search filter says that they lack what a line must have.
//!
//! Invariants: a block that begins or ends inside a line is always read, for what is looked for may stand across its
//! border; so is every block of a part whose filter is missing, damaged or of a version that we do not know. A filter is
//! read when the first block of its part is asked for, and only if the patterns demand anything.

use standpipe_common::archive::FilterFault;

use super::counts::Counts;
use super::demand::Demand;
use super::part::Part;
use super::scan::Scan;

/// Of one part.
#[derive(Default)]
pub struct Sieve {
    /// Whether each block may have what is looked for; empty: the filter is of no use. `None`: it was not read yet.
    likely: Option<Vec<bool>>,
}

impl Sieve {
    /// Whether this block of the part need not be read. A filter that is of no use is counted.
    pub fn drops(&mut self, scan: &Scan, part: &Part, number: usize, counts: &mut Counts) -> bool {
        let Some(demand) = scan.demand() else { return false };
        let block = part.block(number);
        let likely = self.likely.get_or_insert_with(|| read(part, demand, counts));
        debug_assert!(likely.is_empty() || likely.len() == part.blocks(), "a verdict for each block, or for none");
        !(block.begins_inside || block.ends_inside || likely.get(number).copied().unwrap_or(true))
    }
}

/// What the filter of a part says of each block.
fn read(part: &Part, demand: &Demand, counts: &mut Counts) -> Vec<bool> {
    if part.is_segment() {
        return Vec::new();
    }
    let Some(archive) = part.indexed() else {
        counts.missing += 1;
        return Vec::new();
    };
    let mut likely = Vec::with_capacity(part.blocks());
    let filter = archive.filter(|_, array| likely.push(array.is_empty() || demand.may_be_in(array)));
    match filter {
        Ok(Ok(_)) => return likely,
        Ok(Err(FilterFault::Missing)) => counts.missing += 1,
        Ok(Err(FilterFault::Newer(_))) => counts.newer += 1,
        Ok(Err(FilterFault::Damaged(_))) | Err(_) => counts.damaged += 1,
    }
    Vec::new()
}
