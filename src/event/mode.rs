//! Whether a run is meant, and what follows from that for whoever reads or types something about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a run treats the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    Live,
    DryRun,
    Rehearsal,
}

impl Mode {
    /// Returns what a command on a run of this mode must say besides.
    pub(crate) const fn flag(self) -> &'static str {
        match self {
            Self::Live | Self::DryRun => "",
            Self::Rehearsal => " --rehearse",
        }
    }

    /// Returns what a line about a run of this mode begins with, where nothing around it says that it is practice.
    pub(crate) const fn heading(self) -> &'static str {
        match self {
            Self::Live | Self::DryRun => "",
            Self::Rehearsal => "REHEARSAL: ",
        }
    }

    /// Returns a message that people paste elsewhere: where it is read nothing else says that it is practice.
    pub(crate) fn message(self, text: &str) -> String {
        match self {
            Self::Live | Self::DryRun => text.to_owned(),
            Self::Rehearsal => format!("REHEARSAL, not an incident: {text}"),
        }
    }
}

/// The world of a rehearsal, as whoever looks for it again must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorldNamed {
    /// What it calls itself
    pub name: String,
    /// The file it was read from; `None` for what comes with the program or was made
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The estate file whose names alone it has
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
}

impl fmt::Display for WorldNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "world `{}`", self.name)?;
        match (&self.file, &self.made_from) {
            (Some(file), _) => write!(f, " of {file}"),
            (None, Some(estate)) => write!(f, " made from {estate}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_rehearsal_says_that_it_is_practice() {
        for (mode, message, flag) in [
            (Mode::Live, "the site is down", ""),
            (Mode::DryRun, "the site is down", ""),
            (Mode::Rehearsal, "REHEARSAL, not an incident: the site is down", " --rehearse"),
        ] {
            assert_eq!(mode.message("the site is down"), message);
            assert_eq!(mode.flag(), flag);
            assert_eq!(mode.heading().is_empty(), mode != Mode::Rehearsal);
        }
    }
}
