"""Ends what an estate started if the estate itself is killed: `python reaper.py`, pids on its standard input.

Each line names a process id and when that process began. At the end of the input - the estate has gone, however - every
process that still is the one that was named is killed. A folder, named after `-`, is removed.
"""

import os
import shutil
import signal
import sys


def began(pid):
    """Start time in clock ticks since boot: a reused id has another one."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[19]
    except OSError:
        return None


def main():
    # a signal meant for the estate must not end this before the estate's input ends
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    processes, folders = [], []
    for line in sys.stdin:
        first, _, second = line.rstrip("\n").partition(" ")
        if first == "-":
            folders.append(second)
        else:
            processes.append((int(first), second))
    for pid, start in processes:
        if began(pid) == start:
            os.kill(pid, signal.SIGKILL)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
