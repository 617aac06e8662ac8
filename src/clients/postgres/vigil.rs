//! Connections to a host that may go away without a word: a step must not wait for hours on what nobody answers any more.
//!
//! A long statement is silent by nature. So the kernel asks whether the other host is still there, and gives up on what it
//! does not acknowledge; a server that is there and busy is waited for as before.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// A connection that is silent for so long is asked about,
const IDLE: Duration = Duration::from_secs(30);
/// again after so long,
const BETWEEN: Duration = Duration::from_secs(10);
/// and so often without an answer it is lost.
const PROBES: u32 = 3;
/// So long what was sent may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Has the kernel watch a connection.
pub(super) fn keep(stream: &impl AsFd) -> std::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, IDLE)?;
    sockopt::set_tcp_keepintvl(stream, BETWEEN)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    let millis = u32::try_from(UNACKNOWLEDGED.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(stream, millis)?;
    Ok(())
}

/// Returns what PostgreSQL's own programs are told of their connections: the same of them.
pub(crate) fn watched() -> String {
    format!(
        "keepalives_idle={} keepalives_interval={} keepalives_count={PROBES} tcp_user_timeout={}",
        IDLE.as_secs(),
        BETWEEN.as_secs(),
        UNACKNOWLEDGED.as_millis()
    )
}

/// Returns what they are told of a connection to a database.
pub(crate) fn watched_to(database: &str) -> String {
    // Said like this a name is never taken for settings.
    let quoted = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!("dbname='{quoted}' {}", watched())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_any_name_is_a_name() {
        assert_eq!(
            watched_to("host=evil it's"),
            "dbname='host=evil it\\'s' keepalives_idle=30 keepalives_interval=10 keepalives_count=3 tcp_user_timeout=60000"
        );
    }
}
