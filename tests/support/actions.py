"""A plugin whose actions misbehave, and helpers for the processes that they start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collective.node.actions.job import ActionJob
from support.waiting import wait_until

PLUGIN = '''
import glob, os, resource, signal, subprocess, sys, time
from collective.agent import Aborted, InvalidInput

def fine(**data): return {"pid": os.getpid(), **data}
def nothing(): pass
def waits(folder, seconds):
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(seconds)
def raises(): raise KeyError("colour")
def raises_plainly(): raise Exception("rspec test")
class Seventeen(Aborted): statuscode = 17
def aborts_strangely(): raise Seventeen("not today")
def aborts(): raise Aborted("not today", data={"half": 1})
def invalid(): raise InvalidInput("no such user")
def exits(): sys.exit(3)
def exits_hard(): os._exit(3)
def dies(): os.kill(os.getpid(), signal.SIGKILL)
def dies_of_a_real_time_signal(): os.kill(os.getpid(), 40)
def prints(): print("debugging"); return {"done": True}
def prints_much():
    for _ in range(1000): print("x" * 99_999)
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
def command_prints(): subprocess.run(["echo", "hello"]); return {"done": True}
def returns_a_set(): return {"names": {1, 2}}
def returns_nan(): return {"load": float("nan")}
def returns_half_a_character(): return {"text": "\\ud800"}
def returns_too_much(): return {"text": "x" * (9 * 1024 * 1024)}
def returns_much(): return {"text": "x" * (7 * 1024 * 1024)}
def interrupts(): raise KeyboardInterrupt
def reads(): return {"text": sys.stdin.read()}
def ignored(): return {"mask": int(open("/proc/self/status").read().partition("SigIgn:")[2].split()[0], 16)}

def spawn(folder):
    """Loop for ever with a child, a grandchild, and a detached process."""
    code = "import os,time,sys; open(sys.argv[1] + '/' + str(os.getpid()), 'w'); "
    child = code + "import subprocess; subprocess.Popen([sys.executable, '-c', %r, sys.argv[1]]); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", child % (code + "time.sleep(600)"), folder])
    detach = "import os,sys\\nif os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\n"
    subprocess.Popen([sys.executable, "-c", detach + code + "time.sleep(600)", folder])
    while True:
        time.sleep(0.01)

def chain(folder):
    """Loop for ever in a process with 250 ancestors."""
    for _ in range(250):
        if os.fork():
            break
    open(f"{folder}/{os.getpid()}", "w").close()
    time.sleep(600)

def writes_much(size):
    """Write far more than a result to every descriptor that this process has, as a broken action might."""
    for name in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{name}").rpartition("/")[2].startswith("pipe:"):
            try:
                for _ in range(size // 1_000_000):
                    os.write(int(name), b"x" * 1_000_000)
            except OSError:
                pass

def returns_many_values(): return {"values": [[]] * 2_000_000}

def leaves(folder):
    """Succeed and leave a process running on purpose."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return {"pid": process.pid}

def nests(folder):
    """Succeed and leave a process running in a control group below that of the action."""
    (own,) = glob.glob(folder + "/action-*")
    os.makedirs(own + "/deep/deeper")
    process = subprocess.Popen(["sleep", "600"], start_new_session=True)
    open(own + "/deep/deeper/cgroup.procs", "w").write(str(process.pid))
    return {"pid": process.pid}

def bomb(folder):
    """Double the processes every 0.1 s. Each takes a byte from a pipe, so that there are never more than 300."""
    left, filled = os.pipe()
    os.write(filled, bytes(300))
    os.close(filled)
    while True:
        time.sleep(0.1)
        if os.read(left, 1) and not os.fork():
            open(f"{folder}/{os.getpid()}", "w").close()
'''


def job(plugin: Path, action: str, **data: Any) -> ActionJob:
    """Return the job of calling `action` of a plugin."""
    return ActionJob(str(plugin), action, data, {})


def alive(pids: list[int]) -> list[int]:
    """Return the pids of the processes that run; zombies do not count."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in status(pid)]


def status(pid: int) -> str:
    """Return /proc/PID/status; that of a zombie if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def wait_for_files(folder: Path, count: int) -> list[int]:
    """Wait until `count` processes have written their files; return their pids."""
    wait_until(lambda: len(list(folder.iterdir())) >= count, 60)
    return [int(path.name) for path in folder.iterdir()]
