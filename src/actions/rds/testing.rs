//! A scripted RDS of one region: answers in AWS's shape, states that follow each other look by look.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::clients::aws::testing::{RUN, Reply, Script, Sent, query_error};

pub(super) const WEST: &str = "us-west-2";
pub(super) const REPLICA: &str = "phoenix-dr-replica";
pub(super) const TARGET: &str = "phoenix-restored";
pub(super) const PRIMARY_ARN: &str = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod";
pub(super) const OTHER_RUN: &str = "01JD0000000000000000000000";

/// The estate's replica, following its primary.
pub(super) fn replica(states: &[&'static str]) -> Made {
    made(REPLICA, states).follows(PRIMARY_ARN)
}

/// An instance as the script knows it.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub id: String,
    /// RDS's own name of it
    pub resource: String,
    /// States of the next looks; the last one stays
    pub states: VecDeque<&'static str>,
    pub source: Option<String>,
    pub tags: Vec<(String, String)>,
    pub created: String,
    pub deletion_protection: bool,
    pub multi_az: bool,
    pub retention_days: i32,
    pub replicas: usize,
    /// It has come so far that it has an endpoint
    pub came_up: bool,
}

pub(super) fn made(id: &str, states: &[&'static str]) -> Made {
    Made {
        id: id.to_owned(),
        resource: format!("db-{id}"),
        states: states.iter().copied().collect(),
        source: None,
        tags: Vec::new(),
        created: "2026-11-22T02:15:00Z".to_owned(),
        deletion_protection: true,
        multi_az: true,
        retention_days: 7,
        replicas: 0,
        came_up: true,
    }
}

impl Made {
    pub(super) fn follows(mut self, source: &str) -> Self {
        self.source = Some(source.to_owned());
        self
    }

    pub(super) fn tagged(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn ours(self) -> Self {
        self.tagged("phoenix-dr:run", RUN)
    }

    fn next_state(&mut self) -> &'static str {
        match self.states.len() {
            0 => "available",
            1 => self.states[0],
            _ => self.states.pop_front().unwrap_or("available"),
        }
    }

    fn tags_xml(&self) -> String {
        let tags = self.tags.iter();
        tags.map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"))
            .collect()
    }

    fn snapshot_xml(&mut self) -> String {
        let (state, tags, id) = (self.next_state(), self.tags_xml(), &self.id);
        format!(
            "<DBSnapshot><DBSnapshotIdentifier>{id}</DBSnapshotIdentifier>\
             <DBSnapshotArn>arn:aws:rds:us-west-2:123456789012:snapshot:{id}</DBSnapshotArn><Status>{state}</Status>\
             <PercentProgress>50</PercentProgress><SnapshotType>manual</SnapshotType>\
             <AllocatedStorage>100</AllocatedStorage><SnapshotCreateTime>{}</SnapshotCreateTime>\
             <TagList>{tags}</TagList></DBSnapshot>",
            self.created
        )
    }

    fn xml(&mut self) -> String {
        let state = self.next_state();
        let source = self.source.as_ref().map_or(String::new(), |source| {
            format!(
                "<ReadReplicaSourceDBInstanceIdentifier>{source}</ReadReplicaSourceDBInstanceIdentifier>\
                 <StatusInfos><DBInstanceStatusInfo><StatusType>read replication</StatusType><Normal>true</Normal>\
                 <Status>replicating</Status></DBInstanceStatusInfo></StatusInfos>"
            )
        });
        let tags = self.tags_xml();
        let endpoint = match state {
            "creating" | "renaming" => String::new(),
            _ if !self.came_up => String::new(),
            _ => format!(
                "<Endpoint><Address>{}.example</Address><Port>5432</Port></Endpoint>",
                self.id
            ),
        };
        let replicas: String = (0..self.replicas)
            .map(|number| {
                format!(
                    "<ReadReplicaDBInstanceIdentifier>r{number}</ReadReplicaDBInstanceIdentifier>"
                )
            })
            .collect();
        format!(
            "<DBInstance><DBInstanceIdentifier>{id}</DBInstanceIdentifier>\
             <DBInstanceArn>arn:aws:rds:us-west-2:123456789012:db:{id}</DBInstanceArn>\
             <DbiResourceId>{resource}</DbiResourceId><DBInstanceStatus>{state}</DBInstanceStatus>{source}{endpoint}\
             <InstanceCreateTime>{created}</InstanceCreateTime><AllocatedStorage>100</AllocatedStorage>\
             <MultiAZ>{multi_az}</MultiAZ><DeletionProtection>{protection}</DeletionProtection>\
             <BackupRetentionPeriod>{retention}</BackupRetentionPeriod><TagList>{tags}</TagList>\
             <ReadReplicaDBInstanceIdentifiers>{replicas}</ReadReplicaDBInstanceIdentifiers></DBInstance>",
            id = self.id,
            resource = self.resource,
            created = self.created,
            multi_az = self.multi_az,
            protection = self.deletion_protection,
            retention = self.retention_days,
        )
    }
}

/// The region.
#[derive(Default)]
pub(super) struct Region {
    pub instances: Vec<Made>,
    pub backups: String,
    pub snapshots: String,
    /// What a create leaves behind, and whether its answer is lost, or that of a promotion
    pub creates: Option<Made>,
    pub lose_answer: bool,
    /// Lets nobody put tags on anything
    pub denies_tags: bool,
    /// Refuses so many promotions with this code
    pub refuses: (&'static str, usize),
    /// Looks that still show a promoted replica as it was
    pub stale: u32,
    /// Kinds of groups that are not there, e.g. `DBSubnetGroup`
    pub lacks: Vec<&'static str>,
    /// Actions that are throttled, and how often still
    pub throttled: Vec<(&'static str, u32)>,
    /// The replica whose promotion does not show yet
    pub promoted: Option<String>,
    /// Snapshots that were requested, by name, with the states of their next looks
    pub taken: Vec<Made>,
    /// States that the next one goes through
    pub takes: Vec<&'static str>,
    /// Another name is there at once
    pub swift: bool,
}

impl Region {
    /// Lets a promotion show, once the looks that do not show it yet are over.
    fn age(&mut self, id: &str) {
        if self.promoted.as_deref() != Some(id) {
            return;
        }
        if self.stale > 0 {
            self.stale -= 1;
            return;
        }
        self.promoted = None;
        for made in self.instances.iter_mut().filter(|made| made.id == id) {
            made.source = None;
            made.states = ["modifying", "rebooting", "backing-up"].into_iter().collect();
        }
    }

    fn group(&self, action: &str, kind: &str) -> Reply {
        match self.lacks.contains(&kind) {
            true => query_error(404, &format!("{kind}NotFoundFault"), &format!("no such {kind}")),
            false => result(action, ""),
        }
    }
}

pub(super) type Shared = Arc<Mutex<Region>>;

/// Returns a script over a region, and the region to look into.
pub(super) fn region(region: Region) -> (Script, Shared) {
    let shared: Shared = Arc::new(Mutex::new(region));
    let inside = shared.clone();
    let script =
        Script::new(move |sent, _| answer(&mut inside.lock().expect("not poisoned"), sent));
    (script, shared)
}

pub(super) fn backup(latest: &str) -> String {
    format!(
        "<DBInstanceAutomatedBackup><DBInstanceIdentifier>phoenix-prod</DBInstanceIdentifier>\
         <DBInstanceAutomatedBackupsArn>arn:aws:rds:us-west-2:123456789012:auto-backup:ab-1\
         </DBInstanceAutomatedBackupsArn><Status>active</Status><AllocatedStorage>100</AllocatedStorage>\
         <RestoreWindow><EarliestTime>2026-11-15T00:00:00Z</EarliestTime><LatestTime>{latest}</LatestTime>\
         </RestoreWindow><TagList></TagList></DBInstanceAutomatedBackup>"
    )
}

pub(super) fn snapshot(id: &str, status: &str, created: &str, original: Option<&str>) -> String {
    let original = original.map_or(String::new(), |time| {
        format!("<OriginalSnapshotCreateTime>{time}</OriginalSnapshotCreateTime>")
    });
    format!(
        "<DBSnapshot><DBSnapshotIdentifier>{id}</DBSnapshotIdentifier><Status>{status}</Status>\
         <SnapshotType>manual</SnapshotType><AllocatedStorage>10</AllocatedStorage>\
         <SnapshotCreateTime>{created}</SnapshotCreateTime>{original}</DBSnapshot>"
    )
}

fn answer(region: &mut Region, sent: &Sent) -> Reply {
    let named = |field: &str| sent.field(field).unwrap_or_default();
    let action = sent.action.as_str();
    let struck = region.throttled.iter_mut().find(|(name, left)| *name == action && *left > 0);
    if let Some((_, left)) = struck {
        *left -= 1;
        return query_error(400, "Throttling", "Rate exceeded");
    }
    let found =
        |region: &mut Region, id: &str| region.instances.iter().position(|made| made.id == id);
    let id = named("DBInstanceIdentifier");
    if let Some(resource) = sent.field("Filters.Filter.1.Values.Value.1") {
        let found = region.instances.iter_mut().find(|made| made.resource == resource);
        let xml = found.map(Made::xml).unwrap_or_default();
        return result(action, &format!("<DBInstances>{xml}</DBInstances>"));
    }
    match action {
        "DescribeDBInstances" => match found(region, &id) {
            Some(at) => {
                region.age(&id);
                let xml = region.instances[at].xml();
                result(action, &format!("<DBInstances>{xml}</DBInstances>"))
            }
            None => query_error(404, "DBInstanceNotFound", "no such instance"),
        },
        "DescribeDBInstanceAutomatedBackups" => result(
            action,
            &format!("<DBInstanceAutomatedBackups>{}</DBInstanceAutomatedBackups>", region.backups),
        ),
        "DescribeDBSnapshots" => match named("DBSnapshotIdentifier") {
            name if name.is_empty() => {
                let taken: String = region.taken.iter_mut().map(Made::snapshot_xml).collect();
                result(action, &format!("<DBSnapshots>{}{taken}</DBSnapshots>", region.snapshots))
            }
            name => match region.taken.iter_mut().find(|taken| taken.id == name) {
                Some(taken) => {
                    let xml = taken.snapshot_xml();
                    result(action, &format!("<DBSnapshots>{xml}</DBSnapshots>"))
                }
                None => query_error(404, "DBSnapshotNotFound", "no such snapshot"),
            },
        },
        "DescribeDBSubnetGroups" => region.group(action, "DBSubnetGroup"),
        "DescribeDBParameterGroups" => region.group(action, "DBParameterGroup"),
        _ => change(region, sent, &id),
    }
}

fn change(region: &mut Region, sent: &Sent, id: &str) -> Reply {
    let named = |field: &str| sent.field(field).unwrap_or_default();
    let action = sent.action.as_str();
    let found = |region: &Region, id: &str| region.instances.iter().position(|made| made.id == id);
    match action {
        "PromoteReadReplica" => {
            let Some(at) = found(region, id) else {
                return query_error(404, "DBInstanceNotFound", "no such instance");
            };
            if region.instances[at].source.is_none() {
                return query_error(400, "InvalidDBInstanceState", "not a read replica");
            }
            if region.refuses.1 > 0 {
                region.refuses.1 -= 1;
                return query_error(400, region.refuses.0, "not now");
            }
            region.promoted = Some(id.to_owned());
            match region.lose_answer {
                true => query_error(500, "InternalFailure", "lost"),
                false => result(action, ""),
            }
        }
        "AddTagsToResource" if region.denies_tags => {
            query_error(403, "AccessDenied", "not authorized to perform: rds:AddTagsToResource")
        }
        "AddTagsToResource" => {
            let name = named("ResourceName");
            let tags = tags(sent);
            if name.contains(":auto-backup:") {
                let xml = tags.iter().map(|(key, value)| {
                    format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
                });
                let end = "</TagList></DBInstanceAutomatedBackup>";
                let all = format!("{}{end}", xml.collect::<String>());
                region.backups = region.backups.replace(end, &all);
            }
            let mut made = region.instances.iter_mut().chain(&mut region.taken);
            let made = made.find(|made| name.ends_with(&format!(":{}", made.id)));
            if let Some(made) = made {
                made.tags.retain(|(key, _)| tags.iter().all(|(new, _)| new != key));
                made.tags.extend(tags);
            }
            result(action, "")
        }
        "RestoreDBInstanceToPointInTime" | "RestoreDBInstanceFromDBSnapshot" => {
            let target = match named("TargetDBInstanceIdentifier") {
                target if target.is_empty() => id.to_owned(),
                target => target,
            };
            if found(region, &target).is_some() {
                return query_error(400, "DBInstanceAlreadyExists", "exists");
            }
            if let Some(creates) = region.creates.take() {
                region.instances.push(creates);
            }
            match region.lose_answer {
                true => query_error(500, "InternalFailure", "lost"),
                false => result(action, ""),
            }
        }
        "CreateDBSnapshot" => snapshot_taken(region, sent, id),
        "RemoveTagsFromResource" => {
            let (name, key) = (named("ResourceName"), named("TagKeys.member.1"));
            let made = region.instances.iter_mut().filter(|made| name.ends_with(&made.id));
            made.for_each(|made| made.tags.retain(|(known, _)| *known != key));
            result(action, "")
        }
        "ModifyDBInstance" => {
            let Some(at) = found(region, id) else {
                return query_error(404, "DBInstanceNotFound", "no such instance");
            };
            if let Some(name) = sent.field("NewDBInstanceIdentifier") {
                return renamed(region, at, name);
            }
            let made = &mut region.instances[at];
            let flag = |field: &str, now: bool| match named(field).as_str() {
                "" => now,
                text => text == "true",
            };
            made.deletion_protection = flag("DeletionProtection", made.deletion_protection);
            made.multi_az = flag("MultiAZ", made.multi_az);
            made.retention_days =
                named("BackupRetentionPeriod").parse().unwrap_or(made.retention_days);
            result(action, "")
        }
        "DeleteDBInstance" => match found(region, id) {
            Some(at) if region.instances[at].deletion_protection => {
                query_error(400, "InvalidParameterCombination", "protected")
            }
            Some(at) => {
                drop(region.instances.remove(at));
                result(action, "")
            }
            None => query_error(404, "DBInstanceNotFound", "no such instance"),
        },
        other => query_error(400, "InvalidAction", other),
    }
}

fn renamed(region: &mut Region, at: usize, name: String) -> Reply {
    if region.instances.iter().any(|made| made.id == name) {
        return query_error(400, "DBInstanceAlreadyExists", "exists");
    }
    let made = &mut region.instances[at];
    if made.states.front().is_some_and(|state| *state != "available") {
        return query_error(400, "InvalidDBInstanceState", "not in available state");
    }
    made.id = name;
    let renaming = if region.swift { 0 } else { 2 };
    made.states = ["renaming"; 2].into_iter().take(renaming).chain(["available"]).collect();
    match region.lose_answer {
        true => query_error(500, "InternalFailure", "lost"),
        false => result("ModifyDBInstance", ""),
    }
}

fn tags(sent: &Sent) -> Vec<(String, String)> {
    let tag = |number: u32, part: &str| sent.field(&format!("Tags.Tag.{number}.{part}"));
    (1..9).filter_map(|number| Some((tag(number, "Key")?, tag(number, "Value")?))).collect()
}

fn snapshot_taken(region: &mut Region, sent: &Sent, id: &str) -> Reply {
    let name = sent.field("DBSnapshotIdentifier").unwrap_or_default();
    let state = region.instances.iter().find(|made| made.id == id).map(|made| made.states.front());
    match state {
        None => return query_error(404, "DBInstanceNotFound", "no such instance"),
        Some(None | Some(&"available")) => {}
        Some(Some(_)) => {
            return query_error(400, "InvalidDBInstanceState", "not in available state");
        }
    }
    if region.taken.iter().any(|taken| taken.id == name) {
        return query_error(400, "DBSnapshotAlreadyExists", "exists");
    }
    let tags = tags(sent);
    region.taken.push(Made { tags, ..made(&name, &region.takes) });
    match region.lose_answer {
        true => query_error(500, "InternalFailure", "lost"),
        false => result(&sent.action, ""),
    }
}

fn result(action: &str, body: &str) -> Reply {
    Reply::Answer(
        200,
        format!(
            "<{action}Response xmlns=\"http://rds.amazonaws.com/doc/2014-10-31/\"><{action}Result>{body}\
             </{action}Result><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{action}Response>"
        ),
    )
}
