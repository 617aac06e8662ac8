//! A way to a server that is cut once, at the word that is wanted; and clients that wait for nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::clients::Clients;
use crate::clients::guard::Guard;
use crate::clock::{Clock, RealClock};
use crate::engine::ports::Armed;

/// A clock whose short pauses pass at once; limits of calls stay real.
struct Brisk;

impl Clock for Brisk {
    fn now(&self) -> jiff::Timestamp {
        RealClock.now()
    }

    fn sleep(&self, length: Duration) -> futures::future::BoxFuture<'static, ()> {
        let pause = length <= Duration::from_secs(1);
        RealClock.sleep(if pause { Duration::from_millis(1) } else { length })
    }
}

/// A way to the server that is cut once: so many words of clients reach it, and the answer to the last is lost.
pub(crate) async fn way(server: SocketAddr, words: i64) -> (SocketAddr, Arc<AtomicI64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let left = Arc::new(AtomicI64::new(words));
    let counted = Arc::clone(&left);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(server).await else { return };
            tokio::spawn(carry(client, server, Arc::clone(&left)));
        }
    });
    (address, counted)
}

async fn carry(client: TcpStream, server: TcpStream, left: Arc<AtomicI64>) {
    let ((mut from, mut back), (mut answers, mut to)) = (client.into_split(), server.into_split());
    let answering =
        tokio::spawn(async move { drop(tokio::io::copy(&mut answers, &mut back).await) });
    let mut words = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut words).await {
        let last = left.fetch_sub(1, Ordering::SeqCst) == 0;
        if last {
            answering.abort();
        }
        if to.write_all(&words[..length]).await.is_err() {
            break;
        }
        if last {
            break;
        }
    }
    drop((from, to));
    answering.abort();
}

/// Returns clients that wait for nothing.
pub(crate) fn brisk(estate: Value, armed: &Armed) -> Clients {
    let estate = Arc::new(crate::clients::testing::estate(estate));
    let clients = Clients::new(estate, Guard::closed(), Arc::new(Brisk));
    clients.guard.open(armed);
    clients
}
