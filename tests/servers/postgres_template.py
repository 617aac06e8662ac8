"""The PostgreSQL cluster every server of an estate is copied from, made once and kept in the cache.

What the operator's role needs, and what RDS's master user has: CREATEROLE (the fence sets NOLOGIN on the application's
role; PostgreSQL 15 lets CREATEROLE alter roles that are not superusers), pg_signal_backend (to end its sessions),
pg_monitor (to see who is connected, and replication), ownership of the database (ALTER DATABASE ... SET, a heartbeat
table) and membership in the application's role (to prove by a write that the fence holds). To say of a restored database that
it is sound it reads everything (pg_read_all_data) and calls amcheck.
"""

import os
import pwd
import secrets
import shutil
import tempfile
from pathlib import Path

from .common import Process, free_port, run, say, wait_for
from .prepare import lock

BINARIES = Path("/usr/lib/postgresql/15/bin")
TEMPLATE_VERSION = "2"  # raised whenever `make_template` changes what it makes
DATABASE, OPERATOR, APPLICATION = "phoenix", "phoenix_dr", "phoenix_app"

ROLES = """
create role {operator} login createrole password '{password}' in role pg_signal_backend, pg_monitor, pg_read_all_data;
create role {application} login password '{password}';
grant {application} to {operator};
create role replicator login replication password '{password}';
create database {database} owner {operator};
"""
TABLES = """
grant create, usage on schema public to {application}, {operator};
create table experiments (
    id bigserial primary key, name text not null, state text not null default 'running',
    updated_at timestamptz not null default now());
create table experiment_events (
    id bigserial primary key, experiment_id bigint not null references experiments,
    happened_at timestamptz not null default now());
insert into experiments (name) select 'experiment-' || n from generate_series(1, 500) n;
alter table experiments owner to {application};
alter table experiment_events owner to {application};
create extension amcheck;
grant execute on function bt_index_check(regclass, boolean) to {operator};
grant execute on function verify_heapam(regclass, boolean, boolean, text, bigint, bigint) to {operator};
"""
SETTINGS = """
wal_level = replica
hot_standby = on
max_wal_senders = 5
max_connections = 200
wal_keep_size = 64MB
shared_buffers = 16MB
# throw-away data: durability would only cost time
fsync = off
password_encryption = scram-sha-256
unix_socket_directories = ''
log_line_prefix = '%m [%p] %u@%d %r '
log_connections = on
"""
# Pods connect from 127.1.0.N, so the whole loopback network may, always with a password.
HOST_BASED = "host all all 127.0.0.0/8 scram-sha-256\nhost replication all 127.0.0.0/8 scram-sha-256\n"


def system_user():
    """PostgreSQL refuses to run as root; as anyone else it runs as that user."""
    return "postgres" if os.geteuid() == 0 else None


def hand_over(folder):
    """Gives a tree to the user PostgreSQL runs as."""
    user = system_user()
    if user is None:
        return
    entry = pwd.getpwnam(user)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(os.path.join(root, name), entry.pw_uid, entry.pw_gid)


class Template:
    """The prepared cluster in the cache, and the one password of all its roles."""

    def __init__(self, cache):
        self.folder = cache / f"postgres-{TEMPLATE_VERSION}"
        self.data = self.folder / "data"

    @property
    def password(self):
        return (self.folder / "password").read_text()

    def prepare(self):
        if (self.folder / "password").exists():
            return self
        with lock("postgres"):
            if not (self.folder / "password").exists():
                self.make()
        return self

    def make(self):
        say("postgresql: preparing the base backup (once)")
        # The cache may lie in root's home, where the user postgres may not even look: made elsewhere, then copied.
        work = Path(tempfile.mkdtemp(prefix="phoenix-dr-postgres-"))
        try:
            work.chmod(0o755)
            made = work / "data"
            made.mkdir(mode=0o700)
            # hexadecimal: needs no quoting in SQL, connection strings or YAML
            password = secrets.token_hex(12)
            (work / "initial").write_text(password)
            hand_over(work)
            run([BINARIES / "initdb", "-D", made, "-U", "postgres", "--data-checksums", "--no-sync", "--encoding=UTF8",
                 "--locale=C.UTF-8", "--wal-segsize=1", "--auth-host=scram-sha-256", "--auth-local=reject",
                 f"--pwfile={work / 'initial'}"], "initdb", cwd="/", user=system_user(),
                group=system_user(), extra_groups=[] if system_user() else None)
            with open(made / "postgresql.conf", "a", encoding="ascii") as settings:
                settings.write(SETTINGS)
            (made / "pg_hba.conf").write_text(HOST_BASED)
            self.fill(work, made, password)
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            shutil.copytree(made, self.data)
            # last: its presence says that the template is complete
            (self.folder / "password").write_text(password)
            (self.folder / "password").chmod(0o600)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    @staticmethod
    def fill(work, made, password):
        """Roles and tables, through a server started on the new cluster and shut down cleanly."""
        names = {"operator": OPERATOR, "application": APPLICATION, "database": DATABASE, "password": password}

        # postgres.py needs this module for everything else
        from .postgres import Server
        server = Server(password, made, work, "data", "127.0.0.1", free_port())
        server.process = Process("postgres template", [
            BINARIES / "postgres", "-D", made, "-c", "listen_addresses=127.0.0.1", "-c", f"port={server.port}"],
            work / "template.log", cwd="/", user=system_user())
        try:
            wait_for("PostgreSQL of the template", lambda: server.query("select 1", database="postgres"), 30,
                     process=server.process)
            for statement in filter(str.strip, ROLES.format(**names).split(";")):
                server.query(statement, database="postgres")
            for statement in filter(str.strip, TABLES.format(**names).split(";")):
                server.query(statement)
            server.query("checkpoint")
        finally:
            server.stop()
