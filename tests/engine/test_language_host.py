"""The stand-in for the Python language host, asked over its protocol, with a script for the program's Python."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2

from engine.sdk_protocol import language_pb2, language_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
Script = Callable[[Path, str], Path]


class Host:
    """A running host with a project whose Python is a script."""

    def __init__(self, tmp: Path, script: Script) -> None:
        self.project = tmp
        self._script = script
        (tmp / "infra").mkdir()
        launcher = ROOT / "engine/bin/pulumi-language-python"
        self.process = subprocess.Popen([launcher, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub = language_pb2_grpc.LanguageRuntimeStub(self._channel)

    def python(self, body: str) -> None:
        """Make `body` the project's Python."""
        self._script(self.project / ".venv/bin/python", body)

    def info(self) -> language_pb2.ProgramInfo:
        """The program as the engine describes it with `main: infra`."""
        info = language_pb2.ProgramInfo(
            root_directory=str(self.project), program_directory=str(self.project / "infra"), entry_point="."
        )
        info.options.update({"virtualenv": ".venv"})
        return info

    def request(self) -> language_pb2.RunRequest:
        """A request to run the program."""
        return language_pb2.RunRequest(
            project="p",
            stack="s",
            organization="o",
            pwd=str(self.project / "infra"),
            info=self.info(),
            args=["--flag", "x"],
            config={"p:k": "v"},
            configSecretKeys=["p:k"],
            dryRun=True,
            parallel=7,
            monitor_address="127.0.0.1:2",
        )

    def close(self) -> None:
        """End the host."""
        self._channel.close()
        self.process.terminate()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def host(tmp_path: Path, script: Script) -> Iterator[Host]:
    """A running host."""
    running = Host(tmp_path, script)
    yield running
    running.close()


def wait_for(path: Path) -> str:
    """The text of `path` as soon as it has a whole line."""
    while not path.exists() or not path.read_text().endswith("\n"):
        time.sleep(0.02)
    return path.read_text()


def is_alive(pid: int) -> bool:
    """Whether a process runs, zombies not counted."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may end while it is read
        return False


def test_program_gets_all_that_the_engine_says(host: Host) -> None:
    """A program would read another stack's configuration, or take an update for a preview."""
    host.python('printf "%s\\n" "$PWD" "$PULUMI_CONFIG" "$PULUMI_CONFIG_SECRET_KEYS" "$VIRTUAL_ENV" "$@" >"$PWD/got"')
    answer = host.stub.Run(host.request())
    assert (answer.error, answer.bail) == ("", False)
    cwd, config, secrets, venv, *argv = (host.project / "infra/got").read_text().splitlines()
    assert cwd == str(host.project / "infra")
    assert json.loads(config) == {"p:k": "v"}
    assert json.loads(secrets) == ["p:k"]
    assert venv == str(host.project / ".venv")
    assert argv[3:] == [
        "--monitor=127.0.0.1:2",
        "--engine=127.0.0.1:1",
        "--project=p",
        "--stack=s",
        "--organization=o",
        f"--root={host.project}",
        "--parallel=7",
        "--dry-run=true",
        "--",
        ".",
        "--flag",
        "x",
    ]


@pytest.mark.parametrize(
    ("body", "error", "bail"),
    [
        ("exit 32", "", True),
        ("exit 3", "the program exited with status 3", False),
        ("kill -KILL $$", "the program was ended by SIGKILL", False),
    ],
)
def test_failed_program_is_told_apart(host: Host, body: str, error: str, bail: bool) -> None:  # noqa: FBT001
    """A failed program would count as a deploy that worked, or its error would be told twice."""
    host.python(body)
    answer = host.stub.Run(host.request())
    assert (answer.error, answer.bail) == (error, bail)


def test_missing_environment_is_told_with_its_remedy(host: Host) -> None:
    """A user without the environment would see a stack trace of the host."""
    answer = host.stub.Run(host.request())
    assert "does not exist: run `make setup`" in answer.error
    with pytest.raises(grpc.RpcError, match="run `make setup`"):
        host.stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=host.info()))


def test_plugins_of_the_installed_sdks_are_named(host: Host) -> None:
    """The engine would ask for the AWS plugin of another version, or for plugins in the middle of an update."""
    host.python("exit 0")
    sdk = host.project / ".venv/lib/python3.11/site-packages/pulumi_aws"
    sdk.mkdir(parents=True)
    (sdk / "pulumi-plugin.json").write_text('{"resource": true, "name": "aws", "version": "7.51.1"}')
    answer = host.stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=host.info()))
    assert [(p.kind, p.name, p.version) for p in answer.packages] == [("resource", "aws", "v7.51.1")]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "Cancel", "cancelled call"])
def test_end_of_the_host_ends_the_program(host: Host, how: str) -> None:
    """A stopped `pulumi up` would leave its program running."""
    host.python('echo $$ >"$PWD/pid"; exec sleep 600')
    call = host.stub.Run.future(host.request())
    pid = int(wait_for(host.project / "infra/pid"))
    if how == "Cancel":
        host.stub.Cancel(empty_pb2.Empty())
    elif how == "cancelled call":
        call.cancel()
    else:
        host.process.send_signal(signal.Signals[how])
    # The test's own time limit ends a wait that never comes true.
    while is_alive(pid):
        time.sleep(0.02)


def test_host_ends_with_a_killed_engine(tmp_path: Path) -> None:
    """A killed engine would leave a language host behind for ever."""
    launcher = ROOT / "engine/bin/pulumi-language-python"
    engine = subprocess.Popen(
        ["/bin/sh", "-c", f'"{launcher}" 127.0.0.1:1 >"{tmp_path}/port" & echo $! >"{tmp_path}/pid"; wait']
    )
    pid = int(wait_for(tmp_path / "pid"))
    wait_for(tmp_path / "port")
    engine.kill()
    engine.wait()
    while is_alive(pid):
        time.sleep(0.05)


def test_sdk_protocol_leaves_the_sdk_importable() -> None:
    """Code that imports the protocol first would find an empty `pulumi`."""
    code = "import engine.sdk_protocol, pulumi; assert pulumi.export and pulumi.runtime.Settings"
    python = ROOT / ".venv/bin/python"
    subprocess.run([python, "-c", code], cwd=ROOT, check=True)


def test_program_output_is_seen(host: Host) -> None:
    """What a program prints would be lost."""
    host.python("echo hello from the program")
    host.stub.Run(host.request())
    assert host.process.stdout is not None
    assert host.process.stdout.readline() == "hello from the program\n"
