"""`fleetswap rollback` through Pulumi, and the one line that it writes, with a stand-in for `pulumi` on PATH."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetswap.cli.project import StackFile, with_release
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.source import FileImage
from fleetswap.domain.release.ledger import Entry, HealthCheck, Image, Ledger, Machine, release_id, to_plain
from tests.cli.conftest import Ran

PULUMI = f"""#!{sys.executable} -SE
# Stand-in for pulumi: it records how it was called and with which settings, and ends as the test says.
import json, pathlib, signal, sys, time
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
verb = " ".join(words[:2]) if words[0] in ("stack", "config") else words[0]
settings = words[words.index("--config-file") + 1] if "--config-file" in words else "Pulumi.prod.yaml"
text = pathlib.Path(settings).read_text()
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([verb, words, text]) + "\\n")
plan = json.loads((here / "plan").read_text())
if verb == "stack --show-name":
    print("prod")
elif verb == "stack output":
    print(json.dumps(plan["outputs"]))
elif verb == "config set" and not plan.get(verb):
    with open(settings, "a") as file:
        file.write(f"  {{words[2]}}: {{words[3]}}\\n")
else:
    print(f"pulumi's own words about {{verb}}", flush=True)
if verb == "up" and plan.get("waits"):
    def interrupted(number, frame):
        print("cancelling", flush=True)
        sys.exit(1)
    signal.signal(signal.SIGINT, interrupted)
    (here / "waiting").touch()
    time.sleep(60)
if plan.get(verb):
    print("error: the backend\\nis down", file=sys.stderr)
sys.exit(plan.get(verb, 0))
"""

SETTINGS = "# The shop.\nconfig:\n  aws:region: us-east-1\n  fleetswap:service: web\n"

Cli = Callable[..., Ran]


def entry(name: str) -> Entry:
    """A release that is what its id says: a ledger with any other is refused as changed by hand."""
    machine = Machine(instance_types=("c7i.large",), on_demand_base=1, on_demand_percent=0)
    health = HealthCheck(port=8080, path="/healthz", codes="200", interval=5, timeout=3, healthy=2, unhealthy=2)
    image = Image(f"sha256:{name}", FileImage(f"{name}.raw"))
    return Entry(release_id("web", image.identity, machine, health), image, machine, health, max_size=8)


A, B, C = (entry(name).release for name in "abc")


class Shop:
    """A project with the stack `prod`, and what `pulumi` was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shop"
        self.programs = folder / "programs"
        for each in (self.folder, self.programs):
            each.mkdir()
        (self.folder / "Pulumi.yaml").write_text("name: fleetswap\nruntime: python\n")
        self.settings = self.folder / "Pulumi.prod.yaml"
        self.settings.write_text(SETTINGS)
        (self.programs / "pulumi").write_text(PULUMI)
        (self.programs / "pulumi").chmod(0o755)
        self.ledger = Ledger(live=B, standby=A, entries=tuple(entry(name) for name in "bac"))
        self.plan()

    def plan(self, ledger: Ledger | None = None, **statuses: Any) -> None:
        """What `pulumi` says and how it ends, by verb."""
        outputs = {"ledger": to_plain(ledger or self.ledger)}
        plan = {"outputs": outputs, **{verb.replace("_", " "): status for verb, status in statuses.items()}}
        (self.programs / "plan").write_text(json.dumps(plan))

    def calls(self) -> list[tuple[str, list[str], str]]:
        """How `pulumi` was called: its verb, all its words, and the settings at that time."""
        path = self.programs / "calls"
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []

    def verbs(self) -> list[str]:
        return [verb for verb, _, _ in self.calls()]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """We are in a folder of the project."""
    shop = Shop(tmp_path)
    inner = shop.folder / "infra"
    inner.mkdir()
    monkeypatch.chdir(inner)
    monkeypatch.setenv("PATH", str(shop.programs))
    return shop


def test_back_to_the_standby(cli: Cli, shop: Shop) -> None:
    """The rollback in one line would roll out something else, or leave settings that want the bad release again."""
    ran = cli("rollback", "--yes")
    assert (ran.status, ran.out) == (0, f"{A} has all the traffic; {B} had it before\n")
    (_, named, _), (_, asked, _), preview, written, up = shop.calls()
    assert named == ["stack", "--show-name", "--non-interactive"]
    assert asked == ["stack", "output", "--json", "--non-interactive", "--stack", "prod"]
    assert preview[0] == "preview"
    assert yaml.safe_load(preview[2])["config"]["fleetswap:release"] == A, "it previews what will be done"
    words = ["config", "set", "fleetswap:release", A, "--non-interactive", "--stack", "prod"]
    assert (written[1], written[2]) == (words, SETTINGS), "the preview changed nothing"
    assert up[1][:4] == ["up", "--yes", "--skip-preview", "--suppress-outputs"]
    assert up[1][-2:] == ["--non-interactive", "--suppress-progress"]
    assert f"fleetswap:release: {A}" in up[2]
    assert ran.err.splitlines() == [
        f"stack prod: rolling back to {A} from {B}",
        "next: commit Pulumi.prod.yaml, and delete that line before you deploy a new image",
    ]


def test_back_to_a_named_release(cli: Cli, shop: Shop) -> None:
    """The standby may be as bad, and a kept image is there; and a script reads JSON."""
    ran = cli("rollback", "-f", "--to", C, "--stack", "acme/prod", "--json")
    assert ran.result == {
        "stack": "acme/prod",
        "release": C,
        "left": B,
        "file": str(shop.settings),
        "done": True,
    }
    assert shop.verbs() == ["stack output", "config set", "up"]
    assert all(words[words.index("--stack") + 1] == "acme/prod" for _, words, _ in shop.calls())


def test_a_rollback_leaves_skipped_regions_out(cli: Cli, shop: Shop) -> None:
    """While a region is down, the rollback of all others would be refused for lack of an option that it cannot take."""
    skipped = "  fleetswap:regions:\n    eu-west-1:\n      skip: true\n    us-west-2:\n      wave: 2\n    eu-north-1:\n"
    shop.settings.write_text(SETTINGS + skipped)
    assert cli("rollback", "--yes").status == 0
    words = {verb: words for verb, words, _ in shop.calls()}
    for verb in ("preview", "up"):
        assert [words[verb][at + 1] for at, each in enumerate(words[verb]) if each == "--exclude"] == [
            "**regions/eu-west-1:Region**"
        ]


def test_a_dry_run_changes_nothing(cli: Cli, shop: Shop) -> None:
    """One would look, and the next deploy of a pipeline would go back."""
    ran = cli("rollback", "--dry-run")
    assert (ran.status, ran.out) == (0, f"{A} would have all the traffic; {B} had it before\n")
    assert shop.verbs() == ["stack --show-name", "stack output", "preview"]
    assert shop.settings.read_text() == SETTINGS
    shop.settings.unlink()
    (shop.folder / "Pulumi.yaml").write_text("name: fleetswap\nruntime: python\nstackConfigDir: stacks\n")
    (shop.folder / "stacks").mkdir()
    (shop.folder / "stacks" / "Pulumi.prod.yaml").write_text("config:\n  fleetswap:service: other\n")
    shop.settings.write_text("")  # the stand-in reads it
    assert cli("rollback", "--dry-run").status == 0
    assert yaml.safe_load(shop.calls()[-1][2])["config"] == {
        "fleetswap:release": A,
        "fleetswap:service": "other",
    }


def test_nothing_is_changed_without_a_yes(cli: Cli, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the preview would be a yes."""
    ran = cli("rollback", "--stack", "prod")
    assert (ran.status, ran.out) == (2, "")
    assert ran.error == "there is no terminal to ask for confirmation: add --yes; nothing was changed"
    assert shop.verbs() == ["stack output"]
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    ran = cli("rollback", "--stack", "prod")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.endswith("[y/N] error: declined: nothing was changed\n")
    assert set(shop.verbs()) == {"stack output", "preview"}
    assert shop.settings.read_text() == SETTINGS
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert cli("rollback", "--stack", "prod").status == 0
    assert shop.verbs()[-2:] == ["config set", "up"]


class Terminal:
    """Stand-in for a person at a terminal, who answers one line."""

    def __init__(self, line: str) -> None:
        self._line = line

    def isatty(self) -> bool:
        return True

    def readline(self, *_: int) -> str:
        return self._line


@pytest.mark.parametrize(
    ("ledger", "arguments", "told"),
    [
        (Ledger(), (), "stack prod has not deployed a release yet: there is nothing to roll back to"),
        (
            Ledger(live=B, entries=(entry("b"), entry("c"))),
            (),
            f"stack prod has no standby to roll back to (retained releases: {C}; name one with --to)",
        ),
        (None, ("--to", "web-z"), f"release 'web-z' is not in the ledger: choose one of its releases ({B}, {A},"),
        (None, ("--to", B), f"release {B} is already live in stack prod: name another with --to"),
    ],
)
def test_nothing_to_go_back_to(
    cli: Cli, shop: Shop, ledger: Ledger | None, arguments: tuple[str, ...], told: str
) -> None:
    """`pulumi up` would run for minutes to say less, with settings that no update can satisfy."""
    shop.plan(ledger)
    ran = cli("rollback", "--yes", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.error.startswith(told)
    assert shop.verbs() == ["stack --show-name", "stack output"]
    assert shop.settings.read_text() == SETTINGS


def test_what_is_missing(cli: Cli, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback would be the answer to a wrong folder, or to a machine without Pulumi."""
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = cli("rollback")
    assert (ran.status, ran.error.startswith("`pulumi` is not on PATH: install it, or roll back without it")) == (
        2,
        True,
    )
    monkeypatch.chdir(tmp_path)
    ran = cli("rollback")
    assert (ran.status, ran.error.startswith("no Pulumi project here")) == (2, True)
    monkeypatch.chdir(shop.folder)
    (shop.folder / "Pulumi.yaml").write_text("runtime: python\n")
    ran = cli("rollback")
    assert (ran.status, ran.error.endswith("Pulumi.yaml does not name a project")) == (2, True)


@pytest.mark.parametrize("verb", ["stack_--show-name", "stack_output", "preview", "config_set"])
def test_a_failure_before_the_update_changes_nothing(cli: Cli, shop: Shop, verb: str) -> None:
    """The settings would want another release than the fleet has, or a script take the failure for a success."""
    shop.plan(None, **{verb: 6})
    ran = cli("rollback", "--yes")
    assert (ran.status, ran.out) == (6, "")
    assert f"`pulumi {verb.replace('_', ' ')}`" in ran.error
    assert shop.settings.read_text() == SETTINGS
    assert "up" not in shop.verbs()
    if verb != "preview":
        assert "the backend is down" in ran.error
    if verb.startswith("stack"):
        assert ran.error.endswith("(to roll back without the state: `fleetswap rollback --now`)")


def test_a_failed_update_keeps_the_setting_and_says_so(cli: Cli, shop: Shop) -> None:
    """The traffic may have moved: with the old settings the next update would take it back to the bad release."""
    shop.plan(up=255)
    ran = cli("rollback", "--yes")
    assert (ran.status, ran.out) == (255, "")
    assert f"Pulumi.prod.yaml now says `fleetswap:release: {A}` and keeps it: run `pulumi up` again" in ran.error
    assert "undo it with `pulumi config rm fleetswap:release` once `fleetswap status` shows" in ran.error
    assert shop.settings.read_text() == f"{SETTINGS}  fleetswap:release: {A}\n"
    ran = cli("rollback", "--yes", "--to", C)
    assert f"undo it with `pulumi config set fleetswap:release {A}` once" in ran.error


def test_a_terminated_rollback_waits_for_pulumi(shop: Shop) -> None:
    """A cancelled CI job would leave pulumi alone, or kill it in the middle of a rollout."""
    shop.plan(waits=True)
    command = [sys.executable, "-m", "fleetswap", "rollback", "--yes", "--skip-preview"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (shop.programs / "waiting").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert "pulumi's own words about up\ncancelling\n" in err, "they are no result"
    told = f"Pulumi.prod.yaml now says `fleetswap:release: {A}` and keeps it"
    assert err.splitlines()[-1] == f"error: terminated by SIGTERM; pulumi up exited with status 1; {told}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "config:\n  fleetswap:release: web-9\n"),
        ("encryptionsalt: x", "encryptionsalt: x\nconfig:\n  fleetswap:release: web-9\n"),
        (SETTINGS, SETTINGS.replace("config:\n", "config:\n  fleetswap:release: web-9\n")),
        (
            "config:\n    # fleetswap:release: web-1\n    a:b: 1\n",
            "config:\n    fleetswap:release: web-9\n    # fleetswap:release: web-1\n    a:b: 1\n",
        ),
        (
            "config:\n  'fleetswap:release': \"web-1\" # why\n  a:b: 1\n",
            "config:\n  fleetswap:release: web-9 # why\n  a:b: 1\n",
        ),
        ("config: # all\r\n  a:b: 1\r\n", "config: # all\r\n  fleetswap:release: web-9\r\n  a:b: 1\r\n"),
        ("config:", "config:\n  fleetswap:release: web-9\n"),
    ],
)
def test_the_line_in_the_settings(before: str, after: str) -> None:
    """A commented file would come back without its comments, or as no YAML."""
    assert with_release(before, "web-9") == after
    assert with_release(after, "web-9") == after
    config = (yaml.safe_load(before) or {}).get("config") or {}
    assert yaml.safe_load(after)["config"] == {**config, "fleetswap:release": "web-9"}


def test_the_committed_settings_can_be_edited(tmp_path: Path) -> None:
    """`--write` would fail on the very files of this project."""
    for name in ("local", "staging", "prod"):
        text = (Path(__file__).resolve().parents[2] / f"Pulumi.{name}.yaml").read_text()
        path = tmp_path / f"Pulumi.{name}.yaml"
        path.write_text(text)
        path.chmod(0o640)
        StackFile("fleetswap", name, path).write_release("web-9")
        added = [line for line in path.read_text().splitlines() if line not in text.splitlines()]
        assert added == ["  fleetswap:release: web-9"]
        assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "text",
    ["config: {a:b: 1}\n", "config:\n  fleetswap:release: >\n    web-1\n", "config: 1\n", "- a\n", "config: [\n"],
)
def test_settings_that_cannot_be_edited_stay(tmp_path: Path, text: str) -> None:
    """Half-understood YAML would be made worse; the file is the user's."""
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"Pulumi\.prod\.yaml"):
        StackFile("fleetswap", "prod", path).write_release("web-9")
    assert path.read_text() == text


def test_settings_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk would end in a traceback, or with half a file."""
    path = tmp_path / "Pulumi.prod.yaml"
    path.write_text(SETTINGS)

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        StackFile("fleetswap", "prod", path).write_release("web-9")
    assert path.read_text() == SETTINGS
    assert [each.name for each in tmp_path.iterdir() if each.name != "home"] == ["Pulumi.prod.yaml"]
