//! Looks under one deadline, and looks ahead with what earlier steps can be expected to give.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::json;

use super::*;
use crate::clients::aws::testing::{Reply, Script, estate, guarded, query_error};
use crate::clock::Clock as _;
use crate::clock::manual::ManualClock;
use crate::engine::ports::{Action, Armed, Image, Performed};
use crate::event::Mode;
use crate::journal::lease::LocalLease;
use crate::operator::Chain;
use crate::operator::scripted::Given;
use crate::outcome::{ActionError, FailureClass};
use crate::plan::PlannedStep;
use crate::report::fixtures::{candidates as some_candidates, plan as dr_001, run_id, step};
use crate::report::plan_view::Undo;

/// What looking at a step gives.
#[derive(Clone)]
enum Sees {
    State(Box<Observation>),
    Fails(ActionError),
    /// Fails the first time it is asked
    Passes(ActionError, Box<Observation>),
    /// Takes its time
    After(Duration, Box<Observation>),
    Silence,
}

/// A world that answers by step, and remembers with what it was asked.
struct World {
    steps: BTreeMap<String, Sees>,
    clock: ManualClock,
    asked: Mutex<BTreeMap<String, Map<String, Value>>>,
}

impl Action for World {
    fn observe<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Observation, ActionError>> {
        let asked = (call.step.0.clone(), call.with.clone());
        let before = self.asked.lock().expect("one thread").insert(asked.0, asked.1);
        match self.steps.get(&call.step.0).cloned() {
            Some(Sees::State(seen)) => futures::future::ready(Ok(*seen)).boxed(),
            Some(Sees::Fails(error)) => futures::future::ready(Err(error)).boxed(),
            Some(Sees::Passes(error, seen)) => {
                futures::future::ready(before.map_or(Err(error), |_| Ok(*seen))).boxed()
            }
            Some(Sees::After(time, seen)) => async move {
                self.clock.sleep(time).await;
                Ok(*seen)
            }
            .boxed(),
            Some(Sees::Silence) => futures::future::pending().boxed(),
            None => panic!("`{}` is not looked at", call.step),
        }
    }

    fn perform<'a>(
        &'a self,
        _: &'a Armed,
        _: &'a Call,
        _: &'a Observation,
    ) -> BoxFuture<'a, Result<Performed, ActionError>> {
        unreachable!("only looks are made")
    }

    fn revert<'a>(
        &'a self,
        _: &'a Armed,
        _: &'a Call,
        _: &'a Image,
    ) -> BoxFuture<'a, Result<(), ActionError>> {
        unreachable!("only looks are made")
    }
}

fn act(id: &str, needs: &[&str], action: &str, with: Value) -> PlannedStep {
    let Value::Object(with) = with else { panic!("arguments are an object") };
    PlannedStep {
        body: Body::Action { action: action.to_owned(), with },
        ..step(id, id, None, needs)
    }
}

fn done(outputs: Value) -> Sees {
    let mut seen = Observation::new(json!(1), json!(1));
    seen.outputs = outputs.as_object().cloned().expect("outputs are an object");
    Sees::State(Box::new(seen))
}

fn open() -> Observation {
    Observation::new(json!(0), json!(1))
}

struct Scene {
    plan: Arc<Plan>,
    world: Arc<World>,
    clients: Arc<Clients>,
    clock: ManualClock,
}

impl Scene {
    fn new(steps: Vec<PlannedStep>, sees: Vec<(&str, Sees)>, script: Script) -> Self {
        let steps_seen = sees.into_iter().map(|(id, sees)| (id.to_owned(), sees)).collect();
        let estate = estate(|_| {});
        let plan = Arc::new(Plan { steps, estate: (*estate).clone(), ..dr_001() });
        let clock = ManualClock::new();
        Self {
            plan,
            world: Arc::new(World {
                steps: steps_seen,
                clock: clock.clone(),
                asked: Mutex::default(),
            }),
            clients: Arc::new(guarded(estate, &script)),
            clock,
        }
    }

    async fn look(&self) -> (DryRunReport, Vec<Unseen>) {
        self.look_for(None).await
    }

    /// Looks with a recovery point that was named beforehand.
    async fn look_for(&self, point: Option<&str>) -> (DryRunReport, Vec<Unseen>) {
        let ports = Ports {
            actions: self.world.clone(),
            checks: Arc::new(crate::checks::Checks { clients: self.clients.clone() }),
            operator: Arc::new(Chain::alone(Given::default(), Mode::DryRun)),
            lease: Arc::new(LocalLease),
            clock: Arc::new(self.clock.clone()),
        };
        let run = run_id();
        let sight = Sight {
            plan: &self.plan,
            run: &run,
            ports: &ports,
            clients: &self.clients,
            state: None,
            point,
        };
        self.clock.drive(plan(&sight)).await
    }

    fn asked(&self, id: &str) -> Option<Map<String, Value>> {
        self.world.asked.lock().expect("one thread").get(id).cloned()
    }
}

fn found<'a>(report: &'a DryRunReport, id: &str) -> &'a DryRunStep {
    report.steps.iter().find(|step| step.step.0 == id).expect("the step was looked at")
}

fn nothing() -> Script {
    Script::new(|_, _| query_error(404, "DBInstanceNotFound", "none"))
}

#[tokio::test]
async fn a_quick_failure_that_passes_by_itself_is_looked_at_once_more() {
    let steps = ["throttled", "denied"].map(|id| act(id, &[], "kubernetes.scale", json!({})));
    let passes =
        |class, said: &str| Sees::Passes(ActionError::unchanged(class, said), Box::new(open()));
    let sees = vec![
        ("throttled", passes(FailureClass::Throttled, "slow down")),
        ("denied", passes(FailureClass::Denied, "not yours")),
    ];
    let scene = Scene::new(steps.to_vec(), sees, nothing());
    let (report, unseen) = scene.look().await;
    assert!(matches!(found(&report, "throttled").found, Found::State { .. }));
    let [unseen] = unseen.as_slice() else { panic!("{unseen:?}") };
    assert_eq!((unseen.step.0.as_str(), unseen.why.as_str()), ("denied", "not yours"));
}

#[tokio::test]
async fn a_silent_service_costs_no_more_than_the_limit_and_holds_nothing_else_up() {
    let steps = vec![
        act("dark", &[], "kubernetes.scale", json!({})),
        act("there", &[], "kubernetes.scale", json!({})),
        act(
            "after",
            &["there"],
            "kubernetes.scale",
            json!({ "of": "${{ steps.there.outputs.x }}" }),
        ),
        act("late", &["dark"], "kubernetes.scale", json!({ "of": "${{ steps.dark.outputs.x }}" })),
    ];
    let sees = vec![
        ("dark", Sees::Silence),
        ("there", done(json!({ "x": "known" }))),
        ("after", Sees::Silence),
    ];
    let scene = Scene::new(steps, sees, nothing());
    let began = scene.clock.now();
    let (report, unseen) = scene.look().await;
    // What could begin only after another look had ended has what is left.
    let took = since(began, scene.clock.now());
    assert!(took <= LIMIT, "{took:?}");
    assert_eq!(scene.asked("after").expect("it was looked at")["of"], "known");
    let ids: Vec<&str> = unseen.iter().map(|unseen| unseen.step.0.as_str()).collect();
    assert_eq!(ids, ["dark", "after"]);
    assert!(matches!(found(&report, "there").found, Found::State { .. }));
    assert!(
        matches!(&found(&report, "late").found, Found::KnownAfter { step } if step.0 == "dark")
    );
}

#[tokio::test]
async fn thousands_of_steps_are_not_all_looked_at_at_once_and_none_is_forgotten() {
    let ids: Vec<String> = (0..500).map(|i| format!("s{i}")).collect();
    let steps = ids.iter().map(|id| act(id, &[], "kubernetes.scale", json!({}))).collect();
    let sees = ids.iter().map(|id| (id.as_str(), Sees::Silence)).collect();
    let scene = Scene::new(steps, sees, nothing());
    let began = scene.clock.now();
    let (report, unseen) = scene.look().await;
    assert!(since(began, scene.clock.now()) <= LIMIT);
    assert_eq!((report.steps.len(), unseen.len()), (500, 500));
    let asked = scene.world.asked.lock().expect("one thread").len();
    assert!(asked <= 2 * LOOKS_MAX, "{asked}");
}

#[tokio::test]
async fn what_is_looked_at_late_has_time_to_answer() {
    let steps = vec![
        act("slow", &[], "kubernetes.scale", json!({})),
        act("after", &["slow"], "kubernetes.scale", json!({ "of": "${{ steps.slow.outputs.x }}" })),
    ];
    let slow = Observation { satisfied: true, ..open() };
    let outputs = json!({ "x": "known" }).as_object().cloned().unwrap_or_default();
    let slow = Observation { outputs, ..slow };
    let sees = vec![
        ("slow", Sees::After(LOOK_LIMIT - Duration::from_millis(1), Box::new(slow))),
        ("after", Sees::After(LOOK_LEAST - Duration::from_millis(1), Box::new(open()))),
    ];
    let scene = Scene::new(steps, sees, nothing());
    let (report, unseen) = scene.look().await;
    assert_eq!(unseen, []);
    assert!(matches!(found(&report, "after").found, Found::State { .. }));
}

#[tokio::test]
async fn whether_a_step_gave_something_is_not_asked_before_it_has_ended() {
    let of =
        |id: &str| format!("${{{{ has(steps.{id}.outputs.x) ? steps.{id}.outputs.x : 'none' }}}}");
    let skipped =
        PlannedStep { when: Some("1 > 2".to_owned()), ..act("skipped", &[], "wait", json!({})) };
    let steps = vec![
        act("open", &[], "kubernetes.scale", json!({})),
        act("of_open", &["open"], "kubernetes.scale", json!({ "of": of("open") })),
        act("done", &[], "kubernetes.scale", json!({})),
        act("of_done", &["done"], "kubernetes.scale", json!({ "of": of("done") })),
        // Written before the one it asks of: it is looked at again.
        act("of_skipped", &["skipped"], "kubernetes.scale", json!({ "of": of("skipped") })),
        skipped,
    ];
    let sees = vec![
        ("open", Sees::State(Box::new(open()))),
        ("done", done(json!({ "x": "known" }))),
        ("of_done", Sees::State(Box::new(open()))),
        ("of_skipped", Sees::State(Box::new(open()))),
    ];
    // `of_open` would ask with `none`: the world would panic.
    let scene = Scene::new(steps, sees, nothing());
    let (report, unseen) = scene.look().await;
    assert_eq!(unseen, []);
    let waits = &found(&report, "of_open").found;
    assert!(matches!(waits, Found::KnownAfter { step } if step.0 == "open"), "{waits:?}");
    assert_eq!(scene.asked("of_done").expect("looked at")["of"], "known");
    assert_eq!(scene.asked("of_skipped").expect("looked at")["of"], "none");
}

/// A choice, a recovery from it, and what waits for that.
fn recovery() -> Vec<PlannedStep> {
    let database = "${{ steps.database.outputs";
    vec![
        act("choose", &[], "rds.choose_recovery_point", json!({ "region": "us-west-2" })),
        act(
            "database",
            &["choose"],
            "rds.recover",
            json!({ "region": "us-west-2", "point": "${{ steps.choose.outputs.point }}" }),
        ),
        act(
            "repoint",
            &["database"],
            "database.repoint",
            json!({ "region": "us-west-2", "instance": format!("{database}.instance }}}}"),
                "address": format!("{database}.address }}}}") }),
        ),
        act(
            "protect",
            &["database"],
            "rds.protect",
            json!({ "region": "us-west-2", "instance": format!("{database}.instance }}}}") }),
        ),
    ]
}

fn offering(id: &str, method: &str, source: &str, target: &str) -> Sees {
    let mut choice = some_candidates().remove(0);
    choice.id = id.to_owned();
    choice.detail = json!({ "method": method, "source": source, "target": target });
    Sees::State(Box::new(Observation { choices: vec![choice], ..open() }))
}

const REPLICA: &str = "<DescribeDBInstancesResponse><DescribeDBInstancesResult><DBInstances><DBInstance>\
    <DBInstanceIdentifier>phoenix-dr-replica</DBInstanceIdentifier><DBInstanceStatus>available</DBInstanceStatus>\
    <DbiResourceId>db-1</DbiResourceId><Endpoint><Address>replica.example</Address><Port>5432</Port></Endpoint>\
    </DBInstance></DBInstances></DescribeDBInstancesResult></DescribeDBInstancesResponse>";

#[tokio::test]
async fn what_waits_for_a_choice_is_looked_at_with_the_best_one() {
    let database = Observation { commands: vec!["promote it".to_owned()], ..open() };
    let missing = ActionError::unchanged(FailureClass::NotFound, "there is no Secret phoenix-db");
    let sees = vec![
        ("choose", offering("replica", "promote", "phoenix-dr-replica", "phoenix-dr-replica")),
        ("database", Sees::State(Box::new(database))),
        ("repoint", Sees::Fails(missing)),
        ("protect", Sees::State(Box::new(open()))),
    ];
    let script = Script::new(|_, _| Reply::Answer(200, REPLICA.to_owned()));
    let scene = Scene::new(recovery(), sees, script);
    let (report, unseen) = scene.look().await;
    assert_eq!(scene.asked("repoint").expect("looked at")["address"], "replica.example:5432");
    let [unseen] = unseen.as_slice() else { panic!("{unseen:?}") };
    assert_eq!((unseen.step.0.as_str(), unseen.foreseen), ("repoint", true));
    assert_eq!(unseen.why, "there is no Secret phoenix-db");
    let database = found(&report, "database");
    assert!(matches!(&database.found, Found::KnownAfter { step } if step.0 == "choose"));
    assert_eq!(database.commands, ["promote it"]);
    assert_eq!(database.fidelity, Fidelity::Resolved);
    assert_eq!(database.undo, Undo::ByChoice { promotes: Some(true) });
    let sealed = Undo::Sealed { by: "database".into(), promotes: true };
    assert_eq!(found(&report, "repoint").undo, sealed);
}

#[tokio::test]
async fn what_a_choice_that_was_named_leaves_out_is_skipped_and_not_only_open() {
    let way = |id: &str, when: &str| PlannedStep {
        when: Some(when.to_owned()),
        ..act(
            id,
            &["choose"],
            "rds.recover",
            json!({ "region": "us-west-2", "point": "${{ steps.choose.outputs.point }}" }),
        )
    };
    let source = "steps.choose.outputs.point.source";
    let (taken, other) = (format!("{source} == 'phoenix-dr-replica'"), format!("{source} == 'x'"));
    let steps = vec![recovery().remove(0), way("taken", &taken), way("other", &other)];
    let sees = vec![
        ("choose", offering("replica", "promote", "phoenix-dr-replica", "phoenix-dr-replica")),
        ("taken", Sees::State(Box::new(open()))),
    ];
    let script = Script::new(|_, _| Reply::Answer(200, REPLICA.to_owned()));
    let scene = Scene::new(steps, sees, script);
    let (report, _) = scene.look().await;
    let other = &found(&report, "other").found;
    assert!(matches!(other, Found::KnownAfter { step } if step.0 == "choose"), "{other:?}");
    let (report, _) = scene.look_for(Some("replica")).await;
    let other = &found(&report, "other").found;
    assert!(matches!(other, Found::Skipped { .. }), "{other:?}");
    assert!(matches!(found(&report, "taken").found, Found::KnownAfter { .. }));
}

#[tokio::test]
async fn an_instance_that_does_not_exist_yet_is_not_looked_for() {
    let repoint = Observation { commands: vec!["patch it".to_owned()], ..open() };
    let sees = vec![
        ("choose", offering("backup", "restore_point_in_time", "arn:backup", "phoenix-restored")),
        ("database", Sees::State(Box::new(open()))),
        ("repoint", Sees::State(Box::new(repoint))),
    ];
    // `protect` would ask for the instance itself: the world would panic.
    let scene = Scene::new(recovery(), sees, nothing());
    let (report, unseen) = scene.look().await;
    assert_eq!(
        scene.asked("repoint").expect("looked at")["address"],
        "phoenix-restored.invalid:5432"
    );
    assert_eq!(unseen, []);
    assert!(found(&report, "repoint").commands.is_empty(), "a made-up name helps nobody");
    assert_eq!(found(&report, "protect").fidelity, Fidelity::Printed);
    assert_eq!(found(&report, "database").undo, Undo::ByChoice { promotes: Some(false) });
    assert_eq!(found(&report, "repoint").undo, Undo::Restore, "a restore seals nothing");
}

#[tokio::test]
async fn what_is_kept_seals_nothing_and_a_point_of_no_return_what_follows_it() {
    let scale = |id: &str, needs: &[&str]| act(id, needs, "kubernetes.scale", json!({}));
    let why = || "evidence is kept".to_owned();
    let kept =
        PlannedStep { rollback: crate::plan::Rollback::None { why: why() }, ..scale("kept", &[]) };
    let point = PlannedStep { point_of_no_return: true, ..scale("point", &["before"]) };
    let steps = vec![kept, scale("before", &["kept"]), point, scale("behind", &["point"])];
    let sees = ["kept", "before", "point", "behind"];
    let sees = sees.map(|id| (id, Sees::State(Box::new(open())))).to_vec();
    let (report, _) = Scene::new(steps, sees, nothing()).look().await;
    let undo = |id: &str| found(&report, id).undo.clone();
    assert_eq!(undo("kept"), Undo::Never { why: why() });
    assert_eq!(undo("before"), Undo::Restore);
    assert!(matches!(undo("point"), Undo::Never { .. }));
    assert_eq!(undo("behind"), Undo::Sealed { by: "point".into(), promotes: false });
}

#[tokio::test]
async fn what_there_was_no_time_for_ahead_would_not_fail() {
    let sees = vec![
        ("choose", offering("replica", "promote", "phoenix-dr-replica", "phoenix-dr-replica")),
        ("database", Sees::State(Box::new(open()))),
        ("repoint", Sees::Silence),
        ("protect", Sees::State(Box::new(open()))),
    ];
    let script = Script::new(|_, _| Reply::Answer(200, REPLICA.to_owned()));
    let scene = Scene::new(recovery(), sees, script);
    let (report, unseen) = scene.look().await;
    assert!(scene.asked("repoint").is_some());
    assert_eq!(unseen, []);
    assert!(matches!(found(&report, "repoint").found, Found::KnownAfter { .. }));
}
