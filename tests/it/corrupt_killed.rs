//! DR-002 killed with SIGKILL after each of its records and resumed, whatever it restores from.

use super::corrupt::{ANSWERS, Backups, DUMP, INSTANCE, OPTIONS, PROVE, allow, damage, database};
use super::corrupt::{asked, recovered};
use super::corrupt_content::{assessed, damage_of_every_kind, fill};
use super::corrupt_server;
use super::cut::{covers, killed_after_each, of_the_run};
use super::estate::fresh;
use super::point_in_time::Place;

fn resume(answers: &[&str]) -> Vec<String> {
    std::iter::once("resume").chain(answers.iter().copied()).map(str::to_owned).collect()
}

#[test]
fn a_dump_takes_over_although_the_run_is_killed_after_each_record() {
    let estate = fresh(OPTIONS);
    fill(&estate);
    let backups = Backups::of(&estate, &format!("{DUMP}{PROVE}"));
    estate.sql(INSTANCE, "drop database proof");
    let expected = damage_of_every_kind(&estate);
    let folder = backups.folder(&estate);
    let cuts = killed_after_each(&folder, &database(&[]), &resume(&ANSWERS));
    let steps = [
        "evidence",
        "fence",
        "assess",
        "recovery_point",
        "restore",
        "statistics",
        "prove",
        "cut_over",
    ];
    covers(&cuts, &steps);
    covers(&cuts, &["application", "deep"]);
    of_the_run(&cuts, &["run_verified"]);
    recovered(&estate, "killed after each record");
    let (_, events) = folder.journals().remove(0);
    assert_eq!(assessed(&events), expected, "relations and blocks");
    assert_eq!(estate.sql(INSTANCE, "select count(*) from archive.readings"), 2000);
    assert_eq!(estate.sql(INSTANCE, "select sum(length(body)) from lab.documents"), 1_280_000);
    let entries = std::fs::read_dir(folder.path().join("evidence")).expect("listed");
    assert_eq!(entries.count(), 1, "one copy, and nothing that was begun");
}

#[test]
fn a_server_of_a_base_backup_takes_over_although_the_run_is_killed_after_each_record() {
    let estate = fresh(OPTIONS);
    estate.dark("us-east-1.kubernetes", false);
    allow(&estate);
    let place = Place::of(&estate);
    damage(&estate);
    let folder = place.folder(&estate);
    let cuts = killed_after_each(
        &folder,
        &corrupt_server::ANSWERS.map(str::to_owned),
        &resume(&corrupt_server::RESUME),
    );
    let steps = ["fence", "assess", "recovery_point", "restore_server", "prove_server", "repoint"];
    covers(&cuts, &steps);
    covers(&cuts, &["application", "deep"]);
    of_the_run(&cuts, &["run_verified"]);
    corrupt_server::taken_over(&estate, &place);
    let damaged = asked(&estate, "phoenix", "select sum(length(name)) from experiments");
    assert_eq!(damaged, Err("XX001".to_owned()), "the damaged one is as it was");
    place.clear();
}
