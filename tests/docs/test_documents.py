"""What the documents say can be done, and where they point to, exists."""

from __future__ import annotations

import datetime
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from engine.aws_plugin import registry

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("nix/**/*.md")])
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """A reader would be sent to a page that is not there."""
    for link in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not link.startswith("https://"):
            assert (path.parent / link).exists(), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_knows_what_the_documents_tell_to_run(path: Path) -> None:
    """A reader would run a command that does not exist."""
    for code in re.findall(r"```\n(.*?)```|`([^`\n]+)`", path.read_text(), flags=re.DOTALL):
        for target in re.findall(r"^make ([a-z-]+)", "\n".join(code), flags=re.MULTILINE):
            assert target in TARGETS, target


def test_ci_runs_the_test_command_that_the_readme_names() -> None:
    """What lands would be judged by other tests than those that a reader is told to run."""
    assert "\nmake test\n" in (ROOT / ".ci/run").read_text()
    assert "| `make test` |" in (ROOT / "README.md").read_text()


def test_the_readme_names_every_verb_of_make_that_a_user_needs() -> None:
    """A verb would exist that nobody knows of."""
    readme = (ROOT / "README.md").read_text()
    for target in TARGETS - {"help", "fmt", "lint", "lock", "mutants", "setup", "setup-python"}:
        assert f"make {target}" in readme, target


def test_stand_ins_say_so_in_their_first_line_and_in_the_readme() -> None:
    """A user could take what stands in for AWS or Pulumi for the real thing."""
    readme = (ROOT / "README.md").read_text()
    for name in ("engine/aws_plugin/__init__.py", "engine/language_host.py"):
        assert "tand-in" in (ROOT / name).read_text().split("\n", 1)[0], name
    for name in ("localcloud/", "engine/aws_plugin/", "engine/language_host.py", "pulumi-resource-pulumi-python"):
        assert name in readme, name


def test_the_reference_names_what_the_stand_in_for_the_aws_plugin_knows() -> None:
    """A reader would write a program for a type that it does not have, or not know that a property is refused."""
    text = (ROOT / "docs/reference/aws-plugin.md").read_text()
    told = dict(re.findall(r"^\| `aws\.(\w+\.\w+)` \|(.*)\|$", text, flags=re.MULTILINE))
    kinds = {re.sub(r"^aws:(\w+)/\w+:", r"\1.", kind.type_name): kind for kind in registry.kinds()}
    assert list(told) == sorted(kinds)
    for name, kind in kinds.items():
        # A rule's and a listener's actions are refused one by one when they are converted.
        assert bool(told[name].strip()) is (set(kind.schema.inputs) != kind.supported), name


def test_each_decision_has_a_number_a_date_a_status_and_its_line_in_the_list() -> None:
    """`Decision 11` would mean two things, could not be found, or be taken for one that still holds."""
    folder = ROOT / "docs/decisions"
    found = []
    paths = sorted(folder.glob("0*.md"))
    assert [int(path.name[:4]) for path in paths] == list(range(1, len(paths) + 1)), "a gap, or two of one number"
    for path in paths:
        number = int(path.name[:4])
        head = re.match(
            rf"# {number}\. (.+)\n\nDate: (2\d{{3}}-\d\d-\d\d)\. Status: (accepted|superseded by decision \d+)\.\n\n",
            path.read_text(),
        )
        assert head, f"{path.name} does not begin as docs/decisions/template.md does"
        title, date, status = head.groups()
        datetime.date.fromisoformat(date)
        found.append(f"| {number} | [{title}]({path.name}) | {date} | {status} |")
    assert re.findall(r"^\| \d+ .*", (folder / "README.md").read_text(), flags=re.MULTILINE) == found


def test_pages_that_the_code_names_exist() -> None:
    """Whoever reads the code would be sent to a page that is not there, or is another now."""
    for folder in ("fleetswap", "fleetswap_pulumi", "components", "infra", "localcloud", "engine", "tools", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"\bdocs/[\w/.-]+\.md\b", path.read_text()):
                assert (ROOT / page).exists(), f"{path}: {page}"


def test_hooks_need_no_network_and_run_what_is_there() -> None:
    """A commit would wait for a download, or be let through because a hook names a file that was moved."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        command, *arguments = hook["entry"].split()
        assert hook["language"] == "system"
        assert (ROOT / command).exists(), command
        if arguments[:1] == ["-m"]:
            assert importlib.util.find_spec(arguments[1]), arguments[1]
        assert [path for path in arguments if path.startswith("tests/") and not (ROOT / path).exists()] == []
        for pattern in re.findall(r"[^()|^]+", hook.get("files", "")):
            assert list(ROOT.glob(re.split(r"[.*\\]", pattern)[0] + "*")), pattern


def test_a_report_of_a_defect_begins_with_what_the_doctor_says() -> None:
    """Every report would begin with three questions about versions, credentials and clocks."""
    assert "`fleetswap doctor" in (ROOT / ".github/ISSUE_TEMPLATE/defect.md").read_text()
