//! Who this process is: the user and the host that records and locks name.

use rustix::process::getuid;
use rustix::system::uname;

/// Longest part of a name that is kept.
const NAME_MAX: usize = 64;

/// Returns `user@host` of this process.
pub(crate) fn who() -> String {
    format!("{}@{}", user(), host())
}

/// Returns this machine's name.
pub(crate) fn host() -> String {
    let system = uname();
    let name = clean(&system.nodename().to_string_lossy());
    if name.is_empty() { "unknown-host".to_owned() } else { name }
}

/// Returns the user this process runs as.
///
/// The user database comes before `USER`: the variable survives `su` and says who someone was.
pub(crate) fn user() -> String {
    let id = getuid().as_raw();
    let database = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let from_environment = || ["LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok());
    let name = name_of(id, &database).or_else(from_environment);
    let name = name.map(|name| clean(&name)).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("uid-{id}"))
}

fn name_of(id: u32, database: &str) -> Option<String> {
    database.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let user = fields.nth(1)?.parse::<u32>().ok()?;
        (user == id).then(|| name.to_owned())
    })
}

/// Returns a name that cannot draw on a terminal.
fn clean(name: &str) -> String {
    name.chars().filter(|c| !c.is_control() && !c.is_whitespace()).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_user_by_number() {
        let database =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nops:x:1001:1001::/home/ops:/bin/sh\n";
        assert_eq!(name_of(0, database).as_deref(), Some("root"));
        assert_eq!(name_of(1001, database).as_deref(), Some("ops"));
        assert_eq!(name_of(1, database), None);
    }

    #[test]
    fn a_name_cannot_draw() {
        assert_eq!(clean("o\u{1b}[2Jps \n"), "o[2Jps");
        assert_eq!(who(), format!("{}@{}", user(), host()));
        assert!(!host().is_empty());
    }
}
