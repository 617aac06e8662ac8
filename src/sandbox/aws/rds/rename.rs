//! Another name for an instance: it restarts under it, and its endpoint has that name.

use serde_json::{Value, json};

use super::super::codec::{AwsError, Params};
use super::{Desk, arn, get, invalid_value, unknown, window};
use crate::sandbox::objects::{Due, text};
use crate::sandbox::world::Kind;

/// Answers ModifyDBInstance with another name, which is made at once: nothing else is changed by such a request here.
pub(super) fn answer(
    desk: &mut Desk<'_>,
    params: &Params,
    mut body: Value,
) -> Result<Value, AwsError> {
    if get(params, "ApplyImmediately") != "true" {
        return Err(unknown(
            "rds ModifyDBInstance NewDBInstanceIdentifier without ApplyImmediately",
        ));
    }
    let from = get(params, "DBInstanceIdentifier").to_owned();
    let to = get(params, "NewDBInstanceIdentifier").to_ascii_lowercase();
    free(desk, &to)?;
    let before = text(&body, "DBInstanceArn").to_owned();
    let now_named = arn(desk, "db", &to);
    let end = desk.objects.now() + desk.durations.modify.0;
    let mut usable = json!({ "DBInstanceStatus": "available" });
    if let Some(address) = body["Endpoint"]["Address"].as_str() {
        let mut endpoint = body["Endpoint"].clone();
        endpoint["Address"] = json!(format!("{to}.{}", domain(desk, address)));
        usable["Endpoint"] = endpoint;
    }
    body["DBInstanceIdentifier"] = json!(to);
    body["DBInstanceArn"] = json!(now_named);
    body["DBInstanceStatus"] = json!("renaming");
    if let Value::Object(fields) = &mut body {
        fields.remove("Endpoint");
    }
    let then = vec![Due::set(end, usable)];
    desk.objects.remove(Kind::RdsInstance, desk.region, &from);
    desk.objects.put(Kind::RdsInstance, desk.region, &to, body.clone(), then);
    if let Some(inside) = desk.objects.get(Kind::Postgres, desk.region, &from).cloned() {
        desk.objects.remove(Kind::Postgres, desk.region, &from);
        desk.objects.put(Kind::Postgres, desk.region, &to, inside, Vec::new());
    }
    follow(desk, (&before, &from), (&now_named, &to));
    Ok(json!({ "DBInstance": window::shown(desk, &body) }))
}

fn free(desk: &Desk<'_>, id: &str) -> Result<(), AwsError> {
    let fits = (1..=63).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !id.ends_with('-')
        && !id.contains("--");
    if !fits {
        return Err(invalid_value(format!("Invalid database identifier: {id}")));
    }
    match desk.objects.get(Kind::RdsInstance, desk.region, id) {
        None => Ok(()),
        Some(_) => Err(AwsError::new(400, "DBInstanceAlreadyExists", "DB instance already exists")),
    }
}

/// Returns what follows an instance's name in its address: of one account and region that is the same for all of them.
fn domain(desk: &Desk<'_>, own: &str) -> String {
    let after = |address: &str| address.split_once('.').map(|(_, rest)| rest.to_owned());
    let made_here = |domain: &String| domain.starts_with("c0rehearsal.");
    let mut all = desk.objects.of_kind(Kind::RdsInstance, desk.region);
    let known = all.find_map(|(_, body)| {
        after(body["Endpoint"]["Address"].as_str()?).filter(|domain| !made_here(domain))
    });
    let own = after(own).unwrap_or_default();
    if made_here(&own) { known.unwrap_or(own) } else { own }
}

/// Lets replicas and replicated backups know their source by its new name.
fn follow(desk: &mut Desk<'_>, (arn, id): (&str, &str), (new_arn, new_id): (&str, &str)) {
    let source = "ReadReplicaSourceDBInstanceIdentifier";
    let region = desk.region;
    let replicas = desk.objects.everywhere(Kind::RdsInstance).filter(|(key, body)| {
        let named = text(body, source);
        named == arn || named == id && key.region == region
    });
    let replicas: Vec<_> =
        replicas.map(|(key, body)| (key.clone(), text(body, source) == arn)).collect();
    for (key, by_arn) in replicas {
        let set = json!({ source: if by_arn { new_arn } else { new_id } });
        desk.objects.change(Kind::RdsInstance, &key.region, &key.id, set);
    }
    let copies = desk.objects.everywhere(Kind::RdsBackup).filter(|(_, body)| {
        text(body, "DBInstanceIdentifier") == id && text(body, "Region") == region
    });
    let copies: Vec<_> = copies.map(|(key, _)| key.clone()).collect();
    for key in copies {
        let set = json!({ "DBInstanceArn": new_arn, "DBInstanceIdentifier": new_id });
        desk.objects.change(Kind::RdsBackup, &key.region, &key.id, set);
    }
}
