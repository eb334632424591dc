//! Scripts: commands, and what they print.
//!
//! Blocks are separated by an empty line; in each, commands stand above `---` and what they print
//! below. With `UPDATE_GOLDEN=1` in the environment, what is printed now is written there.
//!
//! ```text
//!   put KEY VALUE | delete KEY | txn KEY=VALUE -KEY …     one revision
//!   compact REVISION                                      logical and physical
//!   hold … publish                                        apply without publishing, then publish
//!   isolate … install [ENTRIES]                           the cluster goes on without the member,
//!                                                         then it installs a snapshot
//!   replay                                                apply and publish what it lacks
//!   open|close|tick|progress STREAM
//!   watch STREAM KEY [END] [start=N] [id=N] [prev_kv] [progress] [fragment] [noput] [nodelete]
//!   refuse STREAM REASON
//!   cancel STREAM ID
//!   poll STREAM [bytes=N] [responses=N]
//!   ring bytes=N | catch_up revisions=N | split bytes=N   (before all else)
//! ```
//! Keys are written with `^` for a zero byte, and `.` for no key at all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use quorate_api::etcdserverpb::{WatchCreateRequest, WatchResponse};
use quorate_api::mvccpb::{Event, KeyValue};

use super::world::{Change, Entry, World, apply};
use crate::watch::{PollLimits, StreamId, WatchOptions};

struct Script {
    world: World,
    options: WatchOptions,
    streams: BTreeMap<String, StreamId>,
    hold: bool,
    isolated: bool,
    /// Entries of the cluster's log that the member has applied.
    applied: usize,
}

fn key_of(word: &str) -> Vec<u8> {
    if word == "." {
        return Vec::new();
    }
    word.bytes().map(|byte| if byte == b'^' { 0 } else { byte }).collect()
}

fn text_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if *byte == 0 { '^' } else { char::from(*byte) }).collect()
}

fn value_of<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

fn number_of(words: &[&str], name: &str) -> Option<i64> {
    value_of(words, name).map(|value| value.parse().unwrap())
}

fn show_pair(pair: &KeyValue) -> String {
    let KeyValue { key, create_revision, mod_revision, version, value, lease } = pair;
    assert_eq!(*lease, 0);
    let mut value = text_of(value);
    if value.len() > 20 {
        value = format!("{} bytes", value.len());
    }
    format!("{}={value} ({create_revision}/{mod_revision}/{version})", text_of(key))
}

fn show_event(event: &Event) -> String {
    let kv = event.kv.as_ref().unwrap();
    let mut out = if event.r#type == 1 {
        let rest = KeyValue { key: "".into(), mod_revision: 0, ..kv.clone() };
        assert_eq!(rest, KeyValue::default(), "a deletion has key and mod_revision only");
        format!("DELETE {}@{}", text_of(&kv.key), kv.mod_revision)
    } else {
        format!("PUT {}", show_pair(kv))
    };
    if let Some(prev) = &event.prev_kv {
        write!(out, " after {}", show_pair(prev)).unwrap();
    }
    out
}

fn show(response: &WatchResponse) -> String {
    let revision = response.header.as_ref().unwrap().revision;
    let (id, reason) = (response.watch_id, &response.cancel_reason);
    if response.created {
        assert!(response.events.is_empty());
        return match response.canceled {
            true => format!("refused {id} at {revision}: {reason}"),
            false => format!("created {id} at {revision}"),
        };
    }
    if response.canceled {
        assert!(response.events.is_empty() && reason.is_empty());
        return match response.compact_revision {
            0 => format!("canceled {id} at {revision}"),
            compacted => format!("canceled {id} at {revision}: compacted {compacted}"),
        };
    }
    if response.events.is_empty() {
        return format!("progress {id} at {revision}");
    }
    let events: Vec<_> = response.events.iter().map(show_event).collect();
    let more = if response.fragment { ", to be continued" } else { "" };
    format!("events {id} at {revision}: {}{more}", events.join(", "))
}

impl Script {
    fn new(options: WatchOptions) -> Self {
        Self {
            world: World::new(options),
            options,
            streams: BTreeMap::new(),
            hold: false,
            isolated: false,
            applied: 0,
        }
    }

    fn change(&mut self, changes: Vec<Change>) -> String {
        self.enter(Entry::Transaction(changes))
    }

    fn enter(&mut self, entry: Entry) -> String {
        if self.isolated {
            self.world.log.push(entry);
            return String::new();
        }
        self.world.apply(entry);
        super::world::prune(&mut self.world.mvcc);
        self.applied = self.world.log.len();
        if self.hold { String::new() } else { self.publish() }
    }

    fn publish(&mut self) -> String {
        let woken = self.world.publish();
        self.show_woken(&woken)
    }

    fn show_woken(&self, woken: &[StreamId]) -> String {
        let names = self.streams.iter().filter(|(_, id)| woken.contains(id));
        let names: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
        if names.is_empty() { String::new() } else { format!("woken {}\n", names.join(" ")) }
    }

    fn stream(&self, words: &[&str]) -> StreamId {
        self.streams[words[1]]
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "put" => {
                let value = words[2].strip_prefix("bytes*");
                let value = value.map_or(words[2].into(), |n| vec![b'x'; n.parse().unwrap()]);
                self.change(vec![Change::Put { key: key_of(words[1]), value }])
            }
            "delete" => self.change(vec![Change::Delete { key: key_of(words[1]) }]),
            "txn" => {
                let change = |word: &&str| match word.strip_prefix('-') {
                    Some(key) => Change::Delete { key: key_of(key) },
                    None => {
                        let (key, value) = word.split_once('=').unwrap();
                        let value = value
                            .strip_prefix("bytes*")
                            .map_or(value.into(), |n| vec![b'x'; n.parse().unwrap()]);
                        Change::Put { key: key_of(key), value }
                    }
                };
                self.change(words[1..].iter().map(change).collect())
            }
            "compact" => self.enter(Entry::Compact(words[1].parse().unwrap())),
            "hold" => {
                self.hold = true;
                String::new()
            }
            "publish" => {
                self.hold = false;
                self.publish()
            }
            "isolate" => {
                self.isolated = true;
                String::new()
            }
            "install" => {
                self.isolated = false;
                let all = self.world.log.len();
                self.applied = words.get(1).map_or(all, |entries| entries.parse().unwrap());
                let woken = self.world.install(self.applied);
                self.show_woken(&woken)
            }
            "replay" => {
                for entry in &self.world.log[self.applied..] {
                    self.world.unpublished.extend(apply(&mut self.world.mvcc, entry));
                }
                self.applied = self.world.log.len();
                self.publish()
            }
            _ => self.run_on_stream(&words),
        }
    }

    fn run_on_stream(&mut self, words: &[&str]) -> String {
        let World { hub, mvcc, .. } = &mut self.world;
        match words[0] {
            "open" => {
                self.streams.insert(words[1].into(), hub.open_stream());
            }
            "close" => hub.close_stream(self.streams.remove(words[1]).unwrap()),
            "watch" => {
                let request = request_of(words);
                hub.create(self.streams[words[1]], mvcc, &request).unwrap();
            }
            "refuse" => {
                hub.refuse(self.streams[words[1]], mvcc, words[2..].join(" ").into()).unwrap();
            }
            "cancel" => {
                hub.cancel(self.streams[words[1]], mvcc, words[2].parse().unwrap()).unwrap();
            }
            "tick" => hub.tick_progress(self.streams[words[1]]),
            "progress" => hub.request_progress(self.streams[words[1]]),
            "poll" => return self.poll(words),
            "ring" | "catch_up" | "split" => {
                let number = |name| number_of(words, name).map(|n| usize::try_from(n).unwrap());
                match words[0] {
                    "ring" => self.options.ring_bytes_max = number("bytes").unwrap() as u64,
                    "catch_up" => {
                        self.options.catch_up_revisions_max = number("revisions").unwrap();
                    }
                    _ => self.options.fragment_bytes = number("bytes").unwrap(),
                }
                self.world = World::new(self.options);
            }
            other => panic!("unknown command {other}"),
        }
        String::new()
    }

    fn poll(&mut self, words: &[&str]) -> String {
        let mut limits = PollLimits::default();
        let number = |name| number_of(words, name).map(|n| usize::try_from(n).unwrap());
        limits.bytes = number("bytes").unwrap_or(limits.bytes);
        limits.responses = number("responses").unwrap_or(limits.responses);
        let (responses, more) = self.world.poll(self.stream(words), limits);
        let mut out: String = responses.iter().map(|r| show(r) + "\n").collect();
        match (more, responses.is_empty()) {
            (true, _) => out.push_str("and more\n"),
            (false, true) => out.push_str("nothing\n"),
            (false, false) => {}
        }
        out
    }
}

fn request_of(words: &[&str]) -> WatchCreateRequest {
    let mut request = WatchCreateRequest { key: key_of(words[2]).into(), ..Default::default() };
    for word in &words[3..] {
        match *word {
            "prev_kv" => request.prev_kv = true,
            "progress" => request.progress_notify = true,
            "fragment" => request.fragment = true,
            "noput" => request.filters.push(0),
            "nodelete" => request.filters.push(1),
            _ if word.contains('=') => {}
            end => request.range_end = key_of(end).into(),
        }
    }
    request.start_revision = number_of(words, "start").unwrap_or(0);
    request.watch_id = number_of(words, "id").unwrap_or(0);
    request
}

fn run_script(text: &str) -> String {
    let mut script = Script::new(WatchOptions::default());
    let mut blocks = Vec::new();
    for block in text.split("\n\n") {
        let commands = block.split("\n---").next().unwrap().trim_end();
        let mut out = String::new();
        for line in commands.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            out.push_str(&script.run(line));
        }
        let runs = commands.lines().any(|line| !line.starts_with('#') && !line.is_empty());
        blocks.push(match (runs, out.as_str()) {
            (false, _) => commands.to_owned(),
            (true, "") => format!("{commands}\n---"),
            (true, out) => format!("{commands}\n---\n{}", out.trim_end()),
        });
    }
    blocks.join("\n\n") + "\n"
}

#[test]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/watch/tests/scripts");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the scripts are there");
    let mut failures = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let printed = run_script(&text);
        if printed == text {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &printed).unwrap();
        }
        let name = file.file_name().unwrap().to_string_lossy();
        write!(failures, "{name}, expected:\n{text}\nprinted:\n{printed}\n").unwrap();
    }
    assert!(failures.is_empty(), "{failures}");
}
