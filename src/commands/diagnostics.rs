//! Diagnostics: what this program asks of services and programs, for whoever looks for a defect. Never facts: those are
//! events.

use tracing_subscriber::EnvFilter;

use super::context::Context;

/// Names what is told, as `tracing` filters do, e.g. `phoenix_dr=debug,kube=info`.
const VARIABLE: &str = "PHOENIX_DR_LOG";

/// Starts telling diagnostics on stderr: above the bars, held back while a question is open, and masked.
pub(super) fn start(context: &Context) {
    let wanted = std::env::var(VARIABLE).ok().filter(|wanted| !wanted.is_empty());
    let usual = match (context.global.verbose, context.global.quiet) {
        (true, _) => "phoenix_dr=debug",
        (false, true) => "off",
        (false, false) => "phoenix_dr=warn",
    };
    let filter = wanted.as_deref().unwrap_or(usual);
    let parsed = EnvFilter::try_new(filter).unwrap_or_else(|error| {
        let said =
            format!("{VARIABLE}: `{filter}` is no filter ({error}); diagnostics are as usual");
        context.terminal.loud(crate::report::terminal::Tone::Warn, &said);
        EnvFilter::new(usual)
    });
    let terminal = context.terminal.clone();
    let told = tracing_subscriber::fmt()
        .with_env_filter(parsed)
        .with_writer(move || terminal.log_writer())
        .with_ansi(context.terminal.colored())
        .try_init();
    // An embedding process that has its own is told through that.
    drop(told);
}
