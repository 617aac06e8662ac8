"""What runs inside a pod, as far as a failover can tell: a process with, or without, a database connection.

The application serves as soon as it runs and connects in the background. A database that cannot be reached (packets
dropped) leaves it running and retrying, so that capacity can be proved before the database is recovered. A database
that answers but cannot be used - refused, password wrong, still in recovery - makes it exit, as applications that
migrate their schema at start do; the pod is then not ready and says why.
"""

import threading

import pg8000.dbapi

CONNECT_SECONDS = 1.0
RETRY_SECONDS = 1.0


class PlainProcess:
    """Needs nothing."""

    def state(self):
        return True, None, ""

    def describe(self):
        return None

    def end(self):
        """Nothing to close."""


class DatabaseProcess:
    def __init__(self, name, address, values):
        self.name, self.address, self.values = name, address, values
        self.connection, self.problem, self.tried = None, None, threading.Event()
        self.ended, self.lock = threading.Event(), threading.Lock()
        threading.Thread(target=self.run, name=f"process of {name}", daemon=True).start()

    def run(self):
        while not self.ended.is_set():
            if self.connection is None:
                self.connect()
            else:
                self.keep()
            self.tried.set()
            self.ended.wait(RETRY_SECONDS)
        self.close()

    def connect(self):
        connection = None
        try:
            connection = pg8000.dbapi.connect(
                self.values.get("user", "phoenix_app"), host=self.values["host"], port=int(self.values["port"]),
                database="phoenix", password=self.values.get("password"), timeout=CONNECT_SECONDS,
                source_address=(self.address, 0), application_name=self.name, ssl_context=False)
            connection.autocommit = True
            if ask(connection, "select pg_is_in_recovery()"):
                self.problem = "the database is in recovery: it takes no writes"
                connection.close()
                return
        except Exception as error:
            if connection is not None:
                close_quietly(connection)
            self.problem = None if unreachable(error) else f"cannot use {self.target()}: {reason(error)}"
            return
        with self.lock:
            self.connection, self.problem = connection, None

    def keep(self):
        """Notices an ended session (a fence, a stopped server): the application then connects anew."""
        if self.query("select 1") is None:
            self.connect()

    def query(self, sql):
        """One value, or None when there is no connection or it has just been lost."""
        with self.lock:
            if self.connection is None:
                return None
            try:
                return ask(self.connection, sql)
            except Exception:
                close_quietly(self.connection)
                self.connection = None
                return None

    def target(self):
        return f"{self.values.get('host')}:{self.values.get('port')}"

    def state(self):
        """Ready or not, the waiting reason and its message."""
        if self.problem is not None:
            return False, "CrashLoopBackOff", self.problem
        if not self.tried.is_set():
            return False, "ContainerCreating", "starting"
        return True, None, ""

    def describe(self):
        return {"target": self.target(), "connected": self.connection is not None, "problem": self.problem}

    def end(self):
        self.ended.set()
        # in the caller's thread: a deleted pod must not be seen connected any more
        self.close()

    def close(self):
        with self.lock:
            if self.connection is not None:
                close_quietly(self.connection)
                self.connection = None


def ask(connection, sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    return cursor.fetchone()[0]


def close_quietly(connection):
    try:
        connection.close()
    except Exception:  # it is gone, which is what was wanted
        pass


def unreachable(error):
    """Nothing came back at all, as opposed to a refusal or an error the database sent."""
    seen = error
    while seen is not None:
        if isinstance(seen, TimeoutError):
            return True
        seen = seen.__cause__ or seen.__context__
    return "timed out" in str(error)


def reason(error):
    told = error.args[0] if error.args else error
    return told.get("M", str(told)) if isinstance(told, dict) else str(told)
