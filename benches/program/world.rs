//! A large world, written as captures are.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// A small world as it was captured; the library's own tests keep it.
const SMALL: &str = "tests/fixtures/worlds/captured.jsonl";

/// Writes a world with so many S3 objects, a fiftieth as many workloads and a twentieth as many record sets.
pub(crate) fn write(path: &Path, objects: usize) {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join(SMALL);
    let small = fs::read_to_string(small).expect("a captured world");
    let (head, lines) = small.split_once('\n').expect("a head");
    let count = lines.lines().count();
    let (workloads, records) = (objects / 50, objects / 20);
    let wanted = format!("\"lines\":{}", count + objects + workloads);
    let mut text = head.replacen(&format!("\"lines\":{count}"), &wanted, 1);
    assert!(text.contains(&wanted), "the head counts its lines");
    text.push('\n');
    let mut sets = String::new();
    for record in 0..records {
        // Writing to a string cannot fail.
        let _ = write!(
            sets,
            "{{\"Name\":\"r{record}.phoenix.example.\",\"Type\":\"A\",\"TTL\":60,\
             \"ResourceRecords\":[{{\"Value\":\"192.0.2.1\"}}]}},"
        );
    }
    let list = "\"ResourceRecordSets\":[";
    assert!(lines.contains(list), "a zone has its records");
    text += &lines.replacen(list, &format!("{list}{sets}"), 1);
    for object in 0..objects {
        let _ = writeln!(
            text,
            "{{\"type\":\"s3.object\",\"region\":\"us-west-2\",\"id\":\"phoenix-backups-usw2/dumps/{object}\",\
             \"body\":{{\"ETag\":\"\\\"d41d8cd98f00b204e9800998ecf8427e\\\"\",\"LastModified\":\"now-{object}s\",\
             \"Size\":1048576}}}}"
        );
    }
    for workload in 0..workloads {
        let name = format!("workload-{workload}");
        let _ = writeln!(
            text,
            "{{\"type\":\"kubernetes.object\",\"region\":\"us-west-2\",\"id\":\"Deployment/phoenix-system/{name}\",\
             \"body\":{{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{{\"name\":\"{name}\",\
             \"namespace\":\"phoenix-system\",\"labels\":{{\"app\":\"{name}\"}}}},\"spec\":{{\"replicas\":1,\
             \"selector\":{{\"matchLabels\":{{\"app\":\"{name}\"}}}},\"template\":{{\"metadata\":{{\"labels\":\
             {{\"app\":\"{name}\"}}}},\"spec\":{{\"containers\":[{{\"name\":\"app\",\"image\":\"r.example/{name}:1\"\
             }}]}}}}}}}}}}"
        );
    }
    fs::write(path, text).expect("write the world");
}
