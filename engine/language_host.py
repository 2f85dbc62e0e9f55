"""Stand-in for `pulumi-language-python`, used only where the official Pulumi distribution is not installed.

A gRPC server of the engine's `LanguageRuntime` protocol. It prints its port as the first line of its output, takes the
engine's address as its last argument, and on `Run` starts the program with the project's own Python. What a program
prints goes straight to the engine, which shows it. It never installs anything and never generates code; those calls
answer with an error that names the remedy.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import IO

import grpc
from google.protobuf import empty_pb2

from engine.sdk_protocol import language_pb2, language_pb2_grpc, plugin_pb2

PROGRAM = Path(__file__).with_name("run_program.py")
# The official host's agreement with a program: it failed, and has already told the user why.
EXIT_BAIL = 32
# The engine allows 400 MiB for a message; gRPC's own default of 4 MiB is too little for large stacks.
MAX_MESSAGE = 400 * 1024 * 1024
# The engine kills a plugin one second after it asked it to stop; the program must be gone before that.
GRACE_SECONDS = 0.5


class UsageError(Exception):
    """The project cannot run as it is; the message is what the user sees."""


def virtualenv_of(info: language_pb2.ProgramInfo) -> Path | None:
    """The virtual environment that Pulumi.yaml names (`runtime.options`), or None where it names none.

    A relative path counts from the directory of Pulumi.yaml, as in the official host. `toolchain: uv` means `.venv`.
    Raises UsageError where the directory is not a virtual environment.
    """
    options = dict(info.options.items())
    named = options.get("virtualenv") or (".venv" if options.get("toolchain") == "uv" else None)
    if not named:
        return None
    venv = Path(info.root_directory, str(named))
    if not (venv / "bin" / "python").exists():
        message = f"the virtual environment {venv}, named in Pulumi.yaml, does not exist: run `make setup`"
        raise UsageError(message)
    return venv


def python_of(venv: Path | None) -> str:
    """The Python that runs the program: the environment's, else `PULUMI_PYTHON_CMD`, else `python3` on PATH."""
    if venv is not None:
        return str(venv / "bin" / "python")
    return os.environ.get("PULUMI_PYTHON_CMD") or "python3"


def site_packages_of(venv: Path | None) -> list[Path]:
    """Where the program's packages are installed."""
    if venv is None:
        return [Path(sysconfig.get_path("purelib"))]
    return sorted(venv.glob("lib/python*/site-packages"))


def required_packages(venv: Path | None) -> list[plugin_pb2.PackageDependency]:
    """The resource plugins that the installed SDKs ask for in their `pulumi-plugin.json`."""
    found = []
    for site in site_packages_of(venv):
        for path in sorted(site.glob("*/pulumi-plugin.json")):
            plugin = json.loads(path.read_text())
            if plugin.get("resource"):
                version = str(plugin.get("version", "")).removeprefix("v")
                found.append(
                    plugin_pb2.PackageDependency(
                        name=plugin["name"],
                        kind="resource",
                        version=f"v{version}" if version else "",
                        server=plugin.get("server", ""),
                    )
                )
    return found


def command_of(request: language_pb2.RunRequest, *, python: str, engine: str) -> list[str]:
    """The argument list that runs the program of `request`."""
    # -P: the directory of run_program.py must not become importable; -u: output is seen when it is written.
    return [
        python,
        "-P",
        "-u",
        str(PROGRAM),
        f"--monitor={request.monitor_address}",
        f"--engine={engine}",
        f"--project={request.project}",
        f"--stack={request.stack}",
        f"--organization={request.organization}",
        f"--root={request.info.root_directory}",
        f"--parallel={request.parallel}",
        f"--dry-run={'true' if request.dryRun else 'false'}",
        "--",
        request.info.entry_point or request.program or ".",
        *request.args,
    ]


def environment_of(request: language_pb2.RunRequest, venv: Path | None) -> dict[str, str]:
    """The program's environment: ours, its configuration, and its virtual environment first on PATH."""
    env = dict(os.environ)
    env["PULUMI_CONFIG"] = json.dumps(dict(request.config))
    env["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
    if venv is not None:
        env.pop("PYTHONHOME", None)
        env["VIRTUAL_ENV"] = str(venv)
        env["PATH"] = f"{venv / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    return env


def response_to(status: int) -> language_pb2.RunResponse:
    """What the engine is told of a program that ended with `status` (negative: ended by that signal)."""
    if status == 0:
        return language_pb2.RunResponse()
    if status == EXIT_BAIL:
        return language_pb2.RunResponse(bail=True)
    if status < 0:
        return language_pb2.RunResponse(error=f"the program was ended by {signal.Signals(-status).name}")
    return language_pb2.RunResponse(error=f"the program exited with status {status}")


class Programs:
    """The running programs; ends them all when the host must stop. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def run(self, command: list[str], *, cwd: str, env: dict[str, str], context: grpc.ServicerContext) -> int:
        """Run `command` to its end and return its status (negative: the signal). A cancelled call ends it."""
        with self._lock:
            if self._stopping:
                return -signal.SIGTERM
            process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL)
            self._running.add(process)
        try:
            # False: the call was cancelled before we came here, and nobody will call back.
            if not context.add_callback(lambda: self._end([process])):
                self._end([process])
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process)

    def stream(
        self, command: list[str], *, cwd: str, env: dict[str, str], context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run `command` to its end and yield what it writes, as it writes it, then its status."""
        with self._lock:
            if self._stopping:
                return
            process = subprocess.Popen(
                command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            self._running.add(process)
        written: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        pipes = {"stdout": process.stdout, "stderr": process.stderr}
        readers = [threading.Thread(target=_read, args=(written, *pipe), daemon=True) for pipe in pipes.items()]
        try:
            if not context.add_callback(lambda: self._end([process])):
                self._end([process])
            for reader in readers:
                reader.start()
            ended = 0
            while ended < len(pipes):
                name, data = written.get()
                ended += not data
                if data:
                    of = language_pb2.RunPluginResponse
                    yield of(stdout=data) if name == "stdout" else of(stderr=data)
            yield language_pb2.RunPluginResponse(exitcode=process.wait())
        finally:
            self._end([process])
            with self._lock:
                self._running.discard(process)

    def stop(self) -> None:
        """End every program and start no other. A repeat changes nothing."""
        with self._lock:
            self._stopping = True
            running = list(self._running)
        self._end(running)

    @staticmethod
    def _end(processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        for process in processes:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _read(written: queue.SimpleQueue[tuple[str, bytes]], name: str, pipe: IO[bytes] | None) -> None:
    """Hand on what is written into a pipe; nothing, at its end."""
    if pipe is None:
        raise ValueError(f"{name} is not a pipe")
    with pipe:
        while data := os.read(pipe.fileno(), 65536):
            written.put((name, data))
    written.put((name, b""))


class Host(language_pb2_grpc.LanguageRuntimeServicer):
    """The calls that policy packs and `up`, `preview`, `refresh`, `destroy`, `import` and `about` make; no others."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._programs = Programs()

    def Handshake(  # noqa: N802 - the protocol's name
        self, request: language_pb2.LanguageHandshakeRequest, context: grpc.ServicerContext
    ) -> language_pb2.LanguageHandshakeResponse:
        """Take the engine's address from an engine that attaches to a running host."""
        del context
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(  # noqa: N802
        self, request: empty_pb2.Empty, context: grpc.ServicerContext
    ) -> plugin_pb2.PluginInfo:
        """Our version is that of the SDK whose protocol we speak."""
        del request, context
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi"))

    def GetRequiredPackages(  # noqa: N802
        self, request: language_pb2.GetRequiredPackagesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """Name the plugins that the program's SDKs need."""
        return language_pb2.GetRequiredPackagesResponse(packages=required_packages(_venv_or_abort(request, context)))

    def GetRequiredPlugins(  # noqa: N802
        self, request: language_pb2.GetRequiredPluginsRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPluginsResponse:
        """Answer the older form of `GetRequiredPackages`."""
        packages = required_packages(_venv_or_abort(request, context))
        plugins = [
            plugin_pb2.PluginDependency(name=p.name, kind=p.kind, version=p.version, server=p.server) for p in packages
        ]
        return language_pb2.GetRequiredPluginsResponse(plugins=plugins)

    def Run(  # noqa: N802
        self, request: language_pb2.RunRequest, context: grpc.ServicerContext
    ) -> language_pb2.RunResponse:
        """Run the program to its end. An error is data here, not a failed call, as the engine expects."""
        if request.attach_debugger:
            return language_pb2.RunResponse(error="the stand-in for the Python language host attaches no debugger")
        try:
            venv = virtualenv_of(request.info)
            python = python_of(venv)
            status = self._programs.run(
                command_of(request, python=python, engine=self._engine),
                cwd=request.pwd,
                env=environment_of(request, venv),
                context=context,
            )
        except UsageError as error:
            return language_pb2.RunResponse(error=str(error))
        except OSError as error:
            return language_pb2.RunResponse(error=f"the program could not be started with {python}: {error}")
        return response_to(status)

    def RunPlugin(  # noqa: N802
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a plugin that is a folder with a `__main__.py`, as a policy pack is, until the engine ends the call."""
        try:
            venv = virtualenv_of(request.info)
        except UsageError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
            raise
        environment = dict(each.partition("=")[::2] for each in request.env)
        command = [python_of(venv), "-u", request.info.program_directory, *request.args]
        yield from self._programs.stream(command, cwd=request.pwd, env=environment, context=context)

    def About(  # noqa: N802
        self, request: language_pb2.AboutRequest, context: grpc.ServicerContext
    ) -> language_pb2.AboutResponse:
        """Name the Python that runs the program, for `pulumi about`."""
        python = python_of(_venv_or_abort(request, context))
        script = "import platform, sys; print(sys.executable); print(platform.python_version())"
        answer = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
        executable, version = answer.stdout.splitlines()
        return language_pb2.AboutResponse(executable=executable, version=version)

    def GetProgramDependencies(  # noqa: N802
        self, request: language_pb2.GetProgramDependenciesRequest, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """List what is installed for the program, for `pulumi about`."""
        sites = [str(site) for site in site_packages_of(_venv_or_abort(request, context))]
        installed = {(d.metadata["Name"], d.version) for d in metadata.distributions(path=sites)}
        dependencies = [language_pb2.DependencyInfo(name=name, version=version) for name, version in sorted(installed)]
        return language_pb2.GetProgramDependenciesResponse(dependencies=dependencies)

    def RuntimeOptionsPrompts(  # noqa: N802
        self, request: language_pb2.RuntimeOptionsRequest, context: grpc.ServicerContext
    ) -> language_pb2.RuntimeOptionsResponse:
        """Ask nothing in `pulumi new`."""
        del request, context
        return language_pb2.RuntimeOptionsResponse()

    def InstallDependencies(  # noqa: N802
        self, request: language_pb2.InstallDependenciesRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Refuse: the environment is made from the lock file by `tools/setup`, and by nothing else."""
        del request
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the Python environment is made by `make setup`: run that")
        yield from ()

    def Cancel(  # noqa: N802
        self, request: empty_pb2.Empty, context: grpc.ServicerContext
    ) -> empty_pb2.Empty:
        """End the running programs."""
        del request, context
        self.stop()
        return empty_pb2.Empty()

    def stop(self) -> None:
        """End the running programs. A repeat changes nothing."""
        self._programs.stop()


def _venv_or_abort(
    request: language_pb2.GetRequiredPackagesRequest
    | language_pb2.GetRequiredPluginsRequest
    | language_pb2.GetProgramDependenciesRequest
    | language_pb2.AboutRequest,
    context: grpc.ServicerContext,
) -> Path | None:
    """The environment of the request's program, or the failed call that says why there is none."""
    try:
        return virtualenv_of(request.info)
    except UsageError as error:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        raise


def main() -> None:
    """Serve until the engine ends us, or is itself gone."""
    ended = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    parent = os.getppid()
    host = Host(sys.argv[-1] if len(sys.argv) > 1 else "")
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=[("grpc.max_receive_message_length", MAX_MESSAGE)])
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    sys.stdout.write(f"{server.add_insecure_port('127.0.0.1:0')}\n")
    sys.stdout.flush()
    server.start()
    # An engine that was killed tells nobody: its child then has another parent.
    while not ended.wait(1.0) and os.getppid() == parent:
        pass
    host.stop()
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
