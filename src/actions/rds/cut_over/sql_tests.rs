//! Cut overs on real servers behind scripted names: where the endpoint leads, who gets in, and what a way back would lose.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::actions::rds::testing::{Made, Region, Shared, WEST, made, region};
use crate::actions::rds::{TAG_ROWS, proof};
use crate::clients::aws::testing::{RUN, Script, call, estate, timed};
use crate::clients::postgres::prove_writable;
use crate::clients::postgres::testing::{OPERATOR, Server};
use crate::clock::{Clock as _, RealClock};
use crate::ids::RunId;

const NAME: &str = "phoenix-prod";
const RESTORED: &str = "phoenix-restored";
const KEPT: &str = "phoenix-prod-damaged-20241118-0001";

/// A damaged and a restored server, and where the endpoint leads.
struct Lab {
    damaged: Server,
    restored: Server,
    endpoint: SocketAddr,
    leads_to: Arc<Mutex<SocketAddr>>,
    script: Script,
    region: Shared,
    armed: Armed,
}

/// Carries every connection to where the endpoint leads when it is made.
async fn endpoint(leads_to: Arc<Mutex<SocketAddr>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let to = *leads_to.lock().expect("not poisoned");
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(to).await else { return };
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    address
}

impl Lab {
    async fn open(instances: Vec<Made>) -> Option<Self> {
        let (damaged, restored) = (Server::start()?, Server::start()?);
        for server in [&damaged, &restored] {
            server.prepare().await;
            server.sql("postgres", &format!("grant app to {OPERATOR}")).await;
        }
        let leads_to = Arc::new(Mutex::new(damaged.address));
        let endpoint = endpoint(Arc::clone(&leads_to)).await;
        let (script, region) = region(Region { instances, swift: true, ..Region::default() });
        let armed = Armed::mint();
        Some(Self { damaged, restored, endpoint, leads_to, script, region, armed })
    }

    fn clients(&self) -> Clients {
        self.clients_at(self.endpoint)
    }

    fn clients_at(&self, endpoint: SocketAddr) -> Clients {
        let addresses =
            json!({ NAME: endpoint.to_string(), RESTORED: self.restored.address.to_string() });
        let estate = estate(|estate| {
            let database = &mut estate["database"];
            database["addresses"] = addresses;
            database["connection"] = json!({
                "user": OPERATOR, "password_from": { "file": self.restored.secret() }, "tls": "disable",
                "application_roles": ["app"],
            });
        });
        let clients = timed(estate, &self.script, Arc::new(RealClock));
        clients.guard.open(&self.armed);
        clients
    }

    fn lead_to(&self, server: &Server) {
        *self.leads_to.lock().expect("not poisoned") = server.address;
    }

    fn names(&self) -> Vec<String> {
        let region = self.region.lock().expect("not poisoned");
        region.instances.iter().map(|made| made.id.clone()).collect()
    }

    /// Does what restoring did before: a row of the run in the restored instance.
    async fn restored_by_this_run(&self) {
        let run = RunId(RUN.to_owned());
        let proof = prove_writable(&self.clients(), RESTORED, WEST, None, &run, None).await;
        proof.expect("proved");
    }
}

fn with() -> RdsCutOver {
    let [region, instance, restored] = [WEST, NAME, RESTORED].map(str::to_owned);
    RdsCutOver { region, instance, restored }
}

fn named(of: &str, name: &str) -> Made {
    Made { resource: format!("db-{of}"), ..made(name, &["available"]) }
}

#[tokio::test]
async fn an_endpoint_that_still_leads_to_the_damaged_instance_is_no_success() {
    let both = vec![named(NAME, KEPT), named(RESTORED, NAME).ours()];
    let Some(lab) = Lab::open(both).await else { return };
    lab.restored_by_this_run().await;
    let clients = lab.clients();
    let (call, _news) = call("rds.cut_over");
    // Killed after the second rename: both names are as they are to be, and nobody has looked where the endpoint leads.
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert_eq!(seen.live, seen.desired);
    assert!(!seen.satisfied && seen.under_way, "{:?}", seen.evidence);
    let soon = RealClock.now() + std::time::Duration::from_secs(1);
    let hurried = Call { progress: call.progress.clone().until(soon), ..call.clone() };
    let error = perform(&clients, &lab.armed, &hurried, &with(), &seen).await.expect_err("stale");
    assert_eq!((error.class, error.effect), (FailureClass::Overdue, Effect::Applied), "{error}");
    assert!(error.message.contains("does not lead to phoenix-restored yet"), "{error}");
    let written = "select coalesce(to_regclass('public.phoenix_dr_heartbeat')::text, 'nothing')";
    assert_eq!(lab.damaged.text("phoenix", written).await, "nothing");
    // Nor is it done once it leads there: this step has written nothing under the name.
    lab.lead_to(&lab.restored);
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(!seen.satisfied && seen.under_way, "{:?}", seen.evidence);
    assert!(seen.evidence.iter().any(|line| line.contains("has not proved yet")), "{seen:?}");
    let done = perform(&clients, &lab.armed, &call, &with(), &seen).await.expect("proved");
    let said = |text: &str| done.notes.iter().any(|line| line.contains(text));
    assert!(said("app writes to phoenix and reads it"), "{:?}", done.notes);
    assert!(said("phoenix-prod takes writes: a row was written and read back"), "{:?}", done.notes);
    assert_eq!(lab.script.count("ModifyDBInstance"), 0, "nothing is renamed twice");
    let now = observe(&clients, &call, &with()).await.expect("observed");
    assert!(now.satisfied, "{:?}", now.evidence);
    assert_eq!((&now.outputs, &now.obligations), (&done.outputs, &done.obligations));
    let open = &done.obligations[0];
    assert!(open.how.contains("\n$ aws rds delete-db-instance"), "{open:?}");
    let closes = open.closed_by.as_ref().expect("a check");
    assert_eq!(closes["with"], json!({ "region": WEST, "instance": KEPT, "states": ["deleted"] }));
    // A role of the application that does not get in is no success either.
    lab.restored.sql("postgres", "alter role app nologin").await;
    let error = perform(&clients, &lab.armed, &call, &with(), &seen).await.expect_err("locked");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::Applied), "{error}");
    assert!(error.message.contains("app may not log in"), "{error}");
}

fn two() -> Vec<Made> {
    vec![made(NAME, &["available"]), made(RESTORED, &["available"]).ours()]
}

#[tokio::test]
async fn what_is_open_and_who_is_shut_out_is_found_before_the_first_rename() {
    let Some(lab) = Lab::open(two()).await else { return };
    let clients = lab.clients();
    let (call, _news) = call("rds.cut_over");
    let error = observe(&clients, &call, &with()).await.expect_err("open");
    assert_eq!((error.class, error.effect), (FailureClass::Invalid, Effect::None), "{error}");
    assert!(error.message.contains("the database of phoenix-prod is not fenced"), "{error}");
    // As the fence of a whole server has it.
    lab.damaged.sql("postgres", "alter role app nologin").await;
    observe(&clients, &call, &with()).await.expect("nobody of the application gets in");
    lab.damaged.sql("postgres", "alter role app login").await;
    let fence = format!(
        "alter database phoenix set default_transaction_read_only = on; \
         revoke all on database phoenix from public; grant connect on database phoenix to {OPERATOR}"
    );
    lab.damaged.sql("postgres", &fence).await;
    let revoke =
        "revoke connect on database phoenix from public; grant connect on database phoenix to dr";
    lab.restored.sql("postgres", revoke).await;
    let error = observe(&clients, &call, &with()).await.expect_err("shut out");
    assert!(error.message.contains("app may not connect to phoenix"), "{error}");
    lab.restored.sql("postgres", "grant connect on database phoenix to app").await;
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    assert!(!seen.satisfied && !seen.under_way && seen.evidence.len() == 2, "{:?}", seen.evidence);
    // One that is cut off from here is not waited for; that it was not asked is said.
    let nobody = crate::clients::tcp::tests::closed();
    let seen = observe(&lab.clients_at(nobody), &call, &with()).await.expect("observed");
    let said = "whether phoenix-prod is fenced cannot be asked";
    assert!(seen.evidence.iter().any(|line| line.contains(said)), "{:?}", seen.evidence);
    assert_eq!(lab.script.count("ModifyDBInstance"), 0);
}

#[tokio::test]
async fn what_was_written_under_the_name_is_not_left_behind() {
    let Some(lab) = Lab::open(two()).await else { return };
    lab.restored.sql("phoenix", "insert into orders values (1)").await;
    lab.damaged.sql("postgres", "alter role app nologin").await;
    let clients = lab.clients();
    let (call, _news) = call("rds.cut_over");
    let found = find(&clients, WEST, RESTORED).await.expect("asked").expect("there");
    while proof::usage(&clients, &found).await.expect("asked").changed_rows == 0 {
        tokio::task::yield_now().await;
    }
    let seen = observe(&clients, &call, &with()).await.expect("observed");
    prepared(&clients, &call, &with()).await.expect("kept");
    // What perform does next: the names. Then the endpoint leads to the other one.
    {
        let mut region = lab.region.lock().expect("not poisoned");
        region.instances[0].id = KEPT.to_owned();
        region.instances[1].id = NAME.to_owned();
        let tags = &region.instances[1].tags;
        assert!(tags.contains(&(TAG_ROWS.to_owned(), "1".to_owned())), "{tags:?}");
    }
    let now = seen.clone();
    let image = Image { before: seen.live.clone(), ours: seen.desired.clone(), now };
    let with = with();
    let back = || revert(&clients, &lab.armed, &call, &with, &image);
    let refused = |error: ActionError, said: &str| {
        assert_eq!(error.effect, Effect::None, "{error}");
        assert!(error.message.contains(said), "{error}");
        assert_eq!(lab.names(), [KEPT, NAME]);
    };
    // The damaged one has none of the run's rows: how many others it has says nothing.
    refused(back().await.expect_err("stale"), "the connection to it leads elsewhere");
    lab.lead_to(&lab.restored);
    let nobody = lab.clients_at(crate::clients::tcp::tests::closed());
    let error = revert(&nobody, &lab.armed, &call, &with, &image).await.expect_err("unasked");
    refused(error, "cannot be asked what was written to it");
    // It wrote and was stopped.
    let app = lab.restored.application().await.expect("connects");
    app.execute("insert into orders values (8), (9)", &[]).await.expect("written");
    refused(back().await.expect_err("in use"), "1 sessions of the application");
    drop(app);
    let found = find(&clients, WEST, NAME).await.expect("asked").expect("there");
    loop {
        let usage = proof::usage(&clients, &found).await.expect("asked");
        if usage.sessions == 0 && usage.changed_rows == 3 {
            break;
        }
        tokio::task::yield_now().await;
    }
    refused(back().await.expect_err("written"), "2 rows were written to it since the cut over");
    // Had nobody written, both would have their names again.
    lab.region.lock().expect("not poisoned").instances[1]
        .tags
        .push((TAG_ROWS.to_owned(), "3".to_owned()));
    lab.region.lock().expect("not poisoned").instances[1]
        .tags
        .retain(|(key, value)| key != TAG_ROWS || value == "3");
    back().await.expect("taken back");
    assert_eq!(lab.names(), [NAME, RESTORED]);
}
