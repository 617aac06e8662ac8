//! What PostgreSQL's errors mean: whether a retry can help, and what is known of the effect.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::Purpose;
use crate::clients::tcp::Failure;
use crate::outcome::{ActionError, FailureClass};

/// Words an error of a statement or of a connection.
pub(super) fn explain(what: &str, error: &Error, purpose: Purpose) -> ActionError {
    let Some(known) = error.as_db_error() else {
        let message = format!("{what}: {}", chain(error));
        // Trust and protocol cannot heal by themselves; a broken connection can.
        let class = match Failure::of(error) {
            None if message.contains("certificate") => FailureClass::Invalid,
            _ => FailureClass::Transient,
        };
        return match purpose {
            Purpose::Read => ActionError::unchanged(class, message),
            Purpose::Commit => ActionError::unknown(class, message),
        };
    };
    let code = known.code();
    let mut message = format!("{what}: {} ({})", known.message(), code.code());
    if let Some(detail) = known.detail() {
        message = format!("{message}: {detail}");
    }
    let class = class(code);
    let error = match (purpose, class) {
        // The server went down in the middle of it.
        (Purpose::Commit, FailureClass::Transient) => ActionError::unknown(class, message),
        (Purpose::Commit | Purpose::Read, _) => ActionError::unchanged(class, message),
    };
    match (class, known.hint()) {
        (_, Some(hint)) => error.hint(hint),
        (FailureClass::Credentials, None) => {
            error.hint("see `database.connection.password_from` of the estate file")
        }
        (FailureClass::Invalid, None) if *code == SqlState::UNDEFINED_DATABASE => error
            .hint("compare `database.name` of the estate file with the databases of the server"),
        (FailureClass::Denied, None) => error.hint("grant it to `database.connection.user`"),
        (_, None) => error,
    }
}

/// Returns what an SQLSTATE means.
pub(super) fn class(code: &SqlState) -> FailureClass {
    // RDS answers a token that has expired, and pg_hba.conf a user it does not know, by the second one.
    if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) {
        return FailureClass::Credentials;
    }
    if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        return FailureClass::Denied;
    }
    if *code == SqlState::UNDEFINED_TABLE {
        return FailureClass::NotFound;
    }
    // A promotion that is under way still answers as a read-only server.
    if *code == SqlState::READ_ONLY_SQL_TRANSACTION {
        return FailureClass::Transient;
    }
    match code.code().get(..2) {
        // Connections, conflicts between transactions, resources, shutdown and start, locks, input and output.
        // What is damaged there is no fault of the request either, and nothing here can mend it.
        Some("08" | "40" | "53" | "57" | "55" | "58" | "XX") => FailureClass::Transient,
        _ => FailureClass::Invalid,
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
        next = error.source();
    }
    said
}
