//! The members' life, from start to stop.

use std::io;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use quorate_client::{Client, Options};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DevError;
use super::folder::Folder;
use super::process::Process;
use super::report::{self, Answer, State};
use super::screen::Screen;

/// Between two looks at the members.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a member may take to answer: less would call a busy machine silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long members may take to stop: as much as a pod is given by half.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// After so long without a leader, people are told where to look.
const HINT_AFTER: Duration = Duration::from_secs(30);

/// Run the cluster, of processes of `program`, until it is told to stop. What there is to say
/// goes to `out`.
pub(super) async fn run(
    folder: &Folder,
    program: &Path,
    out: &mut dyn Screen,
) -> Result<ExitCode, DevError> {
    let mut signals = Signals::listen()?;
    let mut cluster = Cluster::start(folder, program, out)?;
    let mut ticks = tokio::time::interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.next() => break,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = signals.next() => break,
            states = cluster.look() => cluster.show(states),
        }
        if cluster.has_ended() {
            cluster.out.say("every member has ended");
            return Ok(ExitCode::FAILURE);
        }
    }
    cluster.stop(&mut signals).await;
    Ok(ExitCode::SUCCESS)
}

/// What ends it.
struct Signals([Signal; 3]);

impl Signals {
    fn listen() -> Result<Self, DevError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|source| DevError::System { what: "listen to signals".to_owned(), source })
        };
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

struct Cluster<'run> {
    folder: &'run Folder,
    out: &'run mut dyn Screen,
    processes: Vec<Process>,
    clients: Vec<Client>,
    states: Vec<State>,
    started: Instant,
    was_ready: bool,
    was_hinted: bool,
}

impl<'run> Cluster<'run> {
    fn start(
        folder: &'run Folder,
        program: &Path,
        out: &'run mut dyn Screen,
    ) -> Result<Self, DevError> {
        let layout = &folder.layout;
        let mut processes = Vec::new();
        let mut clients = Vec::new();
        let options = Options {
            connect_timeout: ANSWER_TIMEOUT,
            call_timeout: ANSWER_TIMEOUT,
            ..Options::default()
        };
        for member in &layout.members {
            let system =
                |source| DevError::System { what: format!("start {}", member.name), source };
            processes.push(Process::start(program, layout, member, &folder.path).map_err(system)?);
            let client = Client::connect(&[member.client_url()], options.clone());
            clients.push(client.map_err(|error| system(io::Error::other(error)))?);
        }
        let states = vec![State::Starting; processes.len()];
        for (process, member) in processes.iter().zip(&layout.members) {
            let (name, url, log) = (&member.name, member.client_url(), process.log.display());
            out.say(&format!("{name}  {url}  starting, log in {log}"));
        }
        Ok(Self {
            folder,
            out,
            processes,
            clients,
            states,
            started: Instant::now(),
            was_ready: false,
            was_hinted: false,
        })
    }

    /// Ask every member how it does, all at once.
    async fn look(&mut self) -> Vec<State> {
        let mut asked = Vec::new();
        for (process, client) in self.processes.iter_mut().zip(&self.clients) {
            let client = client.clone();
            asked.push(match process.ended() {
                Some(status) => Err(how(status)),
                None => Ok(tokio::spawn(async move { client.status().await })),
            });
        }
        let mut states = Vec::new();
        for (asked, before) in asked.into_iter().zip(&self.states) {
            let answer = match asked {
                Ok(asked) => asked.await.ok().and_then(Result::ok),
                Err(how) => {
                    states.push(State::Ended(how));
                    continue;
                }
            };
            states.push(match (answer, before) {
                (Some(status), _) => State::Up(Answer {
                    id: status.header.unwrap_or_default().member_id,
                    leader: status.leader,
                    term: status.raft_term,
                    is_learner: status.is_learner,
                }),
                (None, State::Starting) => State::Starting,
                (None, State::Up(_) | State::Silent | State::Ended(_)) => State::Silent,
            });
        }
        states
    }

    /// Say what is new.
    fn show(&mut self, states: Vec<State>) {
        for line in report::changes(&self.folder.layout, &self.states, &states) {
            self.out.say(&line);
        }
        for (process, (before, now)) in self.processes.iter().zip(self.states.iter().zip(&states)) {
            if matches!(now, State::Ended(_)) && !matches!(before, State::Ended(_)) {
                self.out.say(&format!("the last lines of {}:", process.log.display()));
                for line in process.last_lines() {
                    self.out.say(&format!("    {line}"));
                }
            }
        }
        self.states = states;
        if self.was_ready {
            return;
        }
        if let Some(leader) = report::agreed_leader(&self.states) {
            self.was_ready = true;
            let folder = self.folder.path.display().to_string();
            self.out.say(&report::ready(&self.folder.layout, leader, &folder));
            return;
        }
        let waiting = report::waiting(&self.folder.layout, &self.states);
        let since = self.started.elapsed().as_secs();
        self.out.pass(&format!("waiting for {waiting}, {since} s"));
        if !self.was_hinted && self.started.elapsed() > HINT_AFTER {
            self.was_hinted = true;
            let folder = self.folder.path.display();
            self.out.say(&format!("still waiting for {waiting}: the logs in {folder} may say why"));
        }
    }

    fn has_ended(&self) -> bool {
        self.states.iter().all(|state| matches!(state, State::Ended(_)))
    }

    /// Ask all to stop, wait, and kill what does not. A second signal ends the wait.
    async fn stop(&mut self, signals: &mut Signals) {
        self.out.say("stopping the members; once more ends them at once");
        for process in &mut self.processes {
            process.terminate();
        }
        let until = Instant::now() + STOP_TIMEOUT;
        let mut ticks = tokio::time::interval(LOOK_INTERVAL / 5);
        while Instant::now() < until {
            if self.processes.iter_mut().all(|process| process.ended().is_some()) {
                break;
            }
            tokio::select! {
                () = signals.next() => break,
                _ = ticks.tick() => {}
            }
        }
        for process in &mut self.processes {
            if process.ended().is_none() {
                self.out.say(&format!("{} has not stopped: it is killed", process.name));
                process.kill();
            }
        }
        self.out.say(&format!("stopped; the data is in {}", self.folder.path.display()));
    }
}

fn how(status: ExitStatus) -> String {
    status.to_string()
}
