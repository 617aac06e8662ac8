//! PostgreSQL on servers of one's own: where base backups and archived WAL lie, and where a server is restored beside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::dumps::ObjectsAt;

/// Base backups of the primary, and the WAL it has archived since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaseBackups {
    /// Directory with a directory for each base backup, as `pg_basebackup` writes it, plain or tar
    pub directory: String,
    /// Directory that `archive_command` or `pg_receivewal` fills
    pub wal: String,
    /// Bucket with the backups in `base/NAME/` and the WAL in `wal/`: then both directories are on this host alone, and what is
    /// needed is brought into them
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<ObjectsAt>,
}

/// The server a restore to a point in time makes on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnServer {
    /// Its data directory, which must not exist; the directory above it must
    pub data: String,
    /// `IP:port` it listens at; a loopback address keeps the application out until it is let in
    pub listen: String,
    /// Name its certificate has, where connections are encrypted; that of `listen` when left out
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_name: Option<String>,
    /// User of this host it runs as, where phoenix-dr runs as root; PostgreSQL itself refuses to be root
    #[serde(default = "postgres")]
    pub user: String,
}

fn postgres() -> String {
    "postgres".to_owned()
}
