use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::clients::lease_store::fake::{Bucket, Fault};
use crate::journal::fixtures::{run, time};

/// A clock that stands still until somebody waits; clones share it, each with its own error.
#[derive(Clone)]
struct TestClock {
    millis: Arc<Mutex<i64>>,
    off: i64,
}

impl TestClock {
    fn new() -> Self {
        Self { millis: Arc::default(), off: 0 }
    }

    fn off_by(&self, seconds: i64) -> Self {
        Self { millis: Arc::clone(&self.millis), off: seconds }
    }

    fn pass(&self, seconds: i64) {
        *self.millis.lock().expect("no panic") += seconds * 1_000;
    }

    /// True time in milliseconds, which no process can see.
    fn truth(&self) -> i64 {
        *self.millis.lock().expect("no panic")
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        time(self.off) + jiff::SignedDuration::from_millis(self.truth())
    }

    fn sleep(&self, length: Duration) -> BoxFuture<'static, ()> {
        let millis = Arc::clone(&self.millis);
        // Time passes only if the wait is waited for: the limit of a call that answers costs nothing.
        async move {
            tokio::task::yield_now().await;
            *millis.lock().expect("no panic") += i64::try_from(length.as_millis()).expect("short");
        }
        .boxed()
    }
}

fn lease_on(bucket: &Bucket, clock: &TestClock, run: &str, host: &str) -> Arc<SharedLease> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let holder = Holder {
        run: RunId(run.to_owned()),
        step: None,
        who: format!("ops@{host}"),
        host: host.to_owned(),
        pid: 4711,
        since: time(0),
    };
    let store = LeaseStore::fake(bucket, Arc::clone(&clock));
    Arc::new(SharedLease::new(store, clock, "phoenix", holder, Box::new(|_| {})))
}

/// Two machines with a run each, and what they share.
struct Scene {
    bucket: Bucket,
    clock: TestClock,
    one: Arc<SharedLease>,
    two: Arc<SharedLease>,
}

impl Scene {
    fn new() -> Self {
        let (bucket, clock) = (Bucket::default(), TestClock::new());
        let one = lease_on(&bucket, &clock, &run().0, "one");
        let two = lease_on(&bucket, &clock, "RUN2", "two");
        Self { bucket, clock, one, two }
    }

    fn document(&self) -> Document {
        serde_json::from_slice(&self.bucket.body().expect("an object")).expect("a lease")
    }

    async fn soon(&self, lease: &SharedLease) -> Result<(), LeaseRefusal> {
        lease.assure(later(self.clock.now(), Duration::from_secs(5))).await
    }
}

/// Returns the lease of a third run, and what it says of its proof.
fn telling(scene: &Scene) -> (SharedLease, Arc<Mutex<Vec<Proof>>>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let told: Told = Box::new(move |proof| heard.lock().expect("no panic").push(proof));
    let clock: Arc<dyn Clock> = Arc::new(scene.clock.clone());
    let store = LeaseStore::fake(&scene.bucket, Arc::clone(&clock));
    let holder = Holder { run: RunId("RUN3".to_owned()), ..scene.one.holder.clone() };
    (SharedLease::new(store, clock, "phoenix", holder, told), said)
}

#[tokio::test]
async fn whoever_lets_changes_through_hears_how_long_it_is_proved() {
    let scene = Scene::new();
    let (lease, said) = telling(&scene);
    let heard = || std::mem::take(&mut *said.lock().expect("no panic"));
    let after = |seconds: u64| Proof::Until(later(time(0), Duration::from_secs(seconds)));
    let nothing = Proof::Until(Timestamp::MIN);
    assert_eq!(heard(), [nothing], "before it is taken");
    lease.take().await.expect("free");
    assert_eq!(heard(), [after(50)], "a minute less the margin");
    scene.clock.pass(40);
    scene.soon(&lease).await.expect("renewed");
    assert_eq!(heard(), [after(90)]);
    // Nothing is heard while it cannot be renewed: the proof ends by itself.
    scene.clock.pass(40);
    scene.bucket.fault(&[Fault::Unreachable; 32]);
    assert!(scene.soon(&lease).await.is_ok(), "the last proof still holds");
    scene.clock.pass(40);
    assert!(matches!(scene.soon(&lease).await, Err(LeaseRefusal::Unproved { .. })));
    assert_eq!(heard(), []);
    lease.vouch();
    assert_eq!(heard(), [Proof::Vouched]);
}

#[tokio::test]
async fn a_lost_answer_proves_as_much_as_the_object_says_and_a_lost_lease_nothing() {
    let scene = Scene::new();
    let (lease, said) = telling(&scene);
    lease.take().await.expect("free");
    scene.clock.pass(48);
    scene.bucket.fault(&[Fault::AnswerLost]);
    scene.soon(&lease).await.expect("renewed, and read again");
    let until =
        scene.document().expires_at - jiff::SignedDuration::try_from(MARGIN).expect("short");
    let last = || said.lock().expect("no panic").last().copied();
    assert_eq!(last(), Some(Proof::Until(until)));
    scene.clock.pass(300);
    scene.two.take().await.expect("it is over");
    assert!(matches!(scene.soon(&lease).await, Err(LeaseRefusal::Lost { .. })));
    assert_eq!(last(), Some(Proof::Until(Timestamp::MIN)));
}

fn grant(epoch: u64) -> Result<LeaseGrant, LeaseRefusal> {
    Ok(LeaseGrant { epoch, place: "s3://fake/lease.json".to_owned() })
}

#[tokio::test]
async fn one_has_it_and_the_other_is_told_who() {
    let scene = Scene::new();
    assert_eq!(scene.one.take().await, grant(1));
    scene.clock.pass(45);
    scene.one.at_step(Some(&"database".into()));
    assert_eq!(scene.soon(&scene.one).await, Ok(()));
    let Err(LeaseRefusal::Held { holder }) = scene.two.take().await else { panic!("held") };
    assert_eq!(
        holder,
        "run 01JGZ7ZQ2V7S6M9Q3N4K5T7F3A at step `database` by ops@one, process 4711, \
         since 2025-01-25 10:00:00 UTC; lease 1 until 2025-01-25 10:01:45 UTC"
    );
    assert!(matches!(scene.soon(&scene.two).await, Err(LeaseRefusal::Unproved { .. })));
    scene.one.release().await;
    assert!(scene.document().released);
    assert!(matches!(scene.soon(&scene.one).await, Err(LeaseRefusal::Unproved { .. })));
    assert_eq!(scene.two.take().await, grant(2));
    assert_eq!(scene.two.take().await, grant(2), "taking it twice takes it once");
}

#[tokio::test]
async fn it_is_renewed_when_half_is_gone_and_not_before() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    for (pass, puts) in [(0, 1), (29, 1), (2, 2), (29, 2), (1, 2), (1, 3)] {
        scene.clock.pass(pass);
        assert_eq!(scene.soon(&scene.one).await, Ok(()));
        assert_eq!(scene.bucket.puts(), puts, "after {pass} s more");
    }
    assert_eq!(scene.document().epoch, 1);
    let far = later(scene.clock.now(), Duration::from_secs(300));
    assert_eq!(scene.one.assure(far).await, Ok(()));
    assert_eq!(scene.document().expires_at, later(far, MARGIN), "longer where it must last longer");
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_with_a_higher_epoch_and_its_holder_notices() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    scene.clock.pass(70);
    assert!(
        matches!(scene.two.take().await, Err(LeaseRefusal::Held { .. })),
        "a clock may be behind"
    );
    scene.clock.pass(1);
    assert_eq!(scene.two.take().await, grant(2));
    let Err(LeaseRefusal::Lost { holder }) = scene.soon(&scene.one).await else { panic!("lost") };
    assert!(holder.starts_with("run RUN2 by ops@two"), "{holder}");
    assert!(
        matches!(scene.soon(&scene.one).await, Err(LeaseRefusal::Unproved { .. })),
        "and stays lost"
    );
    scene.one.release().await;
    assert!(!scene.document().released, "what is not ours is not given back");
    assert_eq!(scene.soon(&scene.two).await, Ok(()));
}

#[tokio::test]
async fn a_holder_that_slept_goes_on_if_nobody_came() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    scene.clock.pass(3_600);
    assert_eq!(scene.soon(&scene.one).await, Ok(()));
    assert!(matches!(scene.two.take().await, Err(LeaseRefusal::Held { .. })));
}

#[tokio::test]
async fn of_two_that_saw_the_same_one_writes() {
    for expired in [false, true] {
        let scene = Scene::new();
        if expired {
            lease_on(&scene.bucket, &scene.clock, "RUN0", "zero").take().await.expect("free");
            scene.clock.pass(100);
        }
        let two = Arc::clone(&scene.two);
        scene.bucket.before_put(
            async move {
                two.take().await.expect("the first to write");
            }
            .boxed(),
        );
        let Err(LeaseRefusal::Held { holder }) = scene.one.take().await else { panic!("held") };
        assert!(holder.starts_with("run RUN2"), "{holder}");
        assert_eq!(scene.document().epoch, if expired { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_by_reading_again() {
    use Fault::{AnswerLost, Conflict, Hang, None, Unreachable};
    for (faults, puts) in [
        (&[None, AnswerLost][..], 1),
        (&[None, Hang], 1),
        (&[None, Unreachable, None, AnswerLost], 1),
        (&[None, Conflict, None, Conflict], 1),
        (&[None, Conflict, None, AnswerLost], 1),
    ] {
        let scene = Scene::new();
        scene.bucket.fault(faults);
        assert_eq!(scene.one.take().await, grant(1), "{faults:?}");
        assert_eq!(scene.bucket.puts(), puts, "{faults:?}");
        scene.clock.pass(40);
        // A renewal whose answer is lost is recognised as ours by the next one.
        scene.bucket.fault(&[AnswerLost]);
        assert_eq!(scene.soon(&scene.one).await, Ok(()));
        scene.clock.pass(40);
        assert_eq!(scene.soon(&scene.one).await, Ok(()), "{faults:?}");
        assert_eq!(scene.document().run, run());
        scene.bucket.fault(&[AnswerLost]);
        scene.one.release().await;
        assert!(scene.document().released);
        assert_eq!(scene.two.take().await, grant(2));
    }
}

#[tokio::test]
async fn an_unreachable_bucket_proves_nothing_but_spends_no_lease() {
    let scene = Scene::new();
    let down = [Fault::Unreachable; 40];
    scene.bucket.fault(&down);
    let Err(LeaseRefusal::Unproved { why }) = scene.one.take().await else { panic!("unproved") };
    assert_eq!(why, "read s3://fake/lease.json: connection reset");
    scene.bucket.fault(&[Fault::Unreachable]);
    scene.one.take().await.expect("one lost read is read again");

    scene.clock.pass(40);
    scene.bucket.fault(&down);
    assert_eq!(scene.soon(&scene.one).await, Ok(()), "10 s are left of it beyond the margin");
    let far = later(scene.clock.now(), Duration::from_secs(30));
    assert!(matches!(scene.one.assure(far).await, Err(LeaseRefusal::Unproved { .. })));
    scene.clock.pass(60);
    scene.bucket.fault(&down);
    assert!(matches!(scene.soon(&scene.one).await, Err(LeaseRefusal::Unproved { .. })));
    scene.bucket.fault(&[]);
    assert_eq!(scene.soon(&scene.one).await, Ok(()), "and is proved again when the bucket is back");

    scene.one.release().await;
    scene.bucket.fault(&[Fault::None, Fault::Denied]);
    let Err(LeaseRefusal::Unproved { why }) = scene.two.take().await else { panic!("unproved") };
    assert_eq!(why, "write s3://fake/lease.json: AccessDenied");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_proves_nothing() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    scene.clock.pass(49);
    // Each call hangs for its whole limit; by the time the last one ends the lease has run out.
    scene.bucket.fault(&[Fault::Hang; 40]);
    let asked = scene.clock.truth();
    assert!(matches!(scene.soon(&scene.one).await, Err(LeaseRefusal::Unproved { .. })));
    assert!(scene.clock.truth() - asked <= 31_000, "nobody is kept waiting long");
}

#[tokio::test]
async fn a_resumed_run_takes_its_own_lease_again_at_once() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    let resumed = lease_on(&scene.bucket, &scene.clock, &run().0, "one");
    assert_eq!(resumed.take().await, grant(2));
    assert!(matches!(scene.soon(&scene.one).await, Ok(())), "until its own time is up");
    scene.clock.pass(40);
    assert!(matches!(scene.soon(&scene.one).await, Err(LeaseRefusal::Lost { .. })));
    let elsewhere = lease_on(&scene.bucket, &scene.clock, &run().0, "other");
    assert!(matches!(elsewhere.take().await, Err(LeaseRefusal::Held { .. })));
}

#[tokio::test]
async fn what_is_not_our_lease_is_left_alone() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    let good = String::from_utf8(scene.bucket.body().expect("an object")).expect("text");
    for (body, says) in [
        ("not json".to_owned(), "s3://fake/lease.json is not a lease: expected"),
        ("{}".to_owned(), "missing field"),
        (good.replace("\"format\": 1", "\"format\": 2"), "its format 2 is another version's"),
        (good.replace("phoenix", "unicorn"), "is the lease of estate `unicorn`"),
    ] {
        scene.bucket.set(Some(body.clone().into_bytes()));
        let Err(LeaseRefusal::Unproved { why }) = scene.two.take().await else { panic!("{body}") };
        assert!(why.contains(says), "{why}");
        assert_eq!(scene.bucket.body(), Some(body.into_bytes()), "untouched");
    }
    let forever =
        Document { expires_at: Timestamp::MAX, ..serde_json::from_str(&good).expect("a lease") };
    scene.bucket.set(Some(serde_json::to_vec(&forever).expect("json")));
    assert!(matches!(scene.two.take().await, Err(LeaseRefusal::Held { .. })));
    scene.bucket.set(None);
    scene.clock.pass(40);
    let Err(LeaseRefusal::Lost { holder }) = scene.soon(&scene.one).await else { panic!("lost") };
    assert_eq!(holder, "nobody: its object was deleted");
}

#[tokio::test]
async fn a_question_nobody_waits_for_forgets_nothing() {
    let scene = Scene::new();
    scene.one.take().await.expect("free");
    scene.clock.pass(40);
    scene.bucket.before_put(std::future::pending().boxed());
    {
        let mut asked = scene.soon(&scene.one).boxed();
        assert!(futures::poll!(&mut asked).is_pending());
    }
    assert_eq!(scene.soon(&scene.one).await, Ok(()));
}

#[tokio::test]
async fn without_shared_state_nothing_is_claimed() {
    let lease = LocalLease;
    let grant = lease.take().await.expect("always");
    assert_eq!((grant.epoch, grant.place.as_str()), (0, "this machine only"));
    assert_eq!(lease.assure(Timestamp::MAX).await, Ok(()));
    lease.release().await;
}

#[test]
fn each_estate_has_its_own_key() {
    assert_eq!(lease_key("phoenix-dr", "phoenix"), "phoenix-dr/leases/phoenix.json");
    assert_eq!(lease_key("a/b", "x/y"), "a/b/leases/x%2Fy.json");
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Take,
    Assure(i64),
    Release,
}

#[derive(Debug, Clone)]
struct Move {
    actor: usize,
    act: Act,
    faults: Vec<Fault>,
    /// Another actor that takes the lease between this one's read and its write
    between: Option<usize>,
    pass: i64,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let act = prop_oneof![
        3 => Just(Act::Take),
        4 => (0_i64..60).prop_map(Act::Assure),
        1 => Just(Act::Release),
    ];
    let fault = prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Unreachable),
        1 => Just(Fault::AnswerLost),
        1 => Just(Fault::Hang),
        1 => Just(Fault::Conflict),
        1 => Just(Fault::Denied),
    ];
    let faults = proptest::collection::vec(fault, 0..5);
    let one = (0..3_usize, act, faults, proptest::option::weighted(0.3, 1..3_usize), 0..25_i64);
    let one = one.prop_map(|(actor, act, faults, other, pass)| Move {
        actor,
        act,
        faults,
        between: other.map(|step| (actor + step) % 3),
        pass,
    });
    proptest::collection::vec(one, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// Whatever is lost, late or refused, with clocks 18 s apart: no two hold a proof for the same moment, and no
    /// two are granted the same epoch.
    #[test]
    fn never_two_at_once(moves in moves(), offs in proptest::array::uniform3(proptest::sample::select(vec![-9, 0, 9]))) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(play(moves, offs))?;
    }
}

async fn play(moves: Vec<Move>, offs: [i64; 3]) -> Result<(), TestCaseError> {
    let (bucket, clock) = (Bucket::default(), TestClock::new());
    let actors: Vec<_> = (0..3)
        .map(|i| lease_on(&bucket, &clock.off_by(offs[i]), &format!("RUN{i}"), &format!("host{i}")))
        .collect();
    // Per actor: until when, in true time, it may act on a proof.
    let mut proofs = [i64::MIN; 3];
    let granted: Arc<Mutex<Vec<(u64, usize)>>> = Arc::default();
    for Move { actor, act, faults, between, pass } in moves {
        clock.pass(pass);
        bucket.fault(&faults);
        // What was not used by the last move is not for this one.
        bucket.before_put(std::future::ready(()).boxed());
        if let Some(other) = between {
            let (lease, granted) = (Arc::clone(&actors[other]), Arc::clone(&granted));
            bucket.before_put(
                async move {
                    if let Ok(grant) = lease.take().await {
                        granted.lock().expect("no panic").push((grant.epoch, other));
                    }
                }
                .boxed(),
            );
        }
        let sure = match act {
            Act::Take => match actors[actor].take().await {
                Ok(grant) => {
                    granted.lock().expect("no panic").push((grant.epoch, actor));
                    Some(0)
                }
                Err(_) => None,
            },
            Act::Assure(seconds) => Some(seconds),
            Act::Release => {
                // Whoever gives it back has stopped acting first.
                proofs[actor] = i64::MIN;
                actors[actor].release().await;
                None
            }
        };
        let Some(seconds) = sure else { continue };
        let until = clock.truth() + seconds * 1_000;
        let seen = time(offs[actor]) + jiff::SignedDuration::from_millis(until);
        if actors[actor].assure(seen).await.is_ok() {
            let now = clock.truth();
            for (other, end) in proofs.iter().enumerate() {
                prop_assert!(
                    other == actor || *end < now,
                    "{actor} is sure until {until} and {other} until {end}, now {now}"
                );
            }
            proofs[actor] = proofs[actor].max(until.max(now));
        }
    }
    let granted = granted.lock().expect("no panic");
    for (epoch, actor) in granted.iter() {
        let same = granted.iter().find(|(other, who)| other == epoch && who != actor);
        prop_assert!(same.is_none(), "{granted:?}");
    }
    Ok(())
}
