//! What the estate does not have or does not let the operator do: one clear message, the documented exit code, and
//! no change to anything.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::dr001::{quick, quick_folder, resume};
use super::estate::{Estate, fresh};
use super::harness::{Folder, Ran, ran};

/// Holds that a run was refused with these words, a hint, and nothing begun or changed.
#[track_caller]
fn refused(estate: &Estate, folder: &Folder, ran: Ran, exit: i32, words: &[&str]) {
    let ran = ran.exits(exit);
    let said = ran.said();
    for word in words {
        assert!(said.contains(word), "`{word}` is not in:\n{}\n{}", ran.out, ran.err);
    }
    assert!(said.to_lowercase().contains("hint:"), "what to do next is missing:\n{}", ran.err);
    for (_, events) in folder.journals() {
        assert!(!events.iter().any(|event| event["kind"] == "step_started"), "{}", ran.err);
    }
    let changes = estate.mutating();
    assert_eq!(changes, Vec::<Value>::new());
}

/// A folder whose estate file has a text replaced by another.
fn with(estate: &Estate, old: &str, new: &str) -> Folder {
    let folder = quick_folder(estate);
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    assert!(text.contains(old), "`{old}` is not in:\n{text}");
    std::fs::write(file, text.replace(old, new)).expect("write");
    folder
}

#[test]
fn an_estate_file_that_names_what_does_not_exist_is_refused_with_the_name() {
    let estate = fresh("{}");
    let zone = format!("zone: {}", estate.about("zone").as_str().expect("a zone"));
    for (old, new, words) in [
        (
            "context: eks-us-west-2",
            "context: eks-nowhere",
            ["eks-nowhere", "kubectl config get-contexts"],
        ),
        (zone.as_str(), "zone: ZNOWHERE", ["ZNOWHERE", "estate file"]),
        ("us-west-2: usw2", "us-west-2: usw9", ["usw9", "dns.records"]),
        ("app.phoenix.example", "ap.phoenix.example", ["ap.phoenix.example", "dns.records"]),
    ] {
        let folder = with(&estate, old, new);
        let ran = folder.run(&quick(&[]));
        refused(&estate, &folder, ran, 10, &words);
        // Whoever adds the flags that are missing must not find out only then.
        let ran = folder.run(&["run", "quick.yaml", "--set", "region=us-west-2"]);
        refused(&estate, &folder, ran, 8, &[words[0], words[1], "add --yes", "add --approve"]);
    }
}

/// None of it is of the outage: taken for it, a lossier recovery is chosen and a primary that is alive gone without.
#[test]
fn what_keeps_this_host_alone_from_the_database_is_no_outage() {
    let estate = fresh("{}");
    let mut unset = quick_folder(&estate);
    unset.environment.remove("PHOENIX_DB_PASSWORD").expect("it was set");
    refused(&estate, &unset, unset.run(&quick(&[])), 10, &["PHOENIX_DB_PASSWORD is not set"]);
    unset.run(&["doctor"]).exits(10);
    let mut wrong = quick_folder(&estate);
    wrong.environment.insert("PHOENIX_DB_PASSWORD".to_owned(), "nonsense".to_owned());
    refused(&estate, &wrong, wrong.run(&quick(&[])), 10, &["28P01", "password_from"]);
    for (old, new, words) in [
        ("database:\n  name: phoenix\n", "database:\n  name: phenix\n", ["3D000", "database.name"]),
        ("host_key: host", "host_key: hots", ["has no key `hots`", "did you mean `host`"]),
        (
            "  connection:\n",
            "  via: { command: [/bin/false], ready: '127.0.0.1:1' }\n  connection:\n",
            ["/bin/false", "run its command by hand"],
        ),
    ] {
        let folder = with(&estate, old, new);
        refused(&estate, &folder, folder.run(&quick(&[])), 10, &words);
    }
}

/// Names that are needed only after the database was promoted.
#[test]
fn what_is_needed_late_is_looked_at_early() {
    let estate = fresh("{}");
    let folder = with(&estate, "selector: database=phoenix", "selector: database=phenix");
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let mut balancer = text.lines().filter_map(|line| line.split_once("load_balancer: "));
    let (_, balancer) = balancer.next_back().expect("a load balancer");
    std::fs::write(file, text.replace(balancer, "nowhere.invalid:80")).expect("write");
    let said = folder.run(&["doctor"]).said();
    for word in [
        "no pod of us-west-2 has the labels database=phenix",
        "database.application.pods",
        "nowhere.invalid:80",
        "regions.us-west-2.load_balancer",
    ] {
        assert!(said.contains(word), "`{word}` is not in:\n{said}");
    }
}

/// A run keeps what it was planned with: whoever corrects the file is told to start again, and that works.
#[test]
fn an_estate_file_that_was_corrected_is_told_not_to_be_read_again() {
    let estate = fresh("{}");
    let folder = with(&estate, "us-west-2: usw2", "us-west-2: usw9");
    let ran = folder.run(&quick(&[])).exits(10);
    assert!(ran.said().contains("starts again, with files that were corrected"), "{}", ran.out);
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    std::fs::write(file, text.replace("us-west-2: usw9", "us-west-2: usw2")).expect("write");
    let ran = folder.run(&resume(&[])).exits(10);
    let words = ran.said();
    for word in ["usw9", "not what this run was planned with", "dns.records", "start again"] {
        assert!(words.contains(word), "`{word}` is not in:\n{}\n{}", ran.out, ran.err);
    }
    folder.run(&quick(&[])).exits(0);
}

#[test]
fn credentials_that_have_expired_are_said_to_have_before_anything_is_done() {
    let estate = fresh("{}");
    for service in ["sts", "rds", "route53", "s3"] {
        estate.fault(
            &json!({ "service": service, "action": "error", "status": 403, "code": "ExpiredToken",
                              "message": "The security token included in the request is expired" }),
        );
    }
    let folder = quick_folder(&estate);
    let ran = folder.run(&quick(&[]));
    refused(&estate, &folder, ran, 10, &["ExpiredToken", "renew the credentials"]);
}

#[test]
fn credentials_that_will_expire_during_the_run_are_said_to() {
    let estate = fresh("{}");
    let mut folder = with(&estate, "- name: environment", "- name: sso\n  profile: dr");
    let key = |name: &str| folder.environment[name].clone();
    let program = format!(
        "#!/bin/sh\nprintf '{{\"Version\":1,\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\",\
         \"SessionToken\":\"t\",\"Expiration\":\"%s\"}}' '{}' '{}' \
         \"$(date -u -d '+4 minutes' +%Y-%m-%dT%H:%M:%SZ)\"\n",
        key("AWS_ACCESS_KEY_ID"),
        key("AWS_SECRET_ACCESS_KEY")
    );
    let program = folder.write("credentials.sh", &program);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).expect("executable");
    let profile = format!("[profile dr]\ncredential_process = {}\n", program.display());
    let profile = folder.write("aws", &profile);
    folder.environment.insert("AWS_CONFIG_FILE".into(), profile.display().to_string());
    folder.environment.remove("AWS_ACCESS_KEY_ID");
    // A warning: it is for a person to say whether the time left is enough.
    let ran = folder.run(&quick(&["--dry-run"])).exits(0);
    let said = ran.said();
    for words in ["they expire in 0:0", "before P0 is restored", "renew them now"] {
        assert!(said.contains(words), "`{words}` is not in:\n{}", ran.out);
    }
    assert_eq!(estate.mutating(), Vec::<Value>::new());
}

#[test]
fn a_missing_permission_is_named() {
    let estate = fresh("{}");
    let folder = quick_folder(&estate);
    let denied = "User: arn:aws:iam::123456789012:user/dr is not authorized";
    let deny = |service: &str, operation: &str| {
        estate.fault(
            &json!({ "service": service, "operation": operation, "action": "error", "status": 403,
                              "code": "AccessDenied", "message": denied }),
        )
    };
    deny("rds", "Describe*");
    refused(&estate, &folder, folder.run(&quick(&[])), 10, &["rds:DescribeDBInstances", "allow"]);
    estate.no_faults();
    deny("route53", "ListResourceRecordSets");
    let ran = folder.run(&quick(&[]));
    refused(&estate, &folder, ran, 10, &["route53:ListResourceRecordSets", "allow"]);
    estate.no_faults();

    // The cluster's own word: this token belongs to a user who may do nothing.
    let file = &folder.environment["KUBECONFIG"];
    let kubeconfig = std::fs::read_to_string(file).expect("a kubeconfig");
    assert!(kubeconfig.contains("phoenix-operator"), "the operator's token is named otherwise");
    std::fs::write(file, kubeconfig.replace("phoenix-operator", "phoenix-viewer")).expect("write");
    let ran = folder.run(&quick(&[]));
    refused(
        &estate,
        &folder,
        ran,
        10,
        &["\"viewer\" cannot get resource \"deployments\"", "grant"],
    );
}

#[test]
fn a_recovery_point_that_was_named_and_is_not_there_is_not_replaced_by_another() {
    let estate = fresh("{}");
    for named in [&["--recovery-point", "replica"][..], &[]] {
        let folder = with(&estate, "id: phoenix-dr-replica", "id: phoenix-no-replica");
        let ran = folder.run(&quick(named)).exits(8);
        let said = ran.said();
        assert!(
            said.contains("phoenix-no-replica") && said.contains("--recovery-point"),
            "{}",
            ran.err
        );
    }
    for operation in ["PromoteReadReplica", "RestoreDBInstanceToPointInTime"] {
        assert_eq!(estate.requested(operation), 0, "{operation}");
    }
    let weights = estate.world()["weights"].clone();
    assert_eq!(weights, json!({ "use1": 100, "usw2": 0 }));
}

#[test]
fn a_run_that_is_held_or_finished_is_not_resumed() {
    let folder = Folder::new();
    folder.write("phoenix-dr.yaml", "estate: t\nprimary: { region: us-east-1 }\nregions:\n  us-east-1: { api: 'http://127.0.0.1:1' }\n  us-west-2: { api: 'http://127.0.0.1:2' }\n");
    let go = folder.path().join("go");
    let wait = format!(
        "runbook: T-1\ntitle: Test\ncommand: test\nsteps:\n  - id: a\n    action: command.run\n    with: \
         {{ argv: [sh, -c, 'until test -e {}; do sleep 0.05; done'] }}\n    verify: {{ none: x }}\n    \
         rollback: {{ none: x }}\n",
        go.display()
    );
    folder.write("wait.yaml", &wait);
    let held = folder.start(&["run", "wait.yaml", "--yes"]);
    let started =
        |(_, events): &(_, Vec<Value>)| events.iter().any(|event| event["kind"] == "step_started");
    while !folder.journals().first().is_some_and(started) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let run = folder.journals()[0].0.file_name().expect("a name").to_string_lossy().into_owned();
    let short = &run[run.len() - 4..];
    for arguments in [&["resume", "--yes"][..], &["resume", short, "--yes"], &["rollback", "--yes"]]
    {
        let ran = folder.run(arguments).exits(9);
        assert!(
            ran.said().contains(short) && ran.said().contains("phoenix-dr status"),
            "{}",
            ran.err
        );
    }
    std::fs::write(go, "").expect("let it go on");
    ran(held.wait_with_output().expect("it ends")).exits(0);
    for command in ["resume", "rollback"] {
        let ran = folder.run(&[command, short, "--yes"]).exits(2);
        assert!(
            ran.said().contains("is over") && ran.said().contains("phoenix-dr audit"),
            "{}",
            ran.err
        );
    }
    folder.run(&["resume", "ZZZZ", "--yes"]).exits(2).says("ZZZZ");
}
