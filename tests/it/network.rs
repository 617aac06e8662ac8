//! What this host can see of the regions: its own network cut, both regions silent, the lost one swallowing packets.

use serde_json::Value;

use super::dr001::live;
use super::estate::{Estate, fresh};
use super::harness::{BINARY, Folder, Ran, ran};

/// Runs DR-001 with its whole command line behind another program's.
fn behind(folder: &Folder, before: &[&str]) -> Ran {
    let mut command = std::process::Command::new(before[0]);
    command.args(&before[1..]).arg(BINARY).args(live(&[]));
    command.current_dir(folder.path()).env_clear().envs(&folder.environment);
    command.stdin(std::process::Stdio::null());
    ran(command.output().expect("start it"))
}

/// Holds that the gate came to no verdict and that nothing was begun because of it.
#[track_caller]
fn inconclusive(estate: &Estate, folder: &Folder, ran: Ran) {
    let ran = ran.exits(10).says("inconclusive");
    let (_, events) = folder.journals().remove(0);
    let seen: Vec<&Value> = events.iter().filter(|event| event["kind"] == "gate_seen").collect();
    assert!(!seen.is_empty(), "{}", ran.err);
    for gate in seen {
        assert_eq!(gate["verdict"], "inconclusive", "{gate}");
    }
    assert!(!events.iter().any(|event| event["kind"] == "step_started"), "{events:?}");
    assert_eq!(estate.mutating(), Vec::<Value>::new());
    assert!(ran.err.contains("phoenix-dr") || ran.out.contains("phoenix-dr"), "no next command");
}

#[test]
fn a_host_without_any_network_is_no_proof_that_a_region_is_down() {
    let estate = fresh("{}");
    let folder = estate.folder();
    // A network namespace of its own, its loopback down: every address is unreachable.
    let ran = behind(&folder, &["unshare", "-n", "--"]);
    inconclusive(&estate, &folder, ran);
}

#[test]
fn a_host_where_everything_refuses_is_no_proof_that_a_region_is_down() {
    let estate = fresh("{}");
    let folder = estate.folder();
    // Loopback is up and nothing listens there: both regions refuse, the surviving one as well.
    let up = "ip link set lo up && exec \"$@\"";
    let ran = behind(&folder, &["unshare", "-n", "--", "sh", "-c", up, "sh"]);
    inconclusive(&estate, &folder, ran);
}

#[test]
fn two_silent_regions_are_no_proof_that_one_is_down() {
    let estate = fresh("{}");
    let folder = estate.folder();
    estate.dark("us-west-2.*", true);
    let ran = folder.run(&live(&[]));
    inconclusive(&estate, &folder, ran);
}
