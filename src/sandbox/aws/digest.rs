//! Sums of bytes as AWS's services write them: MD5 of ETags, CRC-32 and SHA-256 of checksum headers, base64.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use sha2::Sha256;

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns the MD5 sum of bytes.
pub(super) fn md5(bytes: &[u8]) -> Vec<u8> {
    Md5::digest(bytes).to_vec()
}

/// Returns the SHA-256 sum of bytes.
pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Returns the CRC-32 of bytes, as zlib has it.
pub(super) fn crc32(bytes: &[u8]) -> Vec<u8> {
    crc(bytes, 0xEDB8_8320)
}

/// Returns the CRC-32C of bytes.
pub(super) fn crc32c(bytes: &[u8]) -> Vec<u8> {
    crc(bytes, 0x82F6_3B78)
}

fn crc(bytes: &[u8], polynomial: u32) -> Vec<u8> {
    let mut table = [0_u32; 256];
    for (index, entry) in (0_u32..).zip(table.iter_mut()) {
        *entry = (0..8).fold(index, |value, _| match value & 1 {
            1 => (value >> 1) ^ polynomial,
            _ => value >> 1,
        });
    }
    let sum = bytes
        .iter()
        .fold(u32::MAX, |sum, byte| (sum >> 8) ^ table[usize::from((sum as u8) ^ byte)]);
    (!sum).to_be_bytes().to_vec()
}

/// Writes bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes bytes in base64.
pub(super) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let part = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = part(0) << 16 | part(1) << 8 | part(2);
        for letter in 0..4 {
            let index = (bits >> (18 - 6 * letter)) & 63;
            text.push(match letter as usize > chunk.len() {
                true => '=',
                false => char::from(LETTERS[index as usize]),
            });
        }
    }
    text
}

/// Reads base64; `None` where it is none.
pub(super) fn unbase64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 255).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        assert_eq!(hex(&md5(b"abc")), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex(&crc32(b"123456789")), "cbf43926");
        assert_eq!(hex(&crc32c(b"123456789")), "e3069283");
        assert_eq!(base64(&crc32(b"hello")), "NhCmhg==");
    }

    #[test]
    fn base64_is_read_back() {
        for plain in [&b""[..], b"a", b"ab", b"abc", &[0, 255, 254, 62, 63]] {
            assert_eq!(unbase64(&base64(plain)).as_deref(), Some(plain));
        }
        assert_eq!(base64(b"phoenix"), "cGhvZW5peA==");
        assert_eq!(unbase64("!"), None);
    }
}
