//! Where a restored instance is put, and whether what that names is there.

use super::{database, read_failure, region};
use crate::clients::Clients;
use crate::estate::types::{RecoveredInstance, Region};
use crate::outcome::{ActionError, FailureClass};

/// Where a restored instance is put; every part RDS would otherwise choose by default.
pub(super) struct Place<'a> {
    pub subnet_group: &'a str,
    pub parameter_group: &'a str,
    pub region: &'a Region,
    pub recovered: &'a RecoveredInstance,
}

/// Returns where the instance goes. What is left out here RDS fills with defaults of the account: another network.
pub(super) fn place<'a>(clients: &'a Clients, name: &str) -> Result<Place<'a>, ActionError> {
    let region = region(clients, name)?;
    let missing = |what: &str| {
        let message = format!("regions.{name}.{what} is missing: RDS would take its default");
        ActionError::unchanged(FailureClass::Invalid, message)
            .hint(format!("add `{what}` to regions.{name} of the estate file"))
    };
    let subnet_group = region.subnet_group.as_deref().ok_or_else(|| missing("subnet_group"))?;
    if region.security_groups.is_empty() {
        return Err(missing("security_groups"));
    }
    let parameter_group =
        region.parameter_group.as_deref().ok_or_else(|| missing("parameter_group"))?;
    let recovered = &database(clients)?.recovered;
    Ok(Place { subnet_group, parameter_group, region, recovered })
}

/// Makes sure that what the restore names exists; returns what could not be looked at.
pub(super) async fn prerequisites(
    clients: &Clients,
    region: &str,
    place: &Place<'_>,
) -> Result<Vec<String>, ActionError> {
    let aws = clients.aws.region(region).await?;
    let subnets = aws.rds.describe_db_subnet_groups().db_subnet_group_name(place.subnet_group);
    let parameters =
        aws.rds.describe_db_parameter_groups().db_parameter_group_name(place.parameter_group);
    let (subnets, parameters) =
        futures::join!(Box::pin(subnets.send()), Box::pin(parameters.send()));
    let looks = [
        subnets.map(drop).map_err(|error| read_failure("DescribeDBSubnetGroups", region, &error)),
        parameters
            .map(drop)
            .map_err(|error| read_failure("DescribeDBParameterGroups", region, &error)),
    ];
    let mut unsure = Vec::new();
    for look in looks {
        match look {
            Ok(()) => {}
            Err(error) if error.class == FailureClass::NotFound => return Err(error),
            Err(error) => unsure.push(format!("not checked beforehand: {error}")),
        }
    }
    Ok(unsure)
}
