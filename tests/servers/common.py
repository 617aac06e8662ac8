"""What every module here needs: progress lines with elapsed time, child processes ended by pid, free ports, waiting."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from .reaper import began

BEGAN = time.monotonic()
REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = False
LENT = False  # the terminal belongs to a command: a line of ours would tear what it draws

_print_lock = threading.Lock()


class ServerError(Exception):
    """Something a person has to read: the message says what failed and where the log is."""


class ServerEnded(ServerError):
    """A server is gone: waiting for it is over."""


def say(message):
    """One progress line on stderr with the seconds since the start; stdout belongs to whoever called us."""
    if QUIET or (LENT and sys.stderr.isatty()):
        return
    # a terminal that has been closed must not keep us from stopping the servers
    with _print_lock, contextlib.suppress(OSError):
        print(f"[{time.monotonic() - BEGAN:6.1f} s] {message}", file=sys.stderr, flush=True)


def cache_dir():
    """Where prepared parts stay between runs: outside the tree, so that `git clean` costs nobody a Kubernetes build."""
    named = os.environ.get("PHOENIX_DR_TEST_CACHE")
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "phoenix-dr-tests"


_given_ports, _ports_lock = set(), threading.Lock()


def free_port(host="127.0.0.1"):
    """A port nothing listens on, handed out once.

    The range lies below the kernel's ephemeral ports: an outgoing connection can then never take the port between
    this answer and the server's own bind.
    """
    start = os.getpid() * 37
    with _ports_lock:
        for offset in range(12000):
            port = 20000 + (start + offset) % 12000
            if port in _given_ports:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind((host, port))
                except OSError:
                    continue
            _given_ports.add(port)
            return port
    raise ServerError("no free port between 20000 and 32000")


def web_port(host):
    """80, so that the public name works as it is; a free port where that needs rights or is taken."""
    with socket.socket() as probe:
        # as the server will bind: connections just ended must not stand in the way
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, 80))
        except OSError as error:
            say(f"http: port 80 of {host}: {error.strerror}; http://app.phoenix.example/ will not answer")
            return free_port(host)
    return 80


def wait_for(what, condition, seconds=60.0, pause=0.05, process=None):
    """Polls until `condition` gives something true; names `what` when it does not, with the log of a dead process."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise ServerEnded(f"{what}: {process.name} ended with {process.poll()}\n{process.tail()}")
        try:
            value = condition()
            if value:
                return value
        except ServerEnded:
            raise
        except Exception as error:  # not there yet: any reason counts until the deadline
            last = error
        time.sleep(pause)
    log = f"\n{process.tail()}" if process is not None else ""
    raise ServerError(f"{what}: not after {seconds:.0f} s (last: {last}){log}")


class Reaper:
    """Tells `reaper.py` what to end should this process be killed without a chance to do it itself."""

    child = None

    @classmethod
    def tell(cls, line):
        if cls.child is None:
            cls.child = subprocess.Popen([sys.executable, Path(__file__).with_name("reaper.py")],
                                         stdin=subprocess.PIPE, text=True, start_new_session=True)
        with _print_lock:
            cls.child.stdin.write(line + "\n")
            cls.child.stdin.flush()


class Process:
    """A child with its own log file, ended by its pid and by nothing else."""

    def __init__(self, name, argv, log, env=None, cwd=None, user=None):
        self.name, self.log = name, Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        full = dict(os.environ) if env is None else env
        with open(self.log, "ab") as out:
            # A session of its own: Ctrl-C in the terminal reaches the orchestrator, which ends children in order.
            self.child = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env=full, cwd=cwd, user=user, group=user, extra_groups=[] if user else None, start_new_session=True)
        self.pid = self.child.pid
        Reaper.tell(f"{self.pid} {began(self.pid)}")

    def poll(self):
        return self.child.poll()

    def tail(self, lines=15):
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- {self.log}\n" + "\n".join(text.splitlines()[-lines:])

    def stop(self, first=signal.SIGTERM, grace=5.0):
        """The signal that asks, then, after the grace, the one that does not."""
        if self.child.poll() is not None:
            return
        self.child.send_signal(first)
        try:
            self.child.wait(grace)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def run(argv, what=None, **options):
    """A command that must succeed; its output is shown only when it does not."""
    result = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **options)
    output = result.stdout.decode(errors="replace")
    if result.returncode != 0:
        tail = "\n".join(output.splitlines()[-25:])
        raise ServerError(f"{what or argv[0]} failed with {result.returncode}:\n{tail}")
    return output


def in_parallel(**jobs):
    """Runs the callables at once; gives their results by name, or raises the first failure after all have ended."""
    results, failures = {}, {}

    def work(name, job):
        try:
            results[name] = job()
        except BaseException as error:  # reported below, in the caller's thread
            failures[name] = error

    threads = [threading.Thread(target=work, args=item, name=item[0]) for item in jobs.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, error in failures.items():
        if isinstance(error, ServerError):
            raise error
        raise ServerError(f"{name}: {type(error).__name__}: {error}") from error
    return results
