//! What can be restored: a window whose end moves while its source lives, and how an instance is shown.
//!
//! RDS keeps transaction logs every five minutes. What a world or a transition says of a window is true at a moment;
//! from there on it moves with virtual time, and stands still while the source's region is dark.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Desk, instant};
use crate::sandbox::objects::text;
use crate::sandbox::world::{Kind, stamp};

/// Time between two uploads of logs.
const STEP: i64 = 300;

/// When what is said of a window was true; the beginning of the rehearsal where it is not said.
const SINCE: &str = "_window_since";

/// What an instance is shown as, and until when.
const SHOWS: &str = "_shows";

/// States in which a database writes and its logs are kept.
const ALIVE: [&str; 6] =
    ["available", "backing-up", "modifying", "rebooting", "storage-optimization", "upgrading"];

pub(super) fn lives(instance: &Value) -> bool {
    ALIVE.contains(&text(instance, "DBInstanceStatus"))
}

fn retention(instance: &Value) -> i64 {
    instance.get("BackupRetentionPeriod").and_then(Value::as_i64).unwrap_or(0)
}

/// Returns how far a window has moved that was right at a moment, for a source in a region.
fn moved(desk: &Desk<'_>, region: &str, since: Option<Timestamp>) -> SignedDuration {
    let now = desk.objects.now();
    let until = desk.dark.get(region).map_or(now, |dark| now.min(*dark));
    let from = since.unwrap_or(desk.began);
    let seconds = until.as_second().saturating_sub(from.as_second()).max(0);
    SignedDuration::from_secs(seconds / STEP * STEP)
}

/// Returns the latest moment an instance of a region can be restored to.
pub(super) fn latest(desk: &Desk<'_>, region: &str, instance: &Value) -> Option<Timestamp> {
    let known = instant(instance, &["LatestRestorableTime"])?;
    if retention(instance) == 0 {
        return None;
    }
    match lives(instance) {
        true => Some(known + moved(desk, region, instant(instance, &[SINCE]))),
        false => Some(known),
    }
}

/// Returns the earliest and latest moment an instance of a region can be restored to.
pub(super) fn of_instance(
    desk: &Desk<'_>,
    region: &str,
    instance: &Value,
) -> Option<(Timestamp, Timestamp)> {
    let latest = latest(desk, region, instance)?;
    let kept = latest - SignedDuration::from_hours(24 * retention(instance));
    let made = instant(instance, &["InstanceCreateTime"]).unwrap_or(kept);
    Some((kept.max(made).min(latest), latest))
}

/// Returns the window of a backup that is replicated here: it moves while its source lives and is replicated.
pub(super) fn of_backup(desk: &Desk<'_>, backup: &Value) -> Option<(Timestamp, Timestamp)> {
    let latest = instant(backup, &["RestoreWindow", "LatestTime"])?;
    let earliest = instant(backup, &["RestoreWindow", "EarliestTime"]).unwrap_or(latest);
    let region = text(backup, "Region");
    let id = text(backup, "DBInstanceIdentifier");
    let source = desk.objects.get(Kind::RdsInstance, region, id);
    if text(backup, "Status") != "replicating" || !source.is_some_and(lives) {
        return Some((earliest, latest));
    }
    let latest = latest + moved(desk, region, instant(backup, &[SINCE]));
    let kept = latest - SignedDuration::from_hours(24 * retention(backup).max(1));
    Some((earliest.max(kept), latest))
}

/// Returns the fields that set a window's end to a moment.
pub(super) fn begins(at: Timestamp) -> Value {
    json!({ "LatestRestorableTime": stamp(at), SINCE: stamp(at) })
}

/// Returns the fields of a backup whose window begins at a moment.
pub(super) fn backup_begins(at: Timestamp) -> Value {
    let window = json!({ "EarliestTime": stamp(at), "LatestTime": stamp(at) });
    json!({ "Status": "replicating", "RestoreWindow": window, SINCE: stamp(at) })
}

/// Fixes a window's end where it is now, before its source stops; those of its copies as well.
pub(super) fn stands(desk: &mut Desk<'_>, instance: &mut Value) {
    let now = stamp(desk.objects.now());
    if let Some(latest) = latest(desk, desk.region, instance) {
        instance["LatestRestorableTime"] = json!(stamp(latest));
        instance[SINCE] = json!(now);
    }
    let (region, id) = (desk.region, text(instance, "DBInstanceIdentifier"));
    let copies = desk.objects.everywhere(Kind::RdsBackup).filter(|(_, copy)| {
        text(copy, "Region") == region && text(copy, "DBInstanceIdentifier") == id
    });
    let fixed: Vec<_> =
        copies.filter_map(|(key, copy)| Some((key.clone(), of_backup(desk, copy)?))).collect();
    for (key, (first, last)) in fixed {
        let window = json!({ "EarliestTime": stamp(first), "LatestTime": stamp(last) });
        let set = json!({ "RestoreWindow": window, SINCE: now });
        desk.objects.change(Kind::RdsBackup, &key.region, &key.id, set);
    }
}

/// Lets a window move on from a moment at which its source is there again.
pub(super) fn goes_on(fields: &mut Value, at: Timestamp) {
    fields[SINCE] = json!(stamp(at));
}

/// Lets an instance be shown in its old state for a while longer.
pub(super) fn shows(desk: &Desk<'_>, instance: &mut Value, status: &str, length: Duration) {
    let until = stamp(desk.objects.now() + length);
    instance[SHOWS] = json!({ "DBInstanceStatus": status, "until": until });
}

/// Returns an instance of this region as RDS shows it.
pub(super) fn shown(desk: &Desk<'_>, instance: &Value) -> Value {
    let mut shown = instance.clone();
    let latest = latest(desk, desk.region, instance);
    shown["LatestRestorableTime"] = latest.map_or(Value::Null, |latest| json!(stamp(latest)));
    if shown["PendingModifiedValues"].is_null() {
        shown["PendingModifiedValues"] = json!({});
    }
    let now = desk.objects.now();
    if instant(instance, &[SHOWS, "until"]).is_some_and(|until| now < until) {
        shown["DBInstanceStatus"] = instance[SHOWS]["DBInstanceStatus"].clone();
    }
    shown
}
