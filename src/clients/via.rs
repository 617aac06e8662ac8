//! Port forwards: how this host reaches what lies in private subnets. Started once, waited for, ended with the process.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use super::process::{self, Group, Scrub};
use super::{Clients, tcp};
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

/// Every forward this process has started, by its command line.
#[derive(Default)]
pub(crate) struct Tunnels {
    open: Mutex<BTreeMap<Vec<String>, Group>>,
}

impl Tunnels {
    /// Ends them all, each with what it started.
    pub(crate) async fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock().await);
        let ends = open.into_values().map(|mut group| async move { group.end().await });
        futures::future::join_all(ends).await;
    }
}

/// Makes sure that the way is open: at once when it is direct or open already.
pub(crate) async fn open(clients: &Clients, via: &Via) -> Result<(), ViaError> {
    let Some(argv) = &via.command else { return Ok(()) };
    let program = argv.first().ok_or(ViaError::Empty)?;
    let ready = via.ready.as_ref().ok_or_else(|| ViaError::NoReady { program: program.clone() })?;
    tcp::split(ready, None).map_err(ViaError::Address)?;
    // Held while starting, so that two steps do not start the same forward twice.
    let mut open = clients.tunnels.open.lock().await;
    if let Some(group) = open.get_mut(argv)
        && group.ended().is_none()
    {
        return Ok(());
    }
    open.remove(argv);
    let clock = clients.clock.as_ref();
    if tcp::connect(clock, ready, CONNECT_LIMIT).await.is_ok() {
        return Err(ViaError::Taken { ready: ready.clone(), program: program.clone() });
    }
    let mut command = process::command(clients, argv, &BTreeMap::new(), Scrub::Passwords);
    // Nobody reads what it says; a full pipe would stop it.
    let mut group = Group::start_silent(&clients.clock, &mut command)
        .map_err(|error| ViaError::Start { program: program.clone(), why: error.to_string() })?;
    let answered = within(clock, READY_LIMIT, async {
        loop {
            if let Some(status) = group.ended() {
                return Err(ViaError::Ended {
                    program: program.clone(),
                    how: status.to_string(),
                    ready: ready.clone(),
                });
            }
            if tcp::connect(clock, ready, CONNECT_LIMIT).await.is_ok() {
                return Ok(());
            }
            clock.sleep(READY_EVERY).await;
        }
    })
    .await;
    match answered {
        Ok(Ok(())) => {
            open.insert(argv.clone(), group);
            Ok(())
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            group.end().await;
            Err(ViaError::Silent { program: program.clone(), ready: ready.clone() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::testing;

    fn via(script: &str, ready: &str) -> Via {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        Via { command: Some(argv), ready: Some(ready.to_owned()) }
    }

    #[tokio::test]
    async fn direct_needs_nothing() {
        let clients = testing::clients(serde_json::json!({}));
        assert_eq!(open(&clients, &Via::default()).await, Ok(()));
    }

    #[tokio::test]
    async fn a_forward_is_waited_for_kept_and_ended() {
        let clients = testing::clients(serde_json::json!({}));
        let address = tcp::tests::closed();
        let port = address.port();
        let script = format!(
            "exec python3 -c 'import socket,time\ns=socket.socket()\ns.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\ns.bind((\"127.0.0.1\",{port}))\ns.listen(16)\ntime.sleep(60)'"
        );
        let via = via(&script, &address.to_string());
        assert_eq!(open(&clients, &via).await, Ok(()));
        assert_eq!(open(&clients, &via).await, Ok(()), "the second use finds it open");
        clients.tunnels.close().await;
        let after = tcp::connect(clients.clock.as_ref(), &address.to_string(), CONNECT_LIMIT).await;
        assert!(matches!(after, Err(tcp::Failure::Unreachable(_))), "ended with its group");
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
        let mut missing = via("sleep 60", &address);
        missing.ready = None;
        assert!(matches!(open(&clients, &missing).await, Err(ViaError::NoReady { .. })));
    }
}
