//! PostgreSQL's protocol, version 3, from the server's side: the few messages a client of the extended protocol and of
//! plain transaction commands sends and expects.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Longest message read.
const LENGTH_MAX: usize = 1 << 20;

/// Type of a column or parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int4,
    Int8,
    Float8,
    Text,
    TextArray,
}

impl Type {
    /// Returns its object id and length, as `pg_type` has them.
    const fn oid(self) -> (u32, i16) {
        match self {
            Self::Bool => (16, 1),
            Self::Int4 => (23, 4),
            Self::Int8 => (20, 8),
            Self::Float8 => (701, 8),
            Self::Text => (25, -1),
            Self::TextArray => (1009, -1),
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int4(i32),
    Int8(i64),
    Float8(f64),
    Text(String),
}

/// A parameter of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parameter {
    Text(String),
    Number(i64),
    List(Vec<String>),
}

/// An error as the server reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SqlError {
    pub code: &'static str,
    pub message: String,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Query(String),
    Parse { name: String, sql: String },
    Describe { portal: bool, name: String },
    Bind { portal: String, statement: String, values: Vec<Option<Vec<u8>>> },
    Execute { portal: String },
    Close,
    Sync,
    Flush,
    Terminate,
    Unknown(u8),
}

/// Reads the parts of a message.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let short = || io::Error::new(io::ErrorKind::InvalidData, "a message that is cut off");
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }

    fn int2(&mut self) -> io::Result<usize> {
        let bytes = self.take(2)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn int4(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn value(&mut self) -> io::Result<Option<Vec<u8>>> {
        match usize::try_from(self.int4()?) {
            Ok(length) => Ok(Some(self.take(length)?.to_vec())),
            Err(_) => Ok(None),
        }
    }
}

/// A client's connection.
pub(super) struct Wire {
    stream: DuplexStream,
    out: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: DuplexStream) -> Self {
        Self { stream, out: Vec::new() }
    }

    async fn body(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(0);
        if !(4..=LENGTH_MAX).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of a wrong length"));
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    /// Reads the first message, which has no kind, and lets the client in.
    pub(super) async fn greet(&mut self) -> io::Result<()> {
        self.body().await?;
        self.message(b'R', |out| out.extend(0_i32.to_be_bytes()));
        for (name, value) in
            [("server_version", "15.8"), ("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY")]
        {
            self.message(b'S', |out| {
                out.extend(name.as_bytes());
                out.push(0);
                out.extend(value.as_bytes());
                out.push(0);
            });
        }
        self.message(b'K', |out| out.extend([0; 8]));
        self.ready(b'I').await
    }

    /// Reads the next message.
    pub(super) async fn next(&mut self) -> io::Result<Message> {
        let kind = self.stream.read_u8().await?;
        let body = self.body().await?;
        let mut parts = Parts(&body);
        Ok(match kind {
            b'Q' => Message::Query(parts.text()?),
            b'P' => Message::Parse { name: parts.text()?, sql: parts.text()? },
            b'D' => {
                let portal = parts.take(1)? == b"P";
                Message::Describe { portal, name: parts.text()? }
            }
            b'B' => {
                let (portal, statement) = (parts.text()?, parts.text()?);
                for _ in 0..parts.int2()? {
                    parts.int2()?;
                }
                let values = (0..parts.int2()?).map(|_| parts.value()).collect::<Result<_, _>>()?;
                Message::Bind { portal, statement, values }
            }
            b'E' => Message::Execute { portal: parts.text()? },
            b'C' => Message::Close,
            b'S' => Message::Sync,
            b'H' => Message::Flush,
            b'X' => Message::Terminate,
            other => Message::Unknown(other),
        })
    }

    fn message(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let mut body = Vec::new();
        write(&mut body);
        self.out.push(kind);
        self.out.extend(i32::try_from(body.len() + 4).unwrap_or(i32::MAX).to_be_bytes());
        self.out.extend(body);
    }

    /// Sends what was written so far.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let out = std::mem::take(&mut self.out);
        self.stream.write_all(&out).await
    }

    /// Says that the next query may come, and in which state the transaction is.
    pub(super) async fn ready(&mut self, state: u8) -> io::Result<()> {
        self.message(b'Z', |out| out.push(state));
        self.flush().await
    }

    pub(super) fn parsed(&mut self) {
        self.message(b'1', |_| {});
    }

    pub(super) fn bound(&mut self) {
        self.message(b'2', |_| {});
    }

    pub(super) fn closed(&mut self) {
        self.message(b'3', |_| {});
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| {
            out.extend(tag.as_bytes());
            out.push(0);
        });
    }

    pub(super) fn error(&mut self, error: &SqlError) {
        self.message(b'E', |out| {
            for (field, text) in
                [(b'S', "ERROR"), (b'V', "ERROR"), (b'C', error.code), (b'M', &error.message)]
            {
                out.push(field);
                out.extend(text.as_bytes());
                out.push(0);
            }
            out.push(0);
        });
    }

    pub(super) fn parameters(&mut self, types: &[Type]) {
        self.message(b't', |out| {
            out.extend(count(types.len()));
            types.iter().for_each(|kind| out.extend(kind.oid().0.to_be_bytes()));
        });
    }

    pub(super) fn columns(&mut self, columns: &[(String, Type)]) {
        if columns.is_empty() {
            return self.message(b'n', |_| {});
        }
        self.message(b'T', |out| {
            out.extend(count(columns.len()));
            for (name, kind) in columns {
                let (oid, length) = kind.oid();
                out.extend(name.as_bytes());
                out.extend([0; 7]);
                out.extend(oid.to_be_bytes());
                out.extend(length.to_be_bytes());
                out.extend((-1_i32).to_be_bytes());
                out.extend([0; 2]);
            }
        });
    }

    pub(super) fn row(&mut self, cells: &[Cell]) {
        self.message(b'D', |out| {
            out.extend(count(cells.len()));
            for cell in cells {
                let bytes = match cell {
                    Cell::Null => {
                        out.extend((-1_i32).to_be_bytes());
                        continue;
                    }
                    Cell::Bool(value) => vec![u8::from(*value)],
                    Cell::Int4(value) => value.to_be_bytes().to_vec(),
                    Cell::Int8(value) => value.to_be_bytes().to_vec(),
                    Cell::Float8(value) => value.to_be_bytes().to_vec(),
                    Cell::Text(value) => value.clone().into_bytes(),
                };
                out.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
                out.extend(bytes);
            }
        });
    }
}

fn count(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes()
}

/// Reads a parameter in its binary form.
pub(super) fn parameter(kind: Type, value: Option<&[u8]>) -> io::Result<Parameter> {
    let bytes = value.unwrap_or_default();
    if kind == Type::Int8 {
        let bytes: [u8; 8] = bytes.try_into().unwrap_or_default();
        return Ok(Parameter::Number(i64::from_be_bytes(bytes)));
    }
    if kind != Type::TextArray {
        return Ok(Parameter::Text(String::from_utf8_lossy(bytes).into_owned()));
    }
    let mut parts = Parts(bytes);
    let dimensions = parts.int4()?;
    parts.take(8)?;
    let mut items = Vec::new();
    if dimensions > 0 {
        let length = parts.int4()?;
        parts.take(4)?;
        for _ in 0..length {
            let item = parts.value()?.unwrap_or_default();
            items.push(String::from_utf8_lossy(&item).into_owned());
        }
    }
    Ok(Parameter::List(items))
}
