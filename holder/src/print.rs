//! Text for standard output: wrapped to the screen, in its characters; JSON. Nothing is written here.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;
use standpipe_common::error::{Cannot, Result};
use standpipe_common::table::Screen;

/// Narrower than this nothing is wrapped: there would be more ends of lines than words.
const WIDTH_MIN: usize = 20;

/// An object as one line of JSON.
pub fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(value).map_err(io::Error::from).cannot("write", "standard output")?;
    Ok(text + "\n")
}

/// `text` in the characters that the screen has.
pub fn shown(text: &str, screen: Screen) -> String {
    if screen.is_utf8 || text.is_ascii() {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        let _infallible = if c.is_ascii() { write!(shown, "{c}") } else { write!(shown, "{}", c.escape_default()) };
    }
    shown
}

/// `text`, broken between words; `first` stands before the first line and `rest` before each other.
pub fn wrapped(text: &str, first: &str, rest: &str, screen: Screen) -> String {
    broken(text, first, rest, "", screen)
}

/// A command, broken in the shell's way, so that it can still be copied. One with quotes stays whole.
pub fn command(text: &str, first: &str, rest: &str, screen: Screen) -> String {
    if text.contains(['\'', '\\']) {
        return shown(&format!("{first}{text}\n"), screen);
    }
    broken(text, first, rest, " \\", screen)
}

fn broken(text: &str, first: &str, rest: &str, at_break: &str, screen: Screen) -> String {
    let width = screen.width.map_or(usize::MAX, |width| usize::from(width).max(WIDTH_MIN)) - at_break.len();
    let mut lines = vec![first.to_owned()];
    let mut is_fresh = true;
    for word in shown(text, screen).split(' ') {
        let len = lines.last().map_or(0, |line| line.chars().count());
        if !is_fresh && len + 1 + word.chars().count() > width {
            lines.push(rest.to_owned());
            is_fresh = true;
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if is_fresh { "" } else { " " });
            line.push_str(word);
        }
        is_fresh = false;
    }
    lines.join(&format!("{at_break}\n")) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(width: u16) -> Screen {
        Screen { width: Some(width), is_utf8: true }
    }

    #[test]
    fn words_are_kept_whole_and_lines_within_the_screen() {
        let text = wrapped("one two three four five six", "a: ", "   ", screen(20));
        assert_eq!(text, "a: one two three\n   four five six\n");
        assert_eq!(wrapped("x", "a: ", "   ", screen(1)), "a: x\n");
        let long = "x".repeat(50);
        assert_eq!(wrapped(&format!("a {long}"), "", "  ", screen(30)), format!("a\n  {long}\n"));
        let endless = Screen { width: None, is_utf8: true };
        assert_eq!(wrapped(&format!("a {long}"), "", "  ", endless), format!("a {long}\n"));
    }

    #[test]
    fn a_broken_command_can_be_copied() {
        let text = command("mkfifo -m 0660 /run/standpipe/app", "", "  ", screen(22));
        assert_eq!(text, "mkfifo -m 0660 \\\n  /run/standpipe/app\n");
        assert_eq!(command("rm 'a b  c d e f g h i j'", "", "  ", screen(20)), "rm 'a b  c d e f g h i j'\n");
    }

    #[test]
    fn a_screen_without_utf_8_gets_ascii() {
        assert_eq!(shown("größe", Screen { width: None, is_utf8: false }), "gr\\u{f6}\\u{df}e");
        assert_eq!(shown("größe", screen(80)), "größe");
    }
}
