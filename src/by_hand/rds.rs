//! What RDS itself is asked for: snapshots, and instances restored from what it keeps.

use crate::shell;

/// What an instance is restored from.
pub(crate) enum Origin<'a> {
    /// An automated backup, to an instant or to the latest
    Backup {
        /// Its own ARN, or that of the instance of this region which keeps it
        arn: &'a str,
        time: Option<&'a str>,
    },
    Snapshot(&'a str),
}

/// Returns the id of the instance whose own backups an ARN stands for; `None` for that of a replicated backup.
pub(crate) fn own_instance(arn: &str) -> Option<&str> {
    let mut parts = arn.strip_prefix("arn:")?.splitn(6, ':').skip(4);
    (parts.next() == Some("db")).then(|| parts.next()).flatten()
}

/// Returns the command that restores an instance.
pub(crate) fn restore_to(region: &str, origin: &Origin<'_>, target: &str, place: &str) -> String {
    let target = shell::word(target);
    match origin {
        Origin::Backup { arn, time } => {
            let when = time.map_or("--use-latest-restorable-time".to_owned(), |time| {
                format!("--restore-time {time}")
            });
            let source = match own_instance(arn) {
                Some(instance) => format!("--source-db-instance-identifier {instance}"),
                None => format!("--source-db-instance-automated-backups-arn {arn}"),
            };
            format!(
                "aws rds restore-db-instance-to-point-in-time --region {region} {source} \
                 --target-db-instance-identifier {target} {when} {place}"
            )
        }
        Origin::Snapshot(id) => format!(
            "aws rds restore-db-instance-from-db-snapshot --region {region} --db-snapshot-identifier {} \
             --db-instance-identifier {target} {place}",
            shell::word(id)
        ),
    }
}

/// Returns the commands that keep an instance as it is, and wait until that is done.
pub(crate) fn evidence(region: &str, instance: &str, snapshot: &str) -> Vec<String> {
    let (instance, snapshot) = (shell::word(instance), shell::word(snapshot));
    vec![
        format!(
            "aws rds create-db-snapshot --region {region} --db-instance-identifier {instance} --db-snapshot-identifier \
             {snapshot} --tags Key=phoenix-dr:evidence,Value={instance}"
        ),
        format!(
            "aws rds wait db-snapshot-available --region {region} --db-snapshot-identifier {snapshot}"
        ),
    ]
}

/// Returns the commands that give instances other names, one after the other: before and after of each.
pub(crate) fn renamed(region: &str, names: &[(&str, &str)]) -> Vec<String> {
    let lines = names.iter().flat_map(|(from, to)| {
        let (from, to) = (shell::word(from), shell::word(to));
        [
            format!(
                "aws rds modify-db-instance --region {region} --db-instance-identifier {from} \
                 --new-db-instance-identifier {to} --apply-immediately"
            ),
            format!(
                "aws rds wait db-instance-available --region {region} --db-instance-identifier {to}"
            ),
        ]
    });
    lines.collect()
}

/// Returns the commands that delete an instance, of which a last snapshot stays.
pub(crate) fn deleted(region: &str, instance: &str) -> Vec<String> {
    let word = shell::word(instance);
    vec![
        format!(
            "aws rds modify-db-instance --region {region} --db-instance-identifier {word} --no-deletion-protection \
             --apply-immediately"
        ),
        format!(
            "aws rds delete-db-instance --region {region} --db-instance-identifier {word} --final-db-snapshot-identifier \
             {}",
            shell::word(&format!("{instance}-last"))
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_restores_from_its_own_backups_by_its_name() {
        let own = "arn:aws:rds:us-east-1:123456789012:db:phoenix-prod";
        let copied = "arn:aws:rds:us-west-2:123456789012:auto-backup:ab-1";
        assert_eq!(own_instance(own), Some("phoenix-prod"));
        for other in [copied, "phoenix-prod", "rds:phoenix-prod-2026-11-22", ""] {
            assert_eq!(own_instance(other), None, "{other}");
        }
        let command = |arn| restore_to("r", &Origin::Backup { arn, time: None }, "t", "");
        assert!(command(own).contains("--source-db-instance-identifier phoenix-prod "));
        assert!(command(copied).contains("--source-db-instance-automated-backups-arn arn:"));
    }
}
