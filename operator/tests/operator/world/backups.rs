//! Backups: files somewhere, pods that write them and prove them, and first members that are made of
//! one.

use quorate_operator::backup::task::{METADATA_FORMAT, Metadata, Place, Report, Task};
use quorate_operator::backup::{Cause, Failure};
use serde_json::{Value, json};

use super::World;
use super::machines::{Identity, Machines, Process};
use super::stateful_sets::text;
use crate::api_server::{Part, of_kind};

/// A backup's file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// The last entry that is in it.
    pub(crate) index: u64,
    sha256: String,
    pub(crate) harm: Harm,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Nothing,
    /// Bytes have changed since it was written.
    Flipped,
    /// It is as it was written, but no member can be made of it.
    Hollow,
    /// A member can be made of it, which has other data.
    Other,
}

/// How a pod ends: the list of its container, that one's name, its code and its last message.
struct End(&'static str, &'static str, i32, String);

impl World {
    /// A pod with a task ends with what came of it.
    pub(super) fn run_task(&self, pod: &Value) {
        let end = self.machines.lock().carry_out(pod, &self.clock.text());
        let End(list, container, code, message) = end;
        let mut status = json!({ "phase": if code == 0 { "Succeeded" } else { "Failed" } });
        status[list] = json!([{
            "name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": code, "message": message } },
        }]);
        let key = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        let _ = self.server.change(&of_kind::POD, key, Part::Status, |pod| pod["status"] = status);
    }

    /// Something happens to a backup's file.
    pub(crate) fn harm(&self, object: &str, harm: Harm) {
        let mut machines = self.machines.lock();
        machines.files.get_mut(object).expect("a file that is there").harm = harm;
    }
}

/// The file that a first member is made of, if it is made of one: its name, and its hash if that is
/// known.
pub(super) fn origin_of(pod: &Value) -> Option<(String, Option<String>)> {
    match task_of(&pod["spec"]["initContainers"][0])? {
        Task::Fetch { place, sha256, .. } => Some((place.object, sha256)),
        _ => None,
    }
}

fn task_of(container: &Value) -> Option<Task> {
    let words = container["args"].as_array()?;
    serde_json::from_str(words.get(1)?.as_str().filter(|_| words[0] == "task")?).ok()
}

fn reported(report: &Report) -> String {
    serde_json::to_string(report).expect("a report")
}

impl Machines {
    fn carry_out(&mut self, pod: &Value, now: &str) -> End {
        let task = task_of(&pod["spec"]["containers"][0]);
        let done = match task.expect("a task that the worker takes, too") {
            Task::Save { source, place, about } => {
                self.save(&place, source.cluster_id.as_deref()).map(|(file, cluster_id)| {
                    Report::Saved(Metadata {
                        format: METADATA_FORMAT,
                        about,
                        cluster_id,
                        revision: i64::try_from(file.index).expect("a revision"),
                        size_bytes: 1 << 20,
                        sha256: file.sha256,
                        hash: None,
                        taken_at: now.to_owned(),
                    })
                })
            }
            Task::Remove { place } => {
                self.files.remove(&place.object);
                Ok(Report::Done)
            }
            Task::Compare { .. } => {
                let (object, sha256) = origin_of(pod).expect("what it is made of");
                let file = match self.fetch(&object, sha256.as_deref()) {
                    Ok(file) => file,
                    Err(failure) => {
                        let report = reported(&Report::Failed(failure));
                        return End("initContainerStatuses", "fetch", 1, report);
                    }
                };
                self.mark("proof");
                match file.harm {
                    Harm::Hollow => {
                        let said = "quorate: this file is no snapshot".to_owned();
                        return End("initContainerStatuses", "restore", 1, said);
                    }
                    Harm::Other => Err(Failure::new(Cause::Differs, "another hash of the keys")),
                    Harm::Nothing | Harm::Flipped => Ok(Report::Done),
                }
            }
            Task::Fetch { .. } | Task::Copy { .. } => unreachable!("no pod does only this"),
        };
        let code = i32::from(done.is_err());
        let report = done.unwrap_or_else(Report::Failed);
        End("containerStatuses", "task", code, reported(&report))
    }

    fn save(&mut self, place: &Place, cluster: Option<&str>) -> Result<(File, String), Failure> {
        let led = self.groups.iter().find(|group| {
            Some(format!("{:x}", group.id).as_str()) == cluster && self.list(group.id).is_ok()
        });
        let Some(group) = led.cloned() else {
            return Err(Failure::new(Cause::MemberUnreachable, "nobody answers"));
        };
        let sha256 = format!("{:064x}", self.number());
        let file = File { index: group.acknowledged, sha256, harm: Harm::Nothing };
        self.mark("backup");
        self.files.insert(place.object.clone(), file.clone());
        Ok((file, format!("{:x}", group.id)))
    }

    fn fetch(&self, object: &str, sha256: Option<&str>) -> Result<File, Failure> {
        let file = self.files.get(object);
        let file =
            file.ok_or_else(|| Failure::new(Cause::NoSuchObject, "there is no such file"))?;
        let is_as_written =
            file.harm != Harm::Flipped && sha256.is_none_or(|sha256| sha256 == file.sha256);
        let why = || Failure::new(Cause::Damaged, "it has another SHA-256");
        is_as_written.then(|| file.clone()).ok_or_else(why)
    }

    /// The first member of a new cluster, with what a file has.
    pub(super) fn restore(
        &mut self,
        process: &Process,
        (object, sha256): &(String, Option<String>),
    ) -> Result<Identity, String> {
        let file = self.fetch(object, sha256.as_deref()).map_err(|failure| failure.message)?;
        if file.harm == Harm::Hollow {
            return Err("this file is no snapshot".to_owned());
        }
        let identity = self.begin(process)?;
        self.mark("restore");
        if let Some(group) = self.group_mut(identity.cluster) {
            group.acknowledged = file.index;
        }
        if let Some(disk) = self.disks.get_mut(&process.volume) {
            disk.index = file.index;
        }
        Ok(identity)
    }
}
