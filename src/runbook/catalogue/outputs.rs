//! What actions give to later steps.

use super::{Output, Shape};

pub(super) const COMMAND_OUTPUTS: &[Output] = &[
    Output { name: "exit", shape: Shape::Integer, say: "exit status of the program" },
    Output { name: "stdout", shape: Shape::String, say: "first 64 KiB of its standard output" },
];
pub(super) const EXPERIMENTS_OUTPUTS: &[Output] = &[
    Output { name: "rebuilt", shape: Shape::Integer, say: "experiments that were written" },
    Output { name: "unchanged", shape: Shape::Integer, say: "experiments that were so already" },
    Output { name: "not_rebuilt", shape: Shape::Integer, say: "experiments left as they were" },
    Output { name: "corrupt", shape: Shape::Integer, say: "events that are corrupt or missing" },
    Output { name: "experiments", shape: Shape::Integer, say: "experiments that have events" },
    Output { name: "report", shape: Shape::String, say: "file with the whole report" },
];
pub(super) const MANUAL_OUTPUTS: &[Output] =
    &[Output { name: "evidence", shape: Shape::String, say: "what the person said" }];
pub(super) const ASSESS_OUTPUTS: &[Output] = &[
    Output { name: "damaged", shape: Shape::Boolean, say: "anything is damaged" },
    Output {
        name: "damaged_relations",
        shape: Shape::List,
        say: "names of what is damaged, the worst first, at most 1,000",
    },
    Output {
        name: "damaged_tables",
        shape: Shape::List,
        say: "tables, views and sequences whose rows are damaged, which a restore brings back",
    },
    Output {
        name: "unread_relations",
        shape: Shape::List,
        say: "names of what was not read, so that nothing is known of it, at most 1,000",
    },
    Output {
        name: "sound",
        shape: Shape::Boolean,
        say: "everything that can be read was and nothing is damaged; not the same as `!damaged`",
    },
    Output {
        name: "cleared",
        shape: Shape::Boolean,
        say: "no damage, the catalogs and the essential tables are sound, the rest unread for want of time alone",
    },
    Output {
        name: "whole_database",
        shape: Shape::Boolean,
        say: "restoring single tables will not do",
    },
    Output {
        name: "undecided",
        shape: Shape::Boolean,
        say: "damaged, and too much is unread to know whether single tables will do",
    },
    Output { name: "result", shape: Shape::String, say: "the result in a sentence" },
    Output { name: "advice", shape: Shape::String, say: "what to do; empty without damage" },
    Output {
        name: "checksum_failures",
        shape: Shape::Integer,
        say: "checksum failures of the database since its statistics began, those of this read included",
    },
    Output {
        name: "counts",
        shape: Shape::Object,
        say: "rows of the essential tables that were read in full, by table",
    },
    Output {
        name: "newest",
        shape: Shape::String,
        say: "newest instant the business wrote, as the estate asks for it; empty where unknown",
    },
    Output { name: "report", shape: Shape::String, say: "file with the whole report" },
];
pub(super) const TRAFFIC_OUTPUTS: &[Output] =
    &[Output { name: "method", shape: Shape::String, say: "the method that moved the traffic" }];
pub(super) const POINT_OUTPUTS: &[Output] = &[
    Output {
        name: "point",
        shape: Shape::Object,
        say: "the chosen recovery point, for rds.recover",
    },
    Output {
        name: "method",
        shape: Shape::String,
        say: "promote, restore_point_in_time or restore_snapshot",
    },
    Output { name: "reversible", shape: Shape::Boolean, say: "false for a promotion" },
];
pub(super) const CHOICE_OUTPUTS: &[Output] = &[
    Output {
        name: "kind",
        shape: Shape::String,
        say: "dump, base_backup, replica, automated_backup, snapshot or standing",
    },
    Output {
        name: "instance",
        shape: Shape::String,
        say: "id of the instance that has the data once it is restored",
    },
    Output { name: "region", shape: Shape::String, say: "region of that instance" },
    Output { name: "dump", shape: Shape::String, say: "name for postgres.restore; else empty" },
    Output { name: "backup", shape: Shape::String, say: "name of the base backup; else empty" },
    Output { name: "path", shape: Shape::String, say: "where its files are; else empty" },
    Output {
        name: "target",
        shape: Shape::String,
        say: "how far a restore goes: `time …` or `lsn …`, `latest` where nobody could read its end; empty where there is no choice",
    },
    Output { name: "taken", shape: Shape::String, say: "instant of its data; empty where unknown" },
    Output { name: "point", shape: Shape::Object, say: "for rds.recover; else empty" },
    Output { name: "proved", shape: Shape::Boolean, say: "a restore has proved it" },
    Output { name: "loss", shape: Shape::String, say: "what it loses, or `unknown`" },
    Output {
        name: "incident",
        shape: Shape::String,
        say: "instant losses are counted against; empty where nobody said",
    },
    Output { name: "reversible", shape: Shape::Boolean, say: "false for a promotion" },
];
pub(super) const DATABASE_OUTPUTS: &[Output] = &[
    Output {
        name: "instance",
        shape: Shape::String,
        say: "id of the instance that takes writes now",
    },
    Output {
        name: "address",
        shape: Shape::String,
        say: "its endpoint, host:port, as the application uses it",
    },
    Output {
        name: "identity",
        shape: Shape::String,
        say: "what tells this instance from the lost one",
    },
];
pub(super) const CUT_OVER_OUTPUTS: &[Output] = &[
    Output { name: "database", shape: Shape::String, say: "the name the application uses" },
    Output { name: "kept", shape: Shape::String, say: "name of the damaged database from then on" },
];
pub(super) const RDS_CUT_OVER_OUTPUTS: &[Output] = &[
    Output { name: "instance", shape: Shape::String, say: "the name the application uses" },
    Output { name: "address", shape: Shape::String, say: "its endpoint, host:port" },
    Output {
        name: "identity",
        shape: Shape::String,
        say: "what tells this instance from the damaged one",
    },
    Output { name: "kept", shape: Shape::String, say: "name of the damaged instance from then on" },
];
pub(super) const DUMP_OUTPUTS: &[Output] = &[
    Output { name: "dump", shape: Shape::String, say: "name of the dump" },
    Output { name: "path", shape: Shape::String, say: "directory of its files" },
    Output { name: "taken", shape: Shape::String, say: "instant of its snapshot" },
    Output { name: "rows", shape: Shape::Integer, say: "rows of all its tables" },
];
pub(super) const EVIDENCE_OUTPUTS: &[Output] = &[
    Output { name: "evidence", shape: Shape::String, say: "name of the copy, or of the snapshot" },
    Output { name: "path", shape: Shape::String, say: "directory of its files; on RDS its ARN" },
    Output { name: "taken", shape: Shape::String, say: "instant it was begun" },
    Output {
        name: "bytes",
        shape: Shape::Integer,
        say: "size of all its files; on RDS, of the volume",
    },
];
pub(super) const RESTORE_OUTPUTS: &[Output] = &[
    Output { name: "database", shape: Shape::String, say: "the new database" },
    Output { name: "dump", shape: Shape::String, say: "the dump it was restored from" },
    Output { name: "taken", shape: Shape::String, say: "instant of that dump's snapshot" },
];
pub(super) const SERVER_OUTPUTS: &[Output] = &[
    Output { name: "instance", shape: Shape::String, say: "id of the estate's recovered instance" },
    Output { name: "address", shape: Shape::String, say: "where it listens, IP:port" },
    Output {
        name: "identity",
        shape: Shape::String,
        say: "what tells this server from the damaged one",
    },
    Output { name: "backup", shape: Shape::String, say: "the base backup it was made from" },
    Output { name: "target", shape: Shape::String, say: "how far it was restored" },
];
pub(super) const PROOF_OUTPUTS: &[Output] = &[
    Output { name: "proved", shape: Shape::Boolean, say: "true: what is not fails the step" },
    Output { name: "rows", shape: Shape::Integer, say: "rows that were compared" },
    Output { name: "taken", shape: Shape::String, say: "instant the data is of" },
    Output {
        name: "newest",
        shape: Shape::String,
        say: "instant of the newest record, by the estate's `essentials.newest`; empty where it was not read",
    },
];
