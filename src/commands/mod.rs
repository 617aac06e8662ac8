//! One file per command; the only place where everything is composed, and where a run is armed.

mod abandon;
mod about;
mod answers;
mod causes;
mod completions;
mod compose;
mod confined;
mod context;
mod debriefed;
mod diagnostics;
mod doctor;
mod drift;
mod dry_run;
mod facts;
mod go;
mod init;
mod injected;
mod journals;
mod ledger;
mod live;
mod mark;
mod meant;
mod named;
mod obligations;
mod observe;
mod past;
mod preflight;
mod recovery_points;
mod rehearsal;
mod rehearsing;
mod report;
mod resume;
mod rollback;
mod runbooks;
mod show;
mod staging;
mod taken_for;
mod typed;
mod undone;
mod validate;
mod world;

use std::ffi::OsString;

use crate::cli::{self, Builtin, Parsed, Typed, Usage};
use crate::clients::confined::inside;
use crate::error::UserError;
use crate::exit::Exit;
use crate::report::terminal::Tone;
use crate::runbook::load::FindError;
use context::Context;

/// Runs what was typed.
pub(crate) fn run(arguments: &[OsString]) -> Exit {
    if let Some((ways, argv)) = inside::asked(arguments) {
        return confined::run(ways, argv);
    }
    let directories = context::runbook_directories(cli::runbook_directory(arguments));
    let (known, broken) = context::command_runbooks(&directories);
    let Parsed { typed, wrong } = match cli::parse(arguments, &known) {
        Ok(parsed) => parsed,
        Err(usage) => {
            return context::print_usage(&usage, &broken, about::types_rehearsal(arguments));
        }
    };
    let global = match &typed {
        Typed::Bare { global } | Typed::Builtin { global, .. } | Typed::Runbook { global, .. } => {
            global.clone()
        }
    };
    let mut context = Context::new(global, directories, known);
    context.typed =
        arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    context.about = about::About::of(&typed);
    context.inputs_are_flags = !matches!(&typed, Typed::Builtin { .. });
    if let Some(usage) = wrong {
        return unusable(&context, &typed, &usage, &broken);
    }
    diagnostics::start(&context);
    match carry_out(&context, typed) {
        Ok(exit) => exit,
        Err(error) => context.complain(&error),
    }
}

/// Says what is wrong with a command line, and with what its other flags name; nothing is carried out.
fn unusable(context: &Context, typed: &Typed, usage: &Usage, broken: &[FindError]) -> Exit {
    let flags = match typed {
        Typed::Runbook { flags, .. } => Some(&**flags),
        Typed::Builtin { command, .. } => match &**command {
            Builtin::Run(given) | Builtin::Plan(given) => Some(&given.flags),
            _ => None,
        },
        Typed::Bare { .. } => None,
    };
    if let Some(Err(error)) = flags.map(|flags| staging::looked_at(context, flags)) {
        context.complain(&error);
        context.terminal.loud(Tone::Plain, "");
        return context::print_usage(usage, broken, false);
    }
    context::print_usage(usage, broken, context.practises())
}

fn carry_out(context: &Context, typed: Typed) -> Result<Exit, UserError> {
    match typed {
        Typed::Bare { .. } => ledger::what_now(context),
        Typed::Runbook { flags, command, inputs, .. } => {
            live::run(context, &command, &inputs, &flags)
        }
        Typed::Builtin { command, .. } => match *command {
            Builtin::Run(given) => live::run(context, &given.runbook, &given.inputs, &given.flags),
            Builtin::Plan(given) => {
                let mut flags = given.flags;
                flags.how.who.dry_run = true;
                live::run(context, &given.runbook, &given.inputs, &flags)
            }
            Builtin::List => runbooks::list(context),
            Builtin::Show(given) => runbooks::show(context, &given),
            Builtin::Graph(given) => runbooks::graph(context, &given.runbook, given.format),
            Builtin::Validate(given) => validate::run(context, &given.files, given.rehearsable),
            Builtin::Runs => ledger::runs(context),
            Builtin::Status(given) => ledger::status(context, given.run.as_deref(), given.follow),
            Builtin::Resume(given) => resume::resume(context, &given),
            Builtin::Rollback(given) => rollback::rollback(context, &given),
            Builtin::Abandon(given) => {
                abandon::abandon(context, given.run.as_deref(), &given.reason)
            }
            Builtin::MarkDone(given) => mark::done(context, &given),
            Builtin::Report(given) => report::run(context, given.run.as_deref()),
            Builtin::Audit(given) => {
                ledger::audit(context, given.run.as_deref(), given.form, given.verify)
            }
            Builtin::Doctor(given) => doctor::run(context, given.region.as_deref()),
            Builtin::RecoveryPoints(given) => recovery_points::run(context, &given),
            Builtin::World(given) => world::run(context, &given.command),
            Builtin::Init(given) => init::run(context, &given),
            Builtin::Completions(given) => completions::script(context, given.shell),
            Builtin::Man => completions::manual(context),
        },
    }
}
