//! Events as JSON objects: `event`, then what is known of `source`, `path`, `old`, `new`, `identity`, `offset`, `errno`
//! and the rest.

use serde_json::{Value, json};
use standpipe_common::shown::visible_json;

use super::Event;
use crate::file::identity::Identity;

/// One line, without its newline. A path that is no UTF-8 has replacement characters.
pub(super) fn object(event: &Event) -> String {
    let (kind, fields) = fields(event);
    let fields = fields.to_string();
    let comma = if fields == "{}" { "" } else { "," };
    let text = format!("{{\"event\":\"{kind}\"{comma}{}", &fields[1..]);
    // serde_json leaves those above ASCII's first 32 as they are; a terminal obeys some of them.
    visible_json(&text)
}

fn fields(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Watching { files, interval, inotify } => {
            ("watching", json!({"files": files, "interval_ms": interval.as_millis() as u64, "inotify": inotify}))
        }
        Event::Order { order, window } => {
            ("order", json!({"order": order, "window_ms": window.map(|window| window.as_millis() as u64)}))
        }
        Event::Source { name, path, identity, offset } => (
            "source",
            json!({"source": name, "path": path.to_string_lossy(), "identity": id(*identity), "offset": offset}),
        ),
        Event::Rotated { name, old, new } => ("rotated", json!({"source": name, "old": id(*old), "new": id(*new)})),
        Event::Truncated { name, identity, how } => {
            ("truncated", json!({"source": name, "identity": id(*identity), "how": how.text(), "offset": 0}))
        }
        Event::CopyMatched { name, path, offset, bytes } => {
            let path = path.to_string_lossy();
            ("copy_matched", json!({"source": name, "path": path, "offset": offset, "bytes": bytes}))
        }
        Event::Lost { name, bytes } => ("lost", json!({"source": name, "bytes": bytes})),
        Event::GenerationsMissing { name, bytes } => ("generations_missing", json!({"source": name, "bytes": bytes})),
        Event::Unlisted { name, dir, errno } => {
            ("unlisted", json!({"source": name, "path": dir.to_string_lossy(), "errno": format!("{errno:?}")}))
        }
        Event::Unreadable { name, path, bytes, why } => {
            let path = path.to_string_lossy();
            ("unreadable", json!({"source": name, "path": path, "bytes": bytes, "why": why}))
        }
        Event::Hole { name, bytes } => ("hole", json!({"source": name, "bytes": bytes})),
        Event::Preallocated { name, bytes } => ("preallocated", json!({"source": name, "bytes": bytes})),
        Event::Mount { name, path } => ("mount", json!({"source": name, "path": path.to_string_lossy()})),
        Event::Unfinished { name, bytes } => ("unfinished", json!({"source": name, "bytes": bytes})),
        Event::Late { name, count } => ("late", json!({"source": name, "count": count})),
        Event::Ambiguous { name, path, files, why } => {
            let (path, why) = (path.to_string_lossy(), format!("{why:?}").to_lowercase());
            ("ambiguous", json!({"source": name, "path": path, "files": files, "why": why}))
        }
        Event::Finished { name, identity } => ("finished", json!({"source": name, "identity": id(*identity)})),
        Event::Backlog { name, rate, bytes } => {
            ("backlog", json!({"source": name, "rate_limit": rate.to_string(), "bytes": bytes}))
        }
        Event::BacklogOver { name, after } => ("backlog_over", json!({"source": name, "after_s": after.as_secs()})),
        Event::Debug { name, identity, read, delivered } => {
            ("debug", json!({"source": name, "identity": id(*identity), "read": read, "delivered": delivered}))
        }
        _ => fields_without_source(event),
    }
}

fn fields_without_source(event: &Event) -> (&'static str, Value) {
    match event {
        Event::OpenError { path, errno } => {
            ("open_error", json!({"path": path.to_string_lossy(), "errno": format!("{errno:?}")}))
        }
        Event::Retry { path, after, .. } => {
            ("retry", json!({"path": path.to_string_lossy(), "after_s": after.as_secs()}))
        }
        Event::Recovered { path } => ("recovered", json!({"path": path.to_string_lossy()})),
        Event::Refused { path, reason } => ("refused", json!({"path": path.to_string_lossy(), "reason": reason})),
        Event::Waiting { name, more } => ("waiting", json!({"name": name, "count": more + 1})),
        Event::Leases { available } => ("leases", json!({"available": available})),
        Event::InotifyLimit { sysctl } => ("inotify_limit", json!({"sysctl": sysctl})),
        Event::Overflow => ("overflow", json!({})),
        Event::Warning(message) => ("warning", json!({"message": message})),
        Event::Error(message) => ("error", json!({"message": message})),
        Event::Note(message) => ("note", json!({"message": message})),
        // All others have a source.
        _ => ("unknown", json!({})),
    }
}

fn id(identity: Identity) -> Value {
    json!({"dev": identity.dev, "ino": identity.ino})
}
