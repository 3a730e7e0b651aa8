//! One source in a state file: its JSON fields, and the way from and to a [`SourceState`].
//!
//! Which keys must stand together is checked here; whether they can be believed, one room above.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::checkpoint::state::{DoneState, GenerationState, SourceState};
use crate::file::guard::{GUARD_BYTES_MAX, Guard, HEAD_LENGTHS, Head};
use crate::file::identity::{Identity, Origin};

const HASH: &str = "xxh3-64:";

/// A source. The fields of its last generation, if there is one, stand among its own.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    last: GenerationForm,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<bool>,
    #[serde(skip_serializing_if = "is_nothing")]
    since_ns: Option<i64>,
    #[serde(skip_serializing_if = "is_nothing")]
    left_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    older: Vec<GenerationForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    done: Vec<DoneForm>,
}

#[derive(Default, Deserialize, Serialize)]
struct GenerationForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ino: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "hash_if_ours")]
    last_line_hash: Option<LineHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    born_ns: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<GuardForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    head: Vec<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    copy: Option<IdentityForm>,
}

#[derive(Deserialize, Serialize)]
struct IdentityForm {
    dev: u64,
    ino: u64,
    born_ns: i64,
}

#[derive(Deserialize, Serialize)]
struct DoneForm {
    dev: u64,
    ino: u64,
    born_ns: i64,
    epoch: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<GuardForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    head: Vec<Hash>,
    size: u64,
    #[serde(default, skip_serializing_if = "is_unknown")]
    changed_ns: i64,
}

#[derive(Deserialize, Serialize)]
struct GuardForm {
    bytes: u32,
    hash: Hash,
}

impl Entry {
    pub(super) fn of_source(state: &SourceState) -> Entry {
        let (last, older) = state.generations.split_last().map_or((None, &[][..]), |(last, older)| (Some(last), older));
        Entry {
            last: last.map(GenerationForm::of).unwrap_or_default(),
            live: Some(state.is_live),
            since_ns: Some(state.since_ns),
            left_ns: Some(state.left_ns),
            older: older.iter().map(GenerationForm::of).collect(),
            done: state.done.iter().map(DoneForm::of).collect(),
        }
    }

    /// Whether only we can have written it, so that there must have been a checksum.
    pub(super) fn has_fields_of_ours(&self) -> bool {
        self.last.has_fields_of_ours()
            || self.live.is_some()
            || self.since_ns.is_some()
            || self.left_ns.is_some()
            || !self.older.is_empty()
            || !self.done.is_empty()
    }

    /// The source that this says; the error is a sentence about it.
    pub(super) fn into_source(self, path: PathBuf) -> Result<SourceState, &'static str> {
        let Entry { last, live, since_ns, left_ns, older, done } = self;
        let done = done.into_iter().map(DoneForm::into_done).collect::<Result<_, _>>()?;
        // What a checksum covers may say that there is no generation; by hand nobody writes that.
        let has_last = live.is_none() || last.dev.is_some() || last.ino.is_some() || last.offset.is_some();
        let generations = older.into_iter().chain(has_last.then_some(last)).map(GenerationForm::into_generation);
        let generations = generations.collect::<Result<_, _>>()?;
        let (since_ns, left_ns) = (since_ns.unwrap_or_default(), left_ns.unwrap_or_default());
        Ok(SourceState { path, generations, is_live: live.unwrap_or(true), done, since_ns, left_ns })
    }
}

impl GenerationForm {
    fn of(generation: &GenerationState) -> GenerationForm {
        let Origin { identity: Identity { dev, ino, born_ns }, epoch } = generation.origin;
        GenerationForm {
            dev: Some(dev),
            ino: Some(ino),
            offset: Some(generation.offset),
            last_line_hash: generation.last_line_hash.map(LineHash),
            born_ns: Some(born_ns),
            epoch: Some(epoch),
            guard: generation.guard.map(GuardForm::from),
            head: hashes_of(&generation.head),
            copy: generation.copy.map(IdentityForm::from),
        }
    }

    fn has_fields_of_ours(&self) -> bool {
        self.born_ns.is_some()
            || self.epoch.is_some()
            || self.guard.is_some()
            || !self.head.is_empty()
            || self.copy.is_some()
    }

    fn into_generation(self) -> Result<GenerationState, &'static str> {
        let (Some(dev), Some(ino), Some(offset)) = (self.dev, self.ino, self.offset) else {
            return Err("dev, ino and offset must appear together");
        };
        let identity = Identity { dev, ino, born_ns: self.born_ns.unwrap_or_default() };
        Ok(GenerationState {
            origin: Origin { identity, epoch: self.epoch.unwrap_or_default() },
            copy: self.copy.as_ref().map(Identity::from),
            offset,
            guard: self.guard.map(GuardForm::into_guard).transpose()?,
            last_line_hash: self.last_line_hash.map(|LineHash(hash)| hash),
            head: head_of(&self.head)?,
        })
    }
}

impl DoneForm {
    fn of(done: &DoneState) -> DoneForm {
        let Origin { identity: Identity { dev, ino, born_ns }, epoch } = done.origin;
        let (guard, head) = (done.guard.map(GuardForm::from), hashes_of(&done.head));
        DoneForm {
            dev,
            ino,
            born_ns,
            epoch,
            offset: done.offset,
            guard,
            head,
            size: done.size,
            changed_ns: done.changed_ns,
        }
    }

    fn into_done(self) -> Result<DoneState, &'static str> {
        let identity = Identity { dev: self.dev, ino: self.ino, born_ns: self.born_ns };
        Ok(DoneState {
            origin: Origin { identity, epoch: self.epoch },
            offset: self.offset,
            guard: self.guard.map(GuardForm::into_guard).transpose()?,
            head: head_of(&self.head)?,
            size: self.size,
            changed_ns: self.changed_ns,
        })
    }
}

impl From<Identity> for IdentityForm {
    fn from(Identity { dev, ino, born_ns }: Identity) -> IdentityForm {
        IdentityForm { dev, ino, born_ns }
    }
}

impl From<&IdentityForm> for Identity {
    fn from(form: &IdentityForm) -> Identity {
        Identity { dev: form.dev, ino: form.ino, born_ns: form.born_ns }
    }
}

impl From<Guard> for GuardForm {
    fn from(Guard { len, hash }: Guard) -> GuardForm {
        GuardForm { bytes: len, hash: Hash(hash) }
    }
}

impl GuardForm {
    fn into_guard(self) -> Result<Guard, &'static str> {
        let GuardForm { bytes: len, hash: Hash(hash) } = self;
        if len as usize > GUARD_BYTES_MAX { Err("a guard is too long") } else { Ok(Guard { len, hash }) }
    }
}

fn hashes_of(head: &Head) -> Vec<Hash> {
    head.hashes().iter().map(|hash| Hash(*hash)).collect()
}

fn head_of(hashes: &[Hash]) -> Result<Head, &'static str> {
    if hashes.len() > HEAD_LENGTHS.len() {
        return Err("a head has too many hashes");
    }
    Ok(hashes.iter().map(|Hash(hash)| *hash).collect())
}

/// `xxh3-64:HEX`, 16 digits where we write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(pub(super) u64);

impl Hash {
    fn parse(text: &str) -> Option<Hash> {
        let digits = text.strip_prefix(HASH).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        u64::from_str_radix(digits, 16).ok().map(Hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HASH}{:016x}", self.0)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("{text} is not a hash")))
    }
}

/// The same of a line, in plain hexadecimal: the form that others read and write. With the prefix it is taken too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LineHash(u64);

impl LineHash {
    fn parse(text: &str) -> Option<LineHash> {
        let is_plain = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let plain = is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        plain.or_else(|| Hash::parse(text).map(|Hash(hash)| hash)).map(LineHash)
    }
}

impl Serialize for LineHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// Whether no time is known.
#[allow(clippy::ref_option)] // As serde asks.
fn is_nothing(time_ns: &Option<i64>) -> bool {
    time_ns.is_none_or(|time_ns| time_ns == 0)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde asks.
fn is_unknown(time_ns: &i64) -> bool {
    *time_ns == 0
}

/// A hash by another function, or written in another way, is none that could be verified.
fn hash_if_ours<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<LineHash>, D::Error> {
    Ok(serde_json::Value::deserialize(deserializer)?.as_str().and_then(LineHash::parse))
}
