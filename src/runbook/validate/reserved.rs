//! Names a runbook may not take, because the program's own commands and flags have them.

/// Built-in commands. The command line's own tests hold this list against its parser.
pub(crate) const COMMANDS: &[&str] = &[
    "abandon",
    "approve",
    "audit",
    "completions",
    "doctor",
    "drill",
    "graph",
    "help",
    "init",
    "list",
    "man",
    "mark-done",
    "plan",
    "recovery-points",
    "rehearse",
    "report",
    "resume",
    "rollback",
    "run",
    "runs",
    "show",
    "status",
    "validate",
    "version",
    "world",
];

/// Built-in flags that a runbook's command has besides its inputs, without the dashes.
///
/// The command line's own tests hold this list against its parser.
pub(crate) const FLAGS: &[&str] = &[
    "accept-loss",
    "allow-endpoint-override",
    "answers",
    "approve",
    "color",
    "confirm",
    "detailed-exitcode",
    "dry-run",
    "estate",
    "follow",
    "help",
    "incident-started",
    "inject",
    "jobs",
    "no-progress",
    "non-interactive",
    "on-failure",
    "output",
    "override",
    "past",
    "quiet",
    "recovery-point",
    "rehearse",
    "runbooks",
    "seed",
    "set",
    "speed",
    "state",
    "surprise",
    "verbose",
    "version",
    "waive",
    "yes",
];

/// Inputs whose variable, `PHOENIX_DR_NAME`, this program or the programs it starts read for something else.
pub(super) const VARIABLES: &[&str] = &[
    "actions", "bless", "evidence", "force", "form", "format", "log", "reason", "rendered", "run",
    "state", "step", "token", "value", "verify",
];

/// Ids no step may have: flags and screens use the words for something else.
pub(super) const STEPS: &[&str] = &["all", "each", "go", "none", "plan", "run", "verification"];

/// Words CEL does not take as names, so that `steps.WORD` could never be written.
pub(super) const WORDS: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];
