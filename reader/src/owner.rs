//! Groups by name or number.

use nix::unistd::{Gid, Group};
use standpipe_common::error::{Error, Result};

/// The number of a group.
pub fn group(name: &str) -> Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(Error::because("find group", name, "there is none of that name")),
        Err(errno) => Err(Error::new("find group", name, errno)),
    }
}
