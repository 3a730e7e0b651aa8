//! What `check` asks of the system beside the survey: the kernel's settings, and who runs the holder.
//!
//! Whose rights count: those of a holder that is at work on this directory, else of whoever asks, or of the user
//! `standpipe` where root asks. If there is none, nothing is said of rights.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;

use nix::unistd::{Uid, User, getgrouplist};
use standpipe_common::{account, capability};

use super::logrotate::{self, Rotated};
use crate::daemons;
use crate::openers::{Process, Role};
use crate::supervisor;
use crate::survey::Survey;

/// The user that holder and reader run as where nobody said otherwise.
pub const USUAL: &str = "standpipe";

/// Somebody with rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// For people.
    pub name: String,
    /// User.
    pub uid: u32,
    /// Groups, the first one that it gives to new files first.
    pub gids: Vec<u32>,
    /// Whether limits of pipe memory do not bind it.
    pub is_unlimited: bool,
}

/// The system's side.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Who runs the holder, or is to.
    pub account: Option<Credentials>,
    /// The holder of this directory.
    pub holder: Option<Rc<Process>>,
    /// The reader of it.
    pub reader: Option<Rc<Process>>,
    /// The commands by which a supervisor starts holder and reader of this directory, where it does.
    pub starts: [Option<String>; 2],
    /// A process of each world of mounts that is not ours.
    pub worlds: Vec<u32>,
    /// What logrotate would do to one of the FIFOs.
    pub rotated: Vec<Rotated>,
    /// `fs.protected_fifos`.
    pub protected_fifos: u32,
    /// `fs.pipe-user-pages-soft`; 0: no limit.
    pub pages_soft: u64,
    /// `fs.pipe-max-size`.
    pub pipe_bytes_max: u64,
}

impl Facts {
    /// The command by which a supervisor starts `program`.
    pub fn start(&self, program: &str) -> Option<&String> {
        let [holder, reader] = &self.starts;
        if program == "holder" { holder.as_ref() } else { reader.as_ref() }
    }

    /// As things are now.
    pub fn of(survey: &Survey) -> Facts {
        let (holder, reader) = (at_work(survey, Role::Holder), at_work(survey, Role::Reader));
        let paths = survey.pipes.iter().filter(|pipe| pipe.end.identity().is_none()).map(|pipe| pipe.target.clone());
        let fifos = survey.pipes.iter().filter_map(|pipe| pipe.end.identity()).collect();
        Facts {
            account: account_of(holder.as_deref()),
            holder,
            reader,
            starts: ["holder", "reader"].map(|program| supervisor::start(program, &survey.dir)),
            worlds: daemons::other_worlds(),
            rotated: logrotate::rotated(&fifos, &paths.collect()),
            protected_fifos: setting("protected_fifos").unwrap_or(0),
            pages_soft: setting("pipe-user-pages-soft").unwrap_or(0),
            pipe_bytes_max: setting("pipe-max-size").unwrap_or(u64::MAX),
        }
    }
}

/// The holder or reader of this directory: one that has a FIFO of it open, or was started for it.
pub fn at_work(survey: &Survey, role: Role) -> Option<Rc<Process>> {
    let mut all = survey.pipes.iter().flat_map(|pipe| &pipe.openers).filter(|opener| opener.keeps());
    let opener = all.find(|opener| opener.process.role == role).map(|opener| Rc::clone(&opener.process));
    opener.or_else(|| daemons::of_dir(&survey.dir).into_iter().find(|process| process.role == role))
}

/// Whose rights count, where this holder is at work.
pub fn account_of(holder: Option<&Process>) -> Option<Credentials> {
    holder.and_then(|holder| of_process(holder.pid)).or_else(of_asker)
}

impl Credentials {
    /// Whether the permission bits of a file give it all of `bits`, such as `0o6`.
    pub fn may(&self, bits: u32, mode: u32, owner: u32, group: u32) -> bool {
        let shift = match () {
            () if self.uid == 0 => return true,
            () if self.uid == owner => 6,
            () if self.gids.contains(&group) => 3,
            () => 0,
        };
        mode >> shift & bits == bits
    }
}

/// The name of a user, or the number.
pub fn user_name(uid: u32) -> String {
    account::user_name(Uid::from_raw(uid))
}

fn of_process(pid: u32) -> Option<Credentials> {
    parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, is_initial(pid))
}

/// Limits count capabilities of the initial user namespace alone.
fn is_initial(pid: u32) -> bool {
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn parse(status: &str, is_initial: bool) -> Option<Credentials> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::split_whitespace);
    let effective = |name: &str| field(name)?.nth(1)?.parse::<u32>().ok();
    let (uid, gid) = (effective("Uid:")?, effective("Gid:")?);
    let others = field("Groups:").into_iter().flatten().filter_map(|gid| gid.parse().ok());
    let capabilities = field("CapEff:")?.next().and_then(|hex| u64::from_str_radix(hex, 16).ok())?;
    let has = |capability: capability::Capability| capabilities >> capability as u32 & 1 == 1;
    let is_unlimited =
        is_initial && (has(capability::Capability::SysResource) || has(capability::Capability::SysAdmin));
    let gids = [gid].into_iter().chain(others).collect();
    Some(Credentials { name: user_name(uid), uid, gids, is_unlimited })
}

fn of_asker() -> Option<Credentials> {
    if !Uid::effective().is_root() {
        return of_process(std::process::id());
    }
    let user = User::from_name(USUAL).ok().flatten()?;
    let name = std::ffi::CString::new(USUAL).ok()?;
    let mut gids = vec![user.gid.as_raw()];
    gids.extend(getgrouplist(&name, user.gid).unwrap_or_default().into_iter().map(nix::unistd::Gid::as_raw));
    Some(Credentials { name: user.name, uid: user.uid.as_raw(), gids, is_unlimited: false })
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    fs::read_to_string(Path::new("/proc/sys/fs").join(name)).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_come_from_owner_group_or_others_and_only_from_the_first_that_fits() {
        let account = Credentials { name: String::new(), uid: 7, gids: vec![8, 9], is_unlimited: false };
        for (mode, owner, group, may) in [
            (0o600, 7, 0, true),
            (0o066, 7, 8, false),
            (0o060, 1, 9, true),
            (0o606, 1, 9, false),
            (0o006, 1, 1, true),
            (0o660, 1, 1, false),
            (0o640, 1, 8, false),
        ] {
            assert_eq!(account.may(6, mode, owner, group), may, "{mode:o} {owner} {group}");
        }
        assert!(Credentials { uid: 0, ..account }.may(6, 0, 1, 1));
    }

    #[test]
    fn a_process_tells_its_effective_user_groups_and_capabilities() {
        let status = "Name:\tholder\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 11 \nCapEff:\t0000000001000000\n";
        let account = parse(status, true).unwrap();
        assert_eq!((account.uid, account.gids, account.is_unlimited), (2, vec![6, 10, 11], true));
        assert!(!parse(status, false).unwrap().is_unlimited);
        assert_eq!(parse("", true), None);
    }
}
