//! Port forwards: how this host reaches what lies in private subnets. Started once, waited for, ended with the process,
//! however that ends.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;

use super::process::{self, Group, Scrub};
use super::{Clients, Network, tcp};
use crate::clock::within;
use crate::estate::types::Via;
use crate::span::Span;

/// Time a forward may take until its port answers.
const READY_LIMIT: Duration = Duration::from_secs(10);
const READY_EVERY: Duration = Duration::from_millis(200);
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Why there is no way to something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ViaError {
    #[error("`via.ready` is missing: nothing says when `{program}` is ready")]
    NoReady { program: String },
    #[error("`via.command` is empty")]
    Empty,
    #[error("`via.ready` {0}")]
    Address(tcp::Failure),
    /// Using it could mean talking to the wrong system
    #[error("{ready} answers before `{program}` was started: another program uses that port")]
    Taken { ready: String, program: String },
    #[error("start `{program}`: {why}")]
    Start { program: String, why: String },
    #[error("`{program}` ended ({how}) before {ready} answered")]
    Ended { program: String, how: String, ready: String },
    #[error("{ready} did not answer within {} of starting `{program}`", Span(READY_LIMIT))]
    Silent { program: String, ready: String },
}

/// Runs a forward and watches this process meanwhile: the end of standard input means that it is gone, however it
/// ended, and then the whole group goes too. Without it a killed run would leave the forward behind, and the next one
/// could not tell whose it is. The shell itself ends after the forward, so that who waits for it waits for both.
const WATCHED: &str = r#"exec 3<&0 </dev/null
"$@" 3<&- &
forward=$!
{ read -r _ <&3; trap '' TERM; kill -TERM 0; sleep 5; kill -KILL 0; } &
trap : TERM
wait "$forward"; ended=$?
while kill -0 "$forward" 2>/dev/null; do wait "$forward"; ended=$?; done
exit "$ended""#;

/// What a shell answers for a program it cannot find, and for one it may not run.
const NOT_FOUND: i32 = 127;
const NOT_RUN: i32 = 126;

/// Every forward this process has started, by its command line.
#[derive(Default)]
pub(crate) struct Tunnels {
    // Locked for a moment only; each forward has a lock of its own, held while it is waited for.
    all: std::sync::Mutex<BTreeMap<Vec<String>, Arc<Mutex<Forward>>>>,
}

/// One forward: not started, on its way, or open.
#[derive(Default)]
struct Forward {
    group: Option<Group>,
    ready: bool,
}

impl Tunnels {
    fn forward(&self, argv: &[String]) -> Arc<Mutex<Forward>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(argv.to_vec()).or_default())
    }

    /// Ends them all, each with what it started.
    pub(crate) async fn close(&self) {
        let all = std::mem::take(&mut *self.all.lock().unwrap_or_else(PoisonError::into_inner));
        let ends = all.into_values().map(|forward| async move {
            let group = forward.lock().await.group.take();
            if let Some(mut group) = group {
                group.end().await;
            }
        });
        futures::future::join_all(ends).await;
    }
}

/// Makes sure that the way is open: at once when it is direct or open already.
///
/// A caller that gives up waiting leaves the forward starting; the next one goes on waiting for the same.
pub(crate) async fn open(clients: &Clients, via: &Via) -> Result<(), ViaError> {
    let Some(argv) = &via.command else { return Ok(()) };
    // In the simulation everything is within reach.
    if matches!(clients.network, Network::Simulated(_)) {
        return Ok(());
    }
    let program = argv.first().ok_or(ViaError::Empty)?;
    let ready = via.ready.as_ref().ok_or_else(|| ViaError::NoReady { program: program.clone() })?;
    tcp::split(ready, None).map_err(ViaError::Address)?;
    let forward = clients.tunnels.forward(argv);
    let mut forward = forward.lock().await;
    if forward.group.as_mut().is_some_and(|group| group.ended().is_some()) {
        *forward = Forward::default();
    }
    if forward.ready {
        return Ok(());
    }
    let clock = clients.clock.as_ref();
    if forward.group.is_none() {
        if tcp::connect(clock, ready, CONNECT_LIMIT).await.is_ok() {
            return Err(ViaError::Taken { ready: ready.clone(), program: program.clone() });
        }
        forward.group = Some(start(clients, argv, program)?);
    }
    match within(clock, READY_LIMIT, answers(clients, &mut forward, program, ready)).await {
        Ok(answered) => {
            if answered.is_err() {
                *forward = Forward::default();
            }
            answered
        }
        Err(_) => {
            if let Some(mut group) = forward.group.take() {
                group.end().await;
            }
            Err(ViaError::Silent { program: program.clone(), ready: ready.clone() })
        }
    }
}

fn start(clients: &Clients, argv: &[String], program: &str) -> Result<Group, ViaError> {
    let mut watched = ["/bin/sh", "-c", WATCHED, "sh"].map(str::to_owned).to_vec();
    watched.extend_from_slice(argv);
    let mut command = process::command(clients, &watched, &BTreeMap::new(), Scrub::Passwords);
    Group::start_tied(&clients.clock, &mut command)
        .map_err(|error| ViaError::Start { program: program.to_owned(), why: error.to_string() })
}

/// Waits until the port answers, or the program has ended.
async fn answers(
    clients: &Clients,
    forward: &mut Forward,
    program: &str,
    ready: &str,
) -> Result<(), ViaError> {
    loop {
        if let Some(status) = forward.group.as_mut().and_then(Group::ended) {
            return Err(ended(program, ready, status));
        }
        if tcp::connect(clients.clock.as_ref(), ready, CONNECT_LIMIT).await.is_ok() {
            forward.ready = true;
            return Ok(());
        }
        clients.clock.sleep(READY_EVERY).await;
    }
}

fn ended(program: &str, ready: &str, status: ExitStatus) -> ViaError {
    let program = program.to_owned();
    let why = match status.code() {
        Some(NOT_FOUND) => "there is no such program",
        Some(NOT_RUN) => "it may not be run",
        _ => {
            let how = status.to_string();
            return ViaError::Ended { program, how, ready: ready.to_owned() };
        }
    };
    ViaError::Start { program, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::clients::testing;
    use crate::clock::{Clock, RealClock};

    fn via(script: &str, ready: &str) -> Via {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Via { command: Some(argv), ready: Some(ready.to_owned()) }
    }

    #[tokio::test]
    async fn direct_needs_nothing() {
        let clients = testing::clients(serde_json::json!({}));
        assert_eq!(open(&clients, &Via::default()).await, Ok(()));
    }

    /// A forward that answers at an address once `wait` says so.
    fn listening(address: std::net::SocketAddr, wait: &str) -> Via {
        let port = address.port();
        let script = format!(
            "{wait} exec python3 -c 'import socket,time\ns=socket.socket()\ns.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\ns.bind((\"127.0.0.1\",{port}))\ns.listen(16)\ntime.sleep(60)'"
        );
        via(&script, &address.to_string())
    }

    async fn connects(clients: &Clients, address: &std::net::SocketAddr) -> bool {
        let clock = clients.clock.as_ref();
        tcp::connect(clock, &address.to_string(), CONNECT_LIMIT).await.is_ok()
    }

    #[tokio::test]
    async fn a_forward_is_waited_for_kept_and_ended() {
        let clients = testing::clients(serde_json::json!({}));
        let address = tcp::tests::closed();
        let via = listening(address, "");
        assert_eq!(open(&clients, &via).await, Ok(()));
        assert_eq!(open(&clients, &via).await, Ok(()), "the second use finds it open");
        clients.tunnels.close().await;
        assert!(!connects(&clients, &address).await, "ended with its group");
    }

    #[tokio::test]
    async fn a_forward_does_not_outlive_a_process_that_was_killed() {
        let clients = testing::clients(serde_json::json!({}));
        let address = tcp::tests::closed();
        let via = listening(address, "");
        assert_eq!(open(&clients, &via).await, Ok(()));
        let argv = via.command.clone().expect("a command");
        let group = clients.tunnels.forward(&argv).lock().await.group.take().expect("started");
        group.forsake();
        while connects(&clients, &address).await {
            tokio::task::yield_now().await;
        }
        // The port is free, so another process finds nobody else's forward there.
        let next = testing::clients(serde_json::json!({}));
        assert_eq!(open(&next, &via).await, Ok(()));
        next.tunnels.close().await;
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_the_forward_to_the_next_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let (go, starts) = (dir.path().join("go"), dir.path().join("starts"));
        let clients = testing::clients(serde_json::json!({}));
        let address = tcp::tests::closed();
        let wait = format!(
            "echo x >> {}; while ! test -e {}; do sleep 0.02; done;",
            starts.display(),
            go.display()
        );
        let via = listening(address, &wait);
        let began = || std::fs::read_to_string(&starts).unwrap_or_default();
        {
            let waiting = open(&clients, &via);
            tokio::pin!(waiting);
            while began().is_empty() {
                assert!(futures::poll!(&mut waiting).is_pending());
                tokio::task::yield_now().await;
            }
        }
        std::fs::write(&go, "").expect("written");
        assert_eq!(open(&clients, &via).await, Ok(()));
        assert_eq!(began(), "x\n", "started once");
        clients.tunnels.close().await;
    }

    /// Nobody's time is ever up, and between two tries a while is let pass: however slow the machine is.
    struct Patient;

    impl Clock for Patient {
        fn now(&self) -> jiff::Timestamp {
            RealClock.now()
        }

        fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
            match length <= READY_EVERY {
                true => RealClock.sleep(length),
                false => Box::pin(std::future::pending()),
            }
        }
    }

    #[tokio::test]
    async fn one_forward_that_starts_slowly_does_not_hold_up_another() {
        let mut clients = testing::clients(serde_json::json!({}));
        clients.clock = Arc::new(Patient);
        let (slow, quick) = (tcp::tests::closed(), tcp::tests::closed());
        let slow = via("sleep 60", &slow.to_string());
        let quick = listening(quick, "");
        tokio::select! {
            biased;
            slow = open(&clients, &slow) => panic!("nothing listens there: {slow:?}"),
            quick = open(&clients, &quick) => assert_eq!(quick, Ok(())),
        }
        clients.tunnels.close().await;
    }

    #[tokio::test]
    async fn says_why_there_is_no_way() {
        let clients = testing::clients(serde_json::json!({}));
        let address = tcp::tests::closed().to_string();
        let ended = open(&clients, &via("exit 3", &address)).await;
        assert!(matches!(ended, Err(ViaError::Ended { .. })), "{ended:?}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let taken = listener.local_addr().expect("address").to_string();
        let refused = open(&clients, &via("sleep 60", &taken)).await;
        assert!(matches!(refused, Err(ViaError::Taken { .. })), "{refused:?}");
        let mut absent = via("", &address);
        absent.command = Some(vec!["/no/such/forward".to_owned()]);
        let unknown = open(&clients, &absent).await;
        assert!(matches!(unknown, Err(ViaError::Start { .. })), "{unknown:?}");
        let mut missing = via("sleep 60", &address);
        missing.ready = None;
        assert!(matches!(open(&clients, &missing).await, Err(ViaError::NoReady { .. })));
    }
}
