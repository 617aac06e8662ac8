use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::journal::fixtures;
use crate::journal::reader::{read, recover};

/// What the next calls to the disk do instead of what they should.
#[derive(Debug, Default)]
pub(super) struct Faults {
    writes: VecDeque<Write>,
    sync: Option<i32>,
    cut: Option<i32>,
}

#[derive(Debug, Clone, Copy)]
enum Write {
    /// Takes this many bytes only
    Short(usize),
    Error(i32),
}

const EINTR: i32 = 4;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

impl Faults {
    pub(super) fn before_write<'a>(&mut self, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
        match self.writes.pop_front() {
            None => Ok(bytes),
            Some(Write::Short(length)) => Ok(&bytes[..length.min(bytes.len())]),
            Some(Write::Error(code)) => Err(io::Error::from_raw_os_error(code)),
        }
    }

    pub(super) fn before_sync(&mut self) -> io::Result<()> {
        self.sync.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }

    pub(super) fn before_cut(&mut self) -> io::Result<()> {
        self.cut.map_or(Ok(()), |code| Err(io::Error::from_raw_os_error(code)))
    }
}

struct Scene {
    dir: tempfile::TempDir,
    writer: JournalWriter,
    records: Vec<Record>,
}

impl Scene {
    /// Returns a writer that has three records on disk.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut writer = JournalWriter::create(&dir.path().join("journal.jsonl")).expect("create");
        let records = fixtures::records();
        writer.append(&records[..3]).expect("append");
        Self { dir, writer, records }
    }

    fn on_disk(&self) -> Vec<u8> {
        std::fs::read(&self.writer.path).expect("read")
    }
}

#[test]
fn records_are_on_disk_as_they_were_given() {
    let mut scene = Scene::new();
    scene.writer.append(&[]).expect("nothing is fine");
    for record in &scene.records[3..] {
        scene.writer.append(std::slice::from_ref(record)).expect("append");
    }
    assert_eq!(scene.on_disk(), fixtures::bytes(&scene.records));
    let path = &scene.writer.path;
    assert_eq!(path.metadata().expect("metadata").permissions().mode() & 0o777, 0o600);
    assert!(JournalWriter::create(path).is_err(), "a journal is created once");
}

#[test]
fn a_resumed_journal_goes_on() {
    let scene = Scene::new();
    let path = scene.writer.path.to_owned();
    drop(scene.writer);
    let recovered = recover(&path, &fixtures::run(), drop).expect("recover");
    let mut writer = JournalWriter::go_on(&path, &recovered.end).expect("open");
    writer.append(&scene.records[3..]).expect("append");
    assert_eq!(std::fs::read(&path).expect("read"), fixtures::bytes(&scene.records));
    let why = JournalWriter::go_on(&path, &recovered.end).expect_err("it has grown since");
    assert!(why.to_string().contains("another process"), "{why}");
    drop(scene.dir);
}

#[test]
fn short_and_interrupted_writes_are_finished() {
    let mut scene = Scene::new();
    scene.writer.disk.faults.writes =
        VecDeque::from([Write::Short(10), Write::Error(EINTR), Write::Short(1)]);
    scene.writer.append(&scene.records[3..]).expect("append");
    assert_eq!(scene.on_disk(), fixtures::bytes(&scene.records));
}

#[test]
fn a_failed_write_leaves_no_torn_end_and_poisons() {
    let faults: [(&str, Vec<Write>, Option<i32>); 5] = [
        ("No space left on device", vec![Write::Error(ENOSPC)], None),
        ("No space left on device", vec![Write::Short(100), Write::Error(ENOSPC)], None),
        ("Read-only file system", vec![Write::Error(EROFS)], None),
        ("write zero", vec![Write::Short(7), Write::Short(0)], None),
        ("Input/output error", vec![], Some(EIO)),
    ];
    for (says, writes, sync) in faults {
        let mut scene = Scene::new();
        let before = scene.on_disk();
        scene.writer.disk.faults.writes = writes.into();
        scene.writer.disk.faults.sync = sync;
        let why = scene.writer.append(&scene.records[3..5]).expect_err(says);
        assert!(why.to_string().contains(says), "{why}");
        assert!(why.to_string().contains("journal.jsonl"), "{why}");
        scene.writer.disk.faults = Faults::default();
        let kept: Vec<String> = scene.records[3..5].iter().map(record::line).collect();
        assert_eq!(scene.writer.unwritten, kept);
        assert_eq!(scene.on_disk(), before, "cut back to what was synced");

        let again = scene.writer.append(&scene.records[5..6]).expect_err("poisoned");
        assert_eq!(again, why, "the first reason stays");
        assert!(scene.writer.append(&[]).is_err(), "a broken journal is never fine");
        assert_eq!(scene.writer.unwritten.len(), 3);
        assert_eq!(scene.on_disk(), before);
    }
}

#[test]
fn what_cannot_be_cut_off_is_a_torn_end() {
    let mut scene = Scene::new();
    let before = scene.on_disk();
    scene.writer.disk.faults.writes = VecDeque::from([Write::Short(50), Write::Error(ENOSPC)]);
    scene.writer.disk.faults.cut = Some(EIO);
    let why = scene.writer.append(&scene.records[3..]).expect_err("full");
    assert!(why.to_string().contains("could not be cut off: Input/output error"), "{why}");
    assert_eq!(scene.on_disk().len(), before.len() + 50);
    let end = read(&scene.writer.path, drop).expect("readable");
    assert_eq!((end.records, end.torn.map(|torn| torn.length)), (3, Some(50)));
}

#[test]
fn a_full_device_is_told() {
    let file = OpenOptions::new().append(true).open("/dev/full").expect("Linux has /dev/full");
    let mut writer = JournalWriter::over(file, Path::new("/dev/full"), 0, 0);
    let why = writer.append(&fixtures::records()[..1]).expect_err("full");
    assert!(why.to_string().contains("No space left on device"), "{why}");
    assert_eq!(writer.unwritten, [record::line(&fixtures::records()[0])]);
}

#[test]
fn records_out_of_order_are_a_defect_that_is_caught() {
    let mut scene = Scene::new();
    let before = scene.on_disk();
    let why = scene.writer.append(&scene.records[4..]).expect_err("a record is missing");
    assert!(why.to_string().contains("record 4 came where 3 was due"), "{why}");
    assert_eq!(scene.on_disk(), before);
    assert!(scene.writer.append(&scene.records[3..4]).is_err(), "poisoned");
}
