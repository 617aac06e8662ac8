//! An RDS instance as the actions see it: what is asked of DescribeDBInstances and what its status means.

use aws_sdk_rds::operation::describe_db_instances::DescribeDbInstancesOutput;
use aws_sdk_rds::types::DbInstance;
use aws_smithy_types::DateTime;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{TAG_RUN, read_failure};
use crate::clients::Clients;
use crate::outcome::{ActionError, FailureClass};

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instance {
    pub id: String,
    pub arn: String,
    /// RDS's own name of it, never given twice
    pub resource_id: String,
    pub status: String,
    /// The instance it follows; `None` when it stands alone
    pub source: Option<String>,
    /// Replication state as RDS reports it, e.g. `replicating`, `error`, `terminated`
    pub replication: Option<String>,
    /// `host:port` once RDS has given one
    pub endpoint: Option<String>,
    pub created: Option<Timestamp>,
    pub class: String,
    pub allocated_gib: u32,
    pub multi_az: bool,
    pub deletion_protection: bool,
    pub retention_days: i32,
    /// Security groups with the state of each, e.g. `active` or `removing`
    pub security_groups: Vec<(String, String)>,
    /// How many instances follow it
    pub replicas: usize,
    pub tags: Vec<(String, String)>,
}

/// What a status means for waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It accepts connections, as far as RDS knows; SQL decides
    Usable,
    /// It will change by itself
    Busy,
    /// It will not get better by waiting
    Bad,
}

/// Returns the meaning of a DB instance status.
pub(super) fn phase(status: &str) -> Phase {
    match status {
        // A restored instance spends up to hours in `backing-up` and serves all the while.
        "available"
        | "backing-up"
        | "storage-optimization"
        | "storage-config-upgrade"
        | "configuring-enhanced-monitoring"
        | "configuring-iam-database-auth"
        | "configuring-log-exports" => Phase::Usable,
        "deleted"
        | "deleting"
        | "failed"
        | "incompatible-restore"
        | "incompatible-parameters"
        | "incompatible-network"
        | "incompatible-option-group"
        | "incompatible-credentials"
        | "incompatible-create"
        | "restore-error"
        | "inaccessible-encryption-credentials"
        | "inaccessible-encryption-credentials-recoverable"
        | "insufficient-capacity"
        | "storage-full"
        | "stopping"
        | "stopped" => Phase::Bad,
        _ => Phase::Busy,
    }
}

impl Instance {
    pub(super) fn phase(&self) -> Phase {
        phase(&self.status)
    }

    /// Returns the value of a tag.
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Returns the run that made or promoted it, where one did.
    pub(super) fn run(&self) -> Option<&str> {
        self.tag(TAG_RUN)
    }

    /// Says in a few words what it is and does.
    pub(super) fn line(&self) -> String {
        let role = match (&self.source, &self.replication) {
            (Some(source), Some(state)) => format!("replica of {} ({state})", short(source)),
            (Some(source), None) => format!("replica of {}", short(source)),
            (None, _) => "stands alone".to_owned(),
        };
        format!("{}: {}, {role}, {} GiB", self.id, self.status, self.allocated_gib)
    }

    /// Returns the outputs of a database action.
    ///
    /// The address is the one the application uses: the estate's where it names one. RDS's resource id tells this
    /// instance from the lost one; a promoted replica shares the system identifier of PostgreSQL with it.
    pub(super) fn outputs(&self, clients: &Clients) -> Option<Map<String, Value>> {
        let named = clients.estate.database.as_ref().and_then(|db| db.addresses.get(&self.id));
        let address = named.or(self.endpoint.as_ref())?;
        let outputs = json!({
            "instance": self.id,
            "address": address,
            "identity": self.resource_id,
        });
        outputs.as_object().cloned()
    }

    /// Returns the error of a state that waiting cannot help.
    pub(super) fn bad(&self) -> ActionError {
        let message = format!("{} is `{}`, which does not pass by waiting", self.id, self.status);
        ActionError::unchanged(FailureClass::Invalid, message).hint(format!(
            "look at its events (`aws rds describe-events --source-type db-instance --source-identifier {}`); \
             take another recovery point, or repair it and retry",
            self.id
        ))
    }
}

/// Returns the identifier of an instance named by id or ARN.
pub(super) fn short(source: &str) -> &str {
    source.rsplit(':').next().unwrap_or(source)
}

/// Reads one instance; `None` when the region has none of that id.
pub(super) async fn find(
    clients: &Clients,
    region: &str,
    id: &str,
) -> Result<Option<Instance>, ActionError> {
    let aws = clients.aws.region(region).await?;
    let answer = aws.rds.describe_db_instances().db_instance_identifier(id).send().await;
    match answer {
        Ok(answer) => Ok(listed(&answer).into_iter().find(|found| found.id == id)),
        Err(error) => match read_failure("DescribeDBInstances", region, &error) {
            missing if missing.class == FailureClass::NotFound => Ok(None),
            failure => Err(failure),
        },
    }
}

/// Returns the instances of an answer.
pub(super) fn listed(answer: &DescribeDbInstancesOutput) -> Vec<Instance> {
    answer.db_instances().iter().map(instance).collect()
}

/// Reads one instance that must be there.
pub(super) async fn existing(
    clients: &Clients,
    region: &str,
    id: &str,
) -> Result<Instance, ActionError> {
    find(clients, region, id).await?.ok_or_else(|| {
        let message = format!("there is no RDS instance {id} in {region}");
        ActionError::unchanged(FailureClass::NotFound, message)
            .hint("compare the estate file's `database` with `aws rds describe-db-instances`")
    })
}

fn instance(found: &DbInstance) -> Instance {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    let endpoint = found.endpoint().and_then(|endpoint| {
        Some(format!("{}:{}", endpoint.address()?, endpoint.port().unwrap_or(5432)))
    });
    let replication = found
        .status_infos()
        .iter()
        .find(|info| info.status_type() == Some("read replication"))
        .and_then(|info| info.status());
    Instance {
        id: text(found.db_instance_identifier()),
        arn: text(found.db_instance_arn()),
        resource_id: text(found.dbi_resource_id()),
        status: text(found.db_instance_status()),
        source: found
            .read_replica_source_db_instance_identifier()
            .filter(|source| !source.is_empty())
            .map(str::to_owned),
        replication: replication.map(str::to_owned),
        endpoint,
        created: found.instance_create_time().and_then(instant),
        class: text(found.db_instance_class()),
        allocated_gib: found.allocated_storage().and_then(|gib| gib.try_into().ok()).unwrap_or(0),
        multi_az: found.multi_az().unwrap_or(false),
        deletion_protection: found.deletion_protection().unwrap_or(false),
        retention_days: found.backup_retention_period().unwrap_or(0),
        security_groups: found
            .vpc_security_groups()
            .iter()
            .map(|group| (text(group.vpc_security_group_id()), text(group.status())))
            .filter(|(group, _)| !group.is_empty())
            .collect(),
        replicas: found.read_replica_db_instance_identifiers().len(),
        tags: found
            .tag_list()
            .iter()
            .filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or("").to_owned())))
            .collect(),
    }
}

/// Returns an SDK instant as ours.
pub(super) fn instant(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}
