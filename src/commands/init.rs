//! `init`: writes a commented estate file, and never loses one that is there.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::context::Context;
use crate::cli::InitArgs;
use crate::error::UserError;
use crate::estate::init::template;
use crate::estate::load::FILE_NAME;
use crate::exit::Exit;

/// Writes the file where it was named, by an argument or by `--estate`.
pub(super) fn run(context: &Context, given: &InitArgs) -> Result<Exit, UserError> {
    let file = match (&given.file, &context.global.estate) {
        (Some(file), Some(estate)) if file != estate => {
            let message = format!(
                "the estate file is named twice: `{}` and `--estate {}`",
                file.display(),
                estate.display()
            );
            return Err(UserError::new(Exit::Usage, message).hint("name it once"));
        }
        (Some(file), _) | (None, Some(file)) => file.clone(),
        (None, None) => PathBuf::from(FILE_NAME),
    };
    let failed = |error: std::io::Error| {
        UserError::new(Exit::Usage, format!("write `{}`: {error}", file.display()))
    };
    let kept = if given.force { keep(&file).map_err(failed)? } else { None };
    let mut target = match std::fs::OpenOptions::new().write(true).create_new(true).open(&file) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!("`{}` exists already", file.display());
            return Err(UserError::new(Exit::Usage, message)
                .hint("replace it with --force: what is there is kept beside it as .bak"));
        }
        Err(error) => return Err(failed(error)),
    };
    target.write_all(template().as_bytes()).map_err(failed)?;
    if let Some(kept) = kept {
        context.terminal.out(&format!("kept what was there as {}", kept.display()));
    }
    context.terminal.out(&format!("wrote {}", file.display()));
    let flag = match &context.global.estate {
        Some(_) => format!(" --estate {}", file.display()),
        None => String::new(),
    };
    let said = format!(
        "Fill it in, then: phoenix-dr{flag} validate {}, phoenix-dr{flag} doctor",
        file.display()
    );
    context.terminal.out(&said);
    Ok(Exit::Ok)
}

/// Moves a file that is there to `FILE.bak`, or to the first `FILE.bak.N` that is free; returns where it is now.
fn keep(file: &Path) -> std::io::Result<Option<PathBuf>> {
    if !file.try_exists()? {
        return Ok(None);
    }
    let named = |end: &str| {
        let mut name = OsString::from(file);
        name.push(end);
        PathBuf::from(name)
    };
    let mut kept = named(".bak");
    let mut number = 1;
    while kept.try_exists()? {
        number += 1;
        kept = named(&format!(".bak.{number}"));
    }
    std::fs::rename(file, &kept)?;
    Ok(Some(kept))
}
