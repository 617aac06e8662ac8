//! File names for names people choose: any text becomes one path component, and no two become the same.

use super::record::digest;

/// Longest file name made; file systems allow 255 bytes, and a suffix and a temporary prefix must fit.
const LENGTH_MAX: usize = 150;

/// Returns a file name for any text: letters, digits, `-`, `_` and inner dots stay, the rest is `%XX`.
pub(super) fn file_name(name: &str) -> String {
    let mut made = String::with_capacity(name.len());
    for (at, byte) in name.bytes().enumerate() {
        let keeps = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if keeps || (byte == b'.' && at > 0) {
            made.push(char::from(byte));
        } else {
            made.push_str(&format!("%{byte:02X}"));
        }
    }
    if made.is_empty() {
        made.push('%');
    }
    if made.len() > LENGTH_MAX {
        // `%~` is made by nothing else, so a shortened name meets no other.
        made.truncate(LENGTH_MAX - 66);
        made.push_str("%~");
        made.push_str(&digest(name.as_bytes()));
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_one_component() {
        for (name, made) in [
            ("phoenix", "phoenix"),
            ("Phoenix-2_b", "Phoenix-2_b"),
            ("a.b", "a.b"),
            ("", "%"),
            (".", "%2E"),
            ("..", "%2E."),
            ("../x", "%2E.%2Fx"),
            ("a b", "a%20b"),
            ("a%20b", "a%2520b"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(file_name(name), made);
        }
        let long = file_name(&"/".repeat(500));
        assert_eq!(long.len(), LENGTH_MAX);
        assert_ne!(long, file_name(&"/".repeat(501)));
    }

    proptest::proptest! {
        #[test]
        fn two_names_make_two_files(a in ".{0,12}", b in ".{0,12}") {
            proptest::prop_assert_eq!(a == b, file_name(&a) == file_name(&b));
            let made = file_name(&a);
            proptest::prop_assert!(!made.contains('/') && !made.starts_with('.') && made.len() <= LENGTH_MAX);
        }
    }
}
