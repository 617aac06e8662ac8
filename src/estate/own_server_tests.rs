//! What an estate says of a server of one's own.

use super::*;

#[test]
fn a_server_of_ones_own_is_kept_apart_from_what_it_is_made_of() {
    let of = |directory: &str, wal: &str, data: &str, listen: &str, user: &str| {
        let backups = format!("base_backups: {{ directory: {directory}, wal: {wal} }}");
        let text = changed(
            "# base_backups: { directory: /var/backups/base, wal: /var/backups/wal }",
            &backups,
        );
        let server = format!("server: {{ data: {data}, listen: \"{listen}\", user: {user} }}");
        text.replacen(
            "backup_retention_days: 7",
            &format!("backup_retention_days: 7\n    {server}"),
            1,
        )
    };
    let text = refused(&of("base", "/w", "../x", "here:5433", "root")).render(false);
    for said in [
        "`base` is not a directory's full path",
        "`../x` is not a directory's full path",
        "`here:5433` is not an address to listen at",
        "`root` cannot run PostgreSQL",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let text = refused(&of("/b", "/b", "/b/new", "127.0.0.1:5433", "postgres")).render(false);
    assert!(text.contains("is the directory of base backups"), "{text}");
    assert!(text.contains("is in /b, the estate's `database.base_backups.directory`"), "{text}");
    assert!(text.contains("is in /b, the estate's `database.base_backups.wal`"), "{text}");
}

#[test]
fn a_bucket_of_base_backups_may_be_in_the_primary_region_and_each_mistake_is_said() {
    let of = |from: &str| {
        changed(
            "# base_backups: { directory: /var/backups/base, wal: /var/backups/wal }",
            &format!("base_backups: {{ directory: /b, wal: /w, from: {from} }}"),
        )
    };
    let text = of("{ bucket: b-1, region: us-east-1, prefix: orders }");
    let estate = load::parse("phoenix-dr.yaml", &text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let known = estate.database.expect("a database").base_backups.expect("base backups");
    let from = known.from.as_ref().expect("a bucket");
    assert_eq!(from.place("base/sunday"), "s3://b-1/orders/base/sunday");
    let kept = serde_json::to_value(&known).expect("JSON");
    assert_eq!(serde_json::from_value::<own_server::BaseBackups>(kept).expect("read"), known);
    for (wrong, said) in [
        ("{ bucket: s3://b, region: us-east-1 }", "`s3://b` is not a bucket's name"),
        ("{ bucket: b-1, region: us-wst-2 }", "did you mean `us-west-2`?"),
        ("{ bucket: b-1, region: us-east-1, prefix: a/ }", "`a/` is not a prefix"),
        ("{ bucket: b-1 }", "`region` is missing in database.base_backups.from"),
    ] {
        let text = refused(&of(wrong)).render(false);
        assert!(text.contains(said), "{wrong}: {text}");
    }
    // What is brought into the one would be in the way of the other.
    for (bases, wal) in [("/b", "/b/wal"), ("/b/bases", "/b")] {
        let text = of("{ bucket: b-1, region: us-east-1 }");
        let text =
            text.replacen("directory: /b, wal: /w", &format!("directory: {bases}, wal: {wal}"), 1);
        let text = refused(&text).render(false);
        assert!(text.contains("is within the directory of base backups"), "{text}");
    }
}
