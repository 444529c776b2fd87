"""What only POSIX has is used where it is, and missed nowhere: the package without it, in a process of its own."""

import subprocess
import sys
from pathlib import Path

from test_layers import MODULES, ROOT

POSIX_ONLY = """
import os, signal, socket, sys

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline")
NAMES = {
    os: ("killpg", "setsid", "getpgrp", "getpgid", "setpgid", "fork", "forkpty", "getuid", "geteuid", "getgid", "uname",
         "mkfifo", "wait", "waitid", "nice", "sched_getaffinity", "O_ASYNC", "O_NOFOLLOW", "O_DIRECTORY", "statvfs",
         "getloadavg", "chown", "fchmod", "pread", "sysconf", "openpty", "register_at_fork"),
    signal: ("SIGKILL", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGSTOP", "SIGCHLD", "SIGQUIT", "SIGPIPE", "pthread_kill",
             "pthread_sigmask", "alarm", "setitimer", "sigwait", "siginterrupt"),
    socket: ("MSG_DONTWAIT", "MSG_NOSIGNAL", "SCM_RIGHTS"),
}

def take_away():
    sys.modules.update(dict.fromkeys(MODULES))
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
"""


def test_every_module_can_be_imported_without_what_only_posix_has() -> None:
    """Twice: first so that whatever else they import is there."""
    names = [name for name in MODULES if not name.endswith("._alone")]
    code = f"""{POSIX_ONLY}
import importlib
for attempt in range(2):
    for name in {names}:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.partition(".")[0] == "lstn_search"]
    assert len(ours) > 100
    for name in ours:
        del sys.modules[name]
    take_away()
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_worker_does_its_job_and_ends_with_its_driver_without_what_only_posix_has(tmp_path: Path) -> None:
    """Driver and worker, which takes it away itself as soon as it starts."""
    start = "import multiprocessing.connection, subprocess, tempfile, traceback, pathlib, logging"
    (tmp_path / "sitecustomize.py").write_text(f"{start}\n{POSIX_ONLY}\ntake_away()\n")
    code = """
import sys
import engine_jobs, os, subprocess, tempfile
from pathlib import Path
from lstn_search.jobs.base import Job
from lstn_search.jobs.local import LocalEngine

assert not hasattr(os, "killpg")
folder = Path(sys.argv[1])
engine = LocalEngine(engine_jobs.make_setup(folder), 1, engine_jobs.act)
for name in ("ok", "bug", "ok"):
    engine.submit(Job(kind="rung", name=name))
    (ended,) = engine.events()
    assert (ended.died is None) == (name == "ok"), ended
engine.submit(Job(kind="rung", name="wait"))
(said,) = engine.events()
print(engine._workers[0].process.pid, flush=True)
os._exit(0)  # as if it were killed
"""
    path = [str(tmp_path), str(ROOT), str(ROOT / "tests")]
    environment = {"PYTHONPATH": ":".join(path), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert not run.returncode, run.stderr
    while _is_running(int(run.stdout)):  # by itself it would wait for ever
        pass


def _is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")
