//! Keys that each make sense, but hardly together. Nothing is done differently because of it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use jiff::tz::TimeZone;

use super::{Compress, Policy};
use crate::shown::Shown as _;
use crate::units::{ByteSize, Limit};

impl Policy {
    /// Keys that each make sense but hardly together, a sentence each.
    pub fn oddities(&self) -> Vec<String> {
        let mut odd = Vec::new();
        if let (Limit::At(keep), Limit::At(rotate)) = (self.keep.size, self.rotate_size)
            && keep <= rotate
        {
            let (keep, rotate) = (ByteSize(keep), ByteSize(rotate));
            odd.push(format!(
                "keep_size {keep} is not larger than rotate_size {rotate}: the part being written could use all of it and \
                 leave no archives"
            ));
        }
        if self.hook.is_some() && self.compress == Compress::None {
            odd.push("hook never runs: with compress = \"none\" there are no archives".to_string());
        }
        odd
    }
}

impl Policy {
    /// What is right, but may not be what was meant, a sentence each: for whoever checks a configuration.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.zone != TimeZone::UTC && self.filename.is_utc() {
            let zone = self.zone.iana_name().unwrap_or("another one");
            remarks.push(format!(
                "names of parts are in UTC, but zone is {zone}: to name them in that zone, add filename_zone = \"{zone}\""
            ));
        }
        if let Some(why) = self.hook.as_ref().and_then(|hook| unusable(Path::new(hook.0.first()?))) {
            remarks.push(format!("hook {why}: archives wait until it can run"));
        }
        remarks
    }
}

/// Why a program that is named by a path cannot be run now. One that is looked for on the PATH may be elsewhere for whoever
/// runs it.
fn unusable(program: &Path) -> Option<String> {
    let (name, shown) = (program.as_os_str().as_bytes(), program.shown());
    if !name.contains(&b'/') {
        return None;
    }
    match fs::metadata(program) {
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!("{shown} does not exist")),
        Ok(found) if !found.is_file() || found.mode() & 0o111 == 0 => {
            Some(format!("{shown} is not an executable file"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Raw;

    fn raw(text: &str) -> Raw {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn names_in_utc_beside_another_zone_are_remarked() {
        const ZONE: &str = "zone = \"Europe/Berlin\"\n";
        for (text, remarks) in [
            ("", 0),
            (ZONE, 1),
            ("zone = \"Europe/Berlin\"\nfilename = \"%Y-%m-%d\"", 1),
            ("zone = \"Europe/Berlin\"\nfilename = \"%s\"", 0),
            ("zone = \"Europe/Berlin\"\nfilename_zone = \"Europe/Berlin\"", 0),
            ("filename_zone = \"Europe/Berlin\"", 0),
        ] {
            assert_eq!(Policy::from_raw(&raw(text)).remarks().len(), remarks, "{text}");
        }
        let remarks = Policy::from_raw(&raw(ZONE)).remarks();
        assert!(remarks[0].contains("add filename_zone = \"Europe/Berlin\""), "{remarks:?}");
    }

    #[test]
    fn a_hook_that_cannot_be_run_is_remarked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        for (program, remark) in [
            (at("away"), Some("does not exist")),
            (at("plain"), Some("is not an executable file")),
            (at(""), Some("is not an executable file")),
            ("/bin/true".to_owned(), None),
            ("up".to_owned(), None),
        ] {
            let remarks = Policy::from_raw(&raw(&format!("hook = [{program:?}]"))).remarks();
            let expected = remark.map(|why| format!("hook {program} {why}: archives wait until it can run"));
            assert_eq!(remarks.first(), expected.as_ref());
        }
    }

    #[test]
    fn keys_that_hardly_go_together_are_told() {
        for (text, odd) in [
            ("", 0),
            ("keep_size = \"64MiB\"", 1),
            ("keep_size = \"65MiB\"", 0),
            ("rotate_size = \"1G\"", 1),
            ("rotate_size = \"off\"", 0),
            ("rotate_size = \"1G\"\nkeep_size = \"off\"", 0),
            ("hook = [\"up\"]", 0),
            ("hook = [\"up\"]\ncompress = \"none\"", 1),
            ("hook = []\ncompress = \"none\"", 0),
        ] {
            assert_eq!(Policy::from_raw(&raw(text)).oddities().len(), odd, "{text}");
        }
    }
}
