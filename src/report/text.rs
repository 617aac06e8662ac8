//! Text that fits: columns, wrapping, times and lengths of time as a person reads them. Pure.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::since;
use crate::span::Span;

/// Columns every text must fit in.
pub(crate) const COLUMNS: usize = 80;

/// Returns the text on one line: line breaks and tabs become spaces, other control characters vanish, so that
/// nothing a service or a child said can move the cursor or change colours.
pub(crate) fn plain(text: &str) -> String {
    cleaned(text).into_owned()
}

/// Returns the same, and nothing new where there is nothing to take out.
fn cleaned(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Returns the columns one character takes.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        // Combining marks and zero-width joiners.
        0x0300..=0x036F | 0x200B..=0x200F | 0xFE00..=0xFE0F | 0x20D0..=0x20FF => 0,
        // East Asian wide and full-width forms, and emoji.
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1FAFF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

/// Returns a command as it is shown for pasting; a remark between commands has no prompt.
pub(crate) fn typed(command: &str) -> String {
    let command = plain(command);
    if command.starts_with('#') { command } else { format!("$ {command}") }
}

/// Returns the columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(char_width).sum() }
}

/// Returns the text cut to at most `columns`, with `…` where something was cut.
pub(crate) fn clip(text: &str, columns: usize) -> String {
    let text = plain(text);
    if width(&text) <= columns {
        return text;
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = char_width(c);
        if used + next + 1 > columns {
            break;
        }
        used += next;
        out.push(c);
    }
    let mut out = out.trim_end().to_owned();
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Returns the text cut or filled with spaces to exactly `columns`.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let mut out = clip(text, columns);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// Returns the text filled with spaces to at least `columns`, never cut.
pub(crate) fn fill(text: &str, columns: usize) -> String {
    let mut out = plain(text);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// Returns the text as lines of at most `columns`, later ones indented by `hang` spaces.
///
/// Line breaks in the text stay; words longer than a line are broken where they must.
pub(crate) fn wrap(text: &str, columns: usize, hang: usize) -> Vec<String> {
    let columns = columns.max(hang + 8);
    let mut lines = Vec::new();
    for part in text.lines() {
        let first = lines.is_empty();
        let mut line = String::new();
        let mut used = if first { 0 } else { hang };
        if !first {
            line.push_str(&" ".repeat(hang));
        }
        let mut empty = true;
        for word in cleaned(part).split_whitespace() {
            let (mut word, mut wide) = (word, width(word));
            if !empty && used + 1 + wide > columns {
                lines.push(std::mem::replace(&mut line, " ".repeat(hang)));
                used = hang;
                empty = true;
            }
            if !empty {
                line.push(' ');
                used += 1;
            }
            while used + wide > columns {
                let (head, rest) = split_at_width(word, columns - used);
                line.push_str(head);
                lines.push(std::mem::replace(&mut line, " ".repeat(hang)));
                used = hang;
                (word, wide) = (rest, width(rest));
            }
            line.push_str(word);
            used += wide;
            empty = false;
        }
        lines.push(line.trim_end().to_owned());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn split_at_width(word: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    for (at, c) in word.char_indices() {
        used += char_width(c);
        if used > columns && at > 0 {
            return word.split_at(at);
        }
    }
    (word, "")
}

/// Returns a text indented and wrapped to `columns`.
pub(crate) fn block(text: &str, columns: usize, indent: usize) -> Vec<String> {
    wrap(text, columns.saturating_sub(indent).max(8), 0)
        .into_iter()
        .map(|line| if line.is_empty() { line } else { format!("{}{line}", " ".repeat(indent)) })
        .collect()
}

/// Returns what a person is told to do as lines of at most `columns`. A line of it that begins with `$ ` is a command and
/// stays one line whatever the width: it is for pasting.
pub(crate) fn instruction(said: &str, columns: usize, indent: usize) -> Vec<String> {
    let line = |line: &str| match line.starts_with("$ ") {
        true => vec![format!("{}{}", " ".repeat(indent), plain(line))],
        false => block(line, columns, indent),
    };
    said.lines().flat_map(line).collect()
}

/// Returns a command, of words without spaces, as lines of at most `columns` where its words allow it. A line that goes
/// on ends with `\`: pasted together they are one command.
pub(crate) fn command(command: &str, columns: usize, indent: usize) -> Vec<String> {
    let (command, lead) = (plain(command), " ".repeat(indent));
    let mut lines: Vec<String> = Vec::new();
    for word in command.split(' ') {
        match lines.last_mut() {
            Some(line) if width(line) + width(word) + " \\".len() < columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(line) => {
                line.push_str(" \\");
                lines.push(format!("{lead}  {word}"));
            }
            None => lines.push(format!("{lead}{word}")),
        }
    }
    lines
}

/// Returns the columns of a table as lines: each column as wide as its widest cell, two spaces between, the last
/// one wrapped into what is left of `columns`.
pub(crate) fn table(rows: &[Vec<String>], columns: usize, indent: usize) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
        .map(Option::unwrap_or_default)
        .collect();
    let mut lines = Vec::new();
    for row in rows {
        let mut line = " ".repeat(indent);
        for (at, cell) in row.iter().enumerate() {
            if at + 1 == row.len() {
                let hang = width(&line);
                let room = columns.saturating_sub(hang).max(12);
                let mut parts = wrap(cell, room, 0).into_iter();
                line.push_str(&parts.next().unwrap_or_default());
                lines.push(line.trim_end().to_owned());
                lines.extend(parts.map(|part| format!("{}{part}", " ".repeat(hang))));
                line = String::new();
            } else {
                line.push_str(&fill(cell, widths[at]));
                line.push_str("  ");
            }
        }
    }
    lines
}

/// Returns a length of time in at most two units: `42s`, `3m 02s`, `1h 05m`, `2d 3h`.
pub(crate) fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Returns a length of time to the nearest sensible unit, for tables: `7 s`, `6 min`, `2 h 10`, `3 d`.
pub(crate) fn about(length: Span) -> String {
    let seconds = length.duration().as_secs();
    match seconds {
        0..90 if seconds != 60 => format!("{seconds} s"),
        60..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..172_800 => {
            let minutes = (seconds + 30) / 60;
            if minutes.is_multiple_of(60) {
                format!("{} h", minutes / 60)
            } else {
                format!("{} h {:02}", minutes / 60, minutes % 60)
            }
        }
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// Returns a length of time as hours and minutes, `0:26`, as objectives are compared.
pub(crate) fn minutes(length: Duration) -> String {
    let minutes = (length.as_secs() + 30) / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}

/// Returns the time of day in UTC, `02:18:09`.
pub(crate) fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

/// Returns hours and minutes in UTC, `02:18`.
pub(crate) fn hour(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}

/// Returns day and time in UTC, `2026-03-14 02:18`.
pub(crate) fn day(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Returns hours and minutes in UTC with the local zone beside them, `02:12 UTC (19:12 PDT)`.
pub(crate) fn hour_both(time: Timestamp, zone: &TimeZone) -> String {
    let here = time.to_zoned(zone.clone());
    if here.offset().is_zero() {
        format!("{} UTC", hour(time))
    } else {
        format!("{} UTC ({})", hour(time), here.strftime("%H:%M %Z"))
    }
}

/// Returns how long ago something was seen, `3s ago`; `just now` within a second.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    let past = since(then, now);
    if past.as_secs() == 0 { "just now".to_owned() } else { format!("{} ago", length(past)) }
}

/// Returns `1 step` or `3 steps`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mred\u{7}\nb\tc\r"), "a[31mred b c ");
        assert_eq!(clip("a\u{1b}[2Jb", 10), "a[2Jb");
    }

    #[test]
    fn cuts_and_fills_to_the_column() {
        assert_eq!(clip("abcdef", 6), "abcdef");
        assert_eq!(clip("abcdefg", 6), "abcde…");
        assert_eq!(pad("ab", 4), "ab  ");
        assert_eq!(width(&pad("日本語テスト", 7)), 7);
        assert_eq!(clip("abc", 0), "");
    }

    #[test]
    fn wraps_words_and_breaks_long_ones() {
        assert_eq!(wrap("one two three", 9, 2), ["one two", "  three"]);
        assert_eq!(
            wrap("arn:aws:rds:us-west-2:123456789012:db", 16, 2),
            ["arn:aws:rds:us-w", "  est-2:12345678", "  9012:db"]
        );
        assert_eq!(wrap("", 10, 0), [""]);
        assert_eq!(wrap("a\nb", 10, 1), ["a", " b"]);
    }

    #[test]
    fn a_command_within_what_is_to_be_done_stays_whole() {
        let said =
            "once us-east-1 is back:\n$ aws rds delete-db-instance --db-instance-identifier x";
        assert_eq!(
            instruction(said, 20, 2),
            [
                "  once us-east-1 is",
                "  back:",
                "  $ aws rds delete-db-instance --db-instance-identifier x"
            ]
        );
    }

    #[test]
    fn a_command_over_several_lines_is_pasted_as_one() {
        let done = "phoenix-dr mark-done unfenced-phoenix-prod --evidence HOW";
        assert_eq!(command(done, 80, 4), [format!("    {done}")]);
        let lines = command(done, 40, 4);
        assert_eq!(
            lines,
            [
                "    phoenix-dr mark-done \\",
                "      unfenced-phoenix-prod --evidence \\",
                "      HOW"
            ]
        );
        assert!(lines.iter().all(|line| width(line) <= 40));
        let pasted = lines.join("\n").replace("\\\n", "");
        assert_eq!(pasted.split_whitespace().collect::<Vec<_>>().join(" "), done);
    }

    proptest::proptest! {
        #[test]
        fn no_wrapped_line_is_too_wide(text in "\\PC{0,200}", columns in 12_usize..100, hang in 0_usize..4) {
            for line in wrap(&text, columns, hang) {
                proptest::prop_assert!(width(&line) <= columns + 1, "{line}");
            }
        }
    }

    #[test]
    fn lengths_read_as_people_say_them() {
        let of = |seconds: u64| Duration::from_secs(seconds);
        for (seconds, long, table, objective) in [
            (0, "0s", "0 s", "0:00"),
            (7, "7s", "7 s", "0:00"),
            (182, "3m 02s", "3 min", "0:03"),
            (1_560, "26m 00s", "26 min", "0:26"),
            (7_800, "2h 10m", "2 h 10", "2:10"),
            (200_000, "2d 7h", "2 d", "55:33"),
        ] {
            assert_eq!(length(of(seconds)), long);
            assert_eq!(about(Span::seconds(seconds)), table);
            assert_eq!(minutes(of(seconds)), objective);
        }
    }

    #[test]
    fn times_are_utc_with_the_local_zone_beside() {
        let time: Timestamp = "2026-07-14T02:12:09Z".parse().expect("instant");
        let zone = TimeZone::posix("PST8PDT,M3.2.0,M11.1.0").expect("zone");
        assert_eq!(hour_both(time, &zone), "02:12 UTC (19:12 PDT)");
        assert_eq!(hour_both(time, &TimeZone::UTC), "02:12 UTC");
        assert_eq!(clock(time), "02:12:09");
        assert_eq!(day(time), "2026-07-14 02:12");
    }
}
