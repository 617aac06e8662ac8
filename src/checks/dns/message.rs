//! The bytes of a DNS question and its answer (RFC 1035), as far as the check needs them.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Compression may point backwards only; more jumps than this is a loop.
const JUMPS_MAX: usize = 32;
const HEADER: usize = 12;

/// Record types that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordType {
    A,
    Aaaa,
    Cname,
    Txt,
}

impl RecordType {
    /// Returns the type of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_uppercase().as_str() {
            "A" => Some(Self::A),
            "AAAA" => Some(Self::Aaaa),
            "CNAME" => Some(Self::Cname),
            "TXT" => Some(Self::Txt),
            _ => None,
        }
    }

    /// Returns its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
            Self::Aaaa => "AAAA",
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Cname => 5,
            Self::Txt => 16,
            Self::Aaaa => 28,
        }
    }
}

/// Why an answer says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    Code(String),
    Malformed(&'static str),
}

/// Returns the bytes of a question, or `None` for what is no domain name.
pub(super) fn question(id: u16, name: &str, record_type: RecordType) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend(id.to_be_bytes());
    // Recursion desired; one question, one additional record (EDNS).
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > 253 || !name.is_ascii() {
        return None;
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(record_type.number().to_be_bytes());
    bytes.extend([0, 1]);
    // EDNS0: answers up to 4096 bytes fit, so that truncation stays rare.
    bytes.extend([0, 0, 41, 0x10, 0x00, 0, 0, 0, 0, 0, 0]);
    Some(bytes)
}

/// Says whether a datagram is the answer to that question: same id, same question.
pub(super) fn answers(answer: &[u8], question: &[u8]) -> bool {
    let Some(end) = skip_name(question, HEADER).map(|end| end + 4) else { return false };
    let flags = answer.get(2).copied().unwrap_or_default();
    answer.get(..2) == question.get(..2)
        && flags & 0x80 != 0
        && answer.get(4..6) == Some(&[0, 1])
        && answer
            .get(HEADER..end)
            .zip(question.get(HEADER..end))
            .is_some_and(|(answer, question)| answer.eq_ignore_ascii_case(question))
}

/// Returns the records of the wanted type in an answer; no such name is none.
pub(super) fn read(answer: &[u8], wanted: RecordType) -> Result<Vec<String>, Unusable> {
    let byte = |at: usize| answer.get(at).copied().ok_or(Unusable::Malformed("it is cut off"));
    if byte(2)? & 0x02 != 0 {
        return Err(Unusable::Malformed("it is truncated"));
    }
    match byte(3)? & 0x0f {
        0 | 3 => {}
        code => return Err(Unusable::Code(code_name(code))),
    }
    let cut = Unusable::Malformed("it is cut off");
    let count = short(answer, 6).ok_or_else(|| cut.clone())?;
    let mut at = skip_name(answer, HEADER).ok_or_else(|| cut.clone())? + 4;
    let mut found = Vec::new();
    for _ in 0..count {
        at = skip_name(answer, at).ok_or_else(|| cut.clone())?;
        let kind = short(answer, at).ok_or_else(|| cut.clone())?;
        let length = usize::from(short(answer, at + 8).ok_or_else(|| cut.clone())?);
        let start = at + 10;
        let data = answer.get(start..start + length).ok_or_else(|| cut.clone())?;
        if kind == wanted.number() {
            let text = record(answer, start, data, wanted);
            found.push(text.ok_or(Unusable::Malformed("a record is malformed"))?);
        }
        at = start + length;
    }
    found.sort();
    Ok(found)
}

fn record(answer: &[u8], start: usize, data: &[u8], kind: RecordType) -> Option<String> {
    match kind {
        RecordType::A => Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string()),
        RecordType::Aaaa => Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string()),
        RecordType::Cname => name(answer, start),
        RecordType::Txt => {
            let mut text = String::new();
            let mut rest = data;
            while let Some((length, tail)) = rest.split_first() {
                let length = usize::from(*length);
                text.push_str(&String::from_utf8_lossy(tail.get(..length)?));
                rest = tail.get(length..)?;
            }
            Some(text)
        }
    }
}

fn code_name(code: u8) -> String {
    match code {
        1 => "FORMERR".to_owned(),
        2 => "SERVFAIL".to_owned(),
        4 => "NOTIMP".to_owned(),
        5 => "REFUSED".to_owned(),
        other => format!("code {other}"),
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Returns the place after a name.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length & 0xc0 == 0 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
}

/// Returns a name, following compression.
fn name(bytes: &[u8], mut at: usize) -> Option<String> {
    let mut labels = Vec::new();
    let mut jumps = 0;
    loop {
        match *bytes.get(at)? {
            0 => return Some(labels.join(".")),
            length if length & 0xc0 == 0xc0 => {
                jumps += 1;
                if jumps > JUMPS_MAX {
                    return None;
                }
                at = usize::from(short(bytes, at)? & 0x3fff);
            }
            length if length & 0xc0 == 0 => {
                let start = at + 1;
                at = start + usize::from(length);
                labels.push(String::from_utf8_lossy(bytes.get(start..at)?).into_owned());
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns an answer to a question: a code and records of (type, data), all for the question's name.
    pub(crate) fn answer(question: &[u8], code: u8, records: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let end = skip_name(question, HEADER).expect("a question") + 4;
        let mut bytes = question[..end].to_vec();
        bytes[2] = 0x81;
        bytes[3] = 0x80 | code;
        bytes[6..8].copy_from_slice(&u16::try_from(records.len()).expect("few").to_be_bytes());
        bytes[10..12].copy_from_slice(&[0, 0]);
        for (kind, data) in records {
            bytes.extend([0xc0, 0x0c]);
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 30]);
            bytes.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    #[test]
    fn reads_records_of_the_wanted_type() {
        let asked = question(7, "app.example.", RecordType::A).expect("a name");
        let target = b"\x02lb\xc0\x10".to_vec();
        let given =
            answer(&asked, 0, &[(5, target), (1, vec![10, 0, 0, 2]), (1, vec![10, 0, 0, 1])]);
        assert!(answers(&given, &asked));
        assert_eq!(
            read(&given, RecordType::A),
            Ok(vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()])
        );
        assert_eq!(read(&given, RecordType::Cname), Ok(vec!["lb.example".to_owned()]));
        assert_eq!(read(&answer(&asked, 3, &[]), RecordType::A), Ok(Vec::new()));
        assert_eq!(
            read(&answer(&asked, 2, &[]), RecordType::A),
            Err(Unusable::Code("SERVFAIL".to_owned()))
        );
        let text = answer(&asked, 0, &[(16, b"\x02ab\x01c".to_vec())]);
        assert_eq!(read(&text, RecordType::Txt), Ok(vec!["abc".to_owned()]));
    }

    #[test]
    fn passes_over_what_was_not_asked() {
        let asked = question(7, "app.example", RecordType::A).expect("a name");
        let other = question(8, "app.example", RecordType::A).expect("a name");
        assert!(!answers(&answer(&other, 0, &[]), &asked), "another id");
        let other = question(7, "app.example", RecordType::Cname).expect("a name");
        assert!(!answers(&answer(&other, 0, &[]), &asked), "another question");
        assert!(!answers(&asked, &asked), "a question is no answer");
        assert!(!answers(&[], &asked));
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long = "a".repeat(64);
        for bad in ["", ".", "a..b", "ü.example", long.as_str()] {
            assert_eq!(question(1, bad, RecordType::A), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(bytes: Vec<u8>) {
            let asked = question(7, "app.example", RecordType::A).expect("a name");
            answers(&bytes, &asked);
            for wanted in [RecordType::A, RecordType::Aaaa, RecordType::Cname, RecordType::Txt] {
                drop(read(&bytes, wanted));
            }
        }

        #[test]
        fn a_cut_answer_never_invents_records(cut in 0_usize..80) {
            let asked = question(7, "app.example", RecordType::Cname).expect("a name");
            let given = answer(&asked, 0, &[(5, b"\x02lb\xc0\x10".to_vec())]);
            let cut = cut.min(given.len() - 1);
            proptest::prop_assert!(read(&given[..cut], RecordType::Cname).is_err());
        }
    }
}
