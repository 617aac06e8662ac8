//! A server with content, and a directory or a bucket of dumps, for tests of dumps, restores and proofs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::manifest::{FORMATS, Manifest, read};
use super::store::testing::Shop;
use crate::actions::{observe, perform};
use crate::clients::postgres::testing::Server;
use crate::clients::{Clients, testing};
use crate::engine::ports::{Armed, Performed};
use crate::outcome::ActionError;
use crate::runbook::catalogue::actions::ActionName;

/// Several schemas, partitions, an identity, a large value, a foreign key, a privilege, a large object.
const CONTENT: &str = "\
    create schema lab; \
    create table lab.experiments (id bigint generated always as identity primary key, name text not null, body bytea, \
        at timestamptz default '2026-01-01'); \
    insert into lab.experiments (name, body) select 'e' || g, decode(repeat(md5(g::text), 400), 'hex') \
        from generate_series(1, 200) g; \
    create table lab.runs (id int, experiment bigint references lab.experiments, score float8, day date) \
        partition by range (day); \
    create table lab.runs_1 partition of lab.runs for values from ('2026-01-01') to ('2026-02-01'); \
    create table lab.runs_2 partition of lab.runs for values from ('2026-02-01') to ('2026-03-01'); \
    insert into lab.runs select g, 1 + g % 200, g / 3.0, date '2026-01-01' + g % 50 from generate_series(1, 1000) g; \
    create table public.\"Odd name\" (phoenix_dr text, t text); \
    insert into public.\"Odd name\" values ('x', null), ('x', null), (null, 'ü'); \
    create index on lab.runs_1 (score); \
    create sequence lab.tickets start 500; select nextval('lab.tickets'); \
    select lo_create(4711); alter large object 4711 owner to dr; \
    grant usage on schema lab to app; grant select on lab.experiments to app; \
    alter table lab.experiments owner to dr; grant pg_read_all_data to dr; alter role dr createdb";

/// A server with content, and a directory of dumps, or a bucket where there is one.
pub(super) struct Lab {
    pub server: Server,
    pub dumps: tempfile::TempDir,
    pub artifacts: tempfile::TempDir,
    pub shop: Option<Shop>,
}

impl Lab {
    pub(super) async fn open() -> Option<Self> {
        let server = Server::start()?;
        server.prepare().await;
        server.sql("phoenix", CONTENT).await;
        let directory = || tempfile::tempdir().expect("directory");
        Some(Self { server, dumps: directory(), artifacts: directory(), shop: None })
    }

    /// Opens one whose estate keeps its dumps in a bucket.
    pub(super) async fn with_bucket() -> Option<Self> {
        let shop = Shop::open().await?;
        Some(Self { shop: Some(shop), ..Self::open().await? })
    }

    /// Returns the bucket's server.
    pub(super) fn shop(&self) -> &Shop {
        self.shop.as_ref().expect("the lab has a bucket")
    }

    pub(super) fn clients(&self) -> (Clients, Armed) {
        self.clients_with(&json!({}))
    }

    /// Returns clients of an estate whose database has more to it.
    pub(super) fn clients_with(&self, more: &Value) -> (Clients, Armed) {
        let dumps = match &self.shop {
            None => json!(self.dumps.path().display().to_string()),
            Some(shop) => shop.dumps(),
        };
        let mut database = json!({ "dumps": dumps });
        for (name, value) in more.as_object().into_iter().flatten() {
            database[name.as_str()] = value.clone();
        }
        let estate = self.server.estate(&database);
        let (clients, armed) = match &self.shop {
            None => testing::armed(estate),
            Some(shop) => shop.armed(estate),
        };
        (clients.with_artifacts(self.artifacts.path().to_owned()), armed)
    }

    /// Returns the names in the directory of dumps.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dumps.path()).expect("listed").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Looks and does.
    pub(super) async fn done(
        &self,
        action: ActionName,
        with: Value,
    ) -> Result<Performed, ActionError> {
        let (clients, armed) = self.clients();
        let (call, _news) = testing::call(action, with);
        let seen = observe(&clients, &call).await?;
        perform(&clients, &armed, &call, &seen).await
    }

    pub(super) async fn dumped(&self, name: &str) -> Performed {
        self.done(ActionName::PostgresDump, dump_of(name)).await.expect("dumped")
    }

    pub(super) async fn restored(&self, dump: &str, into: &str) -> Result<Performed, ActionError> {
        self.done(ActionName::PostgresRestore, restore_of(dump, into)).await
    }

    pub(super) async fn proved(
        &self,
        dump: &str,
        database: &str,
    ) -> Result<Performed, ActionError> {
        let with = json!({
            "instance": "phoenix-prod", "region": "us-east-1", "database": database, "dump": dump,
        });
        self.done(ActionName::PostgresProve, with).await
    }

    pub(super) async fn databases(&self) -> Vec<String> {
        let (client, _driver) =
            self.server.client("dr", "operator-secret", "postgres").await.expect("connects");
        let sql = "select datname::text from pg_database where not datistemplate order by 1";
        let rows = client.query(sql, &[]).await.expect("listed");
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Writes a dump's manifest anew, as another program would have written it.
    pub(super) fn rewrite(&self, dump: &str, change: impl FnOnce(&mut Manifest)) {
        let path = self.dumps.path().join(format!("{dump}.dump/manifest.json"));
        let text = std::fs::read_to_string(&path).expect("read");
        let mut kept: Value = serde_json::from_str(&text).expect("JSON");
        let manifest = serde_json::from_value(kept["manifest"].take());
        let mut manifest: Manifest = manifest.expect("a manifest");
        change(&mut manifest);
        let kept = json!({ "sha256": manifest.digest(), "manifest": manifest });
        std::fs::write(&path, kept.to_string()).expect("written");
    }

    /// Reads a dump's manifest.
    pub(super) fn manifest(&self, dump: &str) -> Manifest {
        let folder = self.dumps.path().join(format!("{dump}.dump"));
        read(&folder, &FORMATS).expect("believed").expect("a manifest")
    }

    /// The largest file of a dump: a table's data.
    pub(super) fn largest(&self, dump: &str) -> PathBuf {
        let folder = std::fs::read_dir(self.dumps.path().join(format!("{dump}.dump")));
        let files = folder.expect("listed").map(|entry| entry.expect("entry").path());
        files.max_by_key(|path| path.metadata().expect("there").len()).expect("a file")
    }
}

/// Writes a program in the place of one of PostgreSQL's own.
pub(super) fn program(tools: &Path, name: &str, script: &str) {
    let path = tools.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("mode");
}

pub(super) fn dump_of(name: &str) -> Value {
    json!({ "instance": "phoenix-prod", "region": "us-east-1", "name": name })
}

pub(super) fn restore_of(dump: &str, into: &str) -> Value {
    json!({ "instance": "phoenix-prod", "region": "us-east-1", "dump": dump, "into": into })
}
