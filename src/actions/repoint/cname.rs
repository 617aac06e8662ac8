//! The endpoint as a private CNAME record.

use std::fmt;
use std::time::Duration;

use aws_sdk_route53::types::{
    Change, ChangeAction, ChangeBatch, ResourceRecord, ResourceRecordSet, RrType,
};
use serde_json::{Value, json};

use crate::actions::kubernetes::changed_meanwhile;
use crate::by_hand;
use crate::clients::Clients;
use crate::clients::aws::error::{Nature, failure};
use crate::clients::aws::records::{self, same_name};
use crate::clock::since;
use crate::engine::ports::Call;
use crate::estate::types::CnameRecord;
use crate::outcome::{ActionError, Effect, FailureClass};

const KIND: &str = "CNAME";
const PAUSE: Duration = Duration::from_secs(2);
/// How long Route 53 may take for other changes and for its name servers together.
const LIMIT: Duration = Duration::from_secs(180);

/// The record, and the region Route 53 is asked from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub record: &'a CnameRecord,
    pub region: &'a str,
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KIND} {}", self.record.name)
    }
}

impl Record<'_> {
    /// Returns the record's target and TTL; nulls when there is none.
    pub(super) async fn target(&self, clients: &Clients) -> Result<Value, ActionError> {
        let aws = clients.aws.region(self.region).await?;
        let CnameRecord { zone, name, .. } = self.record;
        let sets = records::read(&aws, zone, name, KIND).await?;
        let set = match sets.as_slice() {
            [] => return Ok(json!({ "target": null, "ttl": null })),
            [set] if set.set_identifier.is_none() && set.alias_target.is_none() => set,
            _ => {
                let message = format!("{self} is not one simple record");
                return Err(ActionError::unchanged(FailureClass::Invalid, message)
                    .hint("name a simple CNAME in `database.application.cname`"));
            }
        };
        let target = set.values().first().map(|value| plain(value));
        Ok(json!({ "target": target, "ttl": set.ttl }))
    }

    pub(super) fn desired(&self, host: &str) -> Value {
        json!({ "target": plain(host), "ttl": self.record.ttl })
    }

    /// Brings the record from one target to another. True when it had to change it.
    pub(super) async fn write(
        &self,
        clients: &Clients,
        call: &Call,
        from: &Value,
        to: &Value,
    ) -> Result<bool, ActionError> {
        let now = self.target(clients).await?;
        if same(&now, to) {
            return Ok(false);
        }
        if !same(&now, from) {
            return Err(changed_meanwhile(&self.to_string(), from, &now));
        }
        // No target to go back to: what this run made goes away.
        let (action, set) = if to["target"].is_null() {
            (ChangeAction::Delete, &now)
        } else {
            (ChangeAction::Upsert, to)
        };
        let began = clients.clock.now();
        let late = || since(began, clients.clock.now()) >= LIMIT;
        let id = loop {
            match self.request(clients, call, action.clone(), set).await {
                Ok(id) => break id,
                Err(error) if error.class == FailureClass::Throttled && !late() => {
                    call.progress.tell(format!("Route 53 asks for patience: {error}"), None);
                    clients.clock.sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        let applied = |error| ActionError { effect: Effect::Applied, ..error };
        let aws = clients.aws.region(self.region).await.map_err(applied)?;
        loop {
            match aws.route53.get_change().id(&id).send().await {
                Ok(answer) => {
                    let status = answer.change_info().map(|info| info.status().as_str());
                    if status == Some("INSYNC") {
                        return Ok(true);
                    }
                }
                Err(error) => {
                    let error = failure(Nature::Read, "route53:GetChange", self.region, &error);
                    if !error.class.retryable() {
                        return Err(applied(error));
                    }
                }
            }
            if late() {
                let message = format!(
                    "Route 53 accepted change {id} of {self} but is not in sync after 3 minutes"
                );
                return Err(ActionError::applied(FailureClass::Timeout, message));
            }
            call.progress.tell(format!("{self}: change {id} is pending"), None);
            clients.clock.sleep(PAUSE).await;
        }
    }

    async fn request(
        &self,
        clients: &Clients,
        call: &Call,
        action: ChangeAction,
        set: &Value,
    ) -> Result<String, ActionError> {
        let build = || {
            let value = set["target"].as_str().unwrap_or_default();
            let set = ResourceRecordSet::builder()
                .name(&self.record.name)
                .r#type(RrType::Cname)
                .ttl(set["ttl"].as_i64().unwrap_or(self.record.ttl))
                .resource_records(ResourceRecord::builder().value(value).build()?)
                .build()?;
            let change = Change::builder().action(action).resource_record_set(set).build()?;
            ChangeBatch::builder()
                .comment(format!("phoenix-dr {}", call.token()))
                .changes(change)
                .build()
        };
        let batch = build().map_err(|error| {
            let message = format!("build the change of {self}: {error}");
            ActionError::unchanged(FailureClass::Internal, message)
        })?;
        let aws = clients.aws.region(self.region).await?;
        let request = aws.route53.change_resource_record_sets();
        let request = request.hosted_zone_id(&self.record.zone).change_batch(batch);
        let answer = request.send().await.map_err(|error| {
            failure(Nature::Change, "route53:ChangeResourceRecordSets", self.region, &error)
        })?;
        let info = answer.change_info();
        info.map(|info| info.id().trim_start_matches("/change/").to_owned()).ok_or_else(|| {
            let message = "Route 53 accepted the change without naming it";
            ActionError::applied(FailureClass::Transient, message)
        })
    }

    /// Returns the command that writes the target.
    pub(super) fn command(&self, to: &Value) -> String {
        by_hand::traffic::cname(self.record, &to["target"], &to["ttl"])
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_owned()
}

fn same(one: &Value, other: &Value) -> bool {
    let names = match (one["target"].as_str(), other["target"].as_str()) {
        (Some(one), Some(other)) => same_name(one, other),
        (one, other) => one == other,
    };
    names && one["ttl"] == other["ttl"]
}
