//! DR-002 where something else is wrong as well: it ends as documented, says the way on, and the database is as it was.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::corrupt::{Backups, DUMP, INSTANCE, NOT_MET, OPTIONS, PROVE, ROLLED_BACK};
use super::corrupt::{application_writes, client, damage, database, databases, events, settings};
use super::estate::{Estate, Lent, fresh};
use super::harness::{Folder, Ran, of_step, sha256};

/// How a run ends that stopped before it began, for an answer nobody gave.
pub(super) const NEEDS_ANSWER: i32 = 8;

/// A damaged database, and a proved dump of it.
struct Scene {
    estate: Lent,
    backups: Backups,
}

impl Scene {
    fn open() -> Self {
        let estate = fresh(OPTIONS);
        let backups = Backups::of(&estate, &format!("{DUMP}{PROVE}"));
        estate.sql(INSTANCE, "drop database proof");
        damage(&estate);
        Self { estate, backups }
    }

    fn sql(&self, sql: &str) {
        self.estate.sql(INSTANCE, sql);
    }

    /// Runs DR-002; holds how it ends, what it says, and that databases, roles and privileges are as before.
    #[track_caller]
    fn ends(&self, change: impl FnOnce(&mut Folder), exit: i32, said: &[&str]) -> (Folder, Ran) {
        let run = |folder: &Folder| folder.run(&database(&["--unverified", "true"]));
        self.ends_by(change, run, exit, said)
    }

    /// The same for a run during which something else goes on.
    #[track_caller]
    fn ends_by(
        &self,
        change: impl FnOnce(&mut Folder),
        run: impl FnOnce(&Folder) -> Ran,
        exit: i32,
        said: &[&str],
    ) -> (Folder, Ran) {
        let mut folder = self.backups.folder(&self.estate);
        change(&mut folder);
        let before = (settings(&self.estate), databases(&self.estate));
        let ended = run(&folder).exits(exit);
        for part in said {
            assert!(ended.said().contains(part), "`{part}` is not in {}", ended.said());
        }
        assert_eq!((settings(&self.estate), databases(&self.estate)), before, "{said:?}");
        (folder, ended)
    }

    /// Has the dump's manifest say something else, sealed anew.
    fn rewrite(&self, field: &str, value: &str) {
        let path = self.backups.0.path().join("good.dump/manifest.json");
        let text = compact(&std::fs::read_to_string(&path).expect("read"));
        let (head, rest) = text.split_once(&format!("\"{field}\":")).expect("the field");
        let (_, tail) = rest.split_once(',').expect("more fields");
        let text = format!("{head}\"{field}\":{value},{tail}");
        let sealed = text.strip_prefix(r#"{"manifest":"#).expect("the manifest first");
        let (manifest, _) = sealed.rsplit_once(r#","sha256":"#).expect("its digest");
        let digest = sha256(manifest);
        let text = format!(r#"{{"manifest":{manifest},"sha256":"{digest}"}}"#);
        std::fs::write(&path, text).expect("written");
    }

    /// Returns the largest file of the dump: rows.
    fn rows(&self) -> PathBuf {
        let files = std::fs::read_dir(self.backups.0.path().join("good.dump")).expect("listed");
        let files = files.map(|entry| entry.expect("an entry").path());
        files.max_by_key(|path| path.metadata().expect("there").len()).expect("a file")
    }
}

/// Returns JSON without what stands between its parts.
fn compact(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    text.chars()
        .filter(|letter| {
            let keep = quoted || !letter.is_whitespace();
            quoted ^= *letter == '"' && !escaped;
            escaped = quoted && *letter == '\\' && !escaped;
            keep
        })
        .collect()
}

/// Has the estate file lead to another address in the primary's place.
fn leads_to(folder: &Folder, address: &str) {
    let file = folder.path().join("phoenix-dr.yaml");
    let text = std::fs::read_to_string(&file).expect("the estate file");
    let (head, rest) = text.split_once("    address: ").expect("the primary's address");
    let (_, tail) = rest.split_once('\n').expect("more lines");
    std::fs::write(&file, format!("{head}    address: {address}\n{tail}")).expect("written");
}

#[test]
fn a_replica_or_nobody_in_the_primary_s_place_is_said_before_anything_is_touched() {
    let scene = Scene::open();
    let replica = &scene.estate.about("databases")["phoenix-dr-replica"];
    let replica = format!("{}:{}", replica["host"].as_str().expect("a host"), replica["port"]);
    let said = ["is a replica", "name the instance that takes writes"];
    let (folder, _) = scene.ends(|folder| leads_to(folder, &replica), NOT_MET, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("its address").to_string();
    drop(closed);
    let said = [address.as_str(), "refused"];
    let (folder, _) = scene.ends(|folder| leads_to(folder, &address), NOT_MET, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    application_writes(&scene.estate);
}

#[test]
fn a_dump_of_a_newer_server_and_one_with_no_room_are_refused_before_anything_is_touched() {
    let scene = Scene::open();
    for (field, value, said) in [
        ("bytes", "1152921504606846976", "and the dumped database had 1048576 TiB"),
        ("server_version", "170002", "of PostgreSQL 17, and phoenix-prod is older: 15"),
    ] {
        scene.rewrite(field, value);
        let (folder, _) = scene.ends(|_| {}, NOT_MET, &[said]);
        assert!(of_step(&events(&folder), "step_started", "evidence").is_empty(), "{field}");
    }
    scene.rewrite("server_version", "150000");
    scene.rewrite("bytes", "1048576");
    // Nor are files kept for which there is no room: a file that has more than any disk here, and takes none.
    let text = |sql: &str| scene.estate.sql(INSTANCE, sql).as_str().expect("a text").to_owned();
    let below = text("select format('base/%s', oid) from pg_database where datname = 'phoenix'");
    let large = std::path::Path::new(&text("show data_directory")).join(below).join("large");
    let made = std::fs::File::create(&large).expect("made");
    made.set_len(1 << 42).expect("it has as much");
    let said = [" free, and the server's files have 4096 GiB", "--waive evidence=no-evidence"];
    let (folder, _) = scene.ends(|_| {}, NEEDS_ANSWER, &said);
    assert!(of_step(&events(&folder), "step_started", "fence").is_empty());
    std::fs::remove_file(large).expect("removed");
    application_writes(&scene.estate);
}

#[test]
fn what_the_role_lacks_is_told_with_the_grant_before_anything_is_touched() {
    let scene = Scene::open();
    let wrong = |folder: &mut Folder| {
        folder.environment.insert("PHOENIX_DB_PASSWORD".to_owned(), "another".to_owned());
    };
    let said = ["password authentication failed for user \"phoenix_dr\""];
    let (folder, _) = scene.ends(wrong, NOT_MET, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    // The same where nobody gave one.
    let missing = |folder: &mut Folder| {
        folder.environment.remove("PHOENIX_DB_PASSWORD");
    };
    let said = ["PHOENIX_DB_PASSWORD"];
    let (folder, _) = scene.ends(missing, NOT_MET, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    scene.sql("revoke pg_signal_backend from phoenix_dr");
    // Without the fence nothing is restored unless somebody says so.
    let said = ["--waive fence=unfenced", "grant pg_signal_backend to"];
    let (folder, _) = scene.ends(|_| {}, NEEDS_ANSWER, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    let dry = folder.run(&database(&["--dry-run"]));
    assert!(dry.said().contains("grant pg_signal_backend to"), "{}: {}", dry.exit, dry.said());
    scene.sql("grant pg_signal_backend to phoenix_dr");
    scene.sql("alter role phoenix_dr nocreatedb");
    let said = ["phoenix_dr may not create databases", "alter role \"phoenix_dr\" createdb"];
    let (folder, _) = scene.ends(|_| {}, NOT_MET, &said);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    application_writes(&scene.estate);
}

#[test]
fn a_dump_that_is_not_what_it_was_is_not_restored() {
    let scene = Scene::open();
    let rows = scene.rows();
    let whole = std::fs::read(&rows).expect("read");
    let file = OpenOptions::new().write(true).open(&rows).expect("opened");
    let middle = whole.len() / 2;
    let at = u64::try_from(middle).expect("a length");
    file.write_at(&[whole[middle] ^ 1], at).expect("flipped");
    let (folder, _) = scene.ends(|_| {}, ROLLED_BACK, &["has other content than was written"]);
    let run = events(&folder);
    assert!(!of_step(&run, "attempt_finished", "fence").is_empty(), "it was closed");
    assert!(of_step(&run, "step_started", "cut_over").is_empty());
    // One that is cut off is no recovery point.
    file.set_len(at).expect("cut");
    let (folder, _) = scene.ends(|_| {}, NOT_MET, &["good", "bytes instead of"]);
    assert!(of_step(&events(&folder), "step_started", "evidence").is_empty());
    application_writes(&scene.estate);
}

/// Ends, whenever it comes, the session that makes the index which never ends.
const END: &str =
    "select count(pg_terminate_backend(pid)) from pg_stat_activity where wait_event = 'PgSleep'";

/// An index that takes forever in any database but the dumped one.
const WAITS: [&str; 4] = [
    "create function public.waits(n int) returns int immutable language plpgsql as $$ begin \
         if current_database() <> 'phoenix' then perform pg_sleep(3600); end if; return n; end $$",
    "create table public.waiting (n int)",
    "insert into public.waiting values (1)",
    "create index on public.waiting (public.waits(n))",
];

#[test]
fn a_restore_whose_sessions_are_ended_for_good_opens_the_database_again() {
    let estate = fresh(OPTIONS);
    for sql in WAITS {
        estate.sql(INSTANCE, sql);
    }
    let backups = Backups::of(&estate, DUMP);
    damage(&estate);
    let folder = backups.folder(&estate);
    let before = (settings(&estate), databases(&estate));
    let (over, cut) = (AtomicBool::new(false), AtomicBool::new(false));
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let ended = estate.sql(INSTANCE, END) != 0;
                cut.fetch_or(ended, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        let ended = folder.run(&database(&["--unverified", "true"]));
        over.store(true, Ordering::SeqCst);
        ended
    });
    assert!(cut.load(Ordering::SeqCst), "it was cut");
    let ended = ended.exits(ROLLED_BACK);
    assert!(ended.said().contains("pg_restore of good: "), "{}", ended.said());
    let run = events(&folder);
    assert!(!of_step(&run, "step_started", "restore").is_empty());
    assert!(of_step(&run, "step_started", "prove").is_empty());
    assert_eq!((settings(&estate), databases(&estate)), before, "opened as it was");
    application_writes(&estate);
}

/// A session that keeps everybody from changing what is set of databases.
struct Holder<'a> {
    estate: &'a Estate,
    session: std::process::Child,
}

impl<'a> Holder<'a> {
    fn of(estate: &'a Estate) -> Self {
        let mut session = client(estate, "psql");
        session.args(["-X", "-d", "postgres", "-c", "begin"]);
        session.args(["-c", "lock table pg_database in exclusive mode"]);
        session.args(["-c", "select pg_sleep(3600)"]);
        session
            .env("PGAPPNAME", "somebody")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let session = session.spawn().expect("psql runs");
        let held = "select count(*) from pg_locks where relation = 'pg_database'::regclass and mode = 'ExclusiveLock'";
        while estate.sql(INSTANCE, held) == 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Self { estate, session }
    }

    fn end(mut self) {
        let end = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'somebody'";
        assert_eq!(self.estate.sql(INSTANCE, end), 1);
        assert!(!self.session.wait().expect("it ends").success());
    }
}

#[test]
fn a_lock_that_keeps_the_fence_away_is_named_with_who_holds_it() {
    let scene = Scene::open();
    let holder = Holder::of(&scene.estate);
    let (folder, ended) = scene.ends(|_| {}, ROLLED_BACK, &["postgres (pid ", "somebody"]);
    let run = events(&folder);
    assert!(of_step(&run, "step_started", "assess").is_empty(), "{}", ended.said());
    holder.end();
    application_writes(&scene.estate);
}

#[test]
fn a_lock_that_keeps_the_names_from_changing_is_named_and_the_database_opened_again() {
    let scene = Scene::open();
    // Whoever locks it while the dump is proved is in the way of the cut over alone.
    let run = |folder: &Folder| {
        let over = AtomicBool::new(false);
        let waits = |kind: &str, step: &str| {
            let seen = || {
                let journals = folder.journals();
                let events = journals.first().map(|(_, events)| events.as_slice());
                events.is_some_and(|events| !of_step(events, kind, step).is_empty())
            };
            while !seen() {
                assert!(!over.load(Ordering::SeqCst), "the run ended before {kind} of {step}");
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        };
        std::thread::scope(|scope| {
            let holds = scope.spawn(|| {
                waits("step_started", "prove");
                let holder = Holder::of(&scene.estate);
                waits("step_failed", "cut_over");
                holder.end();
            });
            let ended = folder.run(&database(&[]));
            over.store(true, Ordering::SeqCst);
            holds.join().expect("it held and let go");
            ended
        })
    };
    let said = ["postgres (pid ", "somebody"];
    // The proof takes so long that the lock is there before it ends.
    let slow = |folder: &mut Folder| {
        let file = folder.path().join("phoenix-dr.yaml");
        let text = std::fs::read_to_string(&file).expect("the estate file");
        let asks = "sql: select count(*) = 500 from experiments";
        let slowly = "sql: select count(*) = 500 and pg_sleep(8) is not null from experiments";
        assert!(text.contains(asks));
        std::fs::write(&file, text.replace(asks, slowly)).expect("written");
    };
    let (folder, ended) = scene.ends_by(slow, run, ROLLED_BACK, &said);
    let failed = of_step(&events(&folder), "step_failed", "cut_over")[0].to_string();
    assert!(failed.contains("lock"), "{failed}: {}", ended.said());
    application_writes(&scene.estate);
}
