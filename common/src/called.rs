//! By which name this program was called, and where the programs beside it are.
//!
//! Messages, usage and advice name what whoever reads them can type. Each program may be called by its own name
//! (`reader`), by that of a link to it (`standpipe-reader`), or by the front, `standpipe`, which runs it under its own
//! name: as `standpipe` for a command that only one program has, as `standpipe read` for the program itself. So the
//! name is the first argument, which nobody inherits, as a variable of the environment would be by hooks and pagers.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::unistd::{AccessFlags, access};

use crate::shell::quoted;

/// The front.
pub const FRONT: &str = "standpipe";
/// Where a package puts the programs, whose names are too general for a search path.
pub const PACKAGED: &str = "/usr/lib/standpipe/bin";
/// Each program, and the command of the front that runs it.
pub const PROGRAMS: [(&str, &str); 3] = [("holder", "hold"), ("reader", "read"), ("tailer", "tail")];

/// By which name this program was called.
pub fn name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let called = env::args_os().next().map(PathBuf::from);
        let mut paths = called.into_iter().chain(env::current_exe().ok());
        let name = paths.find_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| FRONT.to_owned())
    })
}

/// What to type for a command of `program`, such as `status` of `reader`, or for the program itself where `command` is
/// empty: short, for a sentence.
pub fn short(program: &str, command: &str) -> String {
    if is_by_front(name()) {
        return in_front(FRONT, program, command);
    }
    spaced(&format!("{}{program}", prefix(name())), command)
}

/// The same by full path, so that another shell or `sudo` finds it.
pub fn typed(program: &str, command: &str) -> String {
    let called = PathBuf::from(env::args_os().next().unwrap_or_default());
    if is_by_front(name()) {
        let front = called.with_file_name(FRONT);
        return in_front(&path_of(&front).map_or_else(|| FRONT.to_owned(), |path| quoted(&path)), program, command);
    }
    let linked = called.with_file_name(format!("{}{program}", prefix(name())));
    let found = path_of(&linked).or_else(|| find(program));
    spaced(&found.map_or_else(|| program.to_owned(), |path| quoted(&path)), command)
}

/// Where a program of ours is: beside this one, in the package's place, or in the search path.
pub fn find(program: &str) -> Option<PathBuf> {
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program)));
    let packaged = Path::new(PACKAGED).join(program);
    beside.into_iter().chain([packaged]).find(|path| is_program(path)).or_else(|| in_search_path(Path::new(program)))
}

/// The same through `front`, whatever this program was called.
pub fn in_front(front: &str, program: &str, command: &str) -> String {
    let own = PROGRAMS.iter().find(|(name, _)| *name == program).map_or(program, |(_, own)| own);
    format!("{front} {}", if command.is_empty() { own } else { command })
}

/// A program, and its command if there is one.
pub fn spaced(program: &str, command: &str) -> String {
    if command.is_empty() { program.to_owned() } else { format!("{program} {command}") }
}

fn is_by_front(name: &str) -> bool {
    name == FRONT || name.strip_prefix(FRONT).is_some_and(|rest| rest.starts_with(' '))
}

/// `standpipe-` of `standpipe-reader`.
fn prefix(name: &str) -> &str {
    PROGRAMS.iter().find_map(|(program, _)| name.strip_suffix(program)).unwrap_or_default()
}

/// The full path of what was called so, if it is there.
fn path_of(called: &Path) -> Option<PathBuf> {
    match called.parent() {
        Some(dir) if dir != Path::new("") => std::path::absolute(called).ok().filter(|path| is_program(path)),
        _ => in_search_path(called),
    }
}

fn in_search_path(name: &Path) -> Option<PathBuf> {
    let dirs = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_absolute() && is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_known_by_its_name_and_links_by_their_end() {
        for (name, by_front, before) in [
            ("reader", false, ""),
            ("standpipe-reader", false, "standpipe-"),
            ("standpipe", true, ""),
            ("standpipe read", true, ""),
            ("standpipes", false, ""),
            ("reader.new", false, ""),
        ] {
            assert_eq!((is_by_front(name), prefix(name)), (by_front, before), "{name}");
        }
    }

    #[test]
    fn the_front_has_words_of_its_own_for_the_programs_themselves() {
        assert_eq!(in_front("standpipe", "reader", ""), "standpipe read");
        assert_eq!(in_front("/usr/bin/standpipe", "holder", "check"), "/usr/bin/standpipe check");
        assert_eq!((spaced("reader", ""), spaced("reader", "logs")), ("reader".to_owned(), "reader logs".to_owned()));
    }
}
