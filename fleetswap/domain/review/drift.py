"""Writes the issue of a drift check: what the next update would change although nobody has asked for a change.

It is made of previews of what the main branch says, with a refresh: they find what somebody has changed in AWS, and
what main says and nobody has deployed. A preview that fails may hide either, so it counts as drift. No time is in the
text: the issue is only written again when what it says has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetswap.domain.review.comment import (
    ROOM,
    code,
    counts,
    fitted,
    listed,
    messages,
    named_in_comment,
    resources,
    warnings,
    whole,
)
from fleetswap.domain.review.preview import Preview
from fleetswap.domain.text import counted

TITLE = 255
"""Characters that the title of an issue may have on GitLab ("title is too long (maximum is 255 characters)"); GitHub
takes one more."""


@dataclass(frozen=True)
class Report:
    """The issue. `differs` says whether there has to be one; `marker` is the first line of `body`."""

    marker: str
    title: str
    body: str
    differs: bool


def report(previews: Sequence[Preview]) -> Report:
    """What the previews say together; `body` has fewer characters than a comment may have."""
    projects = sorted({each.stack.partition("/")[0] for each in previews if each.stack})
    marker = f"<!-- fleetswap drift: {named_in_comment(projects)} -->"
    apart = [each for each in previews if differs(each)]
    same = sorted(code(each.stack) for each in previews if not differs(each))
    names = sorted(code(each.stack).strip("`") for each in apart)
    title = f"Drift: {listed(names)}" if names else "No drift"
    if len(title) > TITLE:
        title = f"Drift: {counted(len(names), 'stack')}"
    room = ROOM // max(1, len(apart))
    sections = [
        marker,
        "What is deployed differs from what the main branch says. The next update would change what is listed here. If"
        " it is a change of main that waits for its deploy, deploy it; if somebody has changed AWS, undo that, or write"
        " it into the settings.",
        *(_stack(each, room) for each in apart),
        *([f"No drift: {listed(same)}."] if same else []),
    ]
    return Report(marker, title, whole(sections), bool(apart))


def differs(preview: Preview) -> bool:
    """Whether an update would change something, or nobody knows."""
    return preview.failed or bool(preview.resources)


def _stack(preview: Preview, room: int) -> str:
    what = "the preview failed, so this is not known" if preview.failed else counts(preview.resources)
    required = [f"### {code(preview.stack)}: {what}", *warnings(preview, room // 2)]
    return fitted(
        required,
        [resources(preview), messages(preview)],
        room,
        lambda _: "… a list is too long for an issue, see the preview.",
    )
