//! The list of recovery points, cut off wherever it asks the server, and with a part that could not be looked at.

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

#[tokio::test]
async fn what_was_not_looked_at_keeps_all_but_a_person_from_taking_another() {
    let Some(lab) = Lab::open().await else { return };
    lab.proved_dump("nightly").await;
    let best = |seen: &Observation| {
        let best = Candidate::best(&seen.choices, Span::minutes(240));
        best.map(|best| best.id.clone())
    };
    let with = json!({ "unverified": true });
    let whole = lab.choices(with.clone()).await.expect("listed");
    assert!(best(&whole).is_some(), "{whole:?}");
    let away = lab.wal.with_extension("away");
    std::fs::rename(&lab.wal, &away).expect("moved");
    let seen = lab.choices(with).await.expect("the dump is listed");
    assert_eq!(best(&seen), None, "a better one may be there");
    let lacking = seen.choices.last().expect("it is told");
    assert_eq!((lacking.id.as_str(), lacking.absent), ("base_backups", true));
    let why = lacking.unusable.as_deref().expect("it cannot be taken");
    assert!(why.contains("archived WAL"), "{why}");
    assert!(seen.evidence.iter().any(|line| line.starts_with("not looked at: ")), "{seen:?}");
    // Whoever only looks is shown the rest, and whoever names one has it.
    let points = lab.points(None).await;
    let ids: Vec<&str> = points.points.iter().map(|point| point.id.as_str()).collect();
    assert_eq!(ids, ["dump:nightly"]);
    let with = json!({ "choose": "dump:nightly" });
    let chosen = lab.done(ActionName::PostgresChooseRecoveryPoint, with).await.expect("chosen");
    assert_eq!(chosen.outputs["dump"], "nightly");
    let error = lab.choices(json!({ "choose": "base:sunday" })).await.expect_err("nobody knows");
    let said = "whether there is a recovery point `base:sunday` is not known";
    assert!(error.message.starts_with(said), "{error}");
    std::fs::rename(&away, &lab.wal).expect("moved back");
    let again = lab.choices(json!({ "unverified": true })).await.expect("listed");
    assert!(best(&again).is_some(), "{again:?}");
}

#[test]
fn what_may_be_looked_at_in_a_moment_is_no_reason_to_give_up() {
    for (class, said) in [
        (FailureClass::Credentials, FailureClass::Credentials),
        (FailureClass::Transient, FailureClass::Transient),
        (FailureClass::Denied, FailureClass::NotFound),
    ] {
        let error = ActionError::unchanged(class, "no answer");
        let (id, title) = ("dumps".to_owned(), "the estate's dumps".to_owned());
        let unread = [Unread { id, title, error }];
        let candidates = [not_looked_at(&unread[0])];
        let error = nothing_usable(&candidates, true, &unread);
        assert_eq!(error.class, said);
        assert!(error.message.contains("dumps: it could not be looked at"), "{error}");
    }
}
