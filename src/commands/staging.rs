//! What a rehearsal is staged with, as its flags name it: a world and faults. Everything that is wrong with them is told
//! at once.

use std::borrow::Cow;
use std::path::Path;

use super::context::Context;
use super::injected;
use super::named::{self, Named};
use super::rehearsal::not_seen;
use super::taken_for::Kind;
use crate::cli::{RunFlags, WhoFlags};
use crate::error::UserError;
use crate::estate::load as estate_file;
use crate::exit::Exit;
use crate::runbook::rehearse::WORLDS;
use crate::sandbox::fault::Rule;
use crate::sandbox::world::{self, World};
use crate::sandbox::{generate, lines};

/// What the flags of a rehearsal name.
pub(super) struct Staged {
    pub world: World,
    /// Faults besides the world's own
    pub injected: Vec<Rule>,
    /// What has to be said of the world before anything begins
    pub said: Vec<String>,
}

/// Reads what the flags of a rehearsal name.
pub(super) fn staged(
    context: &Context,
    named: Option<&str>,
    home: &str,
    flags: &RunFlags,
) -> Result<Staged, UserError> {
    let chosen = chosen(context, named, home);
    // Of faults in a world that cannot be read, all is told but for their regions.
    let world = chosen.as_ref().ok().map(|(world, _)| world);
    let injected = injected::faults(context, &flags.inject, world);
    let live = refuse_live_only(context, &flags.how.who);
    match (live, chosen, injected) {
        (Ok(()), Ok((world, said)), Ok(injected)) => Ok(Staged { world, injected, said }),
        (live, chosen, injected) => {
            let wrong = [live.err(), chosen.err(), injected.err()].into_iter().flatten();
            Err(wrong.reduce(UserError::and).expect("one of the three is an error"))
        }
    }
}

/// Says what is wrong with the flags of a rehearsal, and does nothing else.
pub(super) fn looked_at(context: &Context, flags: &RunFlags) -> Result<(), UserError> {
    match &flags.how.who.rehearse {
        Some(named) => staged(context, named.as_deref(), world::SHIPPED, flags).map(drop),
        None => refuse_without(flags),
    }
}

/// Refuses flags of a rehearsal where there is none.
pub(super) fn refuse_without(flags: &RunFlags) -> Result<(), UserError> {
    let given = [
        (flags.seed.is_some(), "--seed"),
        (!flags.inject.is_empty(), "--inject"),
        (flags.surprise.is_some(), "--surprise"),
        (flags.how.who.speed.is_some(), "--speed"),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).collect();
    let are = match given.as_slice() {
        [] => return Ok(()),
        [_] => "is",
        _ => "are",
    };
    Err(UserError::new(Exit::Usage, format!("{} {are} for rehearsals", given.join(", ")))
        .hint("add --rehearse, and nothing real is touched"))
}

/// Refuses in a rehearsal what only a live run can mean.
pub(super) fn refuse_live_only(context: &Context, who: &WhoFlags) -> Result<(), UserError> {
    if !who.allow_endpoint_override {
        return Ok(());
    }
    let (flag, variable) = ("--allow-endpoint-override", "PHOENIX_DR_ALLOW_ENDPOINT_OVERRIDE");
    let said = |name: &str| format!("{name} is for live runs; a rehearsal calls no endpoint");
    // Whoever typed no flag would look for one in vain.
    match context.typed.iter().any(|word| word.starts_with(flag)) {
        true => Err(UserError::new(Exit::Usage, said(flag))),
        false => Err(UserError::new(Exit::Usage, said(variable)).hint(format!("unset {variable}"))),
    }
}

/// Returns the world to rehearse in, and what is to be said of it: the one that was named, one made from the estate that
/// was named, or that of the program's own in which the runbook is at home.
fn chosen(
    context: &Context,
    named: Option<&str>,
    home: &str,
) -> Result<(World, Vec<String>), UserError> {
    match (named.filter(|name| !name.is_empty()), &context.global.estate) {
        (Some(_), Some(_)) => {
            Err(UserError::new(Exit::Usage, "a rehearsal takes its estate from its world")
                .hint("leave --estate (and PHOENIX_DR_ESTATE) out: --rehearse WORLD")
                .hint("or leave the world out, and one is made from the estate: --rehearse"))
        }
        (Some(name), None) => Ok((world(context, name)?, Vec::new())),
        (None, Some(file)) => made(context, file),
        (None, None) => {
            let here = Path::new(estate_file::FILE_NAME);
            let said = here.exists().then(|| {
                format!("REHEARSAL in the world `{home}`; in your own: --estate {}", here.display())
            });
            Ok((world(context, home)?, said.into_iter().collect()))
        }
    }
}

/// Makes a world from the names in an estate file, and says what of it is guessed.
fn made(context: &Context, file: &Path) -> Result<(World, Vec<String>), UserError> {
    if Kind::of(file) == Some(Kind::World) {
        return Err(Kind::World.instead_of("an estate file", &file.display().to_string()));
    }
    let estate =
        estate_file::read(file).map_err(|problems| context.invalid(&problems, Exit::Usage))?;
    let name = file.display().to_string();
    let made = generate::world(&estate, &name);
    // Held to what a world from a file is held to.
    world::parse(&name, lines::write(&made)).map_err(|problems| {
        let said = format!("no sound world comes of {name}: {problems}");
        UserError::new(Exit::Internal, said)
            .hint("capture the estate, and rehearse on that: phoenix-dr world capture --out FILE")
    })?;
    let mut said = vec![format!(
        "REHEARSAL in a world made from the names in {name}: nothing of it is contacted, no secret is read"
    )];
    let guesses = made.unseen.iter().cloned().map(not_seen);
    said.extend(guesses.map(|guess| format!("guessed: {}", guess.line())));
    Ok((made, said))
}

/// Reads a world: one that comes with the program by its name, or a file.
pub(super) fn world(context: &Context, name: &str) -> Result<World, UserError> {
    let text = world_text(name)?;
    if world::shipped(name).is_none() && Kind::of(Path::new(name)) == Some(Kind::Estate) {
        return Err(Kind::Estate.instead_of("a world", name));
    }
    world::parse(name, text).map_err(|problems| context.invalid(&problems, Exit::Usage))
}

/// Returns the text of a world.
pub(super) fn world_text(name: &str) -> Result<Cow<'static, str>, UserError> {
    const OTHERS: &str = "make one of the estate: phoenix-dr world capture --out FILE; or take one that is built in: ";
    if let Some(text) = world::shipped(name) {
        return Ok(Cow::Borrowed(text));
    }
    let refused = |said: String, meant: Option<String>| {
        let error = UserError::new(Exit::Usage, format!("there is no world `{name}`: {said}"));
        let error = meant.into_iter().fold(error, UserError::hint);
        error.hint(format!("{OTHERS}{}", WORLDS.join(", ")))
    };
    match named::at(name, &WORLDS) {
        Named::Absent { said, meant } | Named::Folder { said, meant } => Err(refused(said, meant)),
        Named::File => lines::read_text(Path::new(name)).map(Cow::Owned).map_err(|error| {
            UserError::new(Exit::Usage, format!("read the world `{name}`: {error}"))
        }),
    }
}
