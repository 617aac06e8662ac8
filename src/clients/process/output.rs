//! What a child says: read line by line, masked, kept within bounds.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::ProgramError;
use crate::mask::Masker;

pub(super) const STDOUT_MAX: usize = 64 * 1024;
const TAIL_MAX: usize = 4 * 1024;
const LINE_MAX: usize = 64 * 1024;
/// Bytes kept of a line that was sifted: a long one must not push the others out.
const SIFTED_MAX: usize = 512;
const ARTIFACT_MAX: usize = 16 * 1024 * 1024;

/// Collects what a child says, line by line.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub head: String,
    pub tail: String,
    /// Only lines with these words are collected, and of each its beginning
    only: Option<String>,
}

impl Heard {
    pub(super) fn only(words: Option<&str>) -> Self {
        Self { only: words.map(str::to_owned), ..Self::default() }
    }

    fn line(&mut self, line: &str) {
        let line = match &self.only {
            Some(words) if !line.contains(words) => return,
            Some(_) if line.len() > SIFTED_MAX => &format!("{}\n", clip(line, SIFTED_MAX)),
            _ => line,
        };
        let room = STDOUT_MAX.saturating_sub(self.head.len());
        self.head.push_str(clip(line, room));
        self.tail.push_str(line);
        if self.tail.len() > 2 * TAIL_MAX {
            let mut cut = self.tail.len() - TAIL_MAX;
            while !self.tail.is_char_boundary(cut) {
                cut += 1;
            }
            self.tail.drain(..cut);
        }
    }
}

fn clip(text: &str, room: usize) -> &str {
    let mut end = room.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Where a program's output is kept, with a bound. What says nothing leaves no file.
#[derive(Debug)]
pub(super) struct Artifact {
    path: PathBuf,
    /// Opened for the first line
    file: Option<std::fs::File>,
    room: usize,
}

impl Artifact {
    /// Keeps a line. The output is evidence, not state: a full disk must not fail the step that is running.
    fn line(&mut self, line: &str) {
        if self.room == 0 {
            return;
        }
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = options.create(true).append(true).mode(0o600).open(&self.path).ok();
        }
        let Some(file) = &mut self.file else { return };
        if line.len() > self.room {
            drop(file.write_all(b"[cut here: more than 16 MiB]\n"));
            self.room = 0;
        } else {
            drop(file.write_all(line.as_bytes()));
            self.room -= line.len();
        }
    }
}

/// Reads a stream to its end, masked, in lines of at most 64 KiB.
pub(super) async fn listen(
    stream: impl AsyncRead + Unpin,
    masks: &Masker,
    (heard, artifact): (Arc<Mutex<Heard>>, Option<Arc<Mutex<Artifact>>>),
    told: Option<&(dyn Fn(&str) + Send + Sync)>,
) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        let (took, done) = match reader.fill_buf().await {
            Ok([]) | Err(_) => (0, true),
            Ok(bytes) => {
                let took =
                    bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
                line.extend_from_slice(&bytes[..took]);
                (took, line.ends_with(b"\n") || line.len() >= LINE_MAX)
            }
        };
        reader.consume(took);
        if done && !line.is_empty() {
            let said = masks.mask(&String::from_utf8_lossy(&line));
            if let Some(told) = told {
                told(said.trim_end_matches(['\n', '\r']));
            }
            heard.lock().unwrap_or_else(PoisonError::into_inner).line(&said);
            if let Some(artifact) = &artifact {
                artifact.lock().unwrap_or_else(PoisonError::into_inner).line(&said);
            }
            line.clear();
        }
        if took == 0 {
            return;
        }
    }
}

/// Prepares the place of a program's output before it starts; a file for each silent step would cost as much again as
/// starting its program.
pub(super) fn artifact(path: &Path) -> Result<Arc<Mutex<Artifact>>, ProgramError> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(|error| ProgramError::Artifact {
            path: path.display().to_string(),
            why: error.to_string(),
        })?;
    }
    let artifact = Artifact { path: path.to_owned(), file: None, room: ARTIFACT_MAX };
    Ok(Arc::new(Mutex::new(artifact)))
}
