"""Runs the same work under phoenix-dr and public tools, one after the other in each round, and prints ratios.

A run counts only if the tool says that it succeeded and its own record shows every step. Times are of whole
processes. The disk's share is measured in the same round on the same file system: one append and fdatasync a step.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ESTATE = """estate: bench
primary: { region: us-east-1 }
regions:
  us-east-1: { api: 'http://127.0.0.1:1' }
  us-west-2: { api: 'http://127.0.0.1:2' }
"""
HEAD = "runbook: BENCH-1\ntitle: Benchmark\ncommand: bench\nsteps:\n"
STEP = """  - id: s{step}
    needs: [{needs}]
    action: command.run
    with: {{ argv: [/bin/true] }}
    verify: {{ none: it says so itself }}
    rollback: {{ none: it changes nothing }}
"""
# Bytes one step of the chain adds to the journal; measured from the journal itself after the first run.
RECORD_BYTES = 1200


class Failed(Exception):
    """A run that does not count."""


# Starts a program and waits for it. A process of its own, because the kernel counts the memory of whoever starts a
# program as that program's until it is loaded.
STARTER = """
import os, sys, time
begun = time.monotonic()
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds = time.monotonic() - begun
os.write(3, f"{seconds} {usage.ru_maxrss} {os.waitstatus_to_exitcode(status)}".encode())
"""


def timed(argv, folder, env=None, out="out.txt"):
    """Runs a program to its end; returns its seconds and its greatest resident memory in MiB."""
    starter = ["/bin/sh", "-c", 'exec "$@" 3>measured', "sh", "/usr/bin/python3", "-I", "-S", "-c", STARTER]
    with open(folder / out, "wb") as sink, open(folder / "err.txt", "wb") as errors:
        subprocess.run(
            [*starter, *argv], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=sink, stderr=errors, check=True
        )
    seconds, kilobytes, code = (folder / "measured").read_text().split()
    if code != "0":
        said = (folder / "err.txt").read_text(errors="replace")[-2000:]
        raise Failed(f"{argv[0]} ended with {code}:\n{said}")
    return float(seconds), float(kilobytes) / 1024


def expect(what, found, wanted):
    if found != wanted:
        raise Failed(f"{what}: {found} where {wanted} were due")


# --- phoenix-dr -----------------------------------------------------------------------------------------------------


def chain_runbook(steps):
    return HEAD + "".join(STEP.format(step=i, needs=f"s{i - 1}" if i else "") for i in range(steps))


def fan_runbook(steps):
    return HEAD + "".join(f"  - {{ id: s{i}, needs: [], action: wait, with: {{ for: 0s }} }}\n" for i in range(steps))


class Phoenix:
    def __init__(self, binary, folder):
        self.binary, self.folder = str(binary), folder
        self.env = {"HOME": str(folder), "PHOENIX_DR_STATE": str(folder / "state")}
        (folder / "phoenix-dr.yaml").write_text(ESTATE)

    def timed(self, *arguments):
        return timed([self.binary, *arguments], self.folder, self.env)

    def run(self, runbook, steps, end, jobs=1):
        """Carries a runbook out; holds that every step ended as it should and that the journal is whole."""
        (self.folder / "runbook.yaml").write_text(runbook)
        measured = self.timed("run", "runbook.yaml", "--yes", "--jobs", str(jobs))
        journal = max((self.folder / "state" / "runs").iterdir()) / "journal.jsonl"
        events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
        ends = [event["end"] for event in events if event["kind"] == "step_finished"]
        expect("steps in phoenix-dr's journal", (len(ends), set(ends)), (steps, {end}))
        expect("phoenix-dr's last event", events[-1]["kind"], "run_finished")
        self.timed("audit", "--verify")
        return *measured, journal.stat().st_size


# --- the others -----------------------------------------------------------------------------------------------------


def make_chain(folder, steps):
    rules = (f"s{i}:{f' s{i - 1}' if i else ''}\n\t/bin/true\n" for i in range(steps))
    (folder / "Makefile").write_text(f".PHONY: {' '.join(f's{i}' for i in range(steps))}\n" + "".join(rules))
    seconds, _ = timed(["/usr/bin/make", "-j1", f"s{steps - 1}"], folder)
    expect("commands make printed", (folder / "out.txt").read_text().count("/bin/true\n"), steps)
    return seconds


def make_fan(folder, steps, jobs):
    """Recipes that are `:`, which make recognises and starts no program for."""
    names = " ".join(f"s{i}" for i in range(steps))
    (folder / "Makefile").write_text(f"all: {names}\n.PHONY: all {names}\n{names}:\n\t:\n")
    seconds, _ = timed(["/usr/bin/make", f"-j{jobs}", "all"], folder)
    expect("commands make printed", (folder / "out.txt").read_text().count(":\n"), steps)
    return seconds


def ninja_chain(folder, steps):
    for old in (".ninja_log", ".ninja_deps"):
        (folder / old).unlink(missing_ok=True)
    builds = (f"build s{i}: true{f' s{i - 1}' if i else ''}\n" for i in range(steps))
    (folder / "build.ninja").write_text("rule true\n  command = /bin/true\n" + "".join(builds))
    seconds, _ = timed(["/usr/bin/ninja", "-j1", "-v", f"s{steps - 1}"], folder)
    expect("commands ninja printed", (folder / "out.txt").read_text().count("] /bin/true\n"), steps)
    return seconds


def chaos_chain(chaos, folder, steps):
    true = {"type": "process", "path": "/bin/true", "arguments": ""}
    method = [{"type": "action", "name": f"s{i}", "provider": true} for i in range(steps)]
    experiment = {"title": "Benchmark", "description": "A chain of /bin/true", "method": method, "rollbacks": []}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    env = dict(os.environ, HOME=str(folder))
    argv = [chaos, "--no-version-check", "--no-log-file", "run", "--journal-path", "chaos.json", "experiment.json"]
    seconds, _ = timed(argv, folder, env)
    journal = json.loads((folder / "chaos.json").read_text())
    expect("status in Chaos Toolkit's journal", journal["status"], "completed")
    exits = [step["output"]["status"] for step in journal["run"] if step["status"] == "succeeded"]
    expect("steps in Chaos Toolkit's journal", exits, [0] * steps)
    return seconds


def synced_appends(folder, steps, size):
    """Appends as much as a step of the chain journals and syncs it, once a step."""
    line = b"x" * size
    file = os.open(folder / "appended", os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_TRUNC, 0o600)
    begun = time.monotonic()
    for _ in range(steps):
        os.write(file, line)
        os.fdatasync(file)
    seconds = time.monotonic() - begun
    os.close(file)
    return seconds


# --- what is printed ------------------------------------------------------------------------------------------------


def middle(values):
    return statistics.median(values)


def spread(values):
    return f"{middle(values):7.2f} ({min(values):.2f} to {max(values):.2f})"


def chain(options, folder):
    steps = options.steps
    phoenix = Phoenix(options.binary, folder)
    size = RECORD_BYTES
    rounds = []
    for number in range(options.rounds):
        print(f"chain of {steps}, round {number + 1} of {options.rounds}", file=sys.stderr)
        synced = synced_appends(folder, steps, size)
        make = make_chain(folder, steps)
        own, _, journal = phoenix.run(chain_runbook(steps), steps, "done")
        synced = (synced + synced_appends(folder, steps, size)) / 2
        size = journal // steps
        ninja = ninja_chain(folder, steps)
        chaos = chaos_chain(options.chaos, folder, steps) if number < options.chaos_rounds else None
        rounds.append({"own": own, "make": make, "synced": synced, "ninja": ninja, "chaos": chaos})
    rows = [
        ("phoenix-dr", [r["own"] for r in rounds]),
        ("GNU make", [r["make"] for r in rounds]),
        ("fdatasync", [r["synced"] for r in rounds]),
        ("ninja", [r["ninja"] for r in rounds]),
        ("Chaos Toolkit", [r["chaos"] for r in rounds if r["chaos"]]),
    ]
    print(f"\nChain of {steps} /bin/true, seconds: median (least to most)")
    for name, values in rows:
        if values:
            print(f"  {name:14} {spread(values)}")
    print("phoenix-dr against, in the same round: median ratio (least to most)")
    ratios = [
        ("make + fdatasync", [r["own"] / (r["make"] + r["synced"]) for r in rounds], "target: at most 1.25"),
        ("GNU make", [r["own"] / r["make"] for r in rounds], "which syncs nothing"),
        ("ninja", [r["own"] / r["ninja"] for r in rounds], "which syncs nothing"),
        ("Chaos Toolkit", [r["own"] / r["chaos"] for r in rounds if r["chaos"]], "target: below 1; it syncs nothing"),
    ]
    for name, values, note in ratios:
        if values:
            print(f"  {name:16} {spread(values)}   {note}")


def fan(options, folder):
    phoenix = Phoenix(options.binary, folder)
    print(f"\nSteps with nothing to do, --jobs {options.jobs}: medians of {options.rounds}")
    print("   steps   seconds   steps/s   MiB    µs a step   GNU make's   ratio")
    for steps in options.fan:
        own, memory, make = [], [], []
        for _ in range(options.rounds):
            seconds, resident, _ = phoenix.run(fan_runbook(steps), steps, "satisfied", options.jobs)
            own.append(seconds)
            memory.append(resident)
            make.append(make_fan(folder, steps, options.jobs))
        seconds = middle(own)
        print(
            f"  {steps:6}   {seconds:7.2f}   {steps / seconds:7.0f}   {max(memory):4.0f}"
            f"   {seconds / steps * 1e6:9.0f}   {middle(make):10.2f}   {seconds / middle(make):5.2f}"
        )
    print("target: 10,000 at 5,000 steps/s or more, below 150 MiB, as long for a step of many as for one of few")


def quick(options, folder):
    phoenix = Phoenix(options.binary, folder)
    print("\nMilliseconds, medians, and MiB at most")
    for name, arguments in (("--version", ["--version"]), ("list", ["list"])):
        show(name, [phoenix.timed(*arguments) for _ in range(40)], "target: below 10")
    for command in ("validate", "plan"):
        for steps in options.fan:
            (folder / "runbook.yaml").write_text(chain_runbook(steps))
            runs = [phoenix.timed(command, "runbook.yaml") for _ in range(2 * options.rounds)]
            show(f"{command} {steps}", runs, "target: below 300 for 10000")


def idle():
    """Says how busy the machine is: on a busy one, times of programs that wait for each other mean little."""
    print(f"{os.cpu_count()} processors, {os.getloadavg()[0]:.1f} processes wanted one in the last minute")


def show(name, runs, note):
    seconds, memory = [r[0] for r in runs], max(r[1] for r in runs)
    print(f"  {name:16} {middle(seconds) * 1e3:7.1f}   {memory:4.0f} MiB   {note}")


def main():
    parser = argparse.ArgumentParser(prog="benches/compare", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help="chain, fan, quick; all of them without a name")
    parser.add_argument("--binary", type=Path, help="program to measure, instead of building target/release/phoenix-dr")
    parser.add_argument("--folder", help="where to work: the file system whose syncs are measured (default: target)")
    parser.add_argument("--steps", type=int, default=1000, help="length of the chain (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="times everything is run (default 5)")
    parser.add_argument("--chaos-rounds", type=int, default=2, help="of these, with Chaos Toolkit (default 2)")
    parser.add_argument("--jobs", type=int, default=256, help="steps of the fan at once (default 256)")
    parser.add_argument("--fan", type=int, nargs="+", default=[1000, 5000, 10000], help="sizes of the fan")
    parser.add_argument("--chaos", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    parts = {"chain": chain, "fan": fan, "quick": quick}
    unknown = [name for name in options.what if name not in parts]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join(parts)}")
    if options.binary is None:
        print("benches/compare: cargo build --release", file=sys.stderr)
        subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "phoenix-dr"], cwd=ROOT, check=True)
        options.binary = ROOT / "target/release/phoenix-dr"
    options.binary = options.binary.resolve()
    place = options.folder or str(ROOT / "target")
    idle()
    try:
        for name in options.what or parts:
            with tempfile.TemporaryDirectory(prefix="compare-", dir=place) as folder:
                parts[name](options, Path(folder))
        idle()
    except Failed as failure:
        sys.exit(f"benches/compare: {failure}")


if __name__ == "__main__":
    main()
