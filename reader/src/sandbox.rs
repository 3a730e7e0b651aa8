//! The sandbox: what the threads that read pipes and make archives may still do to the rest of the machine.
//!
//! The kernel (Landlock) keeps them to this: they read what their user may read; they make, change and remove files
//! below the log root, where links in it lead at the start, and where mailboxes lie; they start no program and make no
//! TCP connection. Invariants: it is for the calling thread and those that it starts from then on, for ever; files that
//! are open already stay as they are. What needs more is done by threads that were started before: hooks
//! ([`crate::hooks`]), the metrics file ([`crate::metrics`]), the opening of FIFOs ([`crate::opener`]). A kernel without
//! Landlock is no error.

use std::collections::BTreeSet;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, Ruleset, RulesetAttr as _,
    RulesetCreated, RulesetCreatedAttr as _, RulesetError,
};
use standpipe_common::error::Result;
use standpipe_common::fifo::Identity;

use crate::disk::Dir;

/// What is asked for; a kernel that knows less gives less.
const ABI_MAX: ABI = ABI::V5;

/// Whether it is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// It was not asked for.
    #[default]
    Off,
    /// The kernel has none.
    Unavailable,
    /// Only these directories can be changed, and what is below them.
    On(BTreeSet<Identity>),
}

impl Sandbox {
    /// Enters it: from here on this thread, and those that it starts, can change nothing but what is below `dirs`.
    pub fn enter(dirs: &[Dir]) -> Result<Sandbox> {
        let identities = dirs.iter().map(Dir::identity).collect::<Result<_>>()?;
        Ok(match confine(dirs) {
            Ok(()) => Sandbox::On(identities),
            Err(error) => {
                log::debug!("running without a sandbox: {error}");
                Sandbox::Unavailable
            }
        })
    }

    /// Whether it keeps this directory from being changed, if it is below no other that can be.
    pub fn keeps_from(&self, dir: &Dir) -> bool {
        match self {
            Sandbox::Off | Sandbox::Unavailable => false,
            Sandbox::On(dirs) => dir.identity().is_ok_and(|identity| !dirs.contains(&identity)),
        }
    }
}

fn confine(dirs: &[Dir]) -> std::result::Result<(), RulesetError> {
    let handled = AccessFs::from_write(ABI_MAX) | AccessFs::Execute;
    let allowed = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSym
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
        | AccessFs::Refer;
    // Where the kernel does not know the right to link from one directory into another, nobody has it: the room that is
    // put by in the log root could not become an archive.
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::Refer)?;
    let rules = rules.set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
    let rules = rules.handle_access(AccessNet::from_all(ABI_MAX))?.create()?;
    let allow = |rules: RulesetCreated, dir: &Dir| rules.add_rule(PathBeneath::new(dir, allowed));
    dirs.iter().try_fold(rules, allow)?.restrict_self().map(drop)
}
