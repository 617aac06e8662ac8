"""Real PostgreSQL 15 servers standing for the RDS instances: one server for each instance id, by streaming or by copy.

All start from the template (initdb and roles take seconds; a copy takes a tenth of one):

* the primary is a copy of the template;
* the standby is a copy with `standby.signal`, streaming from the primary;
* a restored instance is a copy started as it is: the prepared base backup.
"""

import shutil
import signal
import threading
import time

import pg8000.dbapi

from .common import Process, ServerError, free_port, run, say, wait_for
from .postgres_template import APPLICATION, BINARIES, DATABASE, hand_over, system_user


class Server:
    """One server on an address and port of its own, with a data directory copied from the template."""

    def __init__(self, password, template, folder, name, host, port):
        self.password, self.template, self.name = password, template, name
        self.host, self.port = host, port
        self.data, self.log = folder / name, folder / f"{name}.log"
        self.process = None
        # whether its security groups let nobody in who is not connected already
        self.shut = False

    def start(self, follow=None):
        """From the template; as a standby of the server `follow` when given."""
        shutil.rmtree(self.data, ignore_errors=True)
        # a thousand files: Python would need a second of a processor for them
        run(["cp", "-a", "--reflink=auto", self.template, self.data])
        self.data.chmod(0o700)
        if follow is not None:
            (self.data / "standby.signal").touch()
            with open(self.data / "postgresql.auto.conf", "a", encoding="ascii") as settings:
                settings.write(f"primary_conninfo = 'host={follow.host} port={follow.port} user=replicator "
                               f"password={self.password} application_name={self.name}'\n")
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
        # Left to itself pg8000 loads the host's certificates at every connect, 40 ms of a processor, before it asks for TLS.
        return pg8000.dbapi.connect(user, host=self.host, port=self.port, database=database, timeout=timeout,
                                    password=self.password, application_name="tests/estate", ssl_context=False)

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
                if connection is None and self.server.shut:
                    continue
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
        self.servers, self.renamed, self.writer = {}, [], None
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
                self.servers[instance] = Server(
                    self.template.password, self.template.data, self.folder, instance, host, free_port(host))
            return self.servers[instance]

    def rename(self, was, instance):
        """The server of an instance under the instance's new name; what is connected to it is cut off, as by a restart."""
        with self.lock:
            server = self.servers.pop(was)
            self.renamed.append((was, instance))
            self.servers[instance] = server
        server.stop()
        server.resume()
        return server

    def own_names(self):
        """Every server under the name it began with."""
        with self.lock:
            for was, instance in reversed(self.renamed):
                self.servers[was] = self.servers.pop(instance)
            self.renamed.clear()
            for server in self.servers.values():
                server.shut = False

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

    def processes(self):
        with self.lock:
            return [server.process for server in self.servers.values() if server.running()]

    def follow(self, event, instance):
        """What happens to PostgreSQL when RDS is asked for something; the instance is not available before it ends."""
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
        elif event == "reboot":
            server.stop()
            server.resume()
        elif event in ("shut", "open"):
            server.shut = event == "shut"
        else:
            raise ServerError(f"unknown event {event}")
        say(f"postgresql: {instance}: {event} done in {time.monotonic() - began:.1f} s")
        return {"host": server.host, "port": server.port}
