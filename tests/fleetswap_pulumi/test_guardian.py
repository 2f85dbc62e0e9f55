"""The process beside a rollout: it ends with it, survives the death of the provider, and never holds it up."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fleetswap.domain.rollout import machine
from fleetswap_pulumi import guardian
from fleetswap_pulumi.guardian import Guardian, guarded
from fleetswap_pulumi.guardian_process import watch
from tests.fakes.world import order

ROOT = Path(__file__).resolve().parents[2]
STATE = machine.begin(order("new", "old"), now=0.0, run="run")
PROPS = {"service": "web"}


def frames(*what: object) -> io.BytesIO:
    return io.BytesIO(b"".join(pickle.dumps(one) for one in what))


def pid_of(ours: Guardian) -> int:
    """Its process; 0 if it has none any more."""
    return ours._process.pid if ours._process else 0


def is_alive(pid: int) -> bool:
    """Whether the process runs: not gone, and no zombie."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_it_takes_up_is_the_last_whole_state_of_a_provider_that_said_no_farewell() -> None:
    """It would undo a rollout that ended well, or go on from half of a state."""
    later = machine.begin(order("new", "old"), now=1.0, run="run")
    assert watch(frames(PROPS, STATE, later)) == (PROPS, later)
    cut = frames(PROPS, STATE, later).getvalue()[:-9]
    assert watch(io.BytesIO(cut)) == (PROPS, STATE)
    assert watch(frames(PROPS, STATE, None)) is None
    assert watch(frames(PROPS)) is None
    assert watch(frames()) is None


def test_it_goes_with_the_rollout() -> None:
    """Every deploy would leave a process behind."""
    with guarded(PROPS) as ours:
        ours.keep(STATE)
        pid = pid_of(ours)
        assert os.getsid(pid) == pid, "or the engine's kill of the provider's group would end it, too"
        assert is_alive(pid)
    assert not is_alive(pid)


def test_it_finds_what_the_provider_finds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An AWS_CONFIG_FILE that is relative to the project would leave it without credentials, and users where they are.

    Inside of a project that has the library from a wheel: there the library's folder is no place for anything else.
    """
    monkeypatch.chdir(tmp_path)
    with guarded(PROPS) as ours:
        ours.keep(STATE)
        assert (Path("/proc") / str(pid_of(ours)) / "cwd").resolve() == tmp_path.resolve()


def test_a_guardian_that_dies_or_hangs_does_not_hold_up_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper of an emergency would be one."""
    monkeypatch.setattr(guardian, "SEND_SECONDS", 0.1)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        with guarded(PROPS) as ours:
            pid = pid_of(ours)
            os.kill(pid, number)
            while pid_of(ours):
                ours.keep(STATE)
        assert not is_alive(pid)


def test_no_rollout_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be started, nothing could be deployed."""

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with guarded(PROPS) as ours:
        ours.keep(STATE)


PROVIDER = """
import sys, time
from fleetswap_pulumi.guardian import Guardian
from fleetswap.domain.rollout import machine
from tests.fakes.world import order
ours = Guardian({"service": "web"})
ours.keep(machine.begin(order("new", "old"), now=0.0, run="run"))
print(ours._process.pid, flush=True)
time.sleep(600)
"""


def test_it_outlives_a_provider_that_is_killed_with_its_group_and_ends_by_itself() -> None:
    """The second Ctrl-C would leave the traffic where it is; or a process would be left behind for ever.

    Its inputs are none that a rollout can be made of, so it has nothing to put back.
    """
    with subprocess.Popen(
        [sys.executable, "-c", PROVIDER], cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0
    ) as provider:
        assert provider.stdout is not None
        pid = int(provider.stdout.readline())
        os.kill(pid, signal.SIGSTOP)  # until we have looked
        os.killpg(provider.pid, signal.SIGKILL)
    assert is_alive(pid)
    os.kill(pid, signal.SIGCONT)
    while is_alive(pid):
        time.sleep(0.05)


def test_a_guardian_may_be_dismissed_twice() -> None:
    """An error of the farewell would hide how the rollout ended."""
    ours = Guardian(PROPS)
    ours.dismiss()
    ours.dismiss()
