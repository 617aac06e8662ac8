//! Rules as a text: `FAULT[@SERVICE[/OPERATION]][,PART=VALUE…]`, e.g. `lost_answer@rds/PromoteReadReplica,times=1`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::{Fault, Part, Rule, Service};
use crate::runbook::near;
use crate::span::Span;

/// The parts that are written as `PART=VALUE`.
const PARTS: [Part; 6] =
    [Part::Region, Part::From, Part::Until, Part::Spare, Part::Times, Part::Delay];

/// Something in a text that is no part of a fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}{}", .help.as_ref().map_or_else(String::new, |help| format!("; {help}")))]
pub(crate) struct Slip {
    /// Bytes of the text
    pub range: Range<usize>,
    pub said: String,
    pub help: Option<String>,
}

/// What a text says.
#[derive(Debug)]
pub(crate) struct Written {
    /// What could be read; `None` where not even the fault could be
    pub rule: Option<Rule>,
    pub slips: Vec<Slip>,
    /// Where each part is written
    places: BTreeMap<Part, Range<usize>>,
}

impl Written {
    /// Reads a text, with everything that is wrong with it.
    pub(crate) fn read(text: &str) -> Self {
        let mut written = Self { rule: None, slips: Vec::new(), places: BTreeMap::new() };
        let mut at = 0;
        for (index, part) in text.split(',').enumerate() {
            let start = at + part.len() - part.trim_start().len();
            let range = start..start + part.trim().len();
            at += part.len() + 1;
            if index == 0 {
                written.rule = written.head(&text[range.clone()], range);
            } else {
                written.part(&text[range.clone()], range);
            }
        }
        written
    }

    /// Says whether a word is, or might be meant as, the name of a fault.
    pub(crate) fn names_fault(word: &str) -> bool {
        near::nearest(word, Fault::ALL.iter().map(|fault| fault.name())).is_some()
    }

    /// Returns where a part is written; for what is written nowhere, the fault.
    pub(crate) fn place(&self, part: Part) -> Range<usize> {
        let found = self.places.get(&part).or_else(|| self.places.get(&Part::Fault));
        found.cloned().unwrap_or_default()
    }

    fn slip(&mut self, range: Range<usize>, said: String, help: Option<String>) {
        self.slips.push(Slip { range, said, help });
    }

    fn head(&mut self, text: &str, range: Range<usize>) -> Option<Rule> {
        let fault = text.split('@').next().unwrap_or_default();
        let place = range.start..range.start + fault.len();
        let at = text.split_once('@').map(|(_, at)| at);
        let service = at.map(|at| at.split('/').next().unwrap_or_default());
        let operation = at.and_then(|at| Some(at.split_once('/')?.1));
        let known = Fault::ALL.into_iter().find(|known| known.name() == fault);
        let mut rule = known.map(Rule::of);
        if rule.is_none() {
            let meant = near::hint(fault, Fault::ALL.iter().map(|fault| fault.name()));
            let all = || format!("there are {}", Fault::ALL.map(Fault::name).join(", "));
            let said = format!("`{fault}` is no fault");
            self.slip(place.clone(), said, meant.or_else(|| Some(all())));
        }
        self.places.insert(Part::Fault, place.clone());
        let Some(service) = service else { return rule };
        let place = place.end + 1..place.end + 1 + service.len();
        self.places.insert(Part::Service, place.clone());
        // A word that was forgotten is no wish for all of them.
        if service.is_empty() && operation.is_none() {
            let all = Service::ALL.map(Service::name).join(", ");
            let help = format!("there are {all}; for all of them leave the `@` out");
            self.slip(
                place.start - 1..place.end,
                "there is no service behind `@`".to_owned(),
                Some(help),
            );
            return rule;
        }
        let known = Service::signed(service);
        if known.is_none() && !service.is_empty() {
            let meant = near::hint(service, Service::ALL.iter().map(|known| known.name()));
            let all = || format!("there are {}", Service::ALL.map(Service::name).join(", "));
            let said = format!("`{service}` is no service");
            self.slip(place, said, meant.or_else(|| Some(all())));
            // Whose operations they would be is not known.
            return rule;
        }
        if let Some(operation) = operation {
            // Of none the stroke before it can be shown.
            let shown = operation.len().max(1);
            self.places.insert(Part::Operation, range.end - shown..range.end);
        }
        if let Some(rule) = &mut rule {
            (rule.service, rule.operation) = (known, operation.map(str::to_owned));
        }
        rule
    }

    fn part(&mut self, text: &str, range: Range<usize>) {
        let Some((name, value)) = text.split_once('=') else {
            let help = "write it as NAME=VALUE".to_owned();
            return self.slip(range, format!("`{text}` has no value"), Some(help));
        };
        let Some(part) = PARTS.into_iter().find(|part| part.name() == name) else {
            let meant = near::hint(name, PARTS.iter().map(|part| part.name()));
            let all = || format!("there are {}", PARTS.map(Part::name).join(", "));
            let said = format!("`{name}` is no part of a fault");
            return self.slip(range, said, meant.or_else(|| Some(all())));
        };
        if self.places.contains_key(&part) {
            let help = "leave one of them out".to_owned();
            return self.slip(range, format!("`{name}` is given twice"), Some(help));
        }
        self.places.insert(part, range.clone());
        // Of what is no fault the parts are looked at all the same.
        let mut rule = self.rule.take();
        let mut none = Rule::of(Fault::Dark);
        let taken = rule.as_mut().unwrap_or(&mut none).take(part, value);
        self.rule = rule;
        if let Err(why) = taken {
            self.slip(range, why, None);
        }
    }
}

impl FromStr for Rule {
    type Err = Slip;

    fn from_str(text: &str) -> Result<Self, Slip> {
        let written = Written::read(text);
        match (written.rule, written.slips.into_iter().next()) {
            (_, Some(slip)) => Err(slip),
            (Some(rule), None) => Ok(rule),
            (None, None) => {
                Err(Slip { range: 0..text.len(), said: "there is no fault".to_owned(), help: None })
            }
        }
    }
}

impl Rule {
    fn take(&mut self, part: Part, value: &str) -> Result<(), String> {
        let span = || value.parse::<Span>().map(Some).map_err(|error| error.to_string());
        let number = || {
            let said =
                || format!("`{value}` is no number of calls; write it like {}=2", part.name());
            value.parse().map(Some).map_err(|_| said())
        };
        match part {
            Part::Region => self.region = Some(value.to_owned()),
            Part::From => self.from = span()?,
            Part::Until => self.until = span()?,
            Part::Delay => self.delay = span()?,
            Part::Spare => self.spare = number()?,
            Part::Times => self.times = number()?,
            // These stand before the first comma.
            Part::Fault | Part::Service | Part::Operation => {}
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.fault.name())?;
        match (&self.service, &self.operation) {
            (Some(service), Some(operation)) => write!(f, "@{}/{operation}", service.name())?,
            (Some(service), None) => write!(f, "@{}", service.name())?,
            (None, Some(operation)) => write!(f, "@/{operation}")?,
            (None, None) => {}
        }
        if let Some(region) = &self.region {
            write!(f, ",region={region}")?;
        }
        for (name, span) in [("from", self.from), ("until", self.until), ("delay", self.delay)] {
            if let Some(span) = span {
                write!(f, ",{name}={span}")?;
            }
        }
        for (name, number) in [("spare", self.spare), ("times", self.times)] {
            if let Some(number) = number {
                write!(f, ",{name}={number}")?;
            }
        }
        Ok(())
    }
}
