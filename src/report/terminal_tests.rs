//! What the printer does with closed pipes, questions, secrets and colours.

use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;

/// Takes a number of writes and then is a pipe nobody reads.
#[derive(Clone, Default)]
struct Tape {
    written: Arc<Mutex<Vec<u8>>>,
    broken: bool,
}

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().expect("tape").clone()).expect("text")
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.written.lock().expect("tape").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn terminal(look: Look, out: &Tape, err: &Tape, bars: Bars) -> Terminal {
    Terminal::on(look, Masker::default(), Box::new(out.clone()), Box::new(err.clone()), bars)
}

#[test]
fn a_closed_pipe_is_silence() {
    let out = Tape { broken: true, ..Tape::default() };
    let err = Tape::default();
    let printer = terminal(Look::default(), &out, &err, Bars::hidden());
    assert!(!printer.out_closed());
    for at in 0..3 {
        printer.out(&format!("record {at}"));
        printer.line(&Line::new(Weight::Normal, Tone::Plain, format!("line {at}")));
    }
    assert!(printer.out_closed());
    assert_eq!(err.text(), "line 0\nline 1\nline 2\n");

    let dead = Tape { broken: true, ..Tape::default() };
    let printer = terminal(Look::default(), &Tape::default(), &dead, Bars::hidden());
    printer.loud(Tone::Bad, "nobody sees this");
    printer.line(&Line::new(Weight::Normal, Tone::Plain, "nor this"));
}

#[test]
fn volume_decides_what_is_said() {
    for (volume, expected) in [
        (Volume::Quiet, "loud\n"),
        (Volume::Normal, "loud\nsaid\n"),
        (Volume::Verbose, "loud\nsaid\nmore\n"),
    ] {
        let err = Tape::default();
        let look = Look { volume, ..Look::default() };
        let printer = terminal(look, &Tape::default(), &err, Bars::hidden());
        printer.loud(Tone::Plain, "loud");
        printer.line(&Line::new(Weight::Normal, Tone::Plain, "said"));
        printer.line(&Line::new(Weight::Detail, Tone::Plain, "more"));
        assert_eq!(err.text(), expected);
    }
}

#[test]
fn lines_wait_while_a_question_is_open() {
    let (out, err) = (Tape::default(), Tape::default());
    let printer = terminal(Look::default(), &out, &err, Bars::hidden());
    let question = printer.question();
    question.line(Tone::Plain, "Start?");
    printer.line(&Line::new(Weight::Normal, Tone::Plain, "02:20:01  ok    fence"));
    printer.out("{}");
    assert_eq!(err.text(), "Start?\n");
    assert_eq!(out.text(), "{}\n", "data for a pipe does not wait for a person");
    drop(question);
    assert_eq!(err.text(), "Start?\n02:20:01  ok    fence\n");

    let look = Look { out_is_terminal: true, ..Look::default() };
    let (out, err) = (Tape::default(), Tape::default());
    let printer = terminal(look, &out, &err, Bars::hidden());
    let question = printer.question();
    printer.out("data");
    assert_eq!(out.text(), "");
    drop(question);
    assert_eq!(out.text(), "data\n");
}

#[test]
fn secrets_are_hidden_everywhere() {
    let (out, err) = (Tape::default(), Tape::default());
    let look = Look { color_err: true, ..Look::default() };
    let printer = terminal(look, &out, &err, Bars::hidden());
    printer.masker().learn("hunter2hunter2");
    printer.out("data hunter2hunter2");
    printer.loud(Tone::Bad, "bad hunter2hunter2");
    printer.question().line(Tone::Plain, "asked hunter2hunter2");
    let mut log = printer.log_writer();
    log.write_all(b"part hunter2").expect("log");
    log.write_all(b"hunter2\nrest hunter2hunter2").expect("log");
    drop(log);
    let all = out.text() + &err.text();
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(all.matches("***").count(), 5, "{all}");
}

#[test]
fn colour_only_where_it_is_wanted() {
    for (color_err, expected) in
        [(false, "02:18:09  ok    x\n"), (true, "02:18:09  \u{1b}[32mok\u{1b}[0m    x\n")]
    {
        let err = Tape::default();
        let look = Look { color_err, ..Look::default() };
        let printer = terminal(look, &Tape::default(), &err, Bars::hidden());
        let text = "02:18:09  ok    x".to_owned();
        printer.line(&Line { weight: Weight::Normal, tone: Tone::Good, tint: 10..12, text });
        assert_eq!(err.text(), expected);
    }
}

/// Remembers what was drawn.
#[derive(Debug, Clone, Default)]
struct Canvas(Arc<Mutex<String>>);

impl Canvas {
    fn put(&self, text: &str) -> io::Result<()> {
        self.0.lock().expect("canvas").push_str(text);
        Ok(())
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("canvas"))
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        80
    }
    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.put(&"<up>".repeat(n))
    }
    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.put(&"<down>".repeat(n))
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, s: &str) -> io::Result<()> {
        self.put(s)
    }
    fn write_str(&self, s: &str) -> io::Result<()> {
        self.put(s)
    }
    fn clear_line(&self) -> io::Result<()> {
        self.put("<clear>")
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn row(label: &str, text: &str) -> Row {
    Row { label: label.to_owned(), part: Some(0.5), text: text.to_owned() }
}

#[test]
fn nothing_is_drawn_while_a_question_is_open() {
    let canvas = Canvas::default();
    let err = Tape::default();
    let bars = Bars::on(Box::new(canvas.clone()));
    let printer = terminal(Look::default(), &Tape::default(), &err, bars);
    printer.show(&[row("capacity", "1 of 5 ready")]);
    assert!(canvas.take().contains("1 of 5 ready"));

    let question = printer.question();
    assert!(canvas.take().contains("<clear>"), "the bars leave the screen");
    printer.show(&[row("capacity", "4 of 5 ready"), row("restore", "creating")]);
    printer.line(&Line::new(Weight::Normal, Tone::Plain, "02:20:01  ok    fence"));
    assert_eq!(canvas.take(), "");
    drop(question);
    let after = canvas.take();
    assert!(after.contains("4 of 5 ready") && after.contains("creating"), "{after}");
    assert!(after.contains("======"), "half of the bar is filled: {after}");

    printer.finish();
    canvas.take();
    printer.show(&[row("capacity", "late news")]);
    assert_eq!(canvas.take(), "");
}
