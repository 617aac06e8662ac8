//! The line a person types in, under a line that says how the run stands. Pure: what happens in, what to send out.
//!
//! Knows how many rows the typed text takes, so that the line above can be drawn anew while a person thinks, and so
//! that taking back a character works across rows.

use super::text;

/// Rows of typed text beyond which the line above is left alone: it may have left the screen.
const ROWS_MAX: usize = 6;

/// Characters a person can type before further ones are ignored.
const TYPED_MAX: usize = 4_000;

/// What a key does to the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edit {
    Add(char),
    TakeBack,
    TakeBackWord,
    TakeBackAll,
}

/// One prompt with what was typed so far.
#[derive(Debug)]
pub(crate) struct PromptLine {
    /// Columns of the terminal when the prompt was put
    columns: usize,
    /// The line above; empty: there is none yet
    status: String,
    /// The line above may be drawn anew
    live: bool,
    prompt: String,
    typed: String,
}

impl PromptLine {
    /// Returns a prompt nothing was typed at. It is `live` where the line above can be drawn anew.
    pub(crate) fn new(prompt: &str, status: &str, live: bool, columns: usize) -> Self {
        let columns = columns.max(2);
        // The last column stays free: a full row would put the cursor nobody knows where.
        let status = text::clip(status, columns - 1);
        Self { columns, status, live, prompt: text::plain(prompt), typed: String::new() }
    }

    /// Returns what puts it on the screen. A live one without a line above yet leaves room for it.
    pub(crate) fn open(&self) -> String {
        if self.status.is_empty() && !self.live {
            format!("{} ", self.prompt)
        } else {
            format!("{}\n{} ", self.status, self.prompt)
        }
    }

    /// Returns what was typed.
    pub(crate) fn typed(&self) -> &str {
        &self.typed
    }

    fn width(&self) -> usize {
        text::width(&self.prompt) + 1 + text::width(&self.typed)
    }

    /// Rows of the prompt above the one with the cursor; a full row keeps the cursor until there is more.
    fn rows_above(&self) -> usize {
        (self.width() - 1) / self.columns
    }

    /// Takes an edit in and returns what shows it.
    pub(crate) fn edit(&mut self, edit: Edit) -> String {
        match edit {
            Edit::Add(_) if self.typed.chars().count() >= TYPED_MAX => return String::new(),
            Edit::Add(c) => {
                self.typed.push(c);
                return c.to_string();
            }
            Edit::TakeBack | Edit::TakeBackWord | Edit::TakeBackAll => {}
        }
        let (rows, before) = (self.rows_above(), text::width(&self.typed));
        match edit {
            Edit::Add(_) => {}
            Edit::TakeBack => drop(self.typed.pop()),
            Edit::TakeBackAll => self.typed.clear(),
            Edit::TakeBackWord => {
                let kept = self.typed.trim_end();
                let kept = kept.rfind(char::is_whitespace).map_or(0, |at| at + 1);
                self.typed.truncate(kept);
            }
        }
        if rows == 0 {
            // Within a row, what every terminal understands.
            let gone = before - text::width(&self.typed);
            return format!("{0}{1}{0}", "\u{8}".repeat(gone), " ".repeat(gone));
        }
        format!("{}\r\u{1b}[J{} {}", up(rows), self.prompt, self.typed)
    }

    /// Takes in how the run stands now and returns what shows it; nothing where that cannot be done safely.
    pub(crate) fn stands(&mut self, status: &str, columns: usize) -> String {
        let status = text::clip(status, self.columns - 1);
        let rows = self.rows_above();
        let safe = self.live
            && columns == self.columns
            && rows < ROWS_MAX
            // With a full row, terminals differ in where they think the cursor is.
            && !self.width().is_multiple_of(self.columns);
        if !safe || self.status == status {
            return String::new();
        }
        // Saves the cursor, goes up, writes, and puts the cursor back.
        let drawn = format!("\u{1b}7{}\r\u{1b}[2K{status}\u{1b}8", up(rows + 1));
        self.status = status;
        drawn
    }
}

fn up(rows: usize) -> String {
    if rows == 0 { String::new() } else { format!("\u{1b}[{rows}A") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(prompt: &mut PromptLine, text: &str) -> String {
        text.chars().map(|c| prompt.edit(Edit::Add(c))).collect()
    }

    #[test]
    fn what_was_typed_is_taken_back_by_characters_words_and_whole() {
        let mut prompt = PromptLine::new("Why?", "", false, 80);
        assert_eq!(prompt.open(), "Why? ");
        assert_eq!(typed(&mut prompt, "all is lostt"), "all is lostt");
        assert_eq!(prompt.edit(Edit::TakeBack), "\u{8} \u{8}");
        assert_eq!(prompt.typed(), "all is lost");
        prompt.edit(Edit::TakeBackWord);
        assert_eq!(prompt.typed(), "all is ");
        prompt.edit(Edit::TakeBackWord);
        assert_eq!(prompt.typed(), "all ");
        prompt.edit(Edit::TakeBackAll);
        assert_eq!(prompt.typed(), "");
        assert_eq!(prompt.edit(Edit::TakeBack), "", "nothing is left to take back");
    }

    #[test]
    fn across_rows_the_whole_prompt_is_drawn_anew() {
        let mut prompt = PromptLine::new("Why?", "0:07 gone", true, 10);
        assert_eq!(prompt.open(), "0:07 gone\nWhy? ");
        typed(&mut prompt, "12345");
        assert_eq!(prompt.stands("0:08 gone", 10), "", "a full row is left alone");
        typed(&mut prompt, "6");
        assert_eq!(prompt.stands("0:08 gone", 10), "\u{1b}7\u{1b}[2A\r\u{1b}[2K0:08 gone\u{1b}8");
        assert_eq!(prompt.stands("0:08 gone", 10), "", "nothing is new");
        assert_eq!(prompt.edit(Edit::TakeBack), "\u{1b}[1A\r\u{1b}[JWhy? 12345");
        prompt.edit(Edit::TakeBack);
        assert_eq!(prompt.stands("0:09 gone", 10), "\u{1b}7\u{1b}[1A\r\u{1b}[2K0:09 gone\u{1b}8");
        assert_eq!(prompt.stands("0:10 gone", 12), "", "the window has another width now");
    }

    #[test]
    fn there_is_a_limit() {
        let mut prompt = PromptLine::new("Why?", "", false, 80);
        typed(&mut prompt, &"x".repeat(TYPED_MAX + 5));
        assert_eq!(prompt.typed().len(), TYPED_MAX);
    }
}
