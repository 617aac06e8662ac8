//! STS and AWS Health: who is asking, and what AWS admits.

use serde_json::{Value, json};

use super::codec::{AwsError, Params};
use super::operations::{Operation, find, names};
use super::{Desk, unknown};
use crate::sandbox::objects::{Objects, text};
use crate::sandbox::world::{Kind, stamp};

/// Events of a page where a request names no number.
const PAGE: usize = 100;

/// Seconds that the credentials of a role are good for, where a request names none.
const SESSION: i64 = 3600;

/// What answers an action of STS.
type OfSts = fn(&Desk<'_>, &Params) -> Result<Value, AwsError>;

/// What answers an operation of AWS Health.
type OfHealth = fn(&Objects, &Value) -> Value;

/// Every action of STS there is here.
const ACTIONS: [Operation<OfSts>; 2] = [
    Operation { name: "AssumeRole", answers: assume },
    Operation { name: "GetCallerIdentity", answers: |desk, _| Ok(caller(desk)) },
];

/// Every operation of AWS Health there is here.
const EVENTS: [Operation<OfHealth>; 1] = [Operation { name: "DescribeEvents", answers: events }];

/// Names of what STS knows.
pub(super) const STS: [&str; ACTIONS.len()] = names(&ACTIONS);

/// Names of what AWS Health knows.
pub(super) const HEALTH: [&str; EVENTS.len()] = names(&EVENTS);

/// Answers an action of STS.
pub(super) fn sts(desk: &Desk<'_>, action: &str, params: &Params) -> Result<Value, AwsError> {
    let answers = find(&ACTIONS, action).ok_or_else(|| unknown(&format!("sts {action}")))?;
    answers(desk, params)
}

fn caller(desk: &Desk<'_>) -> Value {
    let account = desk.account;
    json!({
        "UserId": "AROASIMULATION:phoenix-dr",
        "Account": account,
        "Arn": format!("arn:aws:sts::{account}:assumed-role/rehearsal/phoenix-dr"),
    })
}

fn assume(desk: &Desk<'_>, params: &Params) -> Result<Value, AwsError> {
    let get = |name: &str| params.get(name).map_or("", String::as_str);
    let (role, session) = (get("RoleArn"), get("RoleSessionName"));
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    let (Some(account), Some(name)) =
        (parts.get(4), parts.get(5).and_then(|part| part.strip_prefix("role/")))
    else {
        return Err(AwsError::new(400, "ValidationError", format!("{role} is invalid")));
    };
    let seconds = get("DurationSeconds").parse().unwrap_or(SESSION);
    let expires = desk.objects.now() + jiff::SignedDuration::from_secs(seconds);
    Ok(json!({
        "AssumedRoleUser": {
            "AssumedRoleId": format!("AROASIMULATION:{session}"),
            "Arn": format!("arn:aws:sts::{account}:assumed-role/{name}/{session}"),
        },
        "Credentials": {
            "AccessKeyId": "ASIAREHEARSAL",
            "SecretAccessKey": "REHEARSAL",
            "SessionToken": "REHEARSAL",
            "Expiration": stamp(expires),
        },
    }))
}

/// Answers an operation of AWS Health.
pub(super) fn health(objects: &Objects, operation: &str, asked: &Value) -> Result<Value, AwsError> {
    let answers = find(&EVENTS, operation);
    let answers = answers.ok_or_else(|| unknown(&format!("health {operation}")))?;
    Ok(answers(objects, asked))
}

fn events(objects: &Objects, asked: &Value) -> Value {
    let filter = asked.get("filter").unwrap_or(&Value::Null);
    let all = objects.everywhere(Kind::HealthEvent).map(|(_, body)| body);
    let most = asked.get("maxResults").and_then(Value::as_u64);
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
    let first = text(asked, "nextToken").parse().unwrap_or(0);
    let mut events: Vec<&Value> =
        all.filter(|event| wanted(filter, event)).skip(first).take(most + 1).collect();
    let mut answer = json!({});
    if events.len() > most {
        events.truncate(most);
        answer["nextToken"] = json!((first + most).to_string());
    }
    answer["events"] = json!(events);
    answer
}

/// Says whether an event has one of the values of every list of a filter, and begins, ends or changed when it says.
fn wanted(filter: &Value, event: &Value) -> bool {
    let one_of = |list: &str, field: &str| match filter.get(list).and_then(Value::as_array) {
        Some(values) => values.iter().any(|value| value.as_str() == Some(text(event, field))),
        None => true,
    };
    let within = |list: &str, field: &str| match filter.get(list).and_then(Value::as_array) {
        Some(ranges) => ranges.iter().any(|range| {
            let instant = |body: &Value, name: &str| text(body, name).parse::<jiff::Timestamp>();
            let Ok(at) = instant(event, field) else { return false };
            instant(range, "from").map_or(true, |from| at >= from)
                && instant(range, "to").map_or(true, |to| at <= to)
        }),
        None => true,
    };
    one_of("eventArns", "arn")
        && one_of("eventTypeCodes", "eventTypeCode")
        && one_of("services", "service")
        && one_of("regions", "region")
        && one_of("availabilityZones", "availabilityZone")
        && one_of("eventTypeCategories", "eventTypeCategory")
        && one_of("eventStatusCodes", "statusCode")
        && within("startTimes", "startTime")
        && within("endTimes", "endTime")
        && within("lastUpdatedTimes", "lastUpdatedTime")
}
