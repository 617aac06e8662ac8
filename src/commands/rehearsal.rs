//! What takes the place of the estate in a rehearsal: a world, and virtual time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::context::{Context, chain};
use super::journals;
use super::resume::goes_on;
use super::staging::{self, Staged};
use crate::cli::{RunFlags, Speed, SurpriseArg, WhoFlags};
use crate::clock::jump::{JumpClock, Pace};
use crate::clock::since;
use crate::engine::state::RunState;
use crate::error::UserError;
use crate::estate::types::Estate;
use crate::event::{Event, Mode, Record, WorldNamed};
use crate::exit::Exit;
use crate::ids::RunId;
use crate::journal::store::Store;
use crate::operator::terminal::attended;
use crate::report::debrief::{NeverStruck, StruckFirst, WorldTold};
use crate::report::terminal::{Line, Tone, Weight};
use crate::report::text::wrap;
use crate::report::world::{Lengths, NotSeen};
use crate::sandbox::fault::Rule;
use crate::sandbox::surprise::{Level, surprise};
use crate::sandbox::world::{self, Unseen, World};
use crate::sandbox::{Beginning, Resumed, Sandbox, SandboxError};
use crate::span::Span;

/// Chance of a rehearsal that names no seed and has no surprise.
const SEED: u64 = 1;
/// The input that says where a runbook goes.
const REGION: &str = "region";
/// How much faster than real time a person sees it.
const SPEED: f64 = 60.0;

/// A rehearsal: its time, and the world it takes place in.
pub(super) struct Rehearsal {
    pub clock: JumpClock,
    /// The world of a new one; what one that is taken up again has is in its journal
    pub named: Option<WorldNamed>,
    source: Source,
    begun: OnceLock<Sandbox>,
}

enum Source {
    New {
        world: Box<World>,
        faults: Vec<Rule>,
        seed: u64,
        secret: bool,
    },
    /// A rehearsal that stopped, by its directory
    Resumed {
        directory: PathBuf,
        estate: Box<Estate>,
        run: RunId,
    },
}

/// Returns the context of a new rehearsal, or of the real estate where none is asked for.
pub(super) fn staged(
    context: &Context,
    runbook: &str,
    inputs: &[(String, String)],
    flags: &RunFlags,
) -> Result<Option<Context>, UserError> {
    let who = &flags.how.who;
    let Some(named) = &who.rehearse else {
        staging::refuse_without(flags)?;
        return Ok(None);
    };
    // What is wrong with the runbook is told when it is planned.
    let home = context.find(runbook).ok().and_then(|found| found.runbook.world);
    let home = home.as_deref().unwrap_or(world::SHIPPED);
    let Staged { world, injected: mut faults, said } =
        staging::staged(context, named.as_deref(), home, flags)?;
    for line in said.iter().flat_map(|said| wrap(said, context.terminal.columns(), 2)) {
        context.terminal.line(&Line::new(Weight::Normal, Tone::Plain, line));
    }
    let named = Some(told_as(&world, named.as_deref()));
    let seed = flags.seed.unwrap_or_else(|| unnamed(flags.surprise.is_some()));
    let secret = flags.surprise.is_some();
    if let Some(level) = flags.surprise {
        let level = match level {
            SurpriseArg::Mild => Level::Mild,
            SurpriseArg::Hard => Level::Hard,
            SurpriseArg::Cruel => Level::Cruel,
        };
        faults.extend(surprise(level, seed, struck(&world.estate, inputs)));
    }
    // On a whole second, as services tell time: otherwise the moment of the start decides what is rounded up.
    let now = context.clock.now();
    let began = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let clock = JumpClock::at(began, pace(who));
    let source = Source::New { world: Box::new(world), faults, seed, secret };
    Ok(Some(context.rehearsing(Rehearsal { clock, named, source, begun: OnceLock::new() })))
}

/// Returns a world as the journal names it: whoever looks for the file again may stand in another directory.
fn told_as(world: &World, named: Option<&str>) -> WorldNamed {
    let file = named.filter(|name| !name.is_empty() && world::shipped(name).is_none());
    let absolute = |name: &str| {
        let path = std::path::absolute(name);
        path.map_or_else(|_| name.to_owned(), |path| path.display().to_string())
    };
    let (name, made_from) = (world.world.clone(), world.made_from.clone());
    WorldNamed { name, file: file.map(absolute), made_from }
}

/// Returns the seed of a rehearsal that names none. A surprise is drawn anew each time, or it would be one only once; the
/// debrief tells its seed.
fn unnamed(surprise: bool) -> u64 {
    match surprise {
        true => u64::from(ulid::Ulid::generate().random() as u16),
        false => SEED,
    }
}

/// Returns the region that surprises strike: the one the run goes to; where no input says it, one that is not lost.
fn struck<'a>(estate: &'a Estate, inputs: &[(String, String)]) -> &'a str {
    let given = inputs.iter().find(|(name, _)| name == REGION).map(|(_, region)| region);
    let primary = &estate.primary.region;
    let named = |region: &&String| Some(*region) == given;
    let mut regions = estate.regions.keys();
    let found = regions.clone().find(named).or_else(|| regions.find(|region| *region != primary));
    found.unwrap_or(primary)
}

/// Refuses to take a run up as what it is not: a rehearsal is one and nothing else, where the estate's own is meant none.
/// `verb` is the command that was typed.
pub(super) fn refuse_another(
    context: &Context,
    store: &Store,
    run: &RunId,
    who: &WhoFlags,
    verb: &str,
) -> Result<(), UserError> {
    let records = journals::read(&store.dir(run).journal(), run)?;
    let state = goes_on(journals::fold(run, &records)?)?;
    let short = run.short();
    match (state.mode == Mode::Rehearsal, &who.rehearse) {
        (false, None) if who.speed.is_some() => {
            let said = format!("run {run} is live, and --speed is for rehearsals");
            let hint =
                "it goes on in real time: leave --speed (and PHOENIX_DR_SPEED) out: phoenix-dr";
            Err(UserError::new(Exit::Usage, said).hint(format!("{hint} {verb} {short}")))
        }
        (false, None) => Ok(()),
        (false, Some(_)) => {
            let hint = format!("leave --rehearse out: phoenix-dr {verb} {short}");
            let said = format!("run {run} is live, not a rehearsal");
            Err(UserError::new(Exit::Usage, said).hint(hint))
        }
        (true, None) => {
            let hint = format!("write phoenix-dr {verb} {short} --rehearse");
            let said = format!("run {run} is a rehearsal, and `{verb}` must say so");
            Err(UserError::new(Exit::Usage, said).hint(hint))
        }
        (true, Some(named)) => {
            let world = named.as_deref().filter(|name| !name.is_empty());
            let wrong = [
                world.and_then(|name| another_world(run, &records, name)),
                names_estate(&context.typed).then(|| another_estate(run, verb)),
                staging::refuse_live_only(context, who).err(),
            ];
            wrong.into_iter().flatten().reduce(UserError::and).map_or(Ok(()), Err)
        }
    }
}

/// Words that a rehearsal is not in the world that was named. Of a file nobody knows whether it still is what it was; the
/// one that comes with the program is told by its name, where the rehearsal began in no file's and in none made for it.
fn another_world(run: &RunId, records: &[Record], name: &str) -> Option<UserError> {
    let began = records.first().and_then(|record| match &record.event {
        Event::RunStarted { world, .. } => world.as_ref(),
        _ => None,
    });
    // One that is not known began in the one there was.
    let shipped = began.map_or(Some(world::SHIPPED), |world| {
        let shipped = world.file.is_none() && world.made_from.is_none();
        shipped.then_some(world.name.as_str())
    });
    if shipped == Some(name) && world::shipped(name).is_some() {
        return None;
    }
    let said = format!("the world of rehearsal {run} is its own; `{name}` is another");
    let begin = format!("phoenix-dr failover --region REGION --rehearse {name}");
    Some(
        UserError::new(Exit::Usage, said)
            .hint(
                "write --rehearse last, without a world: it keeps its world, its seed and its faults",
            )
            .hint(format!("or begin another in it: {begin}")),
    )
}

fn another_estate(run: &RunId, verb: &str) -> UserError {
    let said =
        format!("the estate of rehearsal {run} is that of its world; `--estate` names another");
    let hint = format!("leave it out: phoenix-dr {verb} {} --rehearse", run.short());
    UserError::new(Exit::Usage, said).hint(hint)
}

/// Says whether an estate was typed; one that is in the environment is meant for whatever needs one.
fn names_estate(typed: &[String]) -> bool {
    typed.iter().any(|word| word == "--estate" || word.starts_with("--estate="))
}

/// Returns the context in which a run that stopped is taken up, where it is a rehearsal. Its lock is held, but for a dry
/// run, which only looks: another process would go on writing what is read here.
pub(super) fn taken_up(
    context: &Context,
    store: &Store,
    state: &RunState,
    records: &[Record],
    who: &WhoFlags,
) -> Result<Option<Context>, UserError> {
    if state.mode != Mode::Rehearsal {
        return Ok(None);
    }
    let journal = store.dir(&state.run).journal();
    let rehearsal = Rehearsal::of(&journal, state, records, pace(who))?;
    Ok(Some(context.rehearsing(rehearsal)))
}

/// Returns what nobody saw as reports have it.
pub(super) fn not_seen(unseen: Unseen) -> NotSeen {
    NotSeen { what: unseen.what, region: unseen.region, why: unseen.why }
}

/// Returns where a world's durations come from as reports have it.
pub(super) fn lengths(world: &World) -> Lengths {
    let (measured, guessed) = world.lengths();
    Lengths { measured, guessed }
}

fn pace(who: &WhoFlags) -> Pace {
    match who.speed {
        Some(Speed::Max) => Pace::Max,
        Some(Speed::Times(times)) => Pace::Times(times),
        None if attended() && !who.non_interactive => Pace::Times(SPEED),
        None => Pace::Max,
    }
}

fn sandbox_error(error: &SandboxError) -> UserError {
    UserError::new(Exit::Journal, chain(error))
}

/// Words why a rehearsal cannot be gone on with: its world is all it has, and nothing brings that back.
fn damaged(error: &SandboxError, short: &str) -> UserError {
    sandbox_error(error).hint(format!("give it up: phoenix-dr abandon {short} --reason WHY"))
}

impl Rehearsal {
    /// Returns one that stopped, with its world as it was left.
    pub(super) fn of(
        journal: &Path,
        state: &RunState,
        records: &[Record],
        pace: Pace,
    ) -> Result<Self, UserError> {
        let (run, directory) = (state.run.clone(), journal.parent());
        let directory = directory.map(Path::to_owned).unwrap_or_default();
        let read = Resumed::look(&directory).map_err(|error| damaged(&error, run.short()))?;
        let last = records.last().map_or(read.until, |record| record.time);
        let clock = JumpClock::at(read.until.max(last), pace);
        let source =
            Source::Resumed { directory, estate: Box::new(state.plan.estate.clone()), run };
        Ok(Self { clock, named: None, source, begun: OnceLock::new() })
    }

    /// Takes what was begun as the rehearsal's own world, to be looked at.
    pub(super) fn look(&self) -> Result<(), UserError> {
        let sandbox = self.sandbox(None)?;
        self.begun.get_or_init(|| sandbox);
        Ok(())
    }

    /// Returns the estate of its world.
    pub(super) fn estate(&self) -> Estate {
        match &self.source {
            Source::New { world, .. } => world.estate.clone(),
            Source::Resumed { estate, .. } => (**estate).clone(),
        }
    }

    /// Returns the world to act on; with a run's directory, one that is kept there, for whoever holds the run's lock.
    pub(super) fn sandbox(&self, directory: Option<&Path>) -> Result<Sandbox, UserError> {
        if let Some(begun) = self.begun.get().filter(|_| directory.is_some()) {
            return Ok(begun.clone());
        }
        let clock = Arc::new(self.clock.clone());
        let made = match (&self.source, directory) {
            (Source::Resumed { directory, run, .. }, kept) => {
                let read = match kept {
                    Some(_) => Resumed::read(directory),
                    None => Resumed::look(directory),
                };
                read.and_then(|resumed| Sandbox::go_on(resumed, clock))
                    .map_err(|error| damaged(&error, run.short()))
            }
            (Source::New { world, faults, seed, secret }, directory) => {
                let (world, faults) = ((**world).clone(), faults.clone());
                let beginning = Beginning { world, faults, seed: *seed, secret: *secret };
                Sandbox::begin(beginning, clock, directory).map_err(|error| sandbox_error(&error))
            }
        };
        let sandbox = made?;
        if directory.is_some() {
            // The first one is the run's. It lives as long as the program, which takes no large world apart at its end.
            std::mem::forget(self.begun.get_or_init(|| sandbox.clone()).clone());
        }
        Ok(sandbox)
    }

    /// Says whether something was asked that the simulation does not know.
    pub(super) fn left(&self) -> bool {
        self.begun.get().is_some_and(|sandbox| !sandbox.told().left.is_empty())
    }

    /// Says what is told of its world at the end.
    ///
    /// `stopped`: it can be gone on with, and what is a surprise stays one.
    pub(super) fn told(&self, stopped: bool) -> Option<(WorldTold, Option<String>)> {
        let sandbox = self.begun.get()?;
        let (world, mut told) = (sandbox.world(), sandbox.told());
        let surprise = told.own.is_some();
        let own = told.own.filter(|_| stopped);
        told.faults.truncate(own.unwrap_or(told.faults.len()));
        let never = told.faults.iter().filter_map(|told| {
            let (fault, never) = (told.fault.clone(), told.never.as_ref()?);
            Some(NeverStruck { fault, because: never.because(), said: never.to_string() })
        });
        let first = told.faults.iter().filter_map(|told| {
            let first = told.first.clone()?;
            let after = Span::seconds(since(sandbox.began(), first.at).as_secs());
            let (fault, at, call) = (told.fault.clone(), first.at, first.call);
            Some(StruckFirst { fault, after, at, call })
        });
        let durations = lengths(world);
        let primary = &world.estate.primary.region;
        let unseen = world.unseen.iter().cloned().map(|unseen| not_seen(unseen).line());
        let world = WorldTold {
            world: world.world.clone(),
            file: None,
            estate: world.estate.estate.clone(),
            standing: (!sandbox.is_dark(primary)).then(|| primary.clone()),
            captured: world.captured,
            made_from: world.made_from.clone(),
            age: world.captured.map(|at| Span::seconds(since(at, sandbox.began()).as_secs())),
            pseudonyms: world.pseudonyms,
            unseen: unseen.collect(),
            measured: durations.guessed.is_empty(),
            durations,
            seed: told.seed,
            never_struck: never.collect(),
            struck_first: first.collect(),
            surprise,
            faults: told.faults.into_iter().map(|told| (told.fault, told.struck)).collect(),
            untold: own.is_some(),
            left: told.left,
        };
        Some((world, told.log_failure))
    }
}
