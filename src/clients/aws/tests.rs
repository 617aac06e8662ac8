//! The guard and the meaning of errors, with real SDK clients.

use std::sync::Arc;

use aws_sdk_route53::types::{Change, ChangeAction, ChangeBatch, ResourceRecordSet, RrType};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::io::AsyncReadExt as _;

use super::error::{Liveness, Nature, failure, liveness};
use super::testing::{
    Reply, Script, StepClock, armed, credentials, estate, guarded, query_error, renewable,
};
use super::*;
use crate::clock::RealClock;
use crate::engine::ports::Armed;
use crate::outcome::Effect;

const WEST: &str = "us-west-2";
const PROMOTE: &str = "rds:PromoteReadReplica";

fn silent() -> Script {
    Script::new(|_, _| Reply::Answer(200, String::new()))
}

/// Promotes over the script and returns what the failure means.
async fn promote(reply: impl Fn() -> Reply + Send + Sync + 'static) -> ActionError {
    let script = Script::new(move |_, _| reply());
    let (clients, _armed) = armed(estate(|_| {}), &script);
    let west = clients.aws.region(WEST).await.expect("clients");
    let error = west
        .rds
        .promote_read_replica()
        .db_instance_identifier("phoenix-dr-replica")
        .send()
        .await
        .expect_err("the script fails it");
    assert_eq!(script.count("PromoteReadReplica"), 1, "no retries inside the client");
    failure(Nature::Change, PROMOTE, WEST, &error)
}

#[tokio::test]
async fn a_closed_guard_refuses_every_change_and_sends_nothing() {
    let script = silent();
    let clients = guarded(estate(|_| {}), &script);
    let west = clients.aws.region(WEST).await.expect("clients");
    let set = ResourceRecordSet::builder().name("a.").r#type(RrType::A).build().expect("a set");
    let change = Change::builder()
        .action(ChangeAction::Upsert)
        .resource_record_set(set)
        .build()
        .expect("a change");
    let batch = ChangeBatch::builder().changes(change).build().expect("a batch");
    let rds = &west.rds;
    let arn = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod";
    let errors = [
        means(rds.promote_read_replica().db_instance_identifier("i").send().await),
        means(rds.modify_db_instance().db_instance_identifier("i").send().await),
        means(rds.delete_db_instance().db_instance_identifier("i").send().await),
        means(rds.add_tags_to_resource().resource_name("n").set_tags(Some(vec![])).send().await),
        means(
            rds.restore_db_instance_to_point_in_time()
                .target_db_instance_identifier("i")
                .send()
                .await,
        ),
        means(
            rds.restore_db_instance_from_db_snapshot()
                .db_instance_identifier("i")
                .db_snapshot_identifier("s")
                .send()
                .await,
        ),
        means(
            rds.start_db_instance_automated_backups_replication()
                .source_db_instance_arn(arn)
                .send()
                .await,
        ),
        means(
            west.route53
                .change_resource_record_sets()
                .hosted_zone_id("Z1")
                .change_batch(batch)
                .send()
                .await,
        ),
        means(west.s3.put_object().bucket("b").key("k").send().await),
        means(west.s3.delete_object().bucket("b").key("k").send().await),
        means(west.sts.get_session_token().send().await),
    ];
    for error in errors {
        assert_eq!((error.class, error.effect), (FailureClass::Refused, Effect::None), "{error}");
    }
    assert_eq!(script.sent(), []);
    let read = west.rds.describe_db_instances().send().await;
    assert!(read.is_err_and(|error| error.raw_response().is_some()), "reads pass");
    assert_eq!(script.actions(), ["DescribeDBInstances"]);
}

fn means<T: std::fmt::Debug, E>(result: Result<T, aws_sdk_rds::error::SdkError<E>>) -> ActionError
where
    E: aws_sdk_rds::error::ProvideErrorMetadata + Error + 'static,
{
    failure(Nature::Change, "test", WEST, &result.expect_err("the guard refuses it"))
}

#[tokio::test]
async fn the_guard_is_asked_at_each_call() {
    let script = silent();
    let clients = guarded(estate(|_| {}), &script);
    let west = clients.aws.region(WEST).await.expect("clients");
    let delete = || west.s3.delete_object().bucket("b").key("k").send();
    assert!(delete().await.is_err());
    clients.guard.open(&Armed::mint());
    assert!(delete().await.is_ok());
    assert_eq!(script.sent().len(), 1);
}

#[tokio::test]
async fn a_lapsed_lease_lets_only_reads_and_its_own_writes_through() {
    let script = silent();
    let clients = guarded(estate(|_| {}), &script);
    clients.guard.open(&Armed::mint());
    clients.guard.proved_until(Timestamp::MIN, Arc::clone(&clients.clock));
    let west = clients.aws.region(WEST).await.expect("clients");
    let error =
        means(west.rds.promote_read_replica().db_instance_identifier("i").send().await.map(drop));
    let error = ActionError { message: String::new(), ..error };
    assert_eq!(error, ActionError::unchanged(FailureClass::Unproved, ""));
    assert_eq!(script.sent(), []);
    let state = clients.aws.state_bucket(WEST).await.expect("a client");
    assert!(state.put_object().bucket("b").key("lease").send().await.is_ok());
    assert_eq!(script.sent().len(), 1);
}

#[tokio::test]
async fn a_client_without_the_interceptor_cannot_send() {
    let script = silent();
    let http = FailClosed { inner: SharedHttpClient::new(script.clone()), guard: Guard::closed() };
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(credentials())
        .http_client(http)
        .region(Region::new(WEST))
        .build();
    let bare = aws_sdk_sts::Client::new(&config);
    let error = bare.get_caller_identity().send().await.expect_err("refused");
    assert!(said(&error).contains("did not pass the guard"), "{}", said(&error));
    assert_eq!(script.sent(), []);
}

#[test]
fn names_do_not_decide_what_reads() {
    assert!(guarded::reads("RDS", "DescribeDBInstances"));
    assert!(!guarded::reads("STS", "GetSessionToken"));
    assert!(!guarded::reads("S3", "DescribeDBInstances"));
}

#[tokio::test]
async fn answers_by_code() {
    let cases = [
        (400, "Throttling", FailureClass::Throttled, Effect::None),
        (503, "ThrottlingException", FailureClass::Throttled, Effect::None),
        (400, "PriorRequestNotComplete", FailureClass::Throttled, Effect::None),
        (503, "SlowDown", FailureClass::Throttled, Effect::None),
        (403, "AccessDenied", FailureClass::Denied, Effect::None),
        (403, "ExpiredToken", FailureClass::Credentials, Effect::None),
        (403, "InvalidClientTokenId", FailureClass::Credentials, Effect::None),
        (404, "DBInstanceNotFound", FailureClass::NotFound, Effect::None),
        (404, "DBInstanceNotFoundFault", FailureClass::NotFound, Effect::None),
        (400, "InsufficientDBInstanceCapacity", FailureClass::Capacity, Effect::None),
        (400, "InstanceQuotaExceeded", FailureClass::Capacity, Effect::None),
        (400, "InvalidDBInstanceState", FailureClass::Transient, Effect::None),
        (400, "InvalidParameterValue", FailureClass::Invalid, Effect::None),
        (500, "InternalFailure", FailureClass::Transient, Effect::Unknown),
        (503, "ServiceUnavailable", FailureClass::Transient, Effect::Unknown),
    ];
    for (status, code, class, effect) in cases {
        let error = promote(move || query_error(status, code, "why")).await;
        assert_eq!((error.class, error.effect), (class, effect), "{code}: {error}");
        assert!(error.message.contains(code) && error.message.contains(PROMOTE), "{error}");
        assert!(error.hint.is_some() || class == FailureClass::Invalid, "{code} has no hint");
    }
    let denied = promote(|| query_error(403, "AccessDenied", "no")).await;
    assert!(denied.hint.is_some_and(|hint| hint.contains("rds:PromoteReadReplica")));
}

#[tokio::test]
async fn answers_nobody_can_read() {
    let html = promote(|| Reply::Answer(500, "<html>oops".to_owned())).await;
    assert_eq!((html.class, html.effect), (FailureClass::Transient, Effect::Unknown), "{html}");
    let torn = promote(|| Reply::Answer(200, "<PromoteReadReplicaResp".to_owned())).await;
    assert_eq!((torn.class, torn.effect), (FailureClass::Transient, Effect::Unknown), "{torn}");
    let cut = "<PromoteReadReplicaResponse><PromoteReadReplicaResult><DBInstance></DBInstance>";
    let cut = promote(move || Reply::Answer(200, cut.to_owned())).await;
    assert_eq!((cut.class, cut.effect), (FailureClass::Transient, Effect::Unknown), "{cut}");
    let gateway = promote(|| Reply::Answer(407, "<html>proxy".to_owned())).await;
    assert_eq!((gateway.class, gateway.effect), (FailureClass::Invalid, Effect::None), "{gateway}");
}

#[tokio::test]
async fn connections_that_break() {
    let lost = promote(|| {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        Reply::Broken(ConnectorError::io(reset.into()))
    })
    .await;
    assert_eq!((lost.class, lost.effect), (FailureClass::Transient, Effect::Unknown), "{lost}");
    let late = promote(|| Reply::Broken(ConnectorError::timeout("late".into()))).await;
    assert_eq!((late.class, late.effect), (FailureClass::Timeout, Effect::Unknown), "{late}");
}

/// Clients over the network, with an RDS endpoint on loopback.
fn networked(endpoint: &str) -> Aws {
    let estate = estate(|estate| {
        estate["regions"][WEST]["endpoints"] = serde_json::json!({ "rds": endpoint });
    });
    let guard = Guard::closed();
    guard.open(&Armed::mint());
    Aws { given: Some(Arc::new(credentials)), ..Aws::new(estate, guard, Arc::new(RealClock)) }
}

#[tokio::test]
async fn a_connection_never_made_changed_nothing() {
    let address = crate::clients::tcp::tests::closed();
    let aws = networked(&format!("http://{address}"));
    let west = aws.region(WEST).await.expect("clients");
    let error = west
        .rds
        .promote_read_replica()
        .db_instance_identifier("i")
        .send()
        .await
        .expect_err("refused");
    let meaning = failure(Nature::Change, PROMOTE, WEST, &error);
    assert_eq!(
        (meaning.class, meaning.effect),
        (FailureClass::Transient, Effect::None),
        "{meaning}"
    );
    assert_eq!(liveness(&error), Liveness::NoAnswer("connection refused"));
}

#[tokio::test]
async fn a_connection_closed_after_sending_leaves_doubt() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut method = [0; 4];
        stream.read_exact(&mut method).await.expect("a request");
        assert_eq!(&method, b"POST");
    });
    let aws = networked(&format!("http://{address}"));
    let west = aws.region(WEST).await.expect("clients");
    let error = west
        .rds
        .promote_read_replica()
        .db_instance_identifier("i")
        .send()
        .await
        .expect_err("closed");
    server.await.expect("the server saw the request");
    let meaning = failure(Nature::Change, PROMOTE, WEST, &error);
    assert_eq!(meaning.effect, Effect::Unknown, "{meaning}");
    assert!(meaning.class.retryable(), "{meaning}");
}

#[tokio::test]
async fn trouble_of_this_host_says_nothing_about_the_service() {
    for trouble in [
        || std::io::Error::other("failed to lookup address information"),
        || std::io::Error::from(std::io::ErrorKind::NetworkUnreachable),
    ] {
        let script = Script::new(move |_, _| Reply::Broken(ConnectorError::io(trouble().into())));
        let clients = guarded(estate(|_| {}), &script);
        let west = clients.aws.region(WEST).await.expect("clients");
        let error = west.rds.describe_db_instances().send().await.expect_err("no connection");
        assert!(matches!(liveness(&error), Liveness::Doubt(_)), "{}", said(&error));
    }
}

#[tokio::test]
async fn no_working_source_is_a_matter_of_credentials() {
    let provider = aws_config::meta::credentials::CredentialsProviderChain::first_try(
        "nothing",
        SharedCredentialsProvider::new(expired()),
    );
    let provider = SharedCredentialsProvider::new(provider);
    let aws = Aws {
        given: Some(Arc::new(move || provider.clone())),
        ..Aws::new(estate(|_| {}), Guard::closed(), Arc::new(StepClock::at("2026-11-22T02:18:00Z")))
    };
    let error = aws.region(WEST).await.expect_err("expired");
    assert_eq!((error.class, error.effect), (FailureClass::Credentials, Effect::None), "{error}");
    assert!(error.message.contains("default chain: the credentials have expired"), "{error}");
}

fn expired() -> aws_sdk_sts::config::Credentials {
    let then: Timestamp = "2026-11-22T02:00:00Z".parse().expect("an instant");
    aws_sdk_sts::config::Credentials::new("AKID", "SECRET", None, Some(then.into()), "test")
}

#[tokio::test]
async fn identity_is_asked_in_the_surviving_region() {
    let script = Script::new(|_, _| {
        Reply::Answer(
            200,
            "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/dr</Arn>\
             <UserId>U</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
                .to_owned(),
        )
    });
    let clients = guarded(estate(|_| {}), &script);
    let identity = clients.aws.identity().await.expect("an identity");
    assert_eq!(identity.account, "123456789012");
    assert_eq!(script.sent()[0].host, "sts.us-west-2.amazonaws.com");
}

#[tokio::test]
async fn global_services_are_asked_where_their_control_plane_is() {
    let script = silent();
    let clients = guarded(estate(|_| {}), &script);
    let west = clients.aws.region(WEST).await.expect("clients");
    let _ = west.route53.list_resource_record_sets().hosted_zone_id("Z1").send().await;
    let _ = west.s3.head_object().bucket("phoenix-bucket").key("k").send().await;
    let hosts: Vec<String> = script.sent().into_iter().map(|sent| sent.host).collect();
    assert_eq!(hosts, ["route53.amazonaws.com", "phoenix-bucket.s3.us-west-2.amazonaws.com"]);
}

/// RDS that takes one access key and calls every other one expired.
fn rds_for(key: &'static str) -> Script {
    Script::new(move |sent, _| {
        match sent.key == key {
        true => Reply::Answer(
            200,
            "<DescribeDBInstancesResponse><DescribeDBInstancesResult/></DescribeDBInstancesResponse>"
                .to_owned(),
        ),
        false => query_error(403, "ExpiredToken", "the security token has expired"),
    }
    })
}

#[tokio::test]
async fn renewed_credentials_are_read_after_aws_refused_the_old_ones() {
    let script = rds_for("NEW");
    let renewed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let file = Arc::clone(&renewed);
    let clients = renewable(&script, move || {
        let key = if file.load(std::sync::atomic::Ordering::SeqCst) { "NEW" } else { "OLD" };
        keys(key)
    });
    let describe = async || {
        let west = clients.aws.region(WEST).await.expect("clients");
        let answer = west.rds.describe_db_instances().send().await;
        answer.map(drop).map_err(|error| failure(Nature::Read, "rds:Describe", WEST, &error).class)
    };
    assert_eq!(describe().await, Err(FailureClass::Credentials));
    assert_eq!(describe().await, Err(FailureClass::Credentials), "nobody has renewed them yet");
    renewed.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(describe().await, Ok(()));
    let keys: Vec<String> = script.sent().into_iter().map(|sent| sent.key).collect();
    assert_eq!(keys, ["OLD", "OLD", "NEW"]);
}

fn keys(key: &str) -> SharedCredentialsProvider {
    let keys = aws_sdk_sts::config::Credentials::new(key, "SECRET", None, None, "test");
    SharedCredentialsProvider::new(keys)
}

#[tokio::test]
async fn a_bare_400_to_a_head_is_a_matter_of_credentials() {
    let script = Script::new(|_, _| Reply::Answer(400, String::new()));
    let clients = guarded(estate(|_| {}), &script);
    let west = clients.aws.region(WEST).await.expect("clients");
    let error = west.s3.head_object().bucket("b").key("k").send().await.expect_err("refused");
    assert_eq!(
        failure(Nature::Read, "s3:GetObject", WEST, &error).class,
        FailureClass::Credentials
    );
}
