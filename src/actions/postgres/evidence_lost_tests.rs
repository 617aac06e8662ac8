//! A copy one of whose connections the server ends in the middle.

use super::*;
use crate::actions::postgres::testing::program;

/// What is true of each of a copy's two connections once it is in its middle: that of the files, and that of the log.
const MIDDLE: [&str; 2] = [
    "r.state = 'backup' and exists (select from pg_stat_progress_basebackup p where p.pid = r.pid and p.backup_streamed > 0)",
    "r.state = 'streaming' and exists (select from pg_stat_progress_basebackup p where p.backup_streamed > 0)",
];

#[tokio::test]
async fn a_copy_whose_connection_is_ended_leaves_nothing_and_the_next_attempt_is_whole() {
    let Some(lab) = Lab::open().await else { return };
    let tools = tempfile::tempdir().expect("directory");
    // So slow that it is in its middle when it is cut.
    let slow = "[ \"$1\" = --version ] || set -- --max-rate=1M \"$@\"; \
        exec /usr/lib/postgresql/15/bin/pg_basebackup \"$@\"";
    program(tools.path(), "pg_basebackup", slow);
    let mut estate = lab.estate();
    estate["database"]["tools"] = json!(tools.path());
    let (clients, armed) = testing::armed(estate);
    let call = call();
    for middle in MIDDLE {
        let seen = observe(&clients, &call).await.expect("observed");
        let cut = async {
            let sql = format!(
                "select coalesce((select pg_terminate_backend(r.pid) from pg_stat_replication r where {middle}), false)::text"
            );
            lab.server.until("postgres", &sql, "true").await;
        };
        let (copied, ()) = futures::join!(perform(&clients, &armed, &call, &seen), cut);
        let error = copied.expect_err(middle);
        assert_eq!((error.class, error.effect), (FailureClass::Transient, Effect::None), "{error}");
        assert!(error.message.contains("pg_basebackup of phoenix-prod: "), "{error}");
        assert_eq!(lab.kept(), Vec::<String>::new(), "nothing is left of it");
    }
    let copies = "select count(*)::text from pg_stat_replication";
    lab.server.until("postgres", copies, "0").await;
    let (clients, armed) = testing::armed(lab.estate());
    let seen = observe(&clients, &call).await.expect("observed");
    perform(&clients, &armed, &call, &seen).await.expect("copied");
    assert_eq!(lab.kept(), ["first.evidence"]);
}
