//! What is wrong with a link or a staging pipe: said once, and looked at again where nothing will tell that it is over.

use standpipe_common::error::Error;
use standpipe_common::retry::Once;

/// What was found wrong by the last look, if anything was.
#[derive(Debug, Default)]
pub struct Trouble(Once<Known>);

#[derive(Debug, PartialEq, Eq)]
struct Known {
    sentence: String,
    is_out_of_descriptors: bool,
}

impl Trouble {
    /// Whether the error has not been said.
    pub fn is_news(&mut self, error: &Error) -> bool {
        let is_out_of_descriptors = error.is_out_of_descriptors();
        self.0.is_news(Known { sentence: error.to_string(), is_out_of_descriptors })
    }

    /// Nothing is wrong; or what is, is to be said again. Whether something was.
    pub fn end(&mut self) -> bool {
        self.0.end()
    }

    /// Whether something is wrong.
    pub fn is_there(&self) -> bool {
        self.0.current().is_some()
    }

    /// Whether it is that no descriptor was left: no event tells when there is one.
    pub fn is_starved(&self) -> bool {
        self.0.current().is_some_and(|known| known.is_out_of_descriptors)
    }
}
