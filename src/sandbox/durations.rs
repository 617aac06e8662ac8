//! How long things take in a world: which lengths its file gives, and which are the program's guesses.

use std::borrow::Cow;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::span::Span;

/// How long things take; what a world does not give is a guess from practice.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Durations {
    /// An answer of an AWS API or a server
    pub answer: Timed<Span>,
    /// Making an instance before any data is read
    pub create_instance: Timed<Span>,
    /// Reading a GiB of a snapshot or backup, in seconds
    pub restore_seconds_per_gib: Timed<u32>,
    /// Replaying logs up to the instant asked for
    pub replay_logs: Timed<Span>,
    /// First backup of a new or promoted instance
    pub first_backup: Timed<Span>,
    /// Promoting a replica, its restart included
    pub promote: Timed<Span>,
    /// Until a promotion that was accepted shows
    pub promote_shows: Timed<Span>,
    /// Changing an instance
    pub modify: Timed<Span>,
    /// Adding a standby in another zone
    pub add_standby: Timed<Span>,
    /// Deleting an instance
    pub delete_instance: Timed<Span>,
    /// Moving the writer of a global database to another region
    pub global_failover: Timed<Span>,
    /// Until every name server of Route 53 has a change
    pub route53_sync: Timed<Span>,
    /// Until an object is in the bucket its own is replicated to
    pub object_replication: Timed<Span>,
    /// True where those that are given here were measured on the estate; the others stay guesses
    pub measured: bool,
}

/// A length, and whether a world gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timed<T> {
    value: T,
    given: bool,
}

impl<T> Timed<T> {
    /// Returns what a world, or an estate, says.
    pub(crate) const fn given(value: T) -> Self {
        Self { value, given: true }
    }

    /// Returns what nobody said.
    pub(super) const fn guess(value: T) -> Self {
        Self { value, given: false }
    }

    /// Says whether nobody said it.
    pub(crate) const fn is_guess(&self) -> bool {
        !self.given
    }
}

impl<T> Deref for Timed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Timed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::given)
    }
}

impl<T: Serialize> Serialize for Timed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: JsonSchema> JsonSchema for Timed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            answer: Timed::guess(Span(std::time::Duration::from_millis(120))),
            create_instance: Timed::guess(Span::minutes(6)),
            restore_seconds_per_gib: Timed::guess(20),
            replay_logs: Timed::guess(Span::minutes(5)),
            first_backup: Timed::guess(Span::minutes(3)),
            promote: Timed::guess(Span::minutes(7)),
            promote_shows: Timed::guess(Span::seconds(6)),
            modify: Timed::guess(Span::minutes(2)),
            add_standby: Timed::guess(Span::minutes(12)),
            delete_instance: Timed::guess(Span::minutes(4)),
            global_failover: Timed::guess(Span::minutes(2)),
            route53_sync: Timed::guess(Span::seconds(35)),
            object_replication: Timed::guess(Span::seconds(20)),
            measured: false,
        }
    }
}

/// Only what is given is written: a guess that is read back would count as given.
impl Serialize for Durations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, length) in self.spans() {
            if length.given {
                map.serialize_entry(name, length)?;
            }
        }
        if self.restore_seconds_per_gib.given {
            map.serialize_entry(PER_GIB, &self.restore_seconds_per_gib)?;
        }
        map.serialize_entry("measured", &self.measured)?;
        map.end()
    }
}

const PER_GIB: &str = "restore_seconds_per_gib";

impl Durations {
    const fn spans(&self) -> [(&'static str, &Timed<Span>); 12] {
        [
            ("answer", &self.answer),
            ("create_instance", &self.create_instance),
            ("replay_logs", &self.replay_logs),
            ("first_backup", &self.first_backup),
            ("promote", &self.promote),
            ("promote_shows", &self.promote_shows),
            ("modify", &self.modify),
            ("add_standby", &self.add_standby),
            ("delete_instance", &self.delete_instance),
            ("global_failover", &self.global_failover),
            ("route53_sync", &self.route53_sync),
            ("object_replication", &self.object_replication),
        ]
    }

    /// Returns the names of those that were measured, and of those that are guesses.
    pub(crate) fn told(&self) -> (Vec<String>, Vec<String>) {
        let spans = self.spans().map(|(name, length)| (name, length.given));
        let all = spans.into_iter().chain([(PER_GIB, self.restore_seconds_per_gib.given)]);
        let (measured, guessed): (Vec<_>, Vec<_>) =
            all.partition(|(_, given)| self.measured && *given);
        let names =
            |of: Vec<(&str, bool)>| of.into_iter().map(|(name, _)| name.to_owned()).collect();
        (names(measured), names(guessed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Durations {
        serde_json::from_str(text).expect("durations")
    }

    #[test]
    fn only_what_a_world_gives_was_measured() {
        let (measured, guessed) = read(r#"{ "measured": true }"#).told();
        assert_eq!((measured.len(), guessed.len()), (0, 13), "nothing is given");
        let some = read(r#"{ "measured": true, "promote": "9m", "restore_seconds_per_gib": 12 }"#);
        assert_eq!(some.told().0, ["promote", "restore_seconds_per_gib"]);
        assert_eq!((some.promote.0.as_secs(), *some.restore_seconds_per_gib), (540, 12));
        let not = read(r#"{ "promote": "9m" }"#);
        assert_eq!(not.told().0.len(), 0, "given, but nobody says that it was measured");
    }

    #[test]
    fn how_pods_start_is_a_guess_until_a_world_says_that_it_was_measured() {
        use crate::sandbox::world::{WorldCluster, parse, shipped};
        let name = "startup of pods in us-west-2".to_owned();
        let text = shipped("phoenix").expect("it comes with the program");
        let mut world = parse("phoenix", text).expect("a world");
        assert!(world.lengths().1.contains(&name), "given, but nobody says that it was measured");
        world.durations.measured = true;
        assert!(world.lengths().0.contains(&name));
        world.clusters.insert("us-west-2".to_owned(), WorldCluster::default());
        assert!(world.lengths().1.contains(&name), "nobody said it");
        let written = serde_json::to_value(WorldCluster::default()).expect("JSON");
        assert_eq!(written.get("startup"), None, "a guess that is read back would count as given");
    }

    #[test]
    fn a_guess_that_was_written_stays_one() {
        let some = read(r#"{ "measured": true, "promote": "9m" }"#);
        let again = read(&serde_json::to_string(&some).expect("JSON"));
        assert_eq!(again.told(), some.told());
        assert_eq!(again.modify, some.modify);
    }

    #[test]
    fn every_length_is_told() {
        let schema = schemars::schema_for!(Durations).to_value();
        let fields = schema["properties"].as_object().expect("fields").keys();
        let (_, guessed) = Durations::default().told();
        let told = guessed.iter().map(String::as_str).chain(["measured"]);
        assert_eq!(
            fields.map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
            told.collect()
        );
    }
}
