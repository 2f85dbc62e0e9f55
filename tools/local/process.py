"""The processes of the stack `local`: what environment they get, how we wait for them, and how we end stray ones."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from tools.local.config import PASSPHRASE
from tools.local.work import Work

# The processes that pulumi leaves behind when it is killed, the official ones and ours; `down` ends them. The first
# names pulumi, its language hosts and its plugins, also behind a shell or an interpreter; the others what those start.
LEFT_BEHIND = re.compile(
    r"(^|[/\0])pulumi(-[\w-]+)?\0|pulumi\.dynamic|engine\.(aws_plugin|language_host)|fleetswap_pulumi\.guardian|run_program\.py"
)

GUARDIAN = re.compile(r"fleetswap_pulumi\.guardian")


def environment(
    work: Work,
    base: Mapping[str, str],
    *,
    engine: Path | None,
    profile: str = "deploy",
    region: str = "us-east-1",
) -> dict[str, str]:
    """The environment of pulumi, or with `engine` None that of the local cloud.

    `profile` is whose keys of `work.credentials` are used, if there is such a file.

    Whatever of AWS or Pulumi the user has set is left out, so that this stack can reach neither a real account nor a
    real backend. Plain-HTTP proxies are left out too, because all that is plain HTTP here is on this machine.
    """
    proxies = {"http_proxy", "all_proxy"}
    env = {k: v for k, v in base.items() if not k.startswith(("AWS_", "PULUMI_")) and k.lower() not in proxies}
    path = [str(work.root / ".venv" / "bin"), env.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    env |= {
        "AWS_REGION": region,
        "LOCALCLOUD_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
    }
    if work.credentials.exists():
        env |= {"AWS_SHARED_CREDENTIALS_FILE": str(work.credentials), "AWS_PROFILE": profile}
    else:
        env |= {
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
    if engine is not None:
        path.insert(0, str(engine))
        env |= {
            "PULUMI_HOME": str(work.pulumi_home),
            "PULUMI_BACKEND_URL": work.state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
    return env | {"PATH": os.pathsep.join(path)}


def run(argv: list[str], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run `argv` to its end and return its exit status as a shell would.

    Ctrl-C reaches it from the terminal, and a SIGTERM is handed on; either way we wait, because pulumi first ends the
    operation it is in.
    """
    started: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def hand_on(number: int, _frame: FrameType | None) -> None:
        # The process may run already while we do not hold it yet.
        if not started:
            early.append(number)
        for process in started:
            process.send_signal(number)

    def leave_it_to_the_child(_number: int, _frame: FrameType | None) -> None:
        return

    before = signal.signal(signal.SIGTERM, hand_on), signal.signal(signal.SIGINT, leave_it_to_the_child)
    try:
        started.append(subprocess.Popen(argv, cwd=cwd, env=dict(env)))
        for number in early:
            started[0].send_signal(number)
        status = started[0].wait()
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    return status if status >= 0 else 128 - status


def killed_holders(work: Work) -> list[int]:
    """The pids of the pulumis that hold the stack's lock but run no more, because they were killed.

    Empty if any lock may still be held: by one that runs, by one of another machine, or by one that cannot be read.
    The file backend keeps one file a lock, with its holder in it (pulumi, backend/diy/lock.go).
    """
    found = []
    for file in sorted((work.state / ".pulumi" / "locks").rglob("*.json")):
        try:
            holder = json.loads(file.read_text())
            pid, host = int(holder["pid"]), holder["hostname"]
        except (OSError, ValueError, TypeError, KeyError):
            return []
        if host != socket.gethostname() or _is_pulumi(pid):
            return []
        found.append(pid)
    return found


def _is_pulumi(pid: int) -> bool:
    """Whether a process runs pulumi: the pid may be another's by now. One that we may not look at might."""
    try:
        return b"pulumi" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:
        return True


def running(work: Work, command: re.Pattern[str]) -> list[int]:
    """The processes of this stack with this in their command: they have its backend in their environment."""
    mark = f"PULUMI_BACKEND_URL={work.state.as_uri()}".encode()

    def is_ours(process: Path) -> bool:
        try:
            found = command.search((process / "cmdline").read_bytes().decode(errors="replace"))
            return found is not None and mark in (process / "environ").read_bytes().split(b"\0")
        except OSError:
            return False  # it has ended, or is another user's

    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and is_ours(p)]


def wait_for_guardian(work: Work, *, patience: float = 120.0) -> bool:
    """Wait until the guardian of a rollout that was killed is done.

    False if there is none, it takes too long, or someone is too impatient: it goes on by itself.
    """
    deadline = time.monotonic() + patience
    found = False
    try:
        while running(work, GUARDIAN):
            if time.monotonic() >= deadline:
                return False
            found = True
            time.sleep(0.1)
    except KeyboardInterrupt:
        return False
    return found


def end_left_behind(work: Work, *, patience: float = 10.0) -> None:
    """End the plugins and programs of this stack that outlived a killed pulumi. A repeat changes nothing.

    They are known by their command, and by this stack's backend in their environment.
    """
    for number, until in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        for pid in running(work, LEFT_BEHIND):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + until
        while running(work, LEFT_BEHIND) and time.monotonic() < deadline:
            time.sleep(0.1)
