//! What is given up must be closed still when the application is told of another.

use super::*;

/// The step, which names what is given up.
fn giving_up(address: &str) -> Call {
    let mut call = call(address);
    call.with.insert("damaged".to_owned(), json!("phoenix-prod"));
    call
}

/// Closes a server's database as the run does before it restores.
async fn fence(server: &Server) {
    let (clients, armed) = testing::armed(server.estate(&json!({})));
    let with = json!({ "instance": "phoenix-prod", "region": "us-east-1", "scope": "database" });
    let (call, _told) = testing::call(ActionName::PostgresFence, with);
    let seen = observe(&clients, &call).await.expect("observed");
    perform(&clients, &armed, &call, &seen).await.expect("fenced");
}

/// A world whose damaged database answers; not armed yet. `None` where PostgreSQL is not installed.
async fn world() -> Option<(World, Server, Server)> {
    let (restored, mut database) = replica(World::told()).await?;
    let damaged = Server::start()?;
    damaged.prepare().await;
    damaged.sql("postgres", &format!("grant app to {OPERATOR}")).await;
    database["addresses"]["phoenix-prod"] = json!(damaged.address.to_string());
    let estate = Arc::new(testing::estate(json!({ "database": database })));
    let clients = Clients::new(estate, Guard::closed(), Arc::new(Quick::default()));
    Some((World::of(clients).await, restored, damaged))
}

/// Looks, and returns with that what was seen of the fence.
async fn looked(world: &World, call: &Call) -> (Observation, Vec<String>) {
    let seen = observe(&world.clients, call).await.expect("a look refuses nothing");
    let of_it = seen.evidence.iter().filter(|line| line.contains("phoenix-prod is"));
    let of_it = of_it.cloned().collect();
    (seen, of_it)
}

const OPEN: &str = "! the database of phoenix-prod is not fenced";
const GRANT: &str = "grant connect on database phoenix to app";
const REVOKE: &str = "revoke connect on database phoenix from app";

#[tokio::test]
async fn the_application_is_told_nothing_while_what_was_fenced_is_open_again() {
    let Some((world, restored, damaged)) = world().await else { return };
    let call = giving_up(&restored.address.to_string());
    // Before the run nothing is closed yet.
    assert_eq!(looked(&world, &call).await.1, Vec::<String>::new());
    world.arm();
    fence(&damaged).await;
    let (seen, said) = looked(&world, &call).await;
    assert_eq!(said, Vec::<String>::new());
    // Between the look and the change somebody opens it.
    damaged.sql("postgres", GRANT).await;
    let error = perform(&world.clients, &world.armed, &call, &seen).await.expect_err("it is open");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    let lost = "what is written there until the application is pointed elsewhere is lost";
    assert!(error.message.starts_with(&OPEN[2..]) && error.message.contains(lost), "{error}");
    let hint = error.hint.unwrap_or_default();
    assert!(hint.contains("retry: psql -h 127.0.0.1 "), "{hint}");
    assert_eq!(world.fake.changes(), Vec::<String>::new());
    let (again, said) = looked(&world, &call).await;
    assert!(said.len() == 1 && said[0].starts_with(OPEN), "{said:?}");
    damaged.sql("postgres", REVOKE).await;
    // Whoever looks into what is damaged is not the application.
    damaged.sql("postgres", "create role examiner login").await;
    damaged.sql("postgres", "grant connect on database phoenix to examiner").await;
    let done = perform(&world.clients, &world.armed, &call, &again).await.expect("repointed");
    assert!(!done.notes.iter().any(|line| line.contains("fenced")), "{:?}", done.notes);
    // The application has left it: from here on nobody asks.
    damaged.sql("postgres", GRANT).await;
    let (now, said) = looked(&world, &call).await;
    assert!(now.satisfied && said.is_empty(), "{now:?}");
    // Nor is it in the way of the way back.
    world.undo(&call, &seen.live, &done.after).await.expect("reverted");
    assert_eq!(looked(&world, &call).await.0.live, seen.live);
}

#[tokio::test]
async fn a_run_that_went_on_without_the_fence_is_told_what_is_lost_and_goes_on() {
    let Some((world, restored, damaged)) = world().await else { return };
    let step = giving_up(&restored.address.to_string());
    world.arm();
    let (seen, said) = looked(&world, &step).await;
    assert!(said.len() == 1 && said[0].starts_with(OPEN), "{said:?}");
    let done = perform(&world.clients, &world.armed, &step, &seen).await.expect("repointed");
    assert!(done.notes.iter().any(|line| line.starts_with(OPEN)), "{:?}", done.notes);
    // As the fence of a whole server has it there is nothing to be said.
    let other = giving_up("new.example:6432");
    damaged.sql("postgres", "alter role app nologin").await;
    assert_eq!(looked(&world, &other).await.1, Vec::<String>::new());
    // A step that gives nothing up asks nobody.
    damaged.sql("postgres", "alter role app login").await;
    let (_, said) = looked(&world, &call("new.example:6432")).await;
    assert_eq!(said, Vec::<String>::new());
}
