//! Users and groups, by name or number.

use std::io;

use nix::unistd::{Gid, Group, Uid, User};

/// The number of a user. `None`: there is none of that name.
pub fn user(name: &str) -> io::Result<Option<Uid>> {
    match name.parse() {
        Ok(number) => Ok(Some(Uid::from_raw(number))),
        Err(_) => Ok(User::from_name(name)?.map(|user| user.uid)),
    }
}

/// The number of a group. `None`: there is none of that name.
pub fn group(name: &str) -> io::Result<Option<Gid>> {
    match name.parse() {
        Ok(number) => Ok(Some(Gid::from_raw(number))),
        Err(_) => Ok(Group::from_name(name)?.map(|group| group.gid)),
    }
}

/// What a user is called; the number where it has no name.
pub fn user_name(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}

/// What a group is called; the number where it has no name.
pub fn group_name(group: Gid) -> String {
    Group::from_gid(group).ok().flatten().map_or_else(|| group.to_string(), |group| group.name)
}
