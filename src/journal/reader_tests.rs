use std::sync::Arc;

use super::*;
use crate::journal::{fixtures, golden};

fn read_bytes(bytes: &[u8]) -> (Vec<String>, Result<End, ReadError>) {
    let mut reader = Reader::over(Lines::new(bytes), Path::new("journal.jsonl"), None);
    let mut seen = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => seen.push(record::line(&record)),
            Ok(None) => return (seen, Ok(reader.end)),
            Err(why) => return (seen, Err(why)),
        }
    }
}

fn lines() -> Vec<String> {
    fixtures::records().iter().map(record::line).collect()
}

/// Rewrites record `at` so that its own line is well formed, and the chain after it is not touched.
fn change(at: usize, from: &str, to: &str) -> Vec<u8> {
    let mut lines = lines();
    assert!(lines[at].contains(from), "{}", lines[at]);
    lines[at] = lines[at].replacen(from, to, 1);
    (lines.join("\n") + "\n").into_bytes()
}

#[test]
fn a_whole_journal_reads_back() {
    let bytes = fixtures::bytes(&fixtures::records());
    let (seen, end) = read_bytes(&bytes);
    assert_eq!(seen, lines());
    let end = end.expect("intact");
    assert_eq!(end.run, Some(fixtures::run()));
    assert_eq!((end.records, end.length), (seen.len() as u64, bytes.len() as u64));
    assert_eq!(end.prev, digest(lines().last().expect("records").as_bytes()));
    assert_eq!(end.torn, None);
}

#[test]
fn every_cut_is_a_prefix_and_perhaps_a_torn_tail() {
    let all = lines();
    let bytes = fixtures::bytes(&fixtures::records());
    let first = all[0].len();
    // Each byte of the later records, and a sample of the long first one.
    for cut in (0..first).step_by(61).chain(first..=bytes.len()) {
        let (seen, end) = read_bytes(&bytes[..cut]);
        let end = end.expect("a cut is no damage");
        assert_eq!(seen, all[..seen.len()], "cut at {cut}");
        let whole: usize = seen.iter().map(|line| line.len() + 1).sum();
        assert_eq!(end.length, whole as u64);
        let rest = (cut - whole) as u64;
        let torn = (rest > 0).then_some(Torn { offset: whole as u64, length: rest });
        assert_eq!(end.torn, torn, "cut at {cut}");
        assert!(rest <= all.get(seen.len()).map_or(0, |next| next.len() as u64), "cut at {cut}");
    }
}

/// Returns the bytes of a short run: a plan without steps and a few remarks.
fn short() -> Vec<u8> {
    let mut started = fixtures::started();
    if let Event::RunStarted { plan, .. } = &mut started {
        let plan = Arc::make_mut(plan);
        plan.steps.clear();
        plan.verification.clear();
    }
    let events = vec![started, fixtures::note("a"), fixtures::note("b"), fixtures::note("c")];
    fixtures::bytes(&fixtures::seal(&fixtures::run(), events))
}

fn assert_found(bytes: &[u8], at: usize) {
    let (seen, end) = read_bytes(bytes);
    let why = end.expect_err(&format!("byte {at} as {:#x} is not found", bytes[at]));
    let place = why.place().expect("damage has a place");
    assert_eq!(place.record, seen.len() as u64);
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
    assert!((line..=line + 1).contains(&place.record), "byte {at} of line {line}: {why}");
}

#[test]
fn every_changed_byte_before_the_last_record_is_found() {
    let mut bytes = short();
    let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n');
    for at in 0..=last.expect("several lines") {
        let right = bytes[at];
        for wrong in [right ^ 1, right ^ 0x80, b'\n', b' '] {
            if wrong != right {
                bytes[at] = wrong;
                assert_found(&bytes, at);
            }
        }
        bytes[at] = right;
    }
    assert!(read_bytes(&bytes).1.is_ok());
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]
    #[test]
    fn any_changed_byte_of_a_real_run_is_found(at: proptest::sample::Index, wrong: u8) {
        let mut bytes = fixtures::bytes(&fixtures::records());
        let last = bytes[..bytes.len() - 1].iter().rposition(|byte| *byte == b'\n');
        let at = at.index(last.expect("several lines") + 1);
        proptest::prop_assume!(bytes[at] != wrong);
        bytes[at] = wrong;
        assert_found(&bytes, at);
    }
}

#[test]
fn damage_is_named() {
    let without_third: Vec<String> =
        lines().into_iter().enumerate().filter(|(i, _)| *i != 2).map(|(_, line)| line).collect();
    let mut overwritten = lines();
    overwritten[4] = "\0\0\0\0".to_owned();
    let newline_lost = lines().join("\n").replacen("}\n{", "} {", 1) + "\n";
    let join = |lines: Vec<String>| (lines.join("\n") + "\n").into_bytes();
    for (bytes, record, says) in [
        (join(without_third), 2, "has number 3"),
        (join(overwritten), 4, "is not JSON"),
        (newline_lost.into_bytes(), 0, "the newline between them"),
        (change(2, "\"yes\"", "\"no\""), 3, "does not continue the chain"),
        (change(0, "\"seq\":0", "\"seq\":1"), 0, "has number 1"),
        (join(lines()[1..].to_vec()), 0, "has number 1"),
        (b"{}\n{}\n".to_vec(), 0, "is not a record: missing field `format`"),
        (b"[1]\n".to_vec(), 0, "is not a record"),
    ] {
        let (seen, end) = read_bytes(&bytes);
        let why = end.expect_err(says);
        assert_eq!(why.place().map(|place| place.record), Some(record), "{why}");
        assert_eq!(seen.len() as u64, record);
        assert!(why.to_string().contains(says), "{why} does not say: {says}");
        assert!(matches!(why, ReadError::Damaged { .. }));
        let user = why.user();
        assert_eq!(user.exit, Exit::Journal);
        assert!(user.message.contains(&format!("record {record} (line {}, byte", record + 1)));
        assert!(user.hints[0].contains("head -c"), "{:?}", user.hints);
    }
}

#[test]
fn another_runs_journal_is_not_this_runs() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = fixtures::file(dir.path(), &fixtures::bytes(&fixtures::records()));
    let other = RunId("01JGZ7ZQ2V7S6M9Q3N4K5T0000".to_owned());
    let why = recover(&path, &other, drop).expect_err("another run");
    assert!(why.to_string().contains("starts run 01JGZ7ZQ2V7S6M9Q3N4K5T7F3A"), "{why}");

    let events = vec![fixtures::note("too early"), fixtures::started()];
    let bytes = fixtures::bytes(&fixtures::seal(&fixtures::run(), events));
    let (_, end) = read_bytes(&bytes);
    assert!(end.expect_err("no start").to_string().contains("is not the start of a run"));
}

#[test]
fn newer_formats_are_refused_by_everyone() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let bytes = change(3, "\"format\":1", "\"format\":2");
    let path = fixtures::file(dir.path(), &bytes);
    for why in [
        read(&path, drop).expect_err("newer"),
        recover(&path, &fixtures::run(), drop).expect_err("newer"),
        verify(&path, None).bad.expect("newer"),
    ] {
        assert!(matches!(why, ReadError::Newer { found: 2, .. }));
        assert!(why.to_string().contains("record 3 "), "{why}");
        assert!(why.to_string().contains("format 2; this version knows formats up to 1"), "{why}");
        assert!(why.hint().contains("newer phoenix-dr"));
    }
}

#[test]
fn unknown_events_are_shown_but_never_acted_on() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let mut records = fixtures::records();
    let cut = records.split_off(3);
    let mut all = String::from_utf8(fixtures::bytes(&records)).expect("text");
    let prev = digest(record::line(&records[2]).as_bytes());
    let foreign = serde_json::json!({
        "format": 1, "seq": 3, "time": cut[0].time, "prev": prev, "who": "ops@bastion",
        "event": {"kind": "mirrored", "to": "s3://bucket"}
    });
    all.push_str(&format!("{foreign}\n"));
    let path = fixtures::file(dir.path(), all.as_bytes());

    let mut kinds = Vec::new();
    let end = read(&path, |entry| {
        if let Entry::Foreign(foreign) = &entry {
            kinds.push((entry.seq(), foreign.kind().to_owned()));
        }
    });
    assert_eq!(end.expect("readable").records, 4);
    assert_eq!(kinds, [(3, "mirrored".to_owned())]);
    assert!(verify(&path, None).bad.is_none());

    let mut seen = 0;
    let why = recover(&path, &fixtures::run(), |_| seen += 1).expect_err("not understood");
    assert_eq!(seen, 3);
    let ReadError::UnknownEvent { place, kind, .. } = &why else { panic!("{why}") };
    assert_eq!((place.record, kind.as_str()), (3, "mirrored"));
    assert_eq!(std::fs::read(&path).expect("read"), all.as_bytes(), "nothing was touched");
}

#[test]
fn a_torn_end_is_copied_away_and_cut_off() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let whole = fixtures::bytes(&fixtures::records()[..5]);
    for (number, tail) in ["{\"format\":1,\"se", "\0\0\0", "garbage\n", "\n"].iter().enumerate() {
        let torn = [&whole[..], tail.as_bytes()].concat();
        let path = fixtures::file(dir.path(), &torn);
        let before = read(&path, drop).expect("looking changes nothing");
        assert_eq!(before.torn.map(|torn| torn.length), Some(tail.len() as u64));
        assert_eq!(std::fs::read(&path).expect("read"), torn);

        let mut seen = 0;
        let recovered = recover(&path, &fixtures::run(), |_| seen += 1).expect("recovered");
        let aside = recovered.set_aside.expect("something was torn");
        assert_eq!(seen, 5);
        assert_eq!(aside.copy, dir.path().join(format!("journal.torn-{}", number + 1)));
        assert_eq!(std::fs::read(&aside.copy).expect("read"), torn);
        assert_eq!(std::fs::read(&path).expect("read"), whole);
        let again = recover(&path, &fixtures::run(), drop).expect("whole now");
        assert_eq!((again.end, again.set_aside), (recovered.end, None));
    }
}

#[test]
fn an_empty_journal_is_a_run_that_never_began() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = fixtures::file(dir.path(), b"");
    let recovered = recover(&path, &fixtures::run(), drop).expect("legal");
    assert_eq!((recovered.end.records, recovered.end.length), (0, 0));
    assert_eq!(recovered.end.prev, digest(fixtures::run().0.as_bytes()));
    assert_eq!(read(&path, drop).expect("legal").run, None);
    let missing = recover(&dir.path().join("no.jsonl"), &fixtures::run(), drop);
    assert!(matches!(missing, Err(ReadError::Io { .. })));
}

#[test]
fn a_reader_follows_a_live_journal() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let bytes = fixtures::bytes(&fixtures::records());
    let first = lines()[0].len() + 1;
    let path = fixtures::file(dir.path(), &bytes[..first + 10]);
    let mut reader = Reader::open(&path, None).expect("open");
    let mut seen = 0;
    while reader.next().expect("read").is_some() {
        seen += 1;
    }
    assert_eq!((seen, reader.end().torn.is_some()), (1, true));
    std::fs::write(&path, &bytes).expect("the writer goes on");
    reader.again().expect("seek");
    while reader.next().expect("read").is_some() {
        seen += 1;
    }
    assert_eq!((seen, reader.end().torn), (lines().len(), None));
}

#[test]
fn the_golden_journal_of_format_1_reads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journal/format-1.jsonl");
    // Written once per format: `PHOENIX_DR_BLESS=1 cargo test golden_journal`
    if std::env::var_os("PHOENIX_DR_BLESS").is_some() {
        let golden = fixtures::seal(&fixtures::run(), golden::events());
        std::fs::write(&path, fixtures::bytes(&golden)).expect("write the golden journal");
    }
    let mut kinds = std::collections::BTreeSet::new();
    let end = read(&path, |entry| {
        let Entry::Known(record) = entry else { panic!("{entry:?}") };
        let event = serde_json::to_value(&record.event).expect("an event");
        kinds.insert(event["kind"].as_str().expect("a kind").to_owned());
    });
    let end = end.expect("every release reads format 1");
    assert_eq!((end.run, end.torn), (Some(fixtures::run()), None));
    assert_eq!((end.records, kinds.len()), (63, 29));
}

#[test]
fn a_whole_line_in_place_of_the_first_record_is_damage_and_a_part_of_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.jsonl");
    for (text, damaged) in
        [("", false), ("{\"format\":1,\"se", false), ("garbage\n", true), ("\n", true)]
    {
        std::fs::write(&path, text).expect("written");
        let found = verify(&path, None);
        assert_eq!(found.records, 0);
        assert_eq!(found.bad.as_ref().is_some_and(ReadError::is_damage), damaged, "{text:?}");
    }
}
