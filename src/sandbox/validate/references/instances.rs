//! RDS instances among each other, and what SQL finds behind them.

use serde_json::Value;

use super::{Dangling, Lack, Look, items};
use crate::runbook::near;
use crate::runbook::path::Path;
use crate::sandbox::world::{Kind, WorldObject};

const SOURCE: &str = "ReadReplicaSourceDBInstanceIdentifier";
const REPLICAS: &str = "ReadReplicaDBInstanceIdentifiers";

/// The account of a capture that could not learn its own.
const UNKNOWN: &str = "000000000000";

/// An instance as another names it: by its id in the same region, by its ARN in any.
struct Named<'a> {
    region: &'a str,
    account: Option<&'a str>,
    id: &'a str,
}

impl<'a> Named<'a> {
    /// Returns none for what is no instance's ARN.
    fn read(text: &'a str, own_region: &'a str) -> Option<Self> {
        if !text.starts_with("arn:") {
            return Some(Self { region: own_region, account: None, id: text });
        }
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["arn", _, "rds", region, account, "db", id] => {
                Some(Self { region, account: Some(account), id })
            }
            _ => None,
        }
    }
}

impl<'a> Look<'a> {
    pub(super) fn instances(&mut self) {
        for (i, object) in self.world.objects.iter().enumerate() {
            match object.kind {
                Kind::Postgres => self.behind(i, object),
                Kind::RdsInstance => self.replication(i, object),
                _ => {}
            }
        }
    }

    /// What SQL finds is behind the instance of the same id and region.
    fn behind(&mut self, i: usize, object: &WorldObject) {
        let (region, id) = (object.region.as_deref().unwrap_or_default(), object.id.as_str());
        // A region the estate does not have is told by itself.
        if self.is_nowhere(region)
            || self.get(Kind::RdsInstance, region, id).is_some()
            || self.doubts.may_have(Kind::RdsInstance, id)
        {
            return;
        }
        let known: Vec<&str> =
            self.of(Kind::RdsInstance, region).iter().map(|(id, _)| *id).collect();
        let help = near::hint(id, known.into_iter()).or_else(|| {
            Some(format!("`{id}` is in {}", self.elsewhere(Kind::RdsInstance, region, id)?))
        });
        self.found.push(Dangling {
            path: Path::root().key("objects").item(i).key("id"),
            what: format!("{} {id}", Kind::RdsInstance.name()),
            region: Some(region.to_owned()),
            lack: Lack::Named,
            message: format!(
                "the world has no rds.instance `{id}` in {region}, behind which SQL would find this"
            ),
            help,
        });
        // Where the estate looks for it, it is not: that is the same mistake.
        self.doubts.object(self.world, i);
    }

    fn replication(&mut self, i: usize, object: &WorldObject) {
        let body = object.body.decode();
        let at = Path::root().key("objects").item(i).key("body");
        if let Some(source) = body.get(SOURCE).and_then(Value::as_str) {
            self.replicated(at.key(SOURCE), object, source);
        }
        for (j, replica) in items(&body, REPLICAS).enumerate() {
            if let Some(replica) = replica.as_str() {
                self.replicated(at.key(REPLICAS).item(j), object, replica);
            }
        }
    }

    /// Holds the name of a source or a replica against the instances of its region.
    fn replicated(&mut self, path: Path, own: &WorldObject, text: &str) {
        let own_region = own.region.as_deref().unwrap_or_default();
        let Some(named) = Named::read(text, own_region) else {
            let message = format!("`{text}` is not the ARN of an instance");
            let help = "write it like arn:aws:rds:us-east-1:123456789012:db:phoenix-prod; in the same region its \
                        id will do";
            return self.unlike(path, &own.id, own_region, message, Some(help.to_owned()));
        };
        let Named { region, account, id } = named;
        if let Some(found) = self.get(Kind::RdsInstance, region, id) {
            let body = found.body.decode();
            let arn = body.get("DBInstanceArn").and_then(Value::as_str);
            let known = arn.and_then(|arn| arn.split(':').nth(4)).unwrap_or(&self.world.account);
            if let Some(account) = account
                && account != known
                && ![account, known].contains(&UNKNOWN)
            {
                let message = format!("`{id}` is in account {known}, and not in {account}");
                self.unlike(path, id, region, message, None);
            }
            return;
        }
        if self.doubts.may_have(Kind::RdsInstance, id) {
            return;
        }
        let regions = self.world.estate.regions.keys().map(String::as_str);
        let abroad = self.is_nowhere(region);
        if abroad && !self.doubts.knows_regions() {
            return;
        }
        let known = self.of(Kind::RdsInstance, region);
        let help = self
            .elsewhere(Kind::RdsInstance, region, id)
            .map(|region| format!("`{id}` is in {region}"))
            .or_else(|| near::hint(id, known.iter().map(|(id, _)| *id)))
            .or_else(|| near::hint(region, regions));
        self.found.push(Dangling {
            path,
            what: format!("{} {id}", Kind::RdsInstance.name()),
            region: Some(region.to_owned()),
            lack: if abroad { Lack::Abroad } else { Lack::Replicated },
            message: format!(
                "the world has no rds.instance `{id}` in {region}, which `{}` replicates from or to",
                own.id
            ),
            help,
        });
    }

    /// Reports a name that leads to something else.
    fn unlike(
        &mut self,
        path: Path,
        id: &str,
        region: &str,
        message: String,
        help: Option<String>,
    ) {
        self.found.push(Dangling {
            path,
            what: format!("the account of {} {id}", Kind::RdsInstance.name()),
            region: Some(region.to_owned()),
            lack: Lack::Replicated,
            message,
            help,
        });
    }
}
