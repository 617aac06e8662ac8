//! An estate and clients for tests.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Clients;
use super::guard::Guard;
use crate::clock::RealClock;
use crate::engine::ports::{Armed, Call, Progress, ProgressNote};
use crate::estate::types::Estate;
use crate::ids::{RunId, StepId};
use crate::runbook::catalogue::actions::ActionName;

/// Returns the smallest estate, with `more` merged into its top level.
pub(crate) fn estate(more: Value) -> Estate {
    let mut estate = json!({
        "estate": "test",
        "primary": { "region": "us-east-1" },
        "regions": {
            "us-east-1": { "api": "http://127.0.0.1:9" },
            "us-west-2": { "api": "http://127.0.0.1:9" },
        },
    });
    if let (Some(estate), Value::Object(more)) = (estate.as_object_mut(), more) {
        estate.extend(more);
    }
    serde_json::from_value(estate).expect("the estate fits its types")
}

/// Returns clients with a closed guard.
pub(crate) fn clients(more: Value) -> Clients {
    Clients::new(Arc::new(estate(more)), Guard::closed(), Arc::new(RealClock))
}

/// Returns clients that may change things, and the token for it.
pub(crate) fn armed(more: Value) -> (Clients, Armed) {
    let (clients, armed) = (clients(more), Armed::mint());
    clients.guard.open(&armed);
    (clients, armed)
}

/// Returns a call of an action and what it tells of its progress.
pub(crate) fn call(
    action: ActionName,
    with: Value,
) -> (Call, tokio::sync::mpsc::UnboundedReceiver<ProgressNote>) {
    let (sink, told) = tokio::sync::mpsc::unbounded_channel();
    let step = StepId::from("step");
    let Value::Object(with) = with else { panic!("arguments are an object") };
    let call = Call {
        run: RunId("01RUN".to_owned()),
        step: step.clone(),
        action: action.name().to_owned(),
        with,
        generation: 0,
        choice: None,
        progress: Progress::new(step, sink),
    };
    (call, told)
}

/// A clock whose short sleeps, the pauses between polls, pass at once and move the present on. Time limits of calls
/// are long and stay real: what they bound is answered by other tasks.
#[derive(Debug, Default)]
pub(crate) struct HastyClock(std::sync::atomic::AtomicU64);

const SHORT: std::time::Duration = std::time::Duration::from_secs(8);

impl crate::clock::Clock for HastyClock {
    fn now(&self) -> jiff::Timestamp {
        let passed = self.0.load(std::sync::atomic::Ordering::SeqCst);
        jiff::Timestamp::UNIX_EPOCH + std::time::Duration::from_millis(passed)
    }

    fn sleep(&self, length: std::time::Duration) -> futures::future::BoxFuture<'static, ()> {
        if length >= SHORT {
            return RealClock.sleep(length);
        }
        let millis = u64::try_from(length.as_millis()).expect("short");
        self.0.fetch_add(millis, std::sync::atomic::Ordering::SeqCst);
        Box::pin(tokio::task::yield_now())
    }
}

/// Returns clients on a hasty clock.
pub(crate) fn hasty(more: Value) -> Clients {
    Clients::new(Arc::new(estate(more)), Guard::closed(), Arc::new(HastyClock::default()))
}
