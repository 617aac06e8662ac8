//! A terminal's screen, as far as the program uses one: what a person sees now, and what has scrolled away.

use std::fmt::Write as _;

/// Characters on a grid, a cursor, and the rows that have left the top.
pub(crate) struct Screen {
    columns: usize,
    rows: usize,
    grid: Vec<Vec<char>>,
    row: usize,
    column: usize,
    /// The last column is written: the next character goes to the next row
    full: bool,
    saved: (usize, usize, bool),
    gone: Vec<String>,
    /// Rows that ran on into the next one because they were too long, each by its first row
    pub(crate) ran_over: Vec<String>,
    /// The row with the cursor is what ran over from the one above
    run_on: bool,
    pub(crate) cursor_shown: bool,
    /// An escape sequence that has not ended yet
    escape: Option<String>,
    /// Bytes of a character that is not whole yet
    bytes: Vec<u8>,
}

impl Screen {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self {
            columns,
            rows,
            grid: vec![vec![' '; columns]; rows],
            row: 0,
            column: 0,
            full: false,
            saved: (0, 0, false),
            gone: Vec::new(),
            ran_over: Vec::new(),
            run_on: false,
            cursor_shown: true,
            escape: None,
            bytes: Vec::new(),
        }
    }

    /// Takes in what the program wrote.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.bytes) {
            Ok(_) => self.bytes.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.bytes.split_off(whole);
        let text = String::from_utf8(std::mem::replace(&mut self.bytes, rest));
        for c in text.expect("cut where it is valid").chars() {
            self.take(c);
        }
    }

    fn take(&mut self, c: char) {
        if let Some(mut sequence) = self.escape.take() {
            sequence.push(c);
            self.escape = self.sequence(sequence);
            return;
        }
        match c {
            '\u{1b}' => self.escape = Some(String::new()),
            '\r' => (self.column, self.full) = (0, false),
            '\n' => {
                self.down();
                self.run_on = false;
            }
            '\u{8}' => (self.column, self.full) = (self.column.saturating_sub(1), false),
            '\u{7}' => {}
            c => self.put(c),
        }
    }

    fn put(&mut self, c: char) {
        if self.full {
            // A row filled up with spaces is a bar, which clears what was there before.
            if !self.run_on && self.grid[self.row][self.columns - 1] != ' ' {
                let row = self.text(self.row);
                self.ran_over.push(row);
            }
            self.down();
            self.column = 0;
            self.run_on = true;
        }
        self.grid[self.row][self.column] = c;
        self.full = self.column + 1 == self.columns;
        self.column = (self.column + 1).min(self.columns - 1);
    }

    fn down(&mut self) {
        self.full = false;
        if self.row + 1 < self.rows {
            self.row += 1;
            return;
        }
        self.gone.push(self.text(0));
        self.grid.remove(0);
        self.grid.push(vec![' '; self.columns]);
    }

    /// Takes one more character of a sequence; returns the sequence if it has not ended.
    fn sequence(&mut self, sequence: String) -> Option<String> {
        match sequence.as_str() {
            "[" => return Some(sequence),
            "7" => self.saved = (self.row, self.column, self.full),
            "8" => (self.row, self.column, self.full) = self.saved,
            other => {
                let end = other.chars().last().expect("not empty");
                if !end.is_ascii_alphabetic() {
                    return Some(sequence);
                }
                let body = other.trim_start_matches('[').trim_end_matches(end);
                self.control(end, body);
            }
        }
        None
    }

    fn control(&mut self, end: char, body: &str) {
        let count = body.parse().unwrap_or(1).max(1);
        let part: u32 = body.parse().unwrap_or(0);
        match end {
            'A' => self.row = self.row.saturating_sub(count),
            'B' => self.row = (self.row + count).min(self.rows - 1),
            'C' => self.column = (self.column + count).min(self.columns - 1),
            'D' => self.column = self.column.saturating_sub(count),
            'G' => self.column = (count - 1).min(self.columns - 1),
            'K' => self.erase_row(part),
            'J' if part == 0 => {
                self.erase_row(0);
                self.grid[self.row + 1..].iter_mut().for_each(|row| row.fill(' '));
            }
            'h' | 'l' if body == "?25" => self.cursor_shown = end == 'h',
            'm' => return,
            other => panic!("the screen of the tests does not know `ESC [ {body} {other}`"),
        }
        self.full = false;
    }

    fn erase_row(&mut self, part: u32) {
        let row = &mut self.grid[self.row];
        match part {
            0 => row[self.column..].fill(' '),
            1 => row[..=self.column].fill(' '),
            _ => row.fill(' '),
        }
    }

    fn text(&self, row: usize) -> String {
        self.grid[row].iter().collect::<String>().trim_end().to_owned()
    }

    /// Returns the row the cursor is in.
    pub(crate) fn at_cursor(&self) -> String {
        self.text(self.row)
    }

    /// Says whether the cursor is at the beginning of an empty row, where a shell puts its prompt.
    pub(crate) fn at_rest(&self) -> bool {
        self.column == 0 && self.at_cursor().is_empty()
    }

    /// Returns what is on the screen now.
    pub(crate) fn now(&self) -> Vec<String> {
        (0..self.rows).map(|row| self.text(row)).collect()
    }

    /// Returns everything that was on the screen and was not taken off it again.
    pub(crate) fn all(&self) -> String {
        let mut text = String::new();
        for line in self.gone.iter().cloned().chain(self.now()) {
            writeln!(text, "{line}").expect("a string takes everything");
        }
        text.trim_end().to_owned()
    }
}

#[test]
fn the_screen_of_the_tests_is_one() {
    let mut screen = Screen::new(10, 3);
    screen.feed(b"one\r\ntwo\r\n\x1b[1mthree\x1b[0m\r\nfour");
    assert_eq!(screen.now(), ["two", "three", "four"]);
    assert_eq!(screen.all(), "one\ntwo\nthree\nfour");
    screen.feed(b"\x1b[2A\r\x1b[2KTWO\x1b[2B");
    assert_eq!((screen.now()[0].as_str(), screen.at_cursor().as_str()), ("TWO", "four"));
    screen.feed(b"\r0123456789");
    assert!(screen.ran_over.is_empty(), "exactly a row is no more than a row");
    screen.feed(b"a");
    assert_eq!(screen.ran_over, ["0123456789"]);
    screen.feed("\r\x1b[2K\u{2026}".as_bytes());
    assert_eq!(screen.at_cursor(), "\u{2026}");
    screen.feed(b"\r\n\x1b[?25l");
    assert!(screen.at_rest() && !screen.cursor_shown);
}
