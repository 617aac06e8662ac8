//! The database: instances, connection, and how the application finds it.

use std::net::IpAddr;

use super::{Checks, is_host};
use crate::estate::dumps::DumpsAt;
use crate::estate::types::{ApplicationEndpoint, Connection, Database, SecretRef, TlsMode};
use crate::runbook::path::Path;

impl Checks<'_> {
    pub(super) fn database(&mut self) {
        let Some(database) = &self.estate.database else { return };
        let path = Path::root().key("database");
        if database.name.is_empty() {
            self.wrong(&path.key("name"), "the database's name is empty");
        }
        self.instances(database, &path);
        self.addresses(database, &path.key("addresses"));
        self.connection(database, &path.key("connection"));
        self.via(&path.key("via"), &database.via, false);
        if let Some(application) = &database.application {
            let at = path.key("application");
            self.application(application, &at);
            if application.rename && !database.on_rds() {
                let message = "only an instance of RDS takes another's name";
                let help = "leave it out, or the directories of a server of your own";
                self.wrong_with_help(&at.key("rename"), message, help);
            }
        }
        if let Some(experiments) = &database.experiments {
            self.experiments(experiments, &path.key("experiments"));
        }
        self.essentials(&database.essentials, &path.key("essentials"));
        if let Some(dumps) = &database.dumps {
            self.dumps(dumps, &path.key("dumps"));
        }
        for (key, given) in [("evidence", &database.evidence), ("tools", &database.tools)] {
            if let Some(given) = given {
                self.directory(&path.key(key), given);
            }
        }
        self.own_server(database, &path);
        if database.restore_seconds_per_gib == Some(0) {
            self.wrong(&path.key("restore_seconds_per_gib"), "a restore takes time");
        }
    }

    pub(super) fn directory(&mut self, path: &Path, given: &str) {
        if !given.starts_with('/') {
            let message = format!("`{given}` is not a directory's full path");
            let help = "begin it with a slash: a run may be resumed from another directory";
            self.wrong_with_help(path, message, help);
        }
    }

    /// Holds the places of base backups, their WAL and the server made of them apart.
    fn own_server(&mut self, database: &Database, path: &Path) {
        let mut known: Vec<(&str, &str)> = Vec::new();
        known.extend(database.dumps.as_ref().map(|dumps| match dumps {
            DumpsAt::Directory(directory) => ("dumps", directory.as_str()),
            DumpsAt::Bucket(bucket) => ("dumps.work", bucket.work.as_str()),
        }));
        if let Some(backups) = &database.base_backups {
            let at = path.key("base_backups");
            self.directory(&at.key("directory"), &backups.directory);
            self.directory(&at.key("wal"), &backups.wal);
            let (bases, wal) =
                (std::path::Path::new(&backups.directory), std::path::Path::new(&backups.wal));
            if bases == wal {
                let help = "archived WAL beside base backups would be taken for one of them";
                self.wrong_with_help(&at.key("wal"), "is the directory of base backups", help);
            } else if backups.from.is_some() && (bases.starts_with(wal) || wal.starts_with(bases)) {
                let message = "is within the directory of base backups, or has that in it";
                let help =
                    "keep the two apart: each is listed, and cleared of what was brought into it";
                self.wrong_with_help(&at.key("wal"), message, help);
            }
            known.push(("base_backups.directory", &backups.directory));
            known.push(("base_backups.wal", &backups.wal));
            if let Some(from) = &backups.from {
                let at = at.key("from");
                // A server's WAL is mostly kept in its own region, which stands when a database is damaged.
                self.region(&at.key("region"), &from.region);
                self.objects(from, &at);
            }
        }
        let Some(server) = &database.recovered.server else { return };
        let at = path.keys(&["recovered", "server"]);
        self.directory(&at.key("data"), &server.data);
        let data = std::path::Path::new(&server.data);
        for (name, place) in known.into_iter().filter(|(_, place)| data.starts_with(place)) {
            let message =
                format!("`{}` is in {place}, the estate's `database.{name}`", server.data);
            let help = "give the restored server a place of its own: a rollback removes it";
            self.wrong_with_help(&at.key("data"), message, help);
        }
        if server.listen.parse::<std::net::SocketAddr>().is_err() {
            let message = format!("`{}` is not an address to listen at", server.listen);
            self.wrong_with_help(&at.key("listen"), message, "write IP:port, e.g. 127.0.0.1:5433");
        }
        if server.user.is_empty() || server.user == "root" {
            let message = format!("`{}` cannot run PostgreSQL", server.user);
            self.wrong_with_help(
                &at.key("user"),
                message,
                "name a user without rights, e.g. postgres",
            );
        }
    }

    fn instances(&mut self, database: &Database, path: &Path) {
        let primary = &database.primary;
        let at = path.key("primary");
        self.instance(&at.key("id"), &primary.id);
        if self.region(&at.key("region"), &primary.region)
            && primary.region != self.estate.primary.region
        {
            let message = format!("the primary database is not in {}", self.estate.primary.region);
            let help = "`primary.region` is where writes go; one of the two is wrong";
            self.wrong_with_help(&at.key("region"), message, help);
        }
        if let Some(address) = &primary.address {
            self.address(&at.key("address"), address);
        }
        if let Some(via) = &primary.via {
            // The lost database is fenced where it can still be reached: its own way in may lead through its region.
            self.via(&at.key("via"), via, true);
        }
        if let Some(replica) = &database.replica {
            let at = path.key("replica");
            self.instance(&at.key("id"), &replica.id);
            self.survives(&at.key("region"), &replica.region, "the replica");
            if replica.id == primary.id {
                self.wrong(&at.key("id"), "the replica is the primary");
            }
            if let Some(address) = &replica.address {
                self.address(&at.key("address"), address);
            }
            if let Some(via) = &replica.via {
                self.via(&at.key("via"), via, false);
            }
        }
        if let Some(backup) = &database.automated_backup {
            let at = path.key("automated_backup");
            self.survives(&at.key("region"), &backup.region, "the automated backup");
            if let Some(arn) = &backup.arn
                && !(arn.starts_with("arn:") && arn.contains(":auto-backup:"))
            {
                let message = format!("`{arn}` is not an automated backup's ARN");
                let help = "arn:aws:rds:REGION:ACCOUNT:auto-backup:ab-…; it is found by itself when left out";
                self.wrong_with_help(&at.key("arn"), message, help);
            }
        }
        let recovered = &database.recovered;
        let at = path.key("recovered");
        self.instance(&at.key("id"), &recovered.id);
        let others = [Some(&primary.id), database.replica.as_ref().map(|replica| &replica.id)];
        if others.contains(&Some(&recovered.id)) {
            let message = format!("`{}` exists already", recovered.id);
            let help = "a restore creates an instance beside the others; give it a name of its own";
            self.wrong_with_help(&at.key("id"), message, help);
        }
        if let Some(via) = &recovered.via {
            self.via(&at.key("via"), via, false);
        }
        if !(0..=35).contains(&recovered.backup_retention_days) {
            self.wrong_with_help(
                &at.key("backup_retention_days"),
                format!("RDS does not keep backups {} days", recovered.backup_retention_days),
                "0 to 35",
            );
        }
    }

    fn instance(&mut self, path: &Path, id: &str) {
        let sound = (1..=63).contains(&id.len())
            && id.starts_with(|c: char| c.is_ascii_alphabetic())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !id.ends_with('-')
            && !id.contains("--");
        if !sound {
            let help = "1 to 63 letters, digits and single dashes, a letter first";
            self.wrong_with_help(path, format!("`{id}` is not a DB instance identifier"), help);
        }
    }

    fn addresses(&mut self, database: &Database, path: &Path) {
        let mut known = vec![database.primary.id.as_str(), database.recovered.id.as_str()];
        known.extend(database.replica.as_ref().map(|replica| replica.id.as_str()));
        for (id, address) in &database.addresses {
            self.address(&path.key(id), address);
            if !known.contains(&id.as_str()) {
                let message = format!("`{id}` is none of the estate's instances");
                self.doubtful(&path.key(id), message, format!("they are {}", known.join(", ")));
            }
        }
    }

    fn connection(&mut self, database: &Database, path: &Path) {
        let connection = &database.connection;
        if connection.user.is_empty() {
            self.wrong(&path.key("user"), "the user's name is empty");
        }
        self.secret(&path.key("password_from"), &connection.password_from);
        self.encryption(database, connection, path);
        if connection.application_roles.is_empty() {
            self.doubtful(
                path,
                "no `application_roles`",
                "the fence blocks the application's roles; without their names it cannot prove that it holds",
            );
        }
        if connection.application_roles.contains(&connection.user) {
            self.wrong_with_help(
                &path.key("application_roles"),
                format!("`{}` is phoenix-dr's own role", connection.user),
                "the fence would lock phoenix-dr out",
            );
        }
    }

    /// Refuses plain connections to anything but this host.
    fn encryption(&mut self, database: &Database, connection: &Connection, path: &Path) {
        if connection.tls == TlsMode::Require {
            return;
        }
        let instances = [Some(&database.primary), database.replica.as_ref()];
        let mut far: Vec<&str> = instances
            .into_iter()
            .flatten()
            .filter(|instance| !database.addresses.contains_key(&instance.id))
            .filter_map(|instance| instance.address.as_deref())
            .collect();
        far.extend(database.addresses.values().map(String::as_str));
        far.extend(database.recovered.server.iter().map(|server| server.listen.as_str()));
        far.retain(|address| !is_loopback(address));
        // Where no address is known, RDS names it when the time comes; the client then refuses it if it is far.
        if let Some(address) = far.first() {
            let message = format!("`{address}` is not this host, and the connection not encrypted");
            self.wrong_with_help(&path.key("tls"), message, "`tls: require`");
        }
    }

    pub(super) fn secret(&mut self, path: &Path, secret: &SecretRef) {
        let given = [secret.env.is_some(), secret.file.is_some(), secret.command.is_some()];
        let count = given.iter().filter(|given| **given).count();
        if count != 1 {
            let message = if count == 0 {
                "says nowhere where the password is read from"
            } else {
                "says more than once where the password is read from"
            };
            self.wrong_with_help(path, message, "give exactly one of env, file and command");
        }
        if secret.asked.is_some() {
            let help = "give exactly one of env, file and command";
            self.wrong_with_help(path, "only an input can be asked for at the terminal", help);
        }
        if secret.env.as_ref().is_some_and(|name| name.is_empty() || name.contains(['=', '\0'])) {
            self.wrong(&path.key("env"), "is not an environment variable's name");
        }
        if secret.file.as_ref().is_some_and(String::is_empty) {
            self.wrong(&path.key("file"), "names no file");
        }
        if secret.command.as_ref().is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
            self.wrong(&path.key("command"), "names no program");
        }
    }

    fn application(&mut self, application: &ApplicationEndpoint, path: &Path) {
        let ways = [
            application.secret.is_some(),
            application.config_map.is_some(),
            application.cname.is_some(),
            application.service.is_some(),
        ];
        let count = ways.iter().filter(|way| **way).count();
        if count > 1 || count == 0 && !application.rename {
            let message = if count == 0 {
                "does not say how the application learns its database"
            } else {
                "says in more than one way how the application learns its database"
            };
            self.wrong_with_help(
                path,
                message,
                "give exactly one of secret, config_map, cname and service",
            );
        }
        if let Some(service) = &application.service
            && [&service.namespace, &service.name].into_iter().any(String::is_empty)
        {
            self.wrong(&path.key("service"), "namespace or name is empty");
        }
        if let Some(cname) = &application.cname {
            if !is_host(&cname.name) {
                let message = format!("`{}` is not a record's name", cname.name);
                self.wrong(&path.keys(&["cname", "name"]), message);
            }
            if !(1..=86_400).contains(&cname.ttl) {
                let path = path.keys(&["cname", "ttl"]);
                self.wrong_with_help(&path, format!("{} is not a TTL", cname.ttl), "1 to 86400");
            }
        }
        for (i, workload) in application.restart.iter().enumerate() {
            self.workload(&path.key("restart").item(i), workload);
        }
        if let Some(pods) = &application.pods
            && pods.selector.is_empty()
        {
            let help = "an empty selector is every pod of the namespace; say which connect";
            self.wrong_with_help(&path.keys(&["pods", "selector"]), "the selector is empty", help);
        }
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
