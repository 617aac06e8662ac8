//! Secrets read from where the estate says they are, or typed by a person. Errors name the place, never what was found
//! there.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::types::SecretRef;
use crate::clock::{Clock, RealClock};

/// Longest secret.
const BYTES_MAX: u64 = 64 << 10;
/// A command that takes longer waits for something nobody will type.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// What was typed for inputs, by their names: as much a part of this process as its environment, and in no other place.
static TYPED: Mutex<BTreeMap<String, SecretString>> = Mutex::new(BTreeMap::new());

/// Keeps what a person typed for an input until this process ends.
pub(crate) fn keep(input: &str, secret: SecretString) {
    let mut typed = TYPED.lock().unwrap_or_else(PoisonError::into_inner);
    typed.insert(input.to_owned(), secret);
}

/// Says whether a person typed something for an input.
pub(crate) fn is_kept(input: &str) -> bool {
    TYPED.lock().unwrap_or_else(PoisonError::into_inner).contains_key(input)
}

fn typed(input: &str) -> Result<SecretString, SecretError> {
    let typed = TYPED.lock().unwrap_or_else(PoisonError::into_inner);
    typed.get(input).cloned().ok_or_else(|| SecretError::NotTyped { input: input.to_owned() })
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("the environment variable {name} is not set")]
    NoVariable { name: String },
    #[error("read the secret file `{path}`: {source}")]
    File { path: String, source: std::io::Error },
    #[error("run the secret's command `{program}`: {source}")]
    Command { program: String, source: std::io::Error },
    #[error("the secret's command `{program}` ended with {status}")]
    CommandFailed { program: String, status: std::process::ExitStatus },
    #[error("the secret's command `{program}` gave no answer within 10s")]
    CommandSlow { program: String },
    #[error("{place} holds no text, or an empty one")]
    Empty { place: String },
    #[error("the secret `{input}` is asked for at the terminal, and nobody has typed it here")]
    NotTyped { input: String },
    #[error("a secret is named by exactly one of env, file and command")]
    NotOne,
}

/// Returns what a reference refers to, as a person reads it: never the secret.
pub(crate) fn place(reference: &SecretRef) -> String {
    match (&reference.env, &reference.file, &reference.command) {
        (Some(name), _, _) => format!("the environment variable {name}"),
        (_, Some(path), _) => format!("the file `{path}`"),
        (_, _, Some(argv)) => format!("the command `{}`", argv.first().map_or("", String::as_str)),
        (None, None, None) if reference.asked.is_some() => {
            "the terminal, where it is asked for".to_owned()
        }
        (None, None, None) => "no place".to_owned(),
    }
}

/// Reads a secret.
pub(crate) async fn read(reference: &SecretRef) -> Result<SecretString, SecretError> {
    if let SecretRef { env: None, file: None, command: None, asked: Some(input) } = reference {
        return typed(input);
    }
    let bytes = match (&reference.env, &reference.file, &reference.command) {
        (Some(name), None, None) => variable(name)?,
        (None, Some(path), None) => file(path).await?,
        (None, None, Some(argv)) => command(argv).await?,
        _ => return Err(SecretError::NotOne),
    };
    // The first line: what follows is a file's end of line, or a note of who keeps the secret.
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok(text) if !text.is_empty() => Ok(SecretString::from(text.to_owned())),
        Ok(_) | Err(_) => Err(SecretError::Empty { place: place(reference) }),
    }
}

fn variable(name: &str) -> Result<Vec<u8>, SecretError> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name)
        .map(OsStringExt::into_vec)
        .ok_or_else(|| SecretError::NoVariable { name: name.to_owned() })
}

async fn file(path: &str) -> Result<Vec<u8>, SecretError> {
    let read = async {
        let mut bytes = Vec::new();
        tokio::fs::File::open(path).await?.take(BYTES_MAX).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    read.await.map_err(|source| SecretError::File { path: path.to_owned(), source })
}

/// Runs a command without a shell, a terminal or input, in a process group of its own.
async fn command(argv: &[String]) -> Result<Vec<u8>, SecretError> {
    command_until(argv, RealClock.sleep(COMMAND_LIMIT)).await
}

async fn command_until(
    argv: &[String],
    expired: impl Future<Output = ()>,
) -> Result<Vec<u8>, SecretError> {
    let Some((program, arguments)) = argv.split_first() else { return Err(SecretError::NotOne) };
    let failed = |source| SecretError::Command { program: program.clone(), source };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What it complains about may hold what it was asked for.
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let group = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    let stdout = child.stdout.take();
    let answer = async {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(BYTES_MAX).read_to_end(&mut bytes).await?;
        }
        let status = child.wait().await?;
        Ok((bytes, status))
    };
    // The loser is dropped: a wait that holds nothing, or a command that is killed right below.
    let answer = tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = expired => None,
    };
    let Some(answer) = answer else {
        // Its children too: a helper that waits for a password would outlive it.
        if let Some(group) = group {
            // A group that is gone already needs no signal.
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
        return Err(SecretError::CommandSlow { program: program.clone() });
    };
    let (bytes, status) = answer.map_err(failed)?;
    if !status.success() {
        return Err(SecretError::CommandFailed { program: program.clone(), status });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn reference(env: Option<&str>, file: Option<&str>, command: Option<&[&str]>) -> SecretRef {
        SecretRef {
            env: env.map(str::to_owned),
            file: file.map(str::to_owned),
            command: command.map(|argv| argv.iter().map(|word| (*word).to_owned()).collect()),
            asked: None,
        }
    }

    #[tokio::test]
    async fn what_was_typed_is_read_by_its_input_alone() {
        let typed =
            |input: &str| SecretRef { asked: Some(input.to_owned()), ..SecretRef::default() };
        let error = read(&typed("never_typed")).await.expect_err("nobody typed it");
        assert!(error.to_string().contains("never_typed"), "{error}");
        keep("typed_here", SecretString::from("hunter2".to_owned()));
        assert!(is_kept("typed_here") && !is_kept("never_typed"));
        assert_eq!(text(&typed("typed_here")).await, "hunter2");
        let both = SecretRef { env: Some("PATH".to_owned()), ..typed("typed_here") };
        assert!(text(&both).await != "hunter2", "a place that is written down is not overruled");
    }

    async fn text(reference: &SecretRef) -> String {
        read(reference).await.unwrap_or_else(|error| panic!("{error}")).expose_secret().to_owned()
    }

    #[tokio::test]
    async fn reads_from_all_three() {
        let path = std::env::var("PATH").expect("is set");
        assert_eq!(text(&reference(Some("PATH"), None, None)).await, path);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "hunter2 \r\nsecond line\n").expect("writes");
        let file = file.path().display().to_string();
        assert_eq!(text(&reference(None, Some(&file), None)).await, "hunter2 ");
        let argv = ["printf", "%s\\n", "hunter2; echo $HOME"];
        assert_eq!(text(&reference(None, None, Some(&argv))).await, "hunter2; echo $HOME");
    }

    #[tokio::test]
    async fn errors_name_the_place_and_never_the_value() {
        for (reference, said) in [
            (
                reference(Some("PHOENIX_DR_NOT_SET"), None, None),
                "variable PHOENIX_DR_NOT_SET is not set",
            ),
            (
                reference(None, Some("/nonexistent/x"), None),
                "secret file `/nonexistent/x`: No such",
            ),
            (reference(None, Some("/dev/null"), None), "the file `/dev/null` holds no text"),
            (reference(None, None, Some(&["/nonexistent/x"])), "command `/nonexistent/x`: No such"),
            (
                reference(None, None, Some(&["false", "hunter2"])),
                "`false` ended with exit status: 1",
            ),
            (
                reference(
                    None,
                    None,
                    Some(&["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]),
                ),
                "`sh` ended with exit status: 3",
            ),
            (reference(Some("A"), Some("b"), None), "exactly one of env, file and command"),
            (reference(None, None, None), "exactly one of env, file and command"),
        ] {
            let error = read(&reference).await.map(|_| ()).expect_err(said);
            let text = format!("{error} {error:?}");
            assert!(text.contains(said), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_command_that_waits_is_ended_with_its_children() {
        let marker = tempfile::NamedTempFile::new().expect("a file");
        let script = format!("sleep 600 & echo $! > {}; wait", marker.path().display());
        let argv = ["sh".to_owned(), "-c".to_owned(), script];
        let written =
            || std::fs::read_to_string(marker.path()).is_ok_and(|text| text.ends_with('\n'));
        let expired = async {
            while !written() {
                tokio::task::yield_now().await;
            }
        };
        let result = command_until(&argv, expired).await;
        assert!(matches!(result, Err(SecretError::CommandSlow { .. })), "it was not waited for");
        let child = std::fs::read_to_string(marker.path()).expect("reads");
        let child: i32 = child.trim().parse().expect("a process");
        let child = rustix::process::Pid::from_raw(child).expect("a process");
        // Killed processes are reaped by init in their own time; a zombie no longer runs.
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()));
            state.map_or(true, |state| state.contains(") Z"))
        };
        while !gone() {
            tokio::task::yield_now().await;
        }
    }
}
