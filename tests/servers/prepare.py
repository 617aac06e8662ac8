"""Installs what the test servers need, once: Debian packages, a Python environment, the Kubernetes binaries.

Runs on the system's own Python with the standard library only, since the environment may not exist yet. Idempotent;
safe when started several times at once (one lock file for each part).
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from . import kube_build, tools
from .common import ServerError, cache_dir, in_parallel, run, say

# package -> a file it brings: asking the file system is faster than dpkg, and accepts a part from elsewhere
PACKAGES = {
    "postgresql-15": "/usr/lib/postgresql/15/bin/initdb",
    "etcd-server": "/usr/bin/etcd",
    "openssl": "/usr/bin/openssl",
    "python3-venv": "/usr/lib/python3.11/ensurepip/__init__.py",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "util-linux": "/usr/bin/setpriv",
    # for the build, of which a part is C, and for a library the tests preload
    "gcc": "/usr/bin/cc",
    "libc6-dev": "/usr/include/stdio.h",
    # for the tests: a host without a network
    "iproute2": "/usr/bin/ip",
}
BUILD_PACKAGES = {
    "golang-go": "/usr/bin/go",
    "golang-github-modern-go-reflect2-dev": str(kube_build.REFLECT2 / "reflect2.go"),
    "dpkg-dev": "/usr/bin/dpkg-source",
}
# Exact versions: the RDS shim reaches into moto's classes, and the documentation lists these versions' wrong answers.
REQUIREMENTS = ("moto[server]==5.2.5", "ministack==1.5.33", "boto3==1.43.106", "pg8000==1.31.2", "PyYAML==6.0.3")


@contextlib.contextmanager
def lock(name):
    """One preparer at a time for this part; the second waits, then finds the work done."""
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f"{name}.lock", "w", encoding="ascii") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another run is preparing it, waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def missing(packages):
    return [name for name, file in packages.items() if not os.path.exists(file)]


def install(packages):
    absent = missing(packages)
    if not absent:
        return
    if shutil.which("apt-get") is None:
        raise ServerError(f"missing: {', '.join(absent)}. The supported test host is Debian 12 (see docs/testing.md).")
    if os.geteuid() != 0:
        raise ServerError("missing Debian packages; as root run:\n  apt-get install " + " ".join(absent))
    with lock("apt"):
        absent = missing(packages)
        if not absent:
            return
        say(f"debian: installing {' '.join(absent)}")
        env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        # Debian starts a cluster on 5432 when PostgreSQL is installed; the tests make their own.
        common = Path("/etc/postgresql-common")
        if "postgresql-15" in absent and not (common / "createcluster.conf").exists():
            common.mkdir(parents=True, exist_ok=True)
            (common / "createcluster.conf").write_text("create_main_cluster = false\n")
        wait = ["-o", "DPkg::Lock::Timeout=600"]
        run(["apt-get", "-q", *wait, "update"], "apt-get update", env=env)
        run(["apt-get", "-q", *wait, "-o", "Dpkg::Options::=--force-confold", "install", "-y",
             "--no-install-recommends", *absent], "apt-get install", env=env)
        still = missing(packages)
        if still:
            raise ServerError(f"installed but not found where expected: {', '.join(still)}")


def python():
    """The interpreter with moto, ministack and boto3."""
    return cache_dir() / "python" / "bin" / "python"


def environment():
    folder, wanted = cache_dir() / "python", "\n".join(REQUIREMENTS)
    stamp = folder / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with lock("python"):
        if stamp.exists() and stamp.read_text() == wanted:
            return
        say(f"python: installing {', '.join(REQUIREMENTS)}")
        shutil.rmtree(folder, ignore_errors=True)
        # Debian's interpreter, by path: one from a version manager in root's home cannot be run by other users.
        interpreter = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        run([interpreter, "-m", "venv", folder], "python -m venv")
        run([folder / "bin/pip", "install", "--disable-pip-version-check", "-q", *REQUIREMENTS], "pip install")
        # compiled now, so that the first start is as fast as the others
        subprocess.run([folder / "bin/python", "-m", "compileall", "-q", "-j", "0", folder / "lib"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        stamp.write_text(wanted)


def kubernetes():
    if os.environ.get("PHOENIX_DR_TEST_KUBECONFIG") or kube_build.is_built(cache_dir()):
        return
    install(BUILD_PACKAGES)
    with lock("kube"):
        kube_build.build(cache_dir())


def end_with_children(number, _frame):
    """Compilers do not notice that whoever started them was told to end."""
    signal.signal(number, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
    os._exit(128 + number)


def main():
    """Everything, in parallel: Debian's packages first, since the other two need some of them."""
    if "--background" in sys.argv[1:]:
        os.setpgrp()
        signal.signal(signal.SIGTERM, end_with_children)
    try:
        install(PACKAGES)
        if "--packages" in sys.argv[1:]:
            return 0
        if "--tools" in sys.argv[1:]:
            tools.prepare(lock)
            print(tools.folder() / "bin")
            return 0
        in_parallel(python=environment, kubernetes=kubernetes, tools=lambda: tools.prepare(lock))
    except ServerError as error:
        print(f"tests/servers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
