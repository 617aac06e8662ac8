//! Real tools started in a rehearsal: the AWS CLI, kubectl and Helm against the simulation, and no way out of it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::harness::{Folder, Ran, of_step};

/// Asks AWS everything a script of an operator does; what fails says how.
const AWS: &str = r#"
export AWS_DEFAULT_REGION=us-west-2
zone=Z0123456789ABCDEFGHIJ
say who aws sts get-caller-identity --query Account --output text
say instances aws rds describe-db-instances --query 'DBInstances[].DBInstanceIdentifier' --output text
say promoted aws rds promote-read-replica --db-instance-identifier phoenix-dr-replica --query DBInstance.DBInstanceStatus --output text
say nowhere aws rds describe-db-instances --db-instance-identifier nowhere
say records aws route53 list-resource-record-sets --hosted-zone-id $zone --query 'ResourceRecordSets[].Weight' --output text
set_weight='{"Name":"app.phoenix.example","Type":"CNAME","SetIdentifier":"usw2","Weight":7,"TTL":60,"ResourceRecords":[{"Value":"phoenix-usw2.elb.us-west-2.amazonaws.com"}]}'
say changed aws route53 change-resource-record-sets --hosted-zone-id $zone --change-batch "{\"Changes\":[{\"Action\":\"UPSERT\",\"ResourceRecordSet\":$set_weight}]}" --query ChangeInfo.Status --output text
say weights aws route53 list-resource-record-sets --hosted-zone-id $zone --query 'ResourceRecordSets[].Weight' --output text
say answer aws route53 test-dns-answer --hosted-zone-id $zone --record-name app.phoenix.example --record-type CNAME --query ResponseCode --output text
say nozone aws route53 get-hosted-zone --id ZNOWHERE
printf hello > body
for kind in CRC32 SHA256; do
  say "put $kind" aws s3api put-object --bucket phoenix-dr-state --key "a b/$kind" --body body --checksum-algorithm $kind --query "Checksum$kind" --output text
done
say get aws s3api get-object --bucket phoenix-dr-state --key 'a b/CRC32' --checksum-mode ENABLED --query ContentLength --output text got
say content cat got; echo
say list aws s3api list-objects-v2 --bucket phoenix-dr-state --prefix "a b/" --query 'Contents[].Key' --output text
say nokey aws s3api get-object --bucket phoenix-dr-state --key none none
"#;

const KUBERNETES: &str = r#"
k() { kubectl --context eks-us-west-2 -n phoenix-system "$@"; }
say scaled k scale deployment/dashboard --replicas=2
say rolled k rollout status deployment/dashboard --timeout=120s
say ready k get deployment dashboard -o 'jsonpath={.status.readyReplicas}'; echo
say absent k get deployment nothing
say may k auth can-i patch deployments --subresource=scale
say rules k auth can-i --list
say path k auth can-i get /healthz
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: applied }\ndata: { key: "%s" }\n' one > map.yaml
say tried k apply --server-side --dry-run=server -f map.yaml
say nothing k get configmap applied
say applied k apply --server-side -f map.yaml
say same k apply --server-side --dry-run=server -f map.yaml
k get configmap applied -w --output-watch-events -o 'jsonpath={.type}:{.object.data.key} ' > watched & watching=$!
seen() { for look in $(seq 300); do grep -q "$1" watched && return; sleep 0.1; done; }
seen ADDED
k patch configmap applied --type merge -p '{"data":{"key":"two"}}' > /dev/null
k delete configmap applied > /dev/null
seen DELETED
kill $watching
say watched cat watched; echo
mkdir -p chart/templates
printf 'apiVersion: v2\nname: chart\nversion: 0.1.0\n' > chart/Chart.yaml
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: charted }\ndata: { key: "{{ .Values.key }}" }\n' > chart/templates/map.yaml
h() { helm --kube-context eks-us-west-2 -n phoenix-system "$@"; }
say installed h install mine ./chart --set key=one
say upgraded h upgrade mine ./chart --set key=two
say charted k get configmap charted -o 'jsonpath={.data.key}'; echo
say rolledback h rollback mine 1
say charted k get configmap charted -o 'jsonpath={.data.key}'; echo
say uninstalled h uninstall mine
"#;

/// Returns the folder with the tools, which are installed on first use.
pub(crate) fn tools() -> &'static str {
    static TOOLS: OnceLock<String> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let script = std::env::var_os("PHOENIX_DR_TEST_ESTATE")
            .expect("PHOENIX_DR_TEST_ESTATE is not set: run tests/run, or see docs/testing.md");
        let asked = Command::new(script).arg("--tools").stderr(Stdio::inherit()).output();
        let answer = asked.expect("ask where the tools are");
        assert!(answer.status.success(), "the tools could not be prepared");
        String::from_utf8_lossy(&answer.stdout).trim().to_owned()
    })
}

/// Returns a folder with a runbook of one step that runs a script, and a world in which nothing is lost.
fn folder(script: &str, startup: &str) -> Folder {
    let mut folder = Folder::new();
    let path = format!("{}:{}", tools(), folder.environment["PATH"]);
    folder.environment.insert("PATH".to_owned(), path);
    let say = "say() { echo \"[$1]\"; shift; \"$@\" 2>&1 || echo \"exit $?\"; }\ncd \"$TMPDIR\"\n";
    folder.write("tool.sh", &format!("{say}{script}"));
    let world = std::fs::read_to_string("src/sandbox/worlds/phoenix.yaml").expect("a world");
    let lost = "faults:\n  - { fault: dark, region: us-east-1 }\n";
    assert!(world.contains(lost) && world.contains("startup: 25s"));
    let world = world.replace(lost, "").replace("startup: 25s", &format!("startup: {startup}"));
    folder.write("world.yaml", &world);
    let tool = folder.path().join("tool.sh").display().to_string();
    folder.write(
        "tools.yaml",
        &format!(
            "runbook: T-4\ntitle: Tools\ncommand: tools\nrehearse:\n  - argv: [sh]\n    run: {{ start: true }}\n\
             steps:\n  - id: ready\n    checks:\n      - check: command\n        title: a cluster is there\n        \
             with: {{ argv: [sh, -c, 'kubectl --context eks-us-west-2 get namespaces'], reads_only: true }}\n  \
             - id: tool\n    needs: [ready]\n    action: command.run\n    with:\n      argv: [sh, {tool}]\n      \
             undo: [sh, -c, 'true']\n      done_when: [sh, -c, 'test -e {tool}.done']\n    retry: {{ attempts: 1 }}\n    \
             rehearse:\n      run: {{ start: true }}\n      undo: {{ start: true }}\n    \
             verify: {{ none: the tool says so }}\n"
        ),
    );
    folder
}

fn rehearsed(folder: &Folder) -> Ran {
    folder.run(&[
        "run",
        "tools.yaml",
        "--rehearse=world.yaml",
        "--yes",
        "--speed=max",
        "--non-interactive",
    ])
}

/// Returns what was said under a heading of the script.
fn said(folder: &Folder, heading: &str) -> Vec<String> {
    let (run, _) = folder.journals().remove(0);
    let log = std::fs::read_to_string(run.join("artifacts/tool.log")).expect("the tool's output");
    let heading = format!("[{heading}]\n");
    let parts = log.split(heading.as_str()).skip(1);
    let found: Vec<String> =
        parts.map(|part| part.split("\n[").next().unwrap_or_default().trim().to_owned()).collect();
    assert!(!found.is_empty(), "nothing under {heading}:\n{log}");
    found
}

/// Holds that tools may be confined here: no other test of this file means anything where they may not.
#[track_caller]
fn allowed(ran: Ran) -> Ran {
    let all = format!("{}{}", ran.out, ran.err);
    assert!(
        !all.contains("does not let it be cut off"),
        "this host allows no network namespaces, so that tools are confined cannot be shown: {all}"
    );
    ran
}

#[test]
fn the_aws_cli_finds_aws() {
    let folder = folder(AWS, "1s");
    let ran = allowed(rehearsed(&folder)).exits(0);
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
    for (heading, expected) in [
        ("who", "123456789012"),
        ("instances", "phoenix-dr-replica"),
        ("promoted", "available"),
        ("records", "100\t0"),
        ("changed", "PENDING"),
        ("weights", "100\t7"),
        ("answer", "NOERROR"),
        ("put CRC32", "NhCmhg=="),
        ("put SHA256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ("get", "5"),
        ("content", "hello"),
        ("list", "a b/CRC32\ta b/SHA256"),
    ] {
        assert_eq!(said(&folder, heading), [expected], "{heading}");
    }
    for (heading, code, operation) in [
        ("nowhere", "DBInstanceNotFound", "DescribeDBInstances"),
        ("nozone", "NoSuchHostedZone", "GetHostedZone"),
        ("nokey", "NoSuchKey", "GetObject"),
    ] {
        let told = &said(&folder, heading)[0];
        assert!(told.contains(&format!("({code}) when calling the {operation}")), "{told}");
        assert!(told.ends_with("exit 254") || told.ends_with("exit 255"), "{told}");
    }
}

#[test]
fn kubectl_and_helm_find_a_cluster() {
    let folder = folder(KUBERNETES, "1s");
    let ran = allowed(rehearsed(&folder)).exits(0);
    assert!(!ran.out.contains("left the simulation"), "{}", ran.out);
    for (heading, part) in [
        ("scaled", "deployment.apps/dashboard scaled"),
        ("rolled", "successfully rolled out"),
        ("absent", "Error from server (NotFound): deployments.apps \"nothing\" not found\nexit 1"),
        ("path", "yes"),
        ("rules", "[*]"),
        ("tried", "configmap/applied serverside-applied (server dry run)"),
        ("nothing", "(NotFound): configmaps \"applied\" not found\nexit 1"),
        ("applied", "configmap/applied serverside-applied"),
        ("same", "configmap/applied serverside-applied (server dry run)"),
        ("installed", "STATUS: deployed"),
        ("upgraded", "has been upgraded"),
        ("rolledback", "Rollback was a success"),
        ("uninstalled", "release \"mine\" uninstalled"),
    ] {
        let told = &said(&folder, heading)[0];
        assert!(told.contains(part), "{heading}: {told}");
    }
    assert_eq!(said(&folder, "ready"), ["2"]);
    assert_eq!(said(&folder, "may"), ["yes"]);
    assert_eq!(said(&folder, "watched"), ["ADDED:one MODIFIED:two DELETED:two"]);
    assert_eq!(said(&folder, "charted"), ["two", "one"]);
}

#[test]
fn a_tool_sees_nothing_of_what_is_real() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a listener");
    let port = listener.local_addr().expect("its address").port();
    let script = format!(
        "reach() {{ python3 -c 'import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)' \"$@\" 2>&1 | tail -1; }}\n\
         say environment env\n\
         say host reach 127.0.0.1 {port}\n\
         say far reach 192.0.2.1 443\n\
         say name aws --region us-west-2 --endpoint-url https://sts.us-west-2.amazonaws.com sts get-caller-identity\n\
         say unknown aws --region us-west-2 rds describe-db-proxies\n\
         say scaled kubectl --context eks-us-west-2 -n phoenix-system scale deployment/dashboard --replicas=1\n\
         say ready kubectl --context eks-us-west-2 -n phoenix-system get deployment dashboard --no-headers\n"
    );
    let mut folder = folder(&script, "1h");
    let real = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "KUBECONFIG", "PGPASSWORD", "HTTPS_PROXY"];
    for name in real {
        folder.environment.insert(name.to_owned(), "canary".to_owned());
    }
    let ran = allowed(rehearsed(&folder)).exits(7);
    assert!(ran.out.contains("left the simulation: rds DescribeDBProxies"), "{}", ran.out);
    let environment = &said(&folder, "environment")[0];
    assert!(!environment.contains("canary"), "{environment}");
    assert!(said(&folder, "host")[0].contains("refused"), "this host's own loopback");
    assert!(said(&folder, "far")[0].contains("unreachable"), "{}", said(&folder, "far")[0]);
    assert!(said(&folder, "name")[0].contains("Could not connect"), "{}", said(&folder, "name")[0]);
    let unknown = &said(&folder, "unknown")[0];
    assert!(unknown.contains("(InvalidAction)"), "{unknown}");
    // While a tool runs, time does not leap to when the pod would be ready.
    assert!(said(&folder, "ready")[0].contains("0/1"), "{}", said(&folder, "ready")[0]);
    listener.set_nonblocking(true).expect("asked");
    assert!(listener.accept().is_err(), "somebody came out");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("files").flatten().collect();
    assert!(left.iter().all(|file| !file.file_name().to_string_lossy().contains("phoenix-dr-0")));
}

#[test]
fn where_a_tool_cannot_be_confined_it_is_refused() {
    let mut folder = folder("touch \"$0.ran\"\n", "1s");
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).expect("a folder");
    let denied = "#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2\nexit 1\n";
    let unshare = folder.write("bin/unshare", denied);
    std::fs::set_permissions(&unshare, std::fs::Permissions::from_mode(0o755)).expect("allowed");
    let path = format!("{}:{}", bin.display(), folder.environment["PATH"]);
    folder.environment.insert("PATH".to_owned(), path);
    let text = std::fs::read_to_string(folder.path().join("tools.yaml")).expect("a runbook");
    // Without the check before it, whose doubt would stop the run as well.
    let (head, step) = text.split_once("  - id: ready").expect("its first step");
    let step = step.split_once("  - id: tool\n    needs: [ready]\n").expect("its second").1;
    folder.write("tools.yaml", &format!("{head}  - id: tool\n{step}"));
    let ran = rehearsed(&folder);
    assert_ne!(ran.exit, 0, "{}", ran.out);
    let all = ran.said();
    for part in ["does not let it be cut off", "Operation not permitted", "instead of `start`"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(!folder.path().join("tool.sh.ran").exists(), "it was run all the same");
    let (_, events) = folder.journals().remove(0);
    assert!(of_step(&events, "attempt_finished", "tool").len() <= 1);
}

#[test]
fn what_is_started_is_told_and_says_nothing_else() {
    let folder = folder("true\n", "1s");
    let validated = ["validate", "--rehearsable", "tools.yaml"];
    folder.run(&validated).exits(0).says("a rehearsal starts `sh`, cut off from the network");
    let text = std::fs::read_to_string(folder.path().join("tools.yaml")).expect("a runbook");
    let both = text.replace("      run: { start: true }", "      run: { start: true, exit: 1 }");
    folder.write("tools.yaml", &both);
    folder.run(&validated).exits(3).says("`start` and `exit`");
    rehearsed(&folder).exits(3).says("`start` and `exit`");
}
