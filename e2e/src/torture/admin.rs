//! What an administrator does meanwhile: looks who leads, carries changes of members through, and
//! finds out whether a member is whole again.
//!
//! Each task is of one thread with all others and lets go of the cluster while it waits.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate_api::etcdserverpb as pb;
use quorate_client::Client;

use super::cluster::{Change, Cluster, Mishap};
use super::machine::State;
use super::nemesis::{Errand, Nemesis};
use super::stage::Stage;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Everything of a run that its tasks share.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) cluster: Rc<RefCell<Cluster>>,
    pub(super) nemesis: Rc<RefCell<Nemesis>>,
    pub(super) stage: Rc<RefCell<Stage>>,
}

impl Run {
    /// Clients hear of members that came, went or started.
    pub(super) fn tell_clients(&self) {
        let members = self.cluster.borrow().members();
        self.stage.borrow_mut().members = members;
    }

    /// Administer until the task is dropped.
    pub(super) async fn administer(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            // What does not work now is tried again at the next look.
            let _ = self.find_leader().await;
            let _ = self.change_members().await;
            let _ = self.do_errands().await;
            self.see_who_is_whole().await;
        }
    }

    fn all(&self) -> anyhow::Result<(Client, Vec<u8>)> {
        let cluster = self.cluster.borrow();
        let running = cluster.in_state(State::Running);
        Ok((cluster.admin(&running)?, running))
    }

    fn one(&self, number: u8) -> anyhow::Result<Client> {
        self.cluster.borrow().admin(&[number])
    }

    async fn find_leader(&self) -> anyhow::Result<()> {
        let (_, running) = self.all()?;
        for number in running {
            let Ok(status) = self.one(number)?.status().await else { continue };
            if status.header.is_some_and(|header| header.member_id == status.leader) {
                self.nemesis.borrow_mut().leader = Some(number);
                return Ok(());
            }
        }
        Ok(())
    }

    async fn do_errands(&self) -> anyhow::Result<()> {
        let errands = std::mem::take(&mut self.nemesis.borrow_mut().errands);
        for errand in errands {
            match errand {
                Errand::MoveLeader { to } => {
                    let to = self.one(to)?.status().await?.header;
                    let target_id = to.map_or(0, |header| header.member_id);
                    let leader = self.nemesis.borrow().leader;
                    if let Some(leader) = leader {
                        let request = pb::MoveLeaderRequest { target_id };
                        self.one(leader)?.move_leader(request).await?;
                    }
                }
                Errand::Compact => self.stage.borrow_mut().compact(),
            }
        }
        Ok(())
    }

    async fn change_members(&self) -> anyhow::Result<()> {
        let change = self.cluster.borrow().change;
        let Some(change) = change else { return Ok(()) };
        let (client, _) = self.all()?;
        let list = client.member_list(pb::MemberListRequest { linearizable: true }).await?.members;
        match change {
            Change::Add(number) => {
                let own = self.cluster.borrow().network.peer_url(number);
                match list.iter().find(|member| member.peer_urls.contains(&own)) {
                    None => {
                        let peer_urls = vec![own];
                        let add = pb::MemberAddRequest { peer_urls, is_learner: true };
                        client.member_add(add).await?;
                    }
                    Some(member) if member.is_learner => {
                        let id = member.id;
                        self.start_learner(number, &list)?;
                        client.member_promote(pb::MemberPromoteRequest { id }).await?;
                    }
                    Some(_) => {
                        let mut cluster = self.cluster.borrow_mut();
                        cluster.voters.push(number);
                        cluster.change = None;
                    }
                }
            }
            Change::Remove(number) => {
                let name = format!("m{number}");
                if let Some(member) = list.iter().find(|member| member.name == name) {
                    client.member_remove(pb::MemberRemoveRequest { id: member.id }).await?;
                } else {
                    let mut cluster = self.cluster.borrow_mut();
                    cluster.retire(number)?;
                    cluster.change = None;
                }
            }
        }
        self.tell_clients();
        Ok(())
    }

    fn start_learner(&self, number: u8, list: &[pb::Member]) -> anyhow::Result<()> {
        let mut cluster = self.cluster.borrow_mut();
        cluster.prepare_to_join(number, list)?;
        let machine = cluster.machine(number)?;
        if machine.state == State::Off {
            machine.start()?;
        }
        Ok(())
    }

    /// A member that has had a mishap, answers with what is newest and has read all that it has,
    /// is whole again.
    async fn see_who_is_whole(&self) {
        let mishaps = self.cluster.borrow().mishaps.clone();
        for number in mishaps.keys().copied() {
            let _ = self.see_whether_whole(number).await;
        }
    }

    async fn see_whether_whole(&self, number: u8) -> anyhow::Result<()> {
        let starts = {
            let cluster = self.cluster.borrow();
            let machine = cluster.machines.get(&number);
            let Some(machine) = machine.filter(|it| it.state == State::Running) else {
                return Ok(());
            };
            if machine.is_shaken() {
                return Ok(());
            }
            machine.starts
        };
        let client = self.one(number)?;
        let read = pb::RangeRequest { key: "x".into(), ..pb::RangeRequest::default() };
        client.range(read).await?;
        client.hash_kv(pb::HashKvRequest::default()).await?;
        let mut cluster = self.cluster.borrow_mut();
        if cluster.machine(number)?.starts == starts {
            let mishap: Option<Mishap> = cluster.mishaps.remove(&number);
            drop(cluster);
            if let Some(Mishap::Damage { starts }) = mishap {
                self.nemesis.borrow_mut().tell_whole(number, starts);
            }
        }
        Ok(())
    }
}
