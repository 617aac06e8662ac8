//! `world`: the estate as it is now, kept for rehearsals; what is in such a world, whether it is sound, what differs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::context::{Context, chain};
use super::rehearsal::{self, not_seen};
use super::staging;
use crate::capture::{self, Captured, pseudonyms};
use crate::cli::{CaptureArgs, WorldCommand};
use crate::clients::guard::Guard;
use crate::clients::{Clients, endpoints};
use crate::clock::jump::{JumpClock, Pace};
use crate::clock::since;
use crate::error::UserError;
use crate::estate::types::Estate;
use crate::exit::Exit;
use crate::report::terminal::{Line, Tone, Weight};
use crate::report::text::{count, wrap};
use crate::report::world::{self as shown, Counted, Differs, WorldShown};
use crate::sandbox::compare::{Change, Difference, differences};
use crate::sandbox::world::{self, World};
use crate::sandbox::{Beginning, Sandbox, lines};
use crate::span::Span;

/// Carries a command about worlds out.
pub(super) fn run(context: &Context, command: &WorldCommand) -> Result<Exit, UserError> {
    match command {
        WorldCommand::Capture(given) => capture(context, given),
        WorldCommand::Show(given) => show(context, &given.world),
        WorldCommand::Validate(given) => validate(context, &given.world),
        WorldCommand::Diff(given) => diff(context, &given.before, &given.after),
    }
}

fn capture(context: &Context, given: &CaptureArgs) -> Result<Exit, UserError> {
    if given.out.exists() && !given.force {
        return Err(exists(&given.out));
    }
    let estate = context.estate()?;
    let overrides = endpoints::overrides(&estate);
    if !overrides.is_empty() && !given.allow_endpoint_override {
        let said = "an AWS endpoint override is set; another estate might be captured";
        let error = UserError::new(Exit::Usage, format!("{said}\n  {}", overrides.join("\n  ")));
        return Err(error
            .hint("unset it; endpoints the estate needs belong in the estate file")
            .hint("or, knowing what it does: --allow-endpoint-override"));
    }
    let said = format!("looking at {}; nothing of it is changed", estate.estate);
    context.terminal.line(&Line::new(Weight::Normal, Tone::Plain, said));
    let captured = look(context, &estate)?;
    if captured.answers == 0 {
        let said = format!("nothing of {} answered; no world was written", estate.estate);
        let error = UserError::new(Exit::NotMet, said);
        let reasons = captured.world.unseen.into_iter().map(not_seen);
        return Err(reasons.take(3).fold(error, |error, reason| error.hint(reason.line())));
    }
    let Captured { world, whole, .. } = captured;
    let (region, unseen) = (survivor(&estate), world.unseen.clone());
    let world = match given.pseudonyms {
        true => pseudonyms::replaced(world).map_err(|error| {
            UserError::new(Exit::Internal, format!("replace the names of the world: {error}"))
        })?,
        false => world,
    };
    let text = context.terminal.masker().mask(&lines::write(&world));
    write(&given.out, &text, given.force)?;
    for reason in unseen.into_iter().map(not_seen) {
        for line in wrap(&format!("not seen: {}", reason.line()), context.terminal.columns(), 2) {
            context.terminal.loud(Tone::Warn, &line);
        }
    }
    let name = given.out.display().to_string();
    let sound =
        world::parse_whole(&name, text).map_err(|problems| context.invalid(&problems, Exit::Usage));
    let sound = sound.and_then(|world| begins(&name, world));
    if let Err(error) = &sound {
        context.terminal.loud(Tone::Warn, &format!("{name} cannot be rehearsed on as it is:"));
        context.complain(error);
    }
    told(context, &name, &world, region.as_deref());
    Ok(if whole && sound.is_ok() { Exit::Ok } else { Exit::WithExceptions })
}

fn told(context: &Context, name: &str, world: &World, region: Option<&str>) {
    if context.json() {
        let shown = describe(context, world);
        let answer = json!({ "format": "phoenix-dr/world-capture", "version": 1, "file": name,
            "world": shown });
        context.terminal.out(&answer.to_string());
        return;
    }
    context.terminal.out(&format!("wrote {name}: {}", count(world.objects.len(), "object")));
    if let Some(region) = region {
        let next = format!("phoenix-dr failover --region {region} --rehearse {name}");
        let primary = &world.estate.primary.region;
        let lost = world.faults.iter().any(|rule| rule.region.as_ref() == Some(primary));
        // Where the primary was there, a failover needs it to be gone.
        let inject = if lost { String::new() } else { format!(" --inject dark,region={primary}") };
        context.terminal.out(&format!("Rehearse on it: {next}{inject}"));
    }
}

fn survivor(estate: &Estate) -> Option<String> {
    estate.regions.keys().find(|region| **region != estate.primary.region).cloned()
}

/// Reads the estate with a closed guard: what would change anything is refused in the transport.
fn look(context: &Context, estate: &Estate) -> Result<Captured, UserError> {
    let runtime = context.runtime()?;
    let masks = context.terminal.masker().clone();
    masks.open(serde_json::to_string(estate).unwrap_or_default());
    let clock = Arc::clone(&context.clock);
    let clients = Clients::new(Arc::new(estate.clone()), Guard::closed(), clock).with_masks(masks);
    let captured = runtime.block_on(async {
        clients.learn_secrets(&[]).await;
        let captured = capture::capture(&clients).await;
        clients.tunnels.close().await;
        captured
    });
    runtime.shutdown_background();
    Ok(captured)
}

fn exists(path: &Path) -> UserError {
    let message = format!("`{}` exists already", path.display());
    UserError::new(Exit::Usage, message).hint("write over it with --force")
}

/// Writes a file whole or not at all; one that is there stays until the new one is complete.
fn write(path: &Path, text: &str, force: bool) -> Result<(), UserError> {
    let failed = |error: std::io::Error| {
        UserError::new(Exit::Usage, format!("write `{}`: {error}", path.display()))
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let beside = path.with_file_name(format!(".{}.part", name.unwrap_or_default()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| match force {
        true => std::fs::rename(&beside, path),
        // A name that somebody took meanwhile is not taken from them.
        false => std::fs::hard_link(&beside, path).and_then(|()| std::fs::remove_file(&beside)),
    });
    placed.map_err(|error| {
        drop(std::fs::remove_file(&beside));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => exists(path),
            _ => failed(error),
        }
    })
}

fn show(context: &Context, name: &str) -> Result<Exit, UserError> {
    let world = staging::world(context, name)?;
    let described = describe(context, &world);
    if context.json() {
        context.terminal.out(&serde_json::to_string(&described).unwrap_or_default());
    } else {
        for line in shown::lines(&described, context.terminal.columns()) {
            context.terminal.out(&line);
        }
    }
    Ok(Exit::Ok)
}

fn describe(context: &Context, world: &World) -> WorldShown {
    let mut counts: BTreeMap<(String, Option<String>), usize> = BTreeMap::new();
    for object in &world.objects {
        let key = (object.kind.name().to_owned(), object.region.clone());
        *counts.entry(key).or_default() += 1;
    }
    for (region, cluster) in &world.clusters {
        let key = (world::Kind::Kubernetes.name().to_owned(), Some(region.clone()));
        if !cluster.objects.is_empty() {
            *counts.entry(key).or_default() += cluster.objects.len();
        }
    }
    let counted = counts.into_iter().map(|((kind, region), count)| Counted { kind, region, count });
    let (now, durations) = (context.clock.now(), rehearsal::lengths(world));
    WorldShown {
        format: "phoenix-dr/world",
        version: 1,
        world: world.world.clone(),
        about: world.about.clone(),
        estate: world.estate.estate.clone(),
        captured: world.captured,
        made_from: world.made_from.clone(),
        age: world.captured.map(|at| Span::seconds(since(at, now).as_secs())),
        pseudonyms: world.pseudonyms,
        primary: world.estate.primary.region.clone(),
        regions: world.estate.regions.keys().cloned().collect(),
        objects: counted.collect(),
        faults: world.faults.iter().map(ToString::to_string).collect(),
        measured: durations.guessed.is_empty(),
        durations,
        unseen: world.unseen.iter().cloned().map(not_seen).collect(),
    }
}

fn validate(context: &Context, name: &str) -> Result<Exit, UserError> {
    let said = |good: bool, problems: serde_json::Value, why: Option<&str>| {
        let file = json!({ "file": name, "good": good, "why": why, "problems": problems });
        let answer = json!({ "format": "phoenix-dr/validate", "version": 1, "files": [file] });
        context.terminal.out(&answer.to_string());
    };
    let text = staging::world_text(name)?;
    let world = match world::parse_whole(name, text) {
        Ok(world) => world,
        Err(problems) if context.json() => {
            said(false, problems.json(), None);
            return Ok(Exit::Usage);
        }
        Err(problems) => return Err(context.invalid(&problems, Exit::Usage)),
    };
    match begins(name, world) {
        Err(error) if context.json() => {
            said(false, json!([]), Some(&error.message));
            return Ok(error.exit);
        }
        Err(error) => return Err(error),
        Ok(()) if context.json() => said(true, json!([]), None),
        Ok(()) => context.terminal.out(&format!("{name}: good")),
    }
    Ok(Exit::Ok)
}

/// Holds that a rehearsal could begin in a world: its clusters have to take their manifests.
fn begins(name: &str, world: World) -> Result<(), UserError> {
    let clock = Arc::new(JumpClock::at(jiff::Timestamp::UNIX_EPOCH, Pace::Max));
    let beginning = Beginning { world, faults: Vec::new(), seed: 0, secret: false };
    let begun = Sandbox::begin(beginning, clock, None);
    // The program ends soon: a large world is not taken apart first.
    begun
        .map(std::mem::forget)
        .map_err(|error| UserError::new(Exit::Usage, format!("{name}: {}", chain(&error))))
}

fn diff(context: &Context, before: &str, after: &str) -> Result<Exit, UserError> {
    let (old, new) = (staging::world(context, before)?, staging::world(context, after)?);
    let found = differences(&old, &new);
    if context.json() {
        let answer = json!({ "format": "phoenix-dr/world-diff", "version": 1, "before": before,
            "after": after, "differences": found });
        context.terminal.out(&answer.to_string());
    } else if found.is_empty() {
        context.terminal.out("no difference");
    } else {
        let differs: Vec<Differs> = found.iter().map(differs).collect();
        for line in shown::difference_lines(&differs, context.terminal.columns()) {
            context.terminal.out(&line);
        }
        context.terminal.out(&count(found.len(), "difference"));
    }
    Ok(if found.is_empty() { Exit::Ok } else { Exit::DryRunChanges })
}

fn differs(found: &Difference) -> Differs {
    let (sign, fields) = match &found.change {
        Change::Added => ('+', Vec::new()),
        Change::Removed => ('-', Vec::new()),
        Change::Changed { fields } => {
            let fields = fields
                .iter()
                .map(|field| (field.field.clone(), field.before.clone(), field.after.clone()));
            ('~', fields.collect())
        }
    };
    let (kind, region, id) = (found.kind.clone(), found.region.clone(), found.id.clone());
    Differs { sign, kind, region, id, fields }
}
