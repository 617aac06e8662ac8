//! The list of recovery points, cut off wherever it asks the server.

use std::sync::atomic::Ordering;

use super::*;
use crate::clients::postgres::testing::way;
use crate::outcome::Effect;

#[tokio::test]
async fn a_look_that_is_cut_off_concludes_nothing_and_the_next_is_whole() {
    let Some(lab) = Lab::open().await else { return };
    lab.proved_dump("nightly").await;
    let with = json!({ "choose": "dump:nightly", "unverified": true });
    let whole = lab.choices(with.clone()).await.expect("listed");
    let (address, left) = way(lab.server.address, i64::MAX).await;
    let mut estate = lab.server.estate(&json!({
        "dumps": lab.dumps.path(),
        "base_backups": { "directory": lab.bases, "wal": lab.wal },
    }));
    estate["database"]["primary"]["address"] = json!(address.to_string());
    let (call, _news) = testing::call(ActionName::PostgresChooseRecoveryPoint, with);
    let ids = |seen: &Observation| {
        seen.choices.iter().map(|choice| choice.id.clone()).collect::<Vec<_>>()
    };
    for words in 0.. {
        left.store(words, Ordering::SeqCst);
        let seen = observe(&testing::clients(estate.clone()), &call).await;
        if left.load(Ordering::SeqCst) >= 0 {
            assert_eq!(ids(&seen.expect("nothing was cut")), ids(&whole));
            return;
        }
        match seen {
            // What is in files needs no server: the whole list, or none.
            Ok(seen) => assert_eq!(ids(&seen), ids(&whole), "{words}"),
            Err(error) => assert_eq!(
                (error.class, error.effect),
                (FailureClass::Transient, Effect::None),
                "{words}: {error}"
            ),
        }
    }
}
