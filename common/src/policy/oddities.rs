//! Keys that each make sense, but hardly together. Nothing is done differently because of it.

use super::{Compress, Policy};
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
                "keep_size {keep} is no more than rotate_size {rotate}: a segment that grows to that size leaves no \
                 room for archives"
            ));
        }
        if self.hook.is_some() && self.compress == Compress::None {
            odd.push("hook never runs: with compress = \"none\" there are no archives".to_string());
        }
        odd
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
