"""`fleetswap doctor`: looks at what Fleetswap needs on this computer and in AWS, and says what is missing.

It changes nothing. Each check stands alone: what fails in one says nothing about the others, and none ends the command.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from fleetswap.aws.answers import answered_at
from fleetswap.aws.caller import admitted
from fleetswap.aws.errors import NO_CREDENTIALS, explained
from fleetswap.aws.session import Cloud
from fleetswap.cli import locate, options, project
from fleetswap.cli.connect import configured, region_of
from fleetswap.cli.display import print_json, print_result
from fleetswap.cli.doctor_account import permissions, room
from fleetswap.cli.project import StackFile
from fleetswap.cli.way import Way, of_settings, settings_of
from fleetswap.domain.boot.machine import PROGRAMS
from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.errors import CloudError, FleetswapError
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.text import counted, duration, one_line
from fleetswap.nix.process import version as nix_version
from fleetswap.qemu import programs as qemu
from fleetswap.sops import program as sops

if TYPE_CHECKING:
    from fleetswap_pulumi.settings import Settings

SECONDS = 30
"""A tool that takes longer to say its version hangs."""

ATTEMPTS = 2
"""Whether AWS answers is what is asked: the many attempts of other commands would only make the person wait."""

T = TypeVar("T")

SKEW_WARNING, SKEW_LIMIT = 30.0, 300.0
"""Seconds that a clock may be wrong: AWS refuses requests that were signed more than 5 minutes away (IAM user guide,
"Signature Version 4")."""


def doctor(
    *,
    stack: locate.Stack = None,
    region: locate.Region = None,
    profile: locate.Profile = None,
    endpoint_url: locate.EndpointUrl = None,
    as_json: options.Json = False,
) -> None:
    """Check what Fleetswap needs: tools and their versions, settings, credentials, clock, region and endpoint.

    Run it in the project folder to have the stack's settings checked too, and whether permissions and quotas suffice
    for a deploy. It changes nothing, and skips what it may not ask. The exit status is 1 if a check has failed;
    warnings do not count.
    """
    found = list(_all(stack, region, endpoint_url, profile))
    failed = [each for each in found if each.state is State.FAILED]
    if as_json:
        print_json({"healthy": not failed, "checks": [asdict(each) for each in found]})
    else:
        print_result("\n".join(map(str, found)))
    if failed:
        raise FleetswapError(f"{counted(len(failed), 'check')} failed: {', '.join(each.check for each in failed)}")


def _all(stack: str | None, region: str | None, endpoint: str | None, profile: str | None) -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("fleetswap", State.OK, f"{installed('fleetswap')}, Python {python}")
    yield from _pulumi()
    here: StackFile | None = None
    settings: Settings | None = None
    try:
        here = settings_of(project.find(project.here()), None, stack)
    except FleetswapError as error:
        yield Finding("settings", State.FAILED, str(error))
    else:
        read, settings = _settings(here, stack)
        yield read
    yield from _tools(settings)
    try:
        with configured():
            way = of_settings(here, region, endpoint, profile)
            cloud = Cloud(region_of(way), way.endpoint, way.access)
    except FleetswapError as error:
        yield Finding("region", State.FAILED, str(error))
        return
    yield from _aws(cloud, way, settings, here.tag if here is not None else "")


# Pulumi


def _pulumi() -> Iterator[Finding]:
    program = shutil.which("pulumi")
    if program is None:
        yield Finding("pulumi", State.FAILED, "not on PATH", "install it (pulumi.com/docs/install)")
        return
    sdk = installed("pulumi")
    engine = _says([program, "version"])
    if _number(engine) < _number(sdk):
        what = f"{engine or 'no version'}, older than its Python SDK, {sdk}"
        yield Finding("pulumi", State.WARNING, what, f"install {sdk} or newer")
    else:
        yield Finding("pulumi", State.OK, engine)
    host = "pulumi-language-python"
    if shutil.which(host) or (Path(program).resolve().parent / host).is_file():
        yield Finding("python host", State.OK, host)
    else:
        yield Finding("python host", State.FAILED, f"{host} is not on PATH", "install Pulumi with all its programs")
    yield _aws_plugin(program)


def _aws_plugin(program: str) -> Finding:
    name, wanted = "aws plugin", installed("pulumi-aws")
    on_path = shutil.which("pulumi-resource-aws")
    if on_path:
        return Finding(name, State.OK, f"{on_path}, which goes before an installed one")
    try:
        found = json.loads(_says([program, "plugin", "ls", "--json"]) or "[]")
        versions = [str(each.get("version")) for each in found if each["name"] == "aws" and each["kind"] == "resource"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Finding(name, State.WARNING, "`pulumi plugin ls --json` does not list the plugins")
    if wanted in versions:
        return Finding(name, State.OK, wanted)
    return Finding(name, State.WARNING, f"{wanted} is not installed", "the next preview installs it, from the internet")


# This computer


def _settings(here: StackFile | None, stack: str | None) -> tuple[Finding, Settings | None]:
    name = "settings"
    if here is None:
        why = f"there are no settings of stack {stack} here" if stack else "no stack is named, or no project is here"
        return Finding(name, State.WARNING, why, "run this in the project folder, with --stack"), None
    # Here and not above: the models of the settings are the library's for Pulumi programs, and take a second to load.
    from fleetswap_pulumi.permissions import settings_of as parsed  # noqa: PLC0415

    try:
        found = parsed(here.config())
    except FleetswapError as error:
        return Finding(name, State.FAILED, one_line(error)), None
    return Finding(name, State.OK, here.path.name), found


def _tools(settings: Settings | None) -> Iterator[Finding]:
    """What the settings need; without settings, what is missing may not be needed."""
    missing = State.WARNING if settings is None else State.FAILED
    if settings is None or not isinstance(settings.image.source, FileImage):
        yield _tool("nix", lambda: nix_version("nix"), missing)
    if settings is None or settings.secrets is not None:
        yield _tool("sops", sops.find, missing)
    if settings is not None and settings.image.boot_test is not None:
        program = PROGRAMS["x86_64" if settings.image.ami is None else settings.image.ami.architecture or "x86_64"]
        found = shutil.which(program)
        if found is None:
            yield Finding("qemu", State.FAILED, f"{program} is not on PATH", qemu.HOW_TO_GET)
        else:
            yield Finding("qemu", State.OK, found)


def _tool(name: str, ask: Callable[[], str], missing: State) -> Finding:
    try:
        return Finding(name, State.OK, ask())
    except FleetswapError as error:
        return Finding(name, missing, str(error))


# AWS


def _aws(cloud: Cloud, way: Way, settings: Settings | None, stack: str) -> Iterator[Finding]:
    where = f"{cloud.region}{f' at {way.endpoint}' if way.endpoint else ''}"
    try:
        with configured():
            credentials = _within(SECONDS, cloud.credentials())
    except FleetswapError as error:
        yield Finding("credentials", State.FAILED, str(error))
        credentials = None
    else:
        if credentials is None:
            yield Finding("credentials", State.FAILED, NO_CREDENTIALS)
    if credentials is None:
        yield Finding("region", State.SKIPPED, where)
        return
    try:
        with explained("sts:GetCallerIdentity", cloud.region):
            answer: Any = cloud.sts(ATTEMPTS).get_caller_identity()
        now = datetime.now(UTC)
    except FleetswapError as error:
        yield Finding("region", State.FAILED, str(error))
        refused = error.__cause__
        if isinstance(refused, ClientError):  # for its clock, perhaps: AWS refuses before it answers
            wrong = abs((datetime.now(UTC) - answered_at(refused.response)).total_seconds())
            yield _clock(wrong)
        return
    yield Finding("region", State.OK, where)
    yield Finding("credentials", State.OK, f"{answer['Arn']}, from {credentials.method}")
    try:
        admitted(cloud)
    except FleetswapError as error:
        yield Finding("account", State.FAILED, str(error))
        settings = None  # what is allowed in another account says nothing
    else:
        yield Finding("account", State.OK, answer["Account"])
    yield _clock(abs((now - answered_at(answer)).total_seconds()))
    if settings is not None:
        yield from _account(cloud, settings.elsewhere.get(cloud.region, settings), stack, answer["Account"])


def _account(cloud: Cloud, settings: Settings, stack: str, account: str) -> Iterator[Finding]:
    from fleetswap_pulumi.permissions import scope_of  # noqa: PLC0415 (as above)

    yield permissions(cloud, scope_of(settings, stack=stack, account=account, key=None))
    yield from room(cloud, settings)


def _clock(wrong: float) -> Finding:
    if wrong < SKEW_WARNING:
        return Finding("clock", State.OK, "as AWS's")
    state = State.WARNING if wrong < SKEW_LIMIT else State.FAILED
    return Finding("clock", state, f"{duration(wrong)} away from AWS's", "set it, for example with NTP")


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns or raises. A `credential_process`, for which botocore waits for ever, becomes an error."""
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:  # noqa: BLE001 - raised below, on the thread that asked
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise CloudError(
            f"the AWS credentials have not come after {seconds:.0f} s: check where the profile takes them from"
        )
    return found[0]


def _says(command: list[str]) -> str:
    """What a tool prints; nothing if it cannot be run."""
    # Into a file: whoever reads a pipe waits for all that a tool has started, also after it was killed.
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        said.seek(0)
        return said.read().decode("utf-8", "replace").strip()


def _number(text: str) -> tuple[int, ...]:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(map(int, found[0].split("."))) if found else ()
