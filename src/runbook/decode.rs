//! The text of a file that an operator names: runbooks, estates, faults, worlds.

use std::io::{Error, ErrorKind};

/// What is no text, by how it begins, and what to do about it.
const NO_TEXT: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "it is compressed by gzip: unpack it first, with gunzip"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd: unpack it first, with unzstd"),
    (b"PK\x03\x04", "it is a zip archive: unpack it first, with unzip"),
    (b"\xff\xfe", "it is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16: save it as UTF-8"),
];

/// What some editors put before UTF-8.
const MARK: char = '\u{feff}';

/// Returns the text of a file's bytes, without the byte order mark.
///
/// # Errors
///
/// What is no UTF-8, with the place, or with what it is where its beginning tells.
pub(crate) fn text(bytes: Vec<u8>) -> std::io::Result<String> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidData, message);
    if let Some((_, said)) = NO_TEXT.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(wrong((*said).to_owned()));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        wrong(format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
    })?;
    if text.starts_with(MARK) {
        text.remove(0);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text(b"\xef\xbb\xbfworld: w\n".to_vec()).expect("text"), "world: w\n");
        assert_eq!(text(b"world: w\n".to_vec()).expect("text"), "world: w\n");
        assert_eq!(text(Vec::new()).expect("text"), "");
    }

    #[test]
    fn what_is_no_text_is_named() {
        let said = |bytes: &[u8]| text(bytes.to_vec()).expect_err("no text").to_string();
        for (bytes, part) in [
            (&b"\x1f\x8b\x08\x00"[..], "gunzip"),
            (b"\x28\xb5\x2f\xfd\x24", "zstd"),
            (b"PK\x03\x04\x14", "unzip"),
            (b"\xff\xfew\x00", "UTF-16"),
            (b"\xfe\xff\x00w", "UTF-16"),
            (b"ab\xff", "not UTF-8 at byte 2"),
        ] {
            assert!(said(bytes).contains(part), "{part}: {}", said(bytes));
        }
    }
}
