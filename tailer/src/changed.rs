//! Whether something changed since somebody last asked, who is the only one to ask.

/// That.
#[derive(Debug, Default)]
pub struct Changed(bool);

impl Changed {
    /// Something did.
    pub fn note(&mut self) {
        self.0 = true;
    }

    /// Whether something did; from now on nothing.
    pub fn take(&mut self) -> bool {
        std::mem::take(&mut self.0)
    }
}
