//! A database of some size on a server of our own, to be dumped, restored and read: by this program, which also says what is
//! in it, and by PostgreSQL's own programs, which do not.

use std::fs;
use std::path::PathBuf;

use crate::folder::Folder;
use crate::postgres::Server;

/// Processes of each program, ours and theirs.
const JOBS: &str = "4";
/// Tables, alike: what is to be read in parallel has to be in parts.
const TABLES: usize = 8;
/// Bytes of a row on disk, with its share of the index, about.
const ROW_BYTES: usize = 640;

const DUMP: &str = "runbook: BENCH-DUMP
title: Dump
command: bench-dump
steps:
  - id: dump
    action: postgres.dump
    with: { instance: bench-db, region: us-east-1, jobs: 4 }
    rollback: { none: it is cleared }
";

const RESTORE: &str = "runbook: BENCH-RESTORE
title: Restore
command: bench-restore
steps:
  - id: restore
    action: postgres.restore
    with: { instance: bench-db, region: us-east-1, into: restored, jobs: 4, analyze: false }
";

/// With what the application's first queries may take for ever without.
const RESTORE_ALL: &str = "runbook: BENCH-RESTORE-ALL
title: Restore
command: bench-restore-all
steps:
  - id: restore
    action: postgres.restore
    with: { instance: bench-db, region: us-east-1, into: restored, jobs: 4 }
";

const ASSESS: &str = "runbook: BENCH-ASSESS
title: Assess
command: bench-assess
steps:
  - id: assess
    action: postgres.assess
    with: { instance: bench-db, region: us-east-1, tier: deep, jobs: 4 }
";

const COMPARE: &str = "runbook: BENCH-COMPARE
title: Compare
command: bench-compare
steps:
  - id: assess
    action: postgres.assess
    with: { instance: bench-db, region: us-east-1, tier: deep, jobs: 4, compare_indexes: true }
";

/// A database, and a folder whose estate names it.
pub(crate) struct Database {
    folder: Folder,
    server: Server,
}

impl Database {
    /// Makes one of so many MiB; `None` where PostgreSQL is not installed.
    pub(crate) fn with(mib: usize) -> Option<Self> {
        let server = Server::start()?;
        let folder = Folder::with(DUMP);
        let more = [
            ("restore.yaml", RESTORE),
            ("restore-all.yaml", RESTORE_ALL),
            ("assess.yaml", ASSESS),
            ("compare.yaml", COMPARE),
        ];
        for (name, text) in more {
            fs::write(folder.path().join(name), text).expect("write a runbook");
        }
        fs::create_dir(folder.path().join("dumps")).expect("a directory of dumps");
        server.named_in(&folder, &format!("dumps: {}", folder.path().join("dumps").display()));
        server.sql("create extension amcheck");
        let rows = (mib << 20) / ROW_BYTES / TABLES;
        for table in 0..TABLES {
            server.sql(&format!(
                "create table t{table} as select g as id, md5(g::text) as a, md5((g + {table})::text) as b,
                     repeat(md5((g * 7)::text), 15) as c, now() as at from generate_series(1, {rows}) g;
                 alter table t{table} add primary key (id)"
            ));
        }
        server.sql("vacuum analyze");
        Some(Self { folder, server })
    }

    fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    fn plain(&self) -> PathBuf {
        self.folder.path().join("plain")
    }

    /// Takes away what was dumped before.
    pub(crate) fn clear(&self) {
        fs::remove_dir_all(self.plain()).ok();
        for entry in fs::read_dir(self.dumps()).expect("listed") {
            fs::remove_dir_all(entry.expect("an entry").path()).ok();
        }
    }

    /// Drops what was restored before.
    pub(crate) fn drop_restored(&self) {
        self.server.sql("drop database if exists restored");
    }

    pub(crate) fn dump(&self) {
        self.folder.run(&["run", "runbook.yaml", "--yes"]);
    }

    pub(crate) fn plain_dump(&self) {
        let file = format!("--file={}", self.plain().display());
        self.server.program("pg_dump", &["--format=directory", "-j", JOBS, &file, "postgres"]);
    }

    pub(crate) fn restore(&self) {
        self.folder.run(&["run", "restore.yaml", "--yes"]);
        self.all_there();
    }

    pub(crate) fn restore_with_statistics(&self) {
        self.folder.run(&["run", "restore-all.yaml", "--yes"]);
        self.all_there();
    }

    pub(crate) fn plain_restore(&self) {
        self.server.sql("create database restored");
        let plain = self.plain();
        let from = plain.to_str().expect("a path of text");
        self.server.program("pg_restore", &["--exit-on-error", "-j", JOBS, "-d", "restored", from]);
        self.all_there();
    }

    /// The same, and `analyze`.
    pub(crate) fn plain_restore_and_analyze(&self) {
        self.plain_restore();
        self.server.sql_in("restored", "analyze");
    }

    pub(crate) fn assess(&self) {
        self.folder.run(&["run", "assess.yaml", "--yes"]);
    }

    pub(crate) fn compare_indexes(&self) {
        self.folder.run(&["run", "compare.yaml", "--yes"]);
    }

    pub(crate) fn plain_amcheck(&self) {
        self.server.program("pg_amcheck", &["-j", JOBS, "postgres"]);
    }

    /// The same, and whether every row is in every index: this program looks for that as well.
    pub(crate) fn amcheck_of_rows_in_indexes(&self) {
        self.server.program("pg_amcheck", &["-j", JOBS, "--heapallindexed", "postgres"]);
    }

    /// Holds that what was restored is what there was.
    fn all_there(&self) {
        let count = "select 1 / (count(*) > 0)::int from t0";
        self.server.sql_in("restored", count);
    }
}
