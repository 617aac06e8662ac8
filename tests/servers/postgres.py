"""Real PostgreSQL 15 servers standing for the RDS instances: one server for each instance id, by streaming or by copy.

A cluster is made once and kept in the cache as a template (initdb and roles take seconds; a copy takes a tenth of one):

* the primary is a copy of the template;
* the standby is a copy with `standby.signal`, streaming from the primary;
* a restored instance is a copy started as it is: the prepared base backup.

What the operator's role needs, and what RDS's master user has: CREATEROLE (the fence sets NOLOGIN on the application's
role; PostgreSQL 15 lets CREATEROLE alter roles that are not superusers), pg_signal_backend (to end its sessions),
pg_monitor (to see who is connected, and replication), ownership of the database (ALTER DATABASE ... SET, a heartbeat
table) and membership in the application's role (to prove by a write that the fence holds).
"""

import os
import pwd
import secrets
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import pg8000.dbapi

from .common import Process, ServerError, free_port, run, say, wait_for
from .prepare import lock

BINARIES = Path("/usr/lib/postgresql/15/bin")
TEMPLATE_VERSION = "1"  # raised whenever `make_template` changes what it makes
DATABASE, OPERATOR, APPLICATION = "phoenix", "phoenix_dr", "phoenix_app"

ROLES = """
create role {operator} login createrole password '{password}' in role pg_signal_backend, pg_monitor;
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


class Server:
    """One server on an address and port of its own, with a data directory copied from the template."""

    def __init__(self, template, folder, name, host, port):
        self.template, self.name, self.host, self.port = template, name, host, port
        self.data, self.log = folder / name, folder / f"{name}.log"
        self.process = None

    def start(self, follow=None):
        """From the template; as a standby of the server `follow` when given."""
        shutil.rmtree(self.data, ignore_errors=True)
        shutil.copytree(self.template.data, self.data)
        self.data.chmod(0o700)
        if follow is not None:
            (self.data / "standby.signal").touch()
            with open(self.data / "postgresql.auto.conf", "a", encoding="ascii") as settings:
                settings.write(f"primary_conninfo = 'host={follow.host} port={follow.port} user=replicator "
                               f"password={self.template.password} application_name={self.name}'\n")
        hand_over(self.data)
        self.resume()

    def resume(self):
        """Starts on the data as it is."""
        self.process = Process(f"postgres {self.name}", [
            BINARIES / "postgres", "-D", self.data, "-c", f"listen_addresses={self.host}", "-c", f"port={self.port}"],
            self.log, cwd="/", user=system_user())
        wait_for(f"PostgreSQL of {self.name}", lambda: self.query("select 1"), 30, process=self.process)

    def stop(self):
        if self.process is not None:
            # fast shutdown: a plain SIGTERM waits until the application's sessions end
            self.process.stop(signal.SIGINT, 5.0)
            self.process = None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def connect(self, user="postgres", database=DATABASE, timeout=5):
        return pg8000.dbapi.connect(user, host=self.host, port=self.port, database=database, timeout=timeout,
                                    password=self.template.password, application_name="tests/estate")

    def query(self, sql, **options):
        connection = self.connect(**options)
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()

    def promote(self):
        """What RDS does inside PromoteReadReplica; true once the server takes writes."""
        if not self.query("select pg_is_in_recovery()"):
            return True
        return self.query("select pg_promote(true, 60)", timeout=70)

    def facts(self):
        """For tests: what this server says about itself."""
        if not self.running():
            return {"running": False, "host": self.host, "port": self.port}
        try:
            recovery = self.query("select pg_is_in_recovery()")
            identifier = str(self.query("select system_identifier from pg_control_system()"))
            experiments = self.query("select count(*) from experiments")
            login = self.query(f"select rolcanlogin from pg_roles where rolname = '{APPLICATION}'")
        except Exception as error:
            return {"running": True, "host": self.host, "port": self.port, "error": str(error)}
        return {"running": True, "host": self.host, "port": self.port, "pid": self.process.pid,
                "in_recovery": recovery, "system_identifier": identifier, "experiments": experiments,
                "application_may_log_in": login}


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

        class Draft:
            data, folder = made, work
        Draft.password = password
        server = Server(Draft, work, "data", "127.0.0.1", free_port())
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


class Writer:
    """The application in the failed region, still writing: once a second, as its own role, until it is fenced."""

    def __init__(self, server):
        self.server, self.ended = server, threading.Event()
        self.thread = threading.Thread(target=self.work, name="writer", daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.ended.set()
        self.thread.join(10)

    def work(self):
        connection = None
        while not self.ended.wait(1.0):
            try:
                if connection is None:
                    connection = self.server.connect(APPLICATION)
                    connection.autocommit = True
                connection.cursor().execute("insert into experiment_events (experiment_id) values (1)")
            except Exception:  # fenced, stopped or being reset: exactly what it is there to meet
                connection = None


class Fleet:
    """All servers of an estate by RDS instance id."""

    def __init__(self, template, folder, network):
        self.template, self.folder, self.network = template, folder, network
        self.servers, self.writer = {}, None
        self.lock = threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if system_user():
            shutil.chown(folder, system_user())

    def server(self, instance, number=None):
        """The server of an instance; an unknown instance gets the next loopback address and a free port."""
        with self.lock:
            if instance not in self.servers:
                host = f"{self.network}.{number or 20 + len(self.servers)}"
                self.servers[instance] = Server(self.template, self.folder, instance, host, free_port(host))
            return self.servers[instance]

    def start(self, primary, standby=None):
        """The primary, and beside it the standby in sync with it."""
        first = self.server(primary)
        first.start()
        if standby is not None:
            second = self.server(standby)
            second.start(follow=first)
            wait_for("the standby in sync", lambda: first.query(
                "select count(*) from pg_stat_replication where state = 'streaming' and replay_lsn = sent_lsn"), 30)
        self.writer = Writer(first)
        self.writer.start()

    def stop(self):
        if self.writer is not None:
            self.writer.stop()
            self.writer = None
        with self.lock:
            servers = list(self.servers.values())
        for server in servers:
            server.stop()

    def follow(self, event, instance):
        """What happens to PostgreSQL when RDS is asked for something; called while the instance is not yet available."""
        server = self.server(instance)
        began = time.monotonic()
        if event == "promote":
            if not server.promote():
                raise ServerError(f"{instance}: PostgreSQL did not leave recovery in time")
        elif event == "restore":
            server.start()
        elif event == "start":
            server.resume()
        elif event in ("stop", "delete"):
            server.stop()
        else:
            raise ServerError(f"unknown event {event}")
        say(f"postgresql: {instance}: {event} done in {time.monotonic() - began:.1f} s")
        return {"host": server.host, "port": server.port}
