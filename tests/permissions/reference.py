"""The tables of docs/reference/permissions.md, out of the settings in Pulumi.prod.yaml; run, it writes them there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fleetswap.cli.project import find
from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.statement import Statement
from fleetswap_pulumi.permissions import scope_of, settings_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reference/permissions.md"

HEAD = "| statement | what it is for | actions |\n| --- | --- | --- |\n"


def tables() -> dict[str, str]:
    """The table of each purpose."""
    project = find(ROOT)
    assert project is not None
    file = project.stack("prod")
    assert file is not None
    scope = scope_of(settings_of(file.config()), stack=file.tag, account="111122223333", key=None)
    return {
        purpose.value: HEAD + "".join(_rows(one for policy in policies(scope, purpose) for one in policy.statements))
        for purpose in (Purpose.DEPLOY, Purpose.PREVIEW, Purpose.ROLLBACK, Purpose.DRILL, Purpose.DOCTOR)
    }


def _rows(statements: Iterator[Statement]) -> Iterator[str]:
    for one in statements:
        actions = ", ".join(f"`{action}`" for action in one.actions)
        yield f"| {one.sid} | {one.reason} | {actions} |\n"


def written(page: str) -> str:
    """The page with its tables as they should be: each is between two comments."""
    for name, table in tables().items():
        start = f"<!-- {name} -->\n\n"
        before, rest = page.split(start)
        _, end, after = rest.partition("<!-- end -->")
        page = f"{before}{start}{table}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
