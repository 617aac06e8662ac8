//! Cut overs on real servers: by a superuser and by a role that is none, refused, held up, cut off anywhere, taken back.

use std::sync::atomic::Ordering;

use super::*;
use crate::actions::{observe, perform, revert};
use crate::clients::postgres::testing::{Server, brisk, way};
use crate::clients::testing;
use crate::runbook::catalogue::actions::ActionName;

#[path = "cut_over/rights_tests.rs"]
mod rights;

const PASSWORD: &str = "operator-secret";

/// A server whose database is damaged and restored beside, with a role that has what the operator has.
struct Lab {
    server: Server,
    armed: Armed,
    /// Roles of the application
    roles: Vec<&'static str>,
    essentials: Value,
}

fn call_of(action: ActionName) -> Call {
    let with = match action {
        ActionName::PostgresFence => {
            json!({ "instance": "phoenix-prod", "region": "us-east-1", "scope": "database" })
        }
        _ => {
            json!({ "instance": "phoenix-prod", "region": "us-east-1", "restored": "phoenix_restored" })
        }
    };
    testing::call(action, with).0
}

fn call() -> Call {
    call_of(ActionName::PostgresCutOver)
}

impl Lab {
    async fn open(more: &str) -> Option<Self> {
        let server = Server::start()?;
        server.prepare().await;
        server
            .sql(
                "postgres",
                "create role heir login password 'operator-secret'; grant dr to heir; \
                 alter role dr createdb; grant app to dr; comment on database phoenix is 'theirs'",
            )
            .await;
        server.sql("postgres", "create database phoenix_restored owner dr").await;
        let rows = "create table orders (id int primary key); insert into orders values (7); \
             alter table orders owner to dr; grant all on orders to app";
        server.sql("phoenix_restored", rows).await;
        server.sql("postgres", more).await;
        Some(Self { server, armed: Armed::mint(), roles: vec!["app"], essentials: json!({}) })
    }

    fn estate(&self) -> Value {
        let mut estate = self.server.estate(&json!({}));
        estate["database"]["connection"]["application_roles"] = json!(self.roles);
        estate["database"]["essentials"] = self.essentials.clone();
        estate
    }

    fn clients(&self) -> Clients {
        brisk(self.estate(), &self.armed)
    }

    async fn done(&self, call: &Call) -> Result<(Observation, Performed), ActionError> {
        let clients = self.clients();
        let seen = observe(&clients, call).await?;
        assert!(!seen.satisfied, "{seen:?}");
        let done = perform(&clients, &self.armed, call, &seen).await?;
        Ok((seen, done))
    }

    async fn fenced(&self) -> Observation {
        self.done(&call_of(ActionName::PostgresFence)).await.expect("fenced").0
    }

    async fn cut_over(&self) -> (Observation, Performed) {
        let (seen, done) = self.done(&call()).await.expect("cut over");
        assert_eq!(done.after, seen.desired);
        (seen, done)
    }

    async fn taken_back(&self, call: &Call, seen: &Observation) -> Result<(), ActionError> {
        let clients = self.clients();
        let now = observe(&clients, call).await?;
        let image = Image { before: seen.live.clone(), ours: seen.desired.clone(), now };
        revert(&clients, &self.armed, call, &image).await
    }

    /// Everything about databases and roles that anything here could change, to the byte.
    async fn everything(&self) -> String {
        let sql = "select concat_ws(E'\\n', (select string_agg(concat_ws(' ', oid, datname, datdba, \
                 coalesce(datacl::text, 'none'), datconnlimit, shobj_description(oid, 'pg_database')), E'\\n' order by oid) \
                 from pg_database), \
             (select string_agg(concat_ws(' ', setdatabase, setrole, setconfig), E'\\n' order by setdatabase, setrole) \
                 from pg_db_role_setting), \
             (select string_agg(concat_ws(' ', rolname, rolcanlogin), E'\\n' order by rolname) from pg_roles))";
        self.server.text("postgres", sql).await
    }

    async fn names(&self) -> String {
        let sql = "select string_agg(datname::text, ' ' order by oid) from pg_database where datname like 'phoenix%'";
        self.server.text("postgres", sql).await
    }

    async fn enters(&self, role: &str, database: &str) -> Result<(), String> {
        let entered = self.server.client(role, PASSWORD, database).await;
        entered
            .map(drop)
            .map_err(|error| error.code().map(|code| code.code().to_owned()).unwrap_or_default())
    }
}

fn kept(done: &Performed) -> String {
    done.outputs["kept"].as_str().expect("a name").to_owned()
}

#[tokio::test]
async fn the_restored_database_takes_the_name_and_the_damaged_one_stays_as_it_is() {
    let Some(lab) = Lab::open("grant connect on database phoenix to app").await else { return };
    lab.server.sql("postgres", "alter database phoenix set work_mem = '5MB'").await;
    lab.fenced().await;
    assert_eq!(lab.enters("heir", "postgres").await, Err("28000".to_owned()), "its login is taken");
    let fenced = lab.everything().await;
    let (seen, done) = lab.cut_over().await;
    let kept = kept(&done);
    assert!(kept.starts_with("phoenix_damaged_2"), "{kept}");
    assert_eq!(lab.names().await, format!("{kept} phoenix"));
    let said: Vec<&str> = done.notes.iter().map(String::as_str).collect();
    for line in ["app writes to phoenix and reads it", "phoenix_restored has the name phoenix"] {
        assert!(said.contains(&line), "{line}: {said:?}");
    }
    let other = "phoenix_restored has other settings than phoenix: work_mem";
    assert!(said.iter().any(|line| line.ends_with(other)), "{said:?}");
    // The application's own query and write; what only the fence kept out of the whole server is let in again.
    let app = lab.server.application().await.expect("it gets in");
    let row = app.query_one("select id from orders", &[]).await.expect("read");
    assert_eq!(row.get::<_, i32>(0), 7);
    app.execute("insert into orders values (8)", &[]).await.expect("written");
    assert_eq!(lab.enters("heir", "phoenix").await, Ok(()));
    assert_eq!(lab.enters("app", &kept).await, Err("42501".to_owned()), "it stays fenced");
    let open = &done.obligations[0];
    assert_eq!(open.id, format!("damaged-{kept}"));
    assert!(open.how.contains(&format!("drop database \"{kept}\"")), "{open:?}");
    // The look afterwards knows it for its own, another step's does not.
    let clients = lab.clients();
    let now = observe(&clients, &call()).await.expect("observed");
    assert!(now.satisfied && now.live == seen.desired, "{now:?}");
    assert_eq!((&now.outputs, &now.obligations), (&done.outputs, &done.obligations));
    let another = Call { generation: 1, ..call() };
    let error = observe(&clients, &another).await.expect_err("there is nothing to cut over to");
    assert!(error.message.contains("there is no database phoenix_restored"), "{error}");
    // What was written since would be lost with the name.
    drop(app);
    let error = lab.taken_back(&call(), &seen).await.expect_err("it was written to");
    assert_eq!((error.class, error.effect), (FailureClass::Conflict, Effect::None));
    assert!(error.message.contains("1 rows of phoenix were written since"), "{error}");
    assert_eq!(lab.names().await, format!("{kept} phoenix"));
    assert_ne!(lab.everything().await, fenced);
}

#[tokio::test]
async fn what_nobody_wrote_to_goes_back_and_everything_is_as_it_was() {
    let Some(mut lab) = Lab::open(
        "alter role dr superuser; create role boss superuser login password 'operator-secret'; \
         alter database phoenix connection limit 7; alter database phoenix_restored connection limit 9",
    )
    .await
    else {
        return;
    };
    lab.roles = vec!["app", "boss"];
    let open = lab.everything().await;
    let closed = lab.fenced().await;
    let fenced = lab.everything().await;
    let (seen, _) = lab.cut_over().await;
    assert_eq!(lab.enters("boss", "phoenix").await, Ok(()));
    let image = observe(&lab.clients(), &call()).await.expect("observed");
    assert_eq!(image.live, seen.desired);
    lab.taken_back(&call(), &seen).await.expect("taken back");
    assert_eq!(lab.everything().await, fenced);
    lab.taken_back(&call(), &seen).await.expect("twice is once");
    assert_eq!(observe(&lab.clients(), &call()).await.expect("observed").live, seen.live);
    lab.taken_back(&call_of(ActionName::PostgresFence), &closed).await.expect("opened");
    assert_eq!(lab.everything().await, open);
}

#[tokio::test]
async fn the_fence_of_a_run_that_cut_over_is_that_of_the_damaged_database() {
    let Some(lab) = Lab::open("grant connect on database phoenix to app").await else { return };
    let fence = call_of(ActionName::PostgresFence);
    let closed = lab.fenced().await;
    let (_, done) = lab.cut_over().await;
    let of = |name: &str| {
        format!(
            "select concat_ws(' ', datacl::text, datconnlimit, (select string_agg(setconfig::text, ' ') \
             from pg_db_role_setting where setdatabase = d.oid)) from pg_database d where datname = '{name}'"
        )
    };
    let new = lab.server.text("postgres", &of("phoenix")).await;
    let now = observe(&lab.clients(), &fence).await.expect("observed");
    assert_eq!(now.live["oid"], closed.live["oid"], "not of what has the name now");
    lab.taken_back(&fence, &closed).await.expect("lifted where it is");
    assert_eq!(lab.server.text("postgres", &of("phoenix")).await, new, "and nowhere else");
    let kept = kept(&done);
    assert_eq!(lab.enters("app", &kept).await, Ok(()));
    let then = observe(&lab.clients(), &fence).await.expect("observed");
    assert_eq!(then.live, closed.live);
    // Another run's fence is for what has the name.
    let mut another = fence.clone();
    another.run = crate::ids::RunId("02RUN".to_owned());
    let seen = observe(&lab.clients(), &another).await.expect("observed");
    assert_ne!(seen.live["oid"], closed.live["oid"]);
    // Once the damaged one is dropped nothing of the new one is taken for it.
    lab.server.sql("postgres", &format!("drop database {kept}")).await;
    let error = observe(&lab.clients(), &fence).await.expect_err("it is gone");
    assert!(error.message.contains("is gone"), "{error}");
}

#[tokio::test]
async fn all_that_is_in_the_way_is_said_at_once_and_nothing_is_changed() {
    let Some(mut server) = Server::start() else { return };
    server.prepare().await;
    server
        .while_stopped(|data| {
            let settings = "max_prepared_transactions = 2\nwal_level = logical\n";
            let file = std::fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"));
            std::io::Write::write_all(&mut file.expect("opened"), settings.as_bytes())
                .expect("written");
        })
        .await;
    server.sql("postgres", "create database phoenix_restored connection limit 0").await;
    server
        .sql(
            "postgres",
            "alter database phoenix_restored set default_transaction_read_only = on; \
             revoke connect on database phoenix_restored from public; \
             alter role dr nocreatedb; grant connect on database phoenix_restored to dr",
        )
        .await;
    server
        .sql(
            "phoenix",
            "create subscription sub connection 'host=127.0.0.1 port=1' publication p with (connect = false)",
        )
        .await;
    server.sql("phoenix", "select pg_create_logical_replication_slot('slot', 'pgoutput')").await;
    server.sql("phoenix", "begin; create table prepared (id int); prepare transaction 'gid'").await;
    let lab = Lab { server, armed: Armed::mint(), roles: vec!["app"], essentials: json!({}) };
    let before = lab.everything().await;
    let error = observe(&lab.clients(), &call()).await.expect_err("much is in the way");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None));
    let ways = error.hint.clone().expect("ways");
    for (said, way) in [
        ("dr may not rename databases", "alter role \"dr\" createdb"),
        ("dr does not own phoenix_restored", "grant \"postgres\" to \"dr\""),
        ("phoenix is not fenced", "`postgres.fence` with `scope: database`"),
        ("phoenix_restored has the connection limit 0", "connection limit -1"),
        ("sessions in phoenix_restored begin read-only", "reset default_transaction_read_only"),
        (
            "app may not connect to phoenix_restored",
            "grant connect on database \"phoenix_restored\"",
        ),
        ("the prepared transaction `gid`", "rollback prepared 'gid'"),
        ("the logical replication slot slot", "pg_drop_replication_slot('slot')"),
        ("the subscription sub", "drop subscription \"sub\""),
    ] {
        assert!(error.message.contains(said), "{said}: {error}");
        assert!(ways.contains(way), "{way}: {ways}");
    }
    assert_eq!(lab.everything().await, before);
    // Each was what was in the way; what is fenced is told by the fence itself.
    for (database, sql) in [
        ("phoenix", "rollback prepared 'gid'"),
        ("phoenix", "select pg_drop_replication_slot('slot')"),
        ("phoenix", "alter subscription sub set (slot_name = none)"),
        ("phoenix", "drop subscription sub"),
        ("postgres", "alter role dr createdb"),
        ("postgres", "alter database phoenix_restored owner to dr"),
        ("postgres", "alter database phoenix_restored connection limit -1"),
        ("postgres", "alter database phoenix_restored reset default_transaction_read_only"),
        ("postgres", "grant connect on database phoenix_restored to app"),
    ] {
        lab.server.sql(database, sql).await;
    }
    lab.fenced().await;
    let (_, done) = lab.cut_over().await;
    // Nobody let the operator be the application: that is said, and is no proof.
    let said = done.notes.iter().any(|line| line.contains("no write was tried as app"));
    assert!(said, "{:?}", done.notes);
    let missing =
        json!({ "instance": "phoenix-prod", "region": "us-east-1", "restored": "phoenix" });
    let call = testing::call(ActionName::PostgresCutOver, missing).0;
    let another = Call { generation: 1, ..call };
    let error = observe(&lab.clients(), &another).await.expect_err("one and the same");
    assert!(error.message.contains("`restored` is phoenix itself"), "{error}");
}

#[tokio::test]
async fn a_session_nobody_may_end_is_named_and_both_names_stay() {
    let Some(lab) = Lab::open("select").await else { return };
    lab.fenced().await;
    let fenced = lab.everything().await;
    let inside = lab.server.client("postgres", PASSWORD, "phoenix_restored").await;
    let (inside, _driver) = inside.expect("it connects");
    let error = lab.done(&call()).await.expect_err("it is in use");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
    assert!(error.message.contains("there are postgres (pid "), "{error}");
    assert!(error.message.contains("`postgres-pod`"), "{error}");
    assert!(error.hint.expect("a way").contains("select pg_terminate_backend("));
    assert_eq!(lab.everything().await, fenced);
    drop(inside);
    // Whoever may be ended is: the application waits in the restored one already.
    let early = lab.server.client("app", PASSWORD, "phoenix_restored").await.expect("connects");
    lab.cut_over().await;
    early.0.execute("insert into orders values (9)", &[]).await.expect_err("it was sent away");
}

#[tokio::test]
async fn a_lock_that_does_not_come_names_who_has_it() {
    let Some(lab) = Lab::open("select").await else { return };
    lab.fenced().await;
    let fenced = lab.everything().await;
    let (holder, _driver) =
        lab.server.client("postgres", PASSWORD, "postgres").await.expect("it connects");
    holder
        .batch_execute("begin; alter database phoenix_restored connection limit 9")
        .await
        .expect("held");
    let error = lab.done(&call()).await.expect_err("it waits in vain");
    assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None));
    assert!(error.message.contains("it is held by postgres (pid "), "{error}");
    holder.batch_execute("rollback").await.expect("let go");
    assert_eq!(lab.everything().await, fenced);
}

#[tokio::test]
async fn a_role_that_cannot_write_under_the_name_is_no_success_and_a_retry_proves_it_again() {
    let Some(lab) = Lab::open("select").await else { return };
    lab.fenced().await;
    // A trigger stands for whatever the application meets once it is let in.
    let trap = "create table phoenix_dr_heartbeat (run text primary key, identity text not null, at timestamptz not null); \
         alter table phoenix_dr_heartbeat owner to dr; \
         create function trap() returns trigger language plpgsql as $$ begin \
             if current_user = 'app' then raise exception 'not app' using errcode = 'P7777'; end if; return new; end $$; \
         create trigger trap before insert on phoenix_dr_heartbeat for each row execute function trap()";
    lab.server.sql("phoenix_restored", trap).await;
    let clients = lab.clients();
    let seen = observe(&clients, &call()).await.expect("observed");
    let error = perform(&clients, &lab.armed, &call(), &seen).await.expect_err("not proved");
    assert_eq!(error.effect, Effect::Applied, "the names are changed");
    assert!(
        error.message.contains("app cannot write to phoenix") && error.message.contains("P7777"),
        "{error}"
    );
    let again = observe(&clients, &call()).await.expect("observed");
    assert!(again.under_way && !again.satisfied && again.live == seen.desired, "{again:?}");
    lab.server.sql("phoenix", "drop trigger trap on phoenix_dr_heartbeat").await;
    perform(&clients, &lab.armed, &call(), &again).await.expect("proved");
    assert!(observe(&clients, &call()).await.expect("observed").satisfied);
}

/// Cuts over by a way that is cut at one place after the other, and carries it on; returns how many there are.
async fn cut_everywhere(lab: &Lab) -> i64 {
    let before = lab.everything().await;
    let names = lab.names().await;
    let clients = lab.clients();
    let seen = observe(&clients, &call()).await.expect("observed");
    for words in 0.. {
        let mut estate = lab.estate();
        let (way, left) = way(lab.server.address, words).await;
        estate["database"]["primary"]["address"] = json!(way.to_string());
        let done = perform(&brisk(estate, &lab.armed), &lab.armed, &call(), &seen).await;
        let now = observe(&clients, &call()).await.expect("observed");
        let made = lab.names().await != names;
        if !made {
            assert_eq!(lab.everything().await, before, "{words}: there is no half of it");
        }
        assert_eq!(now.live == seen.desired, made, "{words}: the look tells the truth");
        match &done {
            Err(error) if error.effect == Effect::None => assert!(!made, "{words}: {error}"),
            Err(error) if error.effect == Effect::Applied => assert!(made, "{words}: {error}"),
            Err(_) => {}
            Ok(_) => assert!(made && now.satisfied),
        }
        if !now.satisfied {
            perform(&clients, &lab.armed, &call(), &now).await.expect("carried on");
        }
        lab.taken_back(&call(), &seen).await.expect("taken back");
        assert_eq!(lab.everything().await, before);
        // The next attempt is to prove it itself.
        lab.server.sql("phoenix_restored", "delete from phoenix_dr_heartbeat").await;
        if left.load(Ordering::SeqCst) >= 0 {
            assert!(done.is_ok(), "nothing was cut: {done:?}");
            return words;
        }
    }
    unreachable!("the loop returns")
}

#[tokio::test]
async fn a_connection_that_is_lost_anywhere_leaves_both_names_or_neither() {
    let Some(lab) = Lab::open("select").await else { return };
    // Passwords take more time than all the rest.
    let rules = lab.server.path("pg_hba.conf");
    let text = std::fs::read_to_string(&rules).expect("read").replace("scram-sha-256", "trust");
    std::fs::write(&rules, text).expect("written");
    lab.server.sql("postgres", "select pg_reload_conf()").await;
    lab.fenced().await;
    let words = cut_everywhere(&lab).await;
    assert!(words > 30, "only {words} places to cut at");
}
