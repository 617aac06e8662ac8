//! One record on one line: its bytes, its place in the chain, and what a line that is no record is instead.

use jiff::Timestamp;
use ring::digest::SHA256;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FORMAT;
use crate::clock::{Clock as _, RealClock};
use crate::event::{Event, Mode, Record};
use crate::ids::RunId;
use crate::mask::Masker;

/// Returns the SHA-256 of some bytes, in hex.
///
/// ring's is written in assembly: the chain of a long journal is checked in a debug build, too, without waiting.
pub(crate) fn digest(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = ring::digest::digest(&SHA256, bytes);
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Returns the one line that is this record, without its newline.
pub(crate) fn line(record: &Record) -> String {
    let line = serde_json::to_string(record);
    line.expect("every map in an event has text keys, and nothing else can fail")
}

/// Numbers events and links each to the one before.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    next: u64,
    prev: String,
    who: String,
    /// Secrets that must not become part of a record
    masks: Masker,
    /// In a rehearsal: a record's time is virtual, and the machine's stands beside it
    beside: Option<RealClock>,
}

impl Chain {
    /// Returns the chain of a new run.
    pub(crate) fn begin(run: &RunId, who: impl Into<String>) -> Self {
        let (prev, masks) = (digest(run.0.as_bytes()), Masker::default());
        Self { next: 0, prev, who: who.into(), masks, beside: None }
    }

    /// Returns the chain that goes on after `records` records, the last of which has digest `prev`.
    pub(crate) fn go_on(records: u64, prev: impl Into<String>, who: impl Into<String>) -> Self {
        let (prev, who, masks) = (prev.into(), who.into(), Masker::default());
        Self { next: records, prev, who, masks, beside: None }
    }

    /// Says in which mode the run of the records is that go on after these.
    #[must_use]
    pub(crate) fn in_mode(mut self, mode: Mode) -> Self {
        self.beside = (mode == Mode::Rehearsal).then_some(RealClock);
        self
    }

    /// Hides from now on what the masker knows in every event.
    #[must_use]
    pub(crate) fn masked_by(mut self, masks: Masker) -> Self {
        self.masks = masks;
        self
    }

    /// Makes an event the next record.
    pub(crate) fn seal(&mut self, event: Event, time: Timestamp) -> Record {
        let event = masked(event, &self.masks);
        if let Event::RunStarted { mode, .. } = &event {
            self.beside = (*mode == Mode::Rehearsal).then_some(RealClock);
        }
        let record = Record {
            format: FORMAT,
            seq: self.next,
            time,
            real: self.beside.map(|clock| clock.now()),
            prev: std::mem::take(&mut self.prev),
            who: self.who.clone(),
            event,
        };
        self.prev = digest(line(&record).as_bytes());
        self.next += 1;
        record
    }
}

/// Returns an event without the secrets a masker knows.
fn masked(event: Event, masks: &Masker) -> Event {
    if masks.is_idle() {
        return event;
    }
    let value = serde_json::to_value(&event);
    let value = value.expect("every map in an event has text keys, and nothing else can fail");
    if !masks.finds(&value.to_string()) {
        return event;
    }
    if let Ok(event) = serde_json::from_value(masks.value(value.clone())) {
        return event;
    }
    // The secret is also a word of the format: that is left, all the rest is hidden.
    let mut kept = value.clone();
    for place in texts(&value, String::new()) {
        let mut tried = kept.clone();
        if let Some(text) = tried.pointer_mut(&place) {
            *text = masks.value(text.take());
        }
        if serde_json::from_value::<Event>(tried.clone()).is_ok() {
            kept = tried;
        }
    }
    serde_json::from_value(kept).unwrap_or(event)
}

/// Returns the place of every text in a value.
fn texts(value: &Value, place: String) -> Vec<String> {
    let below = |name: &str, value: &Value| {
        texts(value, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")))
    };
    match value {
        Value::String(_) => vec![place],
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(at, item)| below(&at.to_string(), item)).collect()
        }
        Value::Object(map) => map.iter().flat_map(|(name, item)| below(name, item)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// A line of a journal.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Known(Box<Record>),
    /// A record in its place whose event this version does not understand
    Foreign(Foreign),
}

/// A record whose event only another version understands; it can be shown, never acted on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Foreign {
    pub seq: u64,
    pub time: Timestamp,
    pub prev: String,
    pub who: String,
    pub event: Value,
    /// What this version does not understand about it
    #[serde(skip)]
    pub why: String,
}

impl Foreign {
    /// Returns the event's kind.
    pub(crate) fn kind(&self) -> &str {
        self.event.get("kind").and_then(Value::as_str).unwrap_or("without a kind")
    }
}

impl Entry {
    /// Returns the record's number.
    pub(crate) const fn seq(&self) -> u64 {
        match self {
            Self::Known(record) => record.seq,
            Self::Foreign(foreign) => foreign.seq,
        }
    }

    /// Returns the digest it gives for the record before.
    pub(crate) fn prev(&self) -> &str {
        match self {
            Self::Known(record) => &record.prev,
            Self::Foreign(foreign) => &foreign.prev,
        }
    }

    /// Returns when it was written.
    pub(crate) const fn time(&self) -> Timestamp {
        match self {
            Self::Known(record) => record.time,
            Self::Foreign(foreign) => foreign.time,
        }
    }

    /// Returns who wrote it.
    pub(crate) fn who(&self) -> &str {
        match self {
            Self::Known(record) => &record.who,
            Self::Foreign(foreign) => &foreign.who,
        }
    }
}

/// Why a line is not an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LineError {
    /// Not JSON at all: torn or overwritten
    NotJson(String),
    /// Two records with no newline between them: the newline was overwritten
    Joined,
    /// JSON, but no record
    NotARecord(String),
    /// A record of a format this version cannot know
    Newer(u64),
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// Reads one line, without its newline. The chain is not looked at.
pub(super) fn parse(bytes: &[u8]) -> Result<Entry, LineError> {
    let known = match serde_json::from_slice::<Record>(bytes) {
        Ok(record) if record.format == FORMAT => return Ok(Entry::Known(Box::new(record))),
        Ok(record) => return Err(wrong_format(record.format.into())),
        Err(why) => why,
    };
    if let Err(why) = serde_json::from_slice::<Value>(bytes) {
        return Err(if joined(bytes) {
            LineError::Joined
        } else {
            LineError::NotJson(why.to_string())
        });
    }
    match serde_json::from_slice::<FormatOnly>(bytes) {
        Ok(FormatOnly { format }) if format != u64::from(FORMAT) => {
            return Err(wrong_format(format));
        }
        Ok(_) => {}
        Err(why) => return Err(LineError::NotARecord(why.to_string())),
    }
    match serde_json::from_slice::<Foreign>(bytes) {
        Ok(foreign) => Ok(Entry::Foreign(Foreign { why: known.to_string(), ..foreign })),
        Err(why) => Err(LineError::NotARecord(why.to_string())),
    }
}

fn wrong_format(found: u64) -> LineError {
    if found > u64::from(FORMAT) {
        LineError::Newer(found)
    } else {
        LineError::NotARecord(format!("format {found} was never used"))
    }
}

/// Says whether a line is a whole value followed by another one where its newline was.
fn joined(bytes: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    if !matches!(values.next(), Some(Ok(Value::Object(_)))) {
        return false;
    }
    let rest = &bytes[values.byte_offset()..];
    rest.first() == Some(&b'{') || rest.get(1) == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fixtures;

    #[test]
    fn digests_are_sha_256() {
        assert_eq!(
            digest(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn sealing_links_each_record_to_the_one_before() {
        let run = fixtures::run();
        let mut chain = Chain::begin(&run, "ops@bastion");
        let first = chain.seal(fixtures::started(), fixtures::time(0));
        let second = chain.seal(fixtures::note("a"), fixtures::time(1));
        assert_eq!((first.seq, second.seq, chain.next), (0, 1, 2));
        assert_eq!(first.prev, digest(run.0.as_bytes()));
        assert_eq!(second.prev, digest(line(&first).as_bytes()));
        let resumed = Chain::go_on(2, digest(line(&second).as_bytes()), "ops@bastion");
        assert_eq!((resumed.next, resumed.prev), (chain.next, chain.prev));
    }

    #[test]
    fn a_rehearsals_records_have_the_machines_time_beside_the_virtual_one() {
        let Event::RunStarted { run, plan, incident_started, settings, version, .. } =
            fixtures::started()
        else {
            panic!("the first event")
        };
        let began = RealClock.now();
        let mode = Mode::Rehearsal;
        let world = None;
        let started =
            Event::RunStarted { run, mode, plan, incident_started, settings, version, world };
        let mut chain = Chain::begin(&fixtures::run(), "ops@bastion");
        let first = chain.seal(started, fixtures::time(0));
        let mut resumed = Chain::go_on(1, "", "ops@bastion").in_mode(mode);
        for record in [&first, &resumed.seal(fixtures::note("a"), fixtures::time(1))] {
            assert!(record.real.is_some_and(|real| real >= began), "{record:?}");
            assert!(record.time < began, "virtual time is what it was said to be");
            let Ok(Entry::Known(read)) = parse(line(record).as_bytes()) else { panic!("it reads") };
            assert_eq!((read.time, read.real), (record.time, record.real));
        }
        // Live records have one time, and are written as ever.
        let mut live = Chain::go_on(1, "", "ops@bastion").in_mode(Mode::Live);
        let record = live.seal(fixtures::note("a"), fixtures::time(1));
        assert!(record.real.is_none() && !line(&record).contains("real"), "{record:?}");
    }

    #[test]
    fn no_record_holds_a_secret_even_one_that_is_a_word_of_the_format() {
        let masks = Masker::default();
        // `live` is a mode, and `noted` a kind: what reads them must still find them.
        for secret in ["hunter2-and-more", "noted", "live"] {
            masks.learn(secret);
        }
        let mut chain = Chain::begin(&fixtures::run(), "ops@bastion").masked_by(masks.clone());
        let started = chain.seal(fixtures::started(), fixtures::time(0));
        let text = "the password hunter2-and-more is live";
        let noted = chain.seal(fixtures::note(text), fixtures::time(1));
        for record in [&started, &noted] {
            assert!(matches!(parse(line(record).as_bytes()), Ok(Entry::Known(_))), "{record:?}");
        }
        let Event::Noted { text, .. } = &noted.event else { panic!("{noted:?}") };
        assert_eq!(text, "the password *** is ***");
        assert_eq!(
            noted.prev,
            digest(line(&started).as_bytes()),
            "the chain is over what is written"
        );
    }

    #[test]
    fn a_line_reads_as_the_record_it_was() {
        for record in fixtures::records() {
            let text = line(&record);
            assert!(!text.contains('\n'));
            let Ok(Entry::Known(read)) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(line(&read), text);
        }
    }

    #[test]
    fn lines_that_are_no_records_are_told_apart() {
        let good = line(&fixtures::records()[12]);
        let says = |text: &str| match parse(text.as_bytes()) {
            Ok(Entry::Known(_)) => "known".to_owned(),
            Ok(Entry::Foreign(foreign)) => format!("foreign {}", foreign.kind()),
            Err(LineError::NotJson(_)) => "not json".to_owned(),
            Err(LineError::Joined) => "joined".to_owned(),
            Err(LineError::NotARecord(_)) => "not a record".to_owned(),
            Err(LineError::Newer(format)) => format!("newer {format}"),
        };
        for (text, expected) in [
            (good.clone(), "known"),
            (String::new(), "not json"),
            (good[..good.len() - 1].to_owned(), "not json"),
            (format!("{good}\0\0\0"), "not json"),
            (format!("{good} {good}"), "joined"),
            (format!("{good}{good}"), "joined"),
            ("[]".to_owned(), "not a record"),
            ("{}".to_owned(), "not a record"),
            (r#"{"format":0}"#.to_owned(), "not a record"),
            (r#"{"format":2,"anything":"else"}"#.to_owned(), "newer 2"),
            (good.replace(r#""format":1"#, r#""format":7"#), "newer 7"),
            (good.replace(r#""kind":"noted""#, r#""kind":"mirrored""#), "foreign mirrored"),
            (good.replace(r#""text":"#, r#""words":"#), "foreign noted"),
        ] {
            assert_eq!(says(&text), expected, "{text}");
        }
    }
}
