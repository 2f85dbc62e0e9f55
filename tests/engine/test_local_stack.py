"""The verbs of the Makefile on the stack `local`, with scripts for `pulumi` and the local cloud."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tools.local import stack as stack_module
from tools.local.stack import Stack, summary
from tools.local.work import LocalError, Work, lock

Script = Callable[[Path, str], Path]

PULUMI = """
echo "$*" >>"$LOG"
state=${PULUMI_BACKEND_URL#file://}/.pulumi/stacks/fleetswap
case "$*" in
  "stack init"*) mkdir -p "$state" && echo {} >"$state/local.json" ;;
  "stack output --json"*) if [ -e "$state/updated" ]; then cat "$OUTPUTS"; else echo {}; fi ;;
  "up "*) [ "${STATUS:-0}" = 0 ] || exit "$STATUS"; touch "$state/updated" ;;
  *) exit "${STATUS:-0}" ;;
esac
"""
CONFIG = """
config:
  fleetswap:service: web
  fleetswap:endpoint: http://127.0.0.1:4510
  fleetswap:image: {nix: {expression: nix/demo, args: {version: "1"}}}
"""


WITH_SECRETS = f"{CONFIG}  fleetswap:secrets: true\n"

SOPS = """
echo "sops $*" >>"$LOG"
echo "from $AWS_ENDPOINT_URL_KMS: $(sha256sum)"
exit "${SOPS_STATUS:-0}"
"""


class Machine:
    """A project with scripts for what is slow, and a local cloud that can be stopped and started."""

    def __init__(self, root: Path, script: Script) -> None:
        self.work = Work(root=root, folder=root / ".work")
        self.log = root / "log"
        self.outputs = root / "outputs.json"
        self.has_outputs(standby="")
        self.cloud: dict[str, Any] | None = None
        (root / "Pulumi.local.yaml").write_text(CONFIG)
        script(root / "engine/pulumi", PULUMI)
        script(root / "engine/find-or-build", f"echo {root}/engine")
        # `python -m localcloud` takes this one, because it starts in the project's root.
        (root / "localcloud").mkdir()
        (root / "localcloud/__init__.py").touch()
        fake = f"import sys\nopen({str(self.log)!r}, 'a').write('localcloud ' + ' '.join(sys.argv[1:]) + '\\n')\n"
        (root / "localcloud/__main__.py").write_text(fake)

    def stack(self, **given: str) -> Stack:
        """The stack as `make` sees it, with the variables that are given."""
        base = {"PATH": os.environ["PATH"], "LOG": str(self.log), "OUTPUTS": str(self.outputs)}
        return Stack(self.work, base | given)

    def has_outputs(self, **outputs: object) -> None:
        """Let the stack have these outputs, beside those that it always has."""
        always = {"url": "http://here", "live": "web-00000000", "seconds": {"build": 1, "upload": 2, "rollout": {}}}
        self.outputs.write_text(json.dumps(always | outputs))

    def has_fleetswap(self) -> None:
        """Let the command line of Fleetswap say what it is asked."""
        fake = self.work.root / "fleetswap"
        fake.mkdir()
        (fake / "__init__.py").touch()
        (fake / "__main__.py").write_text("import sys\nprint('asked:', *sys.argv[1:])\n")

    def calls(self) -> list[str]:
        """What was called since the last time."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def deployed(self, path: Path | None = None) -> tuple[str, str | None]:
        """Version and release that the last configuration asked for."""
        config = yaml.safe_load((path or self.work.config).read_text())["config"]
        return config["fleetswap:image"]["nix"]["args"]["version"], config.get("fleetswap:release")


@pytest.fixture
def machine(tmp_path: Path, script: Script, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose local cloud answers as pid 1 of that cloud."""
    made = Machine(tmp_path, script)
    made.cloud = {"pid": 1}
    monkeypatch.setattr(stack_module, "cloud_status", lambda _port: made.cloud)
    return made


def test_up_starts_the_cloud_makes_the_stack_and_deploys(machine: Machine) -> None:
    """`make up` would not deploy, or would ask, or would take the committed file for its own."""
    assert machine.stack().up() == 0
    start, init, up, outputs = machine.calls()
    assert start == f"localcloud start --dir {machine.work.cloud} --port 4510"
    assert init.startswith("stack init local")
    assert up.startswith(f"up --yes --skip-preview --config-file {machine.work.config} ")
    assert up.endswith("--stack local")
    assert outputs.startswith("stack output --json")
    assert (machine.work.root / "Pulumi.local.yaml").read_text() == CONFIG


def test_version_sticks_until_another_is_given(machine: Machine) -> None:
    """A plain `make up` after VERSION=2 would silently go back to version 1."""
    machine.stack(VERSION="2").up()
    machine.stack().up()
    assert machine.deployed() == ("2", None)
    machine.stack(VERSION="3").up()
    assert machine.deployed() == ("3", None)


def test_failed_version_does_not_stick(machine: Machine) -> None:
    """A plain `make up` after a broken version would deploy the broken version again."""
    machine.stack(VERSION="2").up()
    assert machine.stack(VERSION="broken", STATUS="7").up() == 7
    assert machine.deployed() == ("broken", None)
    machine.stack().up()
    assert machine.deployed() == ("2", None)


def test_preview_does_not_stick_and_hands_on_the_status(machine: Machine) -> None:
    """Looking at version 3 would deploy it with the next `make up`, or a failed preview would pass."""
    machine.stack(VERSION="2").up()
    assert machine.stack(VERSION="3", STATUS="5").preview() == 5
    assert machine.deployed(machine.work.preview_config) == ("3", None)
    assert machine.deployed() == ("2", None)
    machine.stack().up()
    assert machine.deployed() == ("2", None)


def test_rollback_deploys_the_standby_until_a_version_is_given(machine: Machine) -> None:
    """A rollback would do nothing, or would be undone by the next plain `make up`, or would hold for ever."""
    machine.stack(VERSION="2").up()
    machine.has_outputs(standby="web-11111111")
    machine.calls()
    assert machine.stack().rollback() == 0
    assert machine.deployed() == ("2", "web-11111111")
    assert [call.split()[0] for call in machine.calls()] == ["stack", "up", "stack"]
    machine.stack().up()
    assert machine.deployed() == ("2", "web-11111111")
    machine.stack(VERSION="3").up()
    assert machine.deployed() == ("3", None)


@pytest.mark.parametrize("outputs", [{}, {"standby": None}, {"standby": ""}])
def test_rollback_without_a_standby_is_refused(machine: Machine, outputs: dict[str, str | None]) -> None:
    """A rollback to nothing would deploy the image once more and look as if it had worked."""
    machine.stack().up()
    machine.has_outputs(**outputs)
    machine.calls()
    with pytest.raises(LocalError, match="nothing to roll back to: there is no standby"):
        machine.stack().rollback()
    assert not any(call.startswith("up") for call in machine.calls())


def test_rollback_with_nothing_deployed_is_refused(machine: Machine) -> None:
    """A rollback before the first `make up` would end in an error of pulumi's about a stack."""
    with pytest.raises(LocalError, match="nothing is deployed"):
        machine.stack().rollback()
    assert machine.calls() == []


def test_new_cloud_gets_an_empty_stack(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """After a restart of the local cloud, pulumi would look for resources that are gone and fail in odd ways."""
    machine.stack(VERSION="2").up()
    machine.has_outputs(standby="web-11111111")
    machine.stack().rollback()
    machine.calls()
    machine.cloud = {"pid": 2}
    machine.stack().up()
    assert [call.split()[:2] for call in machine.calls()][1] == ["stack", "init"]
    assert machine.deployed() == ("2", None)
    assert capsys.readouterr().err == "The local cloud is new and its account empty: the stack starts empty too.\n"


def test_cloud_that_runs_on_is_left_alone(machine: Machine) -> None:
    """Each `make up` would empty the stack, or wait for the start of a cloud that runs."""
    machine.stack().up()
    machine.calls()
    machine.stack().up()
    assert [call.split()[0] for call in machine.calls()] == ["up", "stack"]
    with pytest.raises(LocalError, match="the local cloud is running on port 4510: run `make down` first"):
        machine.stack(PORT="5000").up()


MAKE_KEY = ["stack", "stack", "up", "stack"]
"""The stack is made and asked for a key, an update makes that, and the stack is asked again."""


@pytest.fixture
def sealing(machine: Machine, script: Script) -> Machine:
    """The machine with a stack that has secrets."""
    (machine.work.root / "Pulumi.local.yaml").write_text(WITH_SECRETS)
    script(machine.work.root / "engine/sops", SOPS)
    machine.has_outputs(secrets={"key": "arn:key", "context": {"Environment": "fleetswap/local"}})
    return machine


def verbs(machine: Machine) -> list[str]:
    """What was called since the last time."""
    return [call.split()[0] for call in machine.calls()]


def secrets_of(machine: Machine) -> tuple[object, str | None]:
    """The setting, and the image's sealed file, that the last configuration asked for."""
    config = yaml.safe_load(machine.work.config.read_text())["config"]
    return config["fleetswap:secrets"], config["fleetswap:image"]["nix"]["args"].get("secrets")


def test_a_demo_secret_is_sealed_once_before_the_first_deploy(sealing: Machine) -> None:
    """The image would be built before there is a key, each `make up` would rotate the secret, or `ps` would show it."""
    assert sealing.stack().up() == 0
    calls = sealing.calls()
    assert [call.split()[0] for call in calls] == ["localcloud", *MAKE_KEY, "sops", "up", "stack"]
    assert calls[5].startswith("sops encrypt --kms arn:key --encryption-context Environment:fleetswap/local ")
    assert calls[5].endswith(" /dev/stdin")
    sealed = sealing.work.sealed.read_text()
    assert sealed.startswith("from http://127.0.0.1:4510: ")
    file = str(sealing.work.sealed)
    assert secrets_of(sealing) == ({"file": file}, file)
    assert sealing.stack(VERSION="2").up() == 0
    assert verbs(sealing) == ["up", "stack"]
    assert sealing.work.sealed.read_text() == sealed
    assert sealing.stack().down() == 0
    assert not sealing.work.sealed.parent.exists()
    assert sealing.stack().up() == 0
    assert sealing.work.sealed.read_text() != sealed, "every stack has the same secret"


def test_a_new_cloud_gets_a_new_secret(sealing: Machine) -> None:
    """The machines would be given a file that is sealed with a key which is gone, and none would become healthy."""
    sealing.stack().up()
    sealed = sealing.work.sealed.read_text()
    sealing.calls()
    sealing.cloud = {"pid": 2}
    assert sealing.stack().up() == 0
    assert verbs(sealing) == ["localcloud", *MAKE_KEY, "sops", "up", "stack"]
    assert sealing.work.sealed.read_text() != sealed


def test_another_secret_is_sealed_with_the_key_that_there_is(sealing: Machine) -> None:
    """`make up` after `rm` of the sealed file, or after one that was killed, would end in an error of the settings."""
    sealing.stack().up()
    sealed = sealing.work.sealed.read_text()
    sealing.work.sealed.unlink()
    sealing.calls()
    assert sealing.stack().up() == 0
    assert verbs(sealing) == ["stack", "sops", "up", "stack"]
    assert sealing.work.sealed.read_text() != sealed


def test_without_a_key_nothing_is_deployed(sealing: Machine) -> None:
    """A machine would boot without a secret, or a half-written file be taken for a sealed one."""
    assert sealing.stack(STATUS="7").up() == 7
    assert verbs(sealing) == ["localcloud", "stack", "stack", "up"]
    file = str(sealing.work.sealed)
    assert secrets_of(sealing) == ({"file": file}, None), "this update would deploy an image"
    with pytest.raises(LocalError, match="sops could not seal the demo secret with key arn:key"):
        sealing.stack(SOPS_STATUS="1").up()
    assert not sealing.work.sealed.exists()
    sealing.calls()
    assert sealing.stack().up() == 0
    assert verbs(sealing) == ["stack", "sops", "up", "stack"], "the key was made by the first"


def test_a_preview_makes_no_key(sealing: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Looking at a stack would change it, or show an image that cannot be evaluated."""
    assert sealing.stack().preview() == 0
    assert verbs(sealing) == ["localcloud", "stack", "preview"]
    assert capsys.readouterr().err == "Nothing is sealed yet: this is a preview of the image without its secret.\n"
    assert yaml.safe_load(sealing.work.preview_config.read_text())["config"]["fleetswap:secrets"] is True


def test_second_run_at_once_is_refused_and_names_the_first(machine: Machine) -> None:
    """Two updates at once would write over each other's configuration."""
    with lock(machine.work, "up"):
        for verb in ("up", "preview", "rollback", "down"):
            with pytest.raises(LocalError, match=rf"currently locked by `make up` \(pid {os.getpid()}\)"):
                getattr(machine.stack(), verb)()
    assert machine.calls() == []
    assert machine.stack().up() == 0


def locked_by(machine: Machine, pid: int, host: str) -> None:
    """Leave a lock in pulumi's file backend, as one that holds it, or was killed with it, does."""
    folder = machine.work.state / ".pulumi/locks/organization/fleetswap/local"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{pid}.json").write_text(json.dumps({"pid": pid, "username": "root", "hostname": host}))


def test_the_lock_of_a_killed_update_is_taken_away(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """After a crash every `make up` would be refused until the user finds out about `pulumi cancel`."""
    machine.stack().up()
    machine.calls()
    # A pid that is not pulumi's: the machine gave it to another process since.
    locked_by(machine, os.getpid(), socket.gethostname())
    assert machine.stack().up() == 0
    assert machine.calls()[0] == "cancel --yes --non-interactive --stack local"
    assert f"The previous update was killed (pulumi, pid {os.getpid()})" in capsys.readouterr().err


def test_a_lock_that_may_be_held_is_left_to_pulumi(machine: Machine) -> None:
    """Two updates at once would tear at one fleet: one of another machine, or of a pulumi started by hand."""
    machine.stack().up()
    machine.calls()
    command = [sys.executable, "-c", "import time; time.sleep(600)", "pulumi"]
    with subprocess.Popen(command) as running:
        while b"pulumi" not in Path(f"/proc/{running.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        locked_by(machine, running.pid, socket.gethostname())
        machine.stack().up()
        running.kill()
    assert not any(call.startswith("cancel") for call in machine.calls())
    locked_by(machine, running.pid, "another-machine")
    machine.stack().up()
    assert not any(call.startswith("cancel") for call in machine.calls())


def test_down_leaves_only_the_caches(machine: Machine) -> None:
    """`make down` would leave an account, a stack or images behind, or throw the engine away."""
    machine.stack(VERSION="2").up()
    machine.stack().preview()
    for path in ("engine/bin", "pulumi/plugins", "nix", "cloud"):
        (machine.work.folder / path).mkdir(parents=True, exist_ok=True)
    machine.calls()
    assert machine.stack().down() == 0
    assert machine.calls() == [f"localcloud stop --dir {machine.work.cloud}"]
    left = {path.name for path in machine.work.folder.iterdir()}
    assert left == {"engine", "pulumi", "local.lock"}
    assert machine.stack().down() == 0


def test_down_ends_what_a_killed_pulumi_left_and_nothing_else(machine: Machine) -> None:
    """A killed `make up` would leave plugins behind for ever, or `make down` would end another stack's."""
    command = [sys.executable, "-c", "import time; time.sleep(600)", "pulumi.dynamic"]
    ours = subprocess.Popen(command, env={"PULUMI_BACKEND_URL": machine.work.state.as_uri()})
    other = subprocess.Popen(command, env={"PULUMI_BACKEND_URL": "file:///elsewhere"})
    try:
        # The environment is there to be read only after the start of the new program.
        while b"PULUMI" not in Path(f"/proc/{ours.pid}/environ").read_bytes():
            time.sleep(0.01)
        machine.stack().down()
        assert ours.wait() == -signal.SIGTERM
        assert other.poll() is None
    finally:
        ours.kill()
        other.kill()
        ours.wait()
        other.wait()


def test_termination_is_handed_on_to_pulumi(machine: Machine, script: Script) -> None:
    """A stopped `make up` would leave pulumi running, or kill it in the middle of an operation."""
    root = machine.work.root
    # Like pulumi, it ends on its own terms.
    script(root / "engine/slow", 'trap "echo ended; exit 9" TERM; echo started; while :; do sleep 0.05; done')
    code = (
        "import os, sys; from pathlib import Path; from tools.local.process import run; "
        f"sys.exit(run([{str(root / 'engine/slow')!r}], cwd=Path('/'), env=os.environ))"
    )
    runner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "started\n"
        runner.terminate()
        assert runner.stdout.readline() == "ended\n"
    assert runner.returncode == 9


def test_summary_says_what_is_served_and_what_each_phase_took() -> None:
    """A user would have to read a ledger to learn where the fleet answers."""
    outputs = {
        "url": "http://here",
        "live": "web-1",
        "standby": "web-0",
        "seconds": {"build": 1.5, "upload": 2.0, "rollout": {"gate": 9, "settle": 0}},
    }
    assert summary(outputs) == (
        "http://here is served by web-1, standby web-0\n"
        "(its image: build 1.5 s, upload 2 s; the last rollout: gate 9 s)\n"
        "`make rollback` rolls back to web-0\n"
    )


@pytest.mark.parametrize(
    ("terminal", "columns", "lines"), [(True, "200", False), (True, "120", True), (False, "200", True)]
)
def test_pulumi_prints_lines_where_its_table_cannot_be_read(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,  # noqa: FBT001 - a table
    columns: str,
    lines: bool,  # noqa: FBT001
) -> None:
    """At 80 columns the table has no room for its own status, and at 120 for no word about what is waited for."""
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    machine.stack().up()
    (up,) = [call for call in machine.calls() if call.startswith("up ")]
    assert ("--non-interactive" in up) is lines


def test_a_killed_rollout_is_waited_for_until_its_guardian_has_put_it_back(
    machine: Machine, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has pressed Ctrl-C twice would get the prompt back, and not know what serves."""
    machine.stack().up()
    env = {"PATH": os.environ["PATH"], "PULUMI_BACKEND_URL": machine.work.state.as_uri()}
    guardian = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)", "fleetswap_pulumi.guardian"], env=env
    )

    def done_while_waited_for(seconds: float) -> None:
        guardian.terminate()
        time.sleep(seconds)

    waiting = SimpleNamespace(monotonic=time.monotonic, sleep=done_while_waited_for)
    monkeypatch.setattr("tools.local.process.time", waiting)
    machine.has_fleetswap()
    capfd.readouterr()
    assert machine.stack(STATUS="1").up() == 1
    assert guardian.poll() is not None
    guardian.wait()
    said = capfd.readouterr().out
    assert "its guardian restored the traffic" in said
    assert said.endswith("asked: status --service web --endpoint-url http://127.0.0.1:4510\n")
    assert machine.stack(STATUS="1").up() == 1
    assert "guardian" not in capfd.readouterr().out


def test_status_says_where_it_answers_and_asks_aws_for_the_rest(
    machine: Machine, capfd: pytest.CaptureFixture[str]
) -> None:
    """A user would be shown a ledger and the insides of the local cloud, or nothing of what serves."""
    assert machine.stack().status() == 1
    assert "is not running: start it with `make up`" in capfd.readouterr().out
    machine.cloud = {"pid": 1, "instances": [{"state": "running"}, {"state": "terminated"}], "problems": ["no qemu"]}
    machine.stack().up()
    machine.has_outputs(standby="web-11111111")
    machine.has_fleetswap()
    capfd.readouterr()
    assert machine.stack().status() == 0
    said = capfd.readouterr().out.splitlines()
    assert said == [
        "The local cloud is running at http://127.0.0.1:4510 (pid 1), with 1 machine.",
        "  problem: no qemu",
        "",
        "http://here is served by web-00000000, standby web-11111111",
        "`make rollback` rolls back to web-11111111",
        "",
        "asked: status --service web --endpoint-url http://127.0.0.1:4510",
    ]


@pytest.mark.parametrize("verb", ["up", "preview", "rollback"])
def test_a_state_that_a_full_disk_cut_off_is_healed(
    machine: Machine, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every later update would end with "failed to load checkpoint: unexpected end of JSON input"."""
    machine.stack().up()
    machine.has_outputs(standby="web-11111111")
    state = machine.work.stack_state
    state.with_name("local.json.bak").write_text('{"version": 3}')
    state.write_text('{"version": 3, "checkp')
    assert getattr(machine.stack(), verb)() == 0
    assert "is truncated" in capsys.readouterr().err
    assert state.read_text() == '{"version": 3}'
    assert state.with_name("local.json.damaged").read_text() == '{"version": 3, "checkp'
    assert getattr(machine.stack(), verb)() == 0
    assert capsys.readouterr().err == ""


def test_a_state_whose_copy_is_damaged_too_is_told(machine: Machine) -> None:
    """The state would be overwritten with half a copy, or the user be left with pulumi's riddle."""
    machine.stack().up()
    state = machine.work.stack_state
    state.write_text("{")
    state.with_name("local.json.bak").write_text("{")
    with pytest.raises(LocalError, match=r"is damaged \(was the disk full\?\), and so is its backup: run `make down`"):
        machine.stack().up()
    assert state.read_text() == "{"
