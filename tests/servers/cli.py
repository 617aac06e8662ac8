"""`tests/estate`: prepares, starts an estate, runs a command (or a shell) in it, stops everything."""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from . import common
from .common import REPOSITORY, ServerError, say
from .options import Options

EPILOGUE = """\
examples:
  tests/estate phoenix-dr failover --region us-west-2
  tests/estate --control-plane-dark            a shell in the estate
  tests/estate --serve                         for tests: one JSON line on stdout, then until stdin closes

The control port (tests/servers/control.py) is in PHOENIX_DR_TEST_CONTROL; see docs/testing.md."""


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/estate", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EPILOGUE,
        description="A throw-away Phoenix estate of real and third-party servers: us-east-1 dark, us-west-2 warm.")
    parser.add_argument("--primary-up", action="store_true", help="us-east-1 answers: API, RDS and database")
    parser.add_argument("--control-plane-dark", action="store_true",
                        help="Route 53's API is dark too; a failover object is configured")
    parser.add_argument("--restore-only", action="store_true", help="no read replica: recovery by restore")
    parser.add_argument("--capacity", type=int, metavar="N", help="pods that fit in us-west-2 (6 run at the start)")
    parser.add_argument("--transition-seconds", type=float, default=3.0, metavar="S",
                        help="time RDS takes for a change (default 3)")
    parser.add_argument("--serve", "--keep-running", "--detach", dest="serve", action="store_true",
                        help="print estate.json in one line when ready, stay until stdin closes or TERM")
    parser.add_argument("--no-build", action="store_true", help="do not run cargo build first")
    # taken by the shell script, which prepares before anything else
    parser.add_argument("--prepare", action="store_true", help="install and build what is missing, nothing else")
    parser.add_argument("--selfcheck", action="store_true", help="check that the servers behave as the tests assume")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="a shell when left out")
    return parser.parse_args()


def binaries():
    return Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")).absolute() / "debug"


def build():
    """cargo decides whether anything is to be done; its output goes to stderr as always."""
    say("cargo: building phoenix-dr")
    done = subprocess.run(["cargo", "build", "--quiet", "--bin", "phoenix-dr"], cwd=REPOSITORY,
                          stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        raise ServerError("cargo build failed")


class Ending(BaseException):
    """A signal that asks to end; not an Exception, so that nothing in between takes it for a failure to handle."""

    def __init__(self, number):
        super().__init__(number)
        self.number = number


def raise_ending(number, _frame):
    # once is enough: stopping must not be interrupted by an impatient second Ctrl-C
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    raise Ending(number)


def catch_signals():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, raise_ending)


def serve(estate):
    """Until the reader of our stdout has no more use for us."""
    print(json.dumps({"ready": True, **estate.facts()}), flush=True)
    sys.stdin.read()
    return 0


def interact(estate, command):
    """The command owns the terminal: Ctrl-C is for it, and what it answers is our answer."""
    env = {**os.environ, **estate.environment(), "PATH": f"{binaries()}:{os.environ['PATH']}"}
    for name in [name for name in env if name.startswith("AWS_ENDPOINT_URL")]:
        del env[name]
    if not command:
        say("estate: a shell; `exit` stops everything")
        command = [os.environ.get("SHELL", "/bin/sh")]
    common.LENT = True
    child = subprocess.Popen(command, cwd=estate.folder, env=env)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def pass_on(number, _frame):
        if child.poll() is None:
            child.send_signal(number)
        # whatever it makes of that, the estate does not outlive it for long
        timer = threading.Timer(20.0, child.kill)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    code = child.wait()
    common.LENT = False
    return 128 - code if code < 0 else code


def main():
    wanted = arguments()
    common.QUIET = wanted.quiet
    command = wanted.command[1:] if wanted.command[:1] == ["--"] else wanted.command
    if wanted.selfcheck:
        command = [sys.executable, str(Path(__file__).with_name("selfcheck.py"))]
    catch_signals()
    estate = None
    try:
        # boto3 and pg8000 are in the environment `tests/estate` has prepared before it started this
        from .estate import Estate
        options = Options(wanted.primary_up, wanted.control_plane_dark, wanted.restore_only, wanted.capacity,
                          wanted.transition_seconds)
        estate = Estate(options)
        if wanted.serve or wanted.no_build:
            estate.start()
            return serve(estate) if wanted.serve else interact(estate, command)
        builder = Builder()
        estate.start()
        builder.wait()
        return interact(estate, command)
    except Ending as ending:
        return 128 + ending.number
    except ServerError as error:
        print(f"tests/estate: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if estate is not None:
            estate.stop()


class Builder:
    """cargo build beside the start of the servers."""

    def __init__(self):
        self.failure = None
        self.thread = threading.Thread(target=self.work, name="cargo", daemon=True)
        self.thread.start()

    def work(self):
        try:
            build()
        except (ServerError, OSError) as error:
            self.failure = error

    def wait(self):
        self.thread.join()
        if self.failure is not None:
            raise ServerError(str(self.failure))


if __name__ == "__main__":
    sys.exit(main())
