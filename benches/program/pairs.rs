//! This program and PostgreSQL's own, on the same server in the same run, in turns: what else the machine does meanwhile
//! meets both alike.

use std::time::{Duration, Instant};

use crate::dumps::Database;

/// Rounds of each pair: every one has a turn in each.
const ROUNDS: usize = 5;

/// One that is measured: what makes ready for it, and it.
struct Turn {
    name: &'static str,
    prepare: fn(&Database),
    work: fn(&Database),
}

const DUMPS: [Turn; 2] = [
    Turn {
        name: "postgres.dump with its manifest",
        prepare: Database::clear,
        work: Database::dump,
    },
    Turn { name: "pg_dump", prepare: Database::clear, work: Database::plain_dump },
];
const RESTORES: [Turn; 2] = [
    Turn { name: "postgres.restore", prepare: Database::drop_restored, work: Database::restore },
    Turn { name: "pg_restore", prepare: Database::drop_restored, work: Database::plain_restore },
];
const RESTORES_WITH_STATISTICS: [Turn; 2] = [
    Turn {
        name: "the same with statistics",
        prepare: Database::drop_restored,
        work: Database::restore_with_statistics,
    },
    Turn {
        name: "pg_restore and analyze",
        prepare: Database::drop_restored,
        work: Database::plain_restore_and_analyze,
    },
];
const ASSESSMENTS: [Turn; 2] = [
    Turn { name: "postgres.assess, deep", prepare: nothing, work: Database::assess },
    Turn { name: "pg_amcheck", prepare: nothing, work: Database::plain_amcheck },
];
const COMPARISONS: [Turn; 2] = [
    Turn { name: "the same, indexes compared", prepare: nothing, work: Database::compare_indexes },
    Turn {
        name: "pg_amcheck --heapallindexed",
        prepare: nothing,
        work: Database::amcheck_of_rows_in_indexes,
    },
];

const fn nothing(_: &Database) {}

/// Measures every pair and prints the ratios.
pub(crate) fn measure() {
    all(512, 2_048, ROUNDS);
}

/// Carries each out once, on a small database.
pub(crate) fn try_out() {
    all(4, 4, 1);
}

fn all(dumped: usize, assessed: usize, rounds: usize) {
    let Some(database) = Database::with(dumped) else {
        println!("pairs: PostgreSQL 15 is not installed");
        return;
    };
    // `pairs assess` measures that alone.
    let alone = std::env::args().any(|argument| argument == "assess");
    if !alone {
        dumps_and_restores(&database, dumped, rounds);
    }
    drop(database);
    let Some(database) = Database::with(assessed) else { return };
    let what = format!("assessment of {assessed} MiB");
    compare(&database, &what, &ASSESSMENTS, rounds);
    compare(&database, &what, &COMPARISONS, rounds);
}

fn dumps_and_restores(database: &Database, dumped: usize, rounds: usize) {
    compare(database, &format!("dump of {dumped} MiB"), &DUMPS, rounds);
    // Both restores find their dump.
    database.clear();
    database.dump();
    database.plain_dump();
    let what = format!("restore of {dumped} MiB");
    compare(database, &what, &RESTORES, rounds);
    compare(database, &what, &RESTORES_WITH_STATISTICS, rounds);
}

/// Gives each its turn, round by round; the first is ours.
fn compare(database: &Database, what: &str, turns: &[Turn], rounds: usize) {
    let mut took: Vec<Vec<Duration>> = turns.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        // Nobody is always the first, whom an empty cache meets.
        for place in 0..turns.len() {
            let i = (round + place) % turns.len();
            (turns[i].prepare)(database);
            let began = Instant::now();
            (turns[i].work)(database);
            took[i].push(began.elapsed());
        }
    }
    println!("{what}, {rounds} rounds in turns");
    for (i, turn) in turns.iter().enumerate() {
        let ratios: Vec<f64> =
            took[0].iter().zip(&took[i]).map(|(ours, its)| ratio(*ours, *its)).collect();
        let seconds: Vec<f64> = took[i].iter().map(Duration::as_secs_f64).collect();
        println!(
            "  {:<32} {} s{}",
            turn.name,
            spread(&seconds),
            if i == 0 { String::new() } else { format!("   ours / this: {}", spread(&ratios)) }
        );
    }
}

fn ratio(ours: Duration, its: Duration) -> f64 {
    ours.as_secs_f64() / its.as_secs_f64()
}

/// Returns median, least and most.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (first, last) = (sorted.first().copied(), sorted.last().copied());
    let (least, most) = (first.unwrap_or_default(), last.unwrap_or_default());
    format!("{:.2} ({least:.2} to {most:.2})", sorted[sorted.len() / 2])
}
