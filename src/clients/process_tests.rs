//! Children: their ends, their output, their groups.

use super::output::STDOUT_MAX;
use super::*;
use crate::clients::testing;

fn argv(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn program<'a>(argv: &'a [String], env: &'a BTreeMap<String, String>) -> Program<'a> {
    Program {
        argv,
        env,
        scrub: Scrub::Credentials,
        cwd: None,
        limit: Duration::from_secs(20),
        artifact: None,
        purpose: Purpose::Look,
    }
}

#[tokio::test]
async fn ends_and_output_are_told() {
    let clients = testing::clients(serde_json::json!({}));
    clients.masks.learn("hunter22");
    let env = BTreeMap::new();
    let both = argv("echo one; echo hunter22; echo wrong >&2; exit 3");
    let ended = run(&clients, &program(&both, &env)).await.expect("runs");
    assert_eq!(ended.end, ProgramEnd::Exit(3));
    assert_eq!(ended.stdout, "one\n***\n");
    assert_eq!(ended.say(Duration::ZERO), "exit 3: wrong");
    let killed = argv("kill -9 $$");
    let ended = run(&clients, &program(&killed, &env)).await.expect("runs");
    assert_eq!(ended.end, ProgramEnd::Signal(9));
    let missing = vec!["/no/such/program".to_owned()];
    let error = run(&clients, &program(&missing, &env)).await;
    assert!(matches!(error, Err(ProgramError::Start { .. })));
    assert_eq!(run(&clients, &program(&[], &env)).await, Err(ProgramError::Empty));
}

#[tokio::test]
async fn output_is_bounded_and_kept_in_its_file() {
    let clients = testing::clients(serde_json::json!({}));
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("step").join("out.txt");
    let env = BTreeMap::new();
    let many = argv(
        "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
    );
    let mut program = program(&many, &env);
    program.artifact = Some(path.clone());
    let ended = run(&clients, &program).await.expect("runs");
    assert_eq!(ended.stdout.len(), STDOUT_MAX);
    assert_eq!(std::fs::metadata(&path).expect("kept").len(), 3000 * 41);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&path).expect("kept").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_silent_program_leaves_no_file_and_a_place_that_cannot_be_is_told_before_it_starts() {
    let clients = testing::clients(serde_json::json!({}));
    let directory = tempfile::tempdir().expect("directory");
    let (env, mark) = (BTreeMap::new(), directory.path().join("ran"));
    let silent = argv(&format!(": > {}", mark.display()));
    let mut program = program(&silent, &env);
    program.artifact = Some(directory.path().join("artifacts").join("step.log"));
    run(&clients, &program).await.expect("runs");
    assert_eq!(std::fs::read_dir(directory.path().join("artifacts")).expect("made").count(), 0);
    std::fs::remove_file(&mark).expect("it ran");
    // A file where a folder should be.
    std::fs::write(directory.path().join("file"), "").expect("write");
    program.artifact = Some(directory.path().join("file").join("step.log"));
    assert!(matches!(run(&clients, &program).await, Err(ProgramError::Artifact { .. })));
    assert!(!mark.exists(), "it was started");
}

#[tokio::test]
async fn credentials_are_not_handed_on() {
    let clients = testing::clients(serde_json::json!({}));
    let env = BTreeMap::from([("PGPASSWORD".to_owned(), "given".to_owned())]);
    let given = command(&clients, &argv("true"), &env, Scrub::Credentials);
    let changes: BTreeMap<_, _> = given.as_std().get_envs().collect();
    assert_eq!(changes.get(std::ffi::OsStr::new("AWS_SECRET_ACCESS_KEY")), Some(&None));
    assert_eq!(
        changes.get(std::ffi::OsStr::new("PGPASSWORD")),
        Some(&Some(std::ffi::OsStr::new("given")))
    );
    let env = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), INHERIT.to_owned())]);
    let inherited = command(&clients, &argv("true"), &env, Scrub::Credentials);
    assert!(inherited.as_std().get_envs().all(|(name, _)| name != "AWS_SECRET_ACCESS_KEY"));
    let check = command(&clients, &argv("true"), &BTreeMap::new(), Scrub::Passwords);
    assert!(check.as_std().get_envs().all(|(name, _)| name != "AWS_SECRET_ACCESS_KEY"));
    assert!(check.as_std().get_envs().any(|(name, value)| name == "PGPASSWORD" && value.is_none()));
}

#[tokio::test]
async fn a_program_whose_time_is_over_goes_with_all_it_started() {
    let clients = testing::clients(serde_json::json!({}));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("grandchild");
    let env = BTreeMap::new();
    let script = argv(&format!("sleep 300 & echo $! > {}; wait", file.display()));
    let mut program = program(&script, &env);
    program.limit = Duration::from_secs(3);
    let ended = run(&clients, &program).await.expect("runs");
    assert_eq!(ended.end, ProgramEnd::TimedOut);
    let grandchild = std::fs::read_to_string(&file).expect("it was started");
    // A killed process goes when the kernel gets to it: gone, or a zombie nobody has collected yet.
    let goes = (0..1_000_000).any(|_| {
        std::thread::yield_now();
        let status = std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim()));
        status.map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(goes, "the grandchild lives");
}
