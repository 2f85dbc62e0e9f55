"""Writes the comment of a pull request: what changes for users, what the rollout will do, how to roll back.

Warnings come first. Whatever the preview holds, the comment is shorter than GitHub's limit: the longest lists are cut,
and say by how much. Names and messages come from outside, so they stand in code, where they are neither markup nor
mentions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby

from fleetswap.domain.review import drill
from fleetswap.domain.review.drill import Proof
from fleetswap.domain.review.preview import Change, Image, Preview, Resource, Severity, Swap
from fleetswap.domain.rollout.moments import Moment, Otherwise, Pause, due
from fleetswap.domain.rollout.notices import seconds_back
from fleetswap.domain.rollout.state import Phase
from fleetswap.domain.rollout.strategy import ALL
from fleetswap.domain.text import counted, duration, one_line, paragraph

LIMIT = 65_536
"""Characters of a comment that GitHub takes ("Body is too long (maximum is 65536 characters)"); GitLab takes more."""

ROOM = 60_000
"""What the sections may have together; the rest is for the words around them."""

LINE = 500
"""Characters of a line from outside. A longer one is cut."""

LISTED = 200
"""Lines of a list. GitHub folds none of them, and a reviewer reads fewer."""

SIGNS = {Change.CREATE: "+", Change.UPDATE: "~", Change.REPLACE: "+-", Change.DELETE: "-"}
"""As Pulumi shows them."""

CARRIES_TRAFFIC = (
    "aws:autoscaling/group:Group",
    "aws:lb/listener:Listener",
    "aws:lb/loadBalancer:LoadBalancer",
    "aws:lb/targetGroup:TargetGroup",
)
"""What serves users: replacing one, or deleting one that is in use, is an outage."""

WHEN = {
    Moment.BEFORE_TRAFFIC: "before any traffic",
    Moment.AFTER_STEP: "after each step",
    Moment.BEFORE_BAKE: "once it has all the traffic",
    Moment.END: "at the end",
}
"""When a hook runs, as a reviewer reads it."""


def marker(stacks: Iterable[str]) -> str:
    """The first line, by which a later run finds the comment of these stacks to update it."""
    return f"<!-- fleetswap comment: {named_in_comment(stacks)} -->"


def named_in_comment(names: Iterable[str]) -> str:
    """Names in an order of their own, as they may stand in a comment of HTML, which two hyphens would end."""
    return ", ".join(sorted(re.sub(r"[^ -~]|--", "?", each) for each in names))


def comment(previews: Sequence[Preview], proofs: Sequence[Proof] = ()) -> str:
    """The comment for previews of some stacks, as Markdown; at most `LIMIT` characters. `proofs` are drills of them."""
    first = marker(each.stack for each in previews)
    room = ROOM // max(1, len(previews))
    return whole([first, *(_stack(each, room, proofs) for each in previews)])


def whole(sections: Iterable[str]) -> str:
    """The sections as one text of fewer than `LIMIT` characters."""
    text = "\n\n".join(sections)
    return f"{text}\n" if len(text) < LIMIT else f"{text[: LIMIT - 100]}\n\n… cut: the preview has the rest.\n"


def fitted(required: Sequence[str], optional: Iterable[str], room: int, instead: Callable[[str], str]) -> str:
    """The required sections, and of the others those that fit into so many characters; `instead` is for one that does
    not.
    """
    kept, left = list(required), room - sum(map(len, required))
    for section in optional:
        if section and len(section) <= left:
            kept.append(section)
            left -= len(section)
        elif section:
            kept.append(instead(section))
    return "\n\n".join(kept)


def _stack(preview: Preview, room: int, proofs: Sequence[Proof]) -> str:
    swaps = _alike(preview)
    required = [
        f"### {code(preview.stack)}: {_summary(preview, swaps)}",
        *warnings(preview, room // 2),
        *(_rollout(swap, where) for swap, where in swaps),
        *(_rollback(swap, where, preview, proofs) for swap, where in swaps),
    ]
    optional = [*(_packages(each) for each in preview.images), messages(preview), resources(preview)]
    return fitted(required, optional, room, _too_long)


def _too_long(section: str) -> str:
    return f"… {section.splitlines()[0].strip('#* ')}: too long for a comment, see the preview."


def _summary(preview: Preview, swaps: Sequence[tuple[Swap, str]]) -> str:
    """What changes for users, in one sentence."""
    if preview.failed:
        return "the preview failed, so nothing can be deployed."
    if not swaps:
        if not preview.resources:
            return "nothing changes."
        return f"users notice nothing: the traffic stays where it is ({counts(preview.resources)})."
    return "; ".join(_sentence(swap, where) for swap, where in swaps) + "."


def _alike(preview: Preview) -> list[tuple[Swap, str]]:
    """The swaps, those of several Regions that are alike as one; and in which Regions, if there are several."""
    regions: dict[Swap, list[str]] = {}
    for each in preview.swaps:
        same = next((known for known in regions if _anywhere(known) == _anywhere(each)), each)
        regions.setdefault(same, []).append(code(each.region))
    several = len(preview.swaps) > 1
    return [(swap, f" in {listed(where)}" if several else "") for swap, where in regions.items()]


def _anywhere(swap: Swap) -> Swap:
    return replace(swap, region="", image="", phases=(), moves=1)


def _sentence(swap: Swap, where: str) -> str:
    if not swap.before:
        return f"{code(swap.after)} will be the first release of {code(swap.service)}{where}"
    weights = [f"{each.weight} %" for each in swap.steps if each.weight < ALL]
    how = f"at {listed(weights)} first" if weights else "all at once"
    if swap.trusted:
        return f"users go back from {code(swap.before)} to {code(swap.after)}, which was live before{where}, {how}"
    return f"users move from {code(swap.before)} to {code(swap.after)}{where}, {how}"


def warnings(preview: Preview, room: int = ROOM // 2) -> list[str]:
    """Errors and warnings of a preview, a paragraph each; first what would interrupt the traffic. Those that have no
    room are counted.
    """
    broken = [
        f"{code(_named(each))} is {'replaced' if each.change is Change.REPLACE else 'deleted'}, although it has the"
        " traffic, or is what a rollback goes to"
        for each in preview.resources
        if each.change in {Change.REPLACE, Change.DELETE} and _is_in_use(each, preview)
    ]
    said = [
        *((":x:", text) for text in preview.said(Severity.ERROR)),
        *((":warning:", text) for text in preview.said(Severity.WARNING)),
    ]
    lines = [f":warning: {each}." for each in broken]
    lines += [f"{sign} {_verbatim(text, room // 2)}" for sign, text in said]
    # What the rollout does, and other stacks, must not be pushed out by what was said a thousand times.
    ends = list(accumulate(map(len, lines)))
    kept = lines[: sum(end <= room for end in ends)]
    more = len(lines) - len(kept)
    return [*kept, *([f":warning: … and {more} more: see the preview"] if more else [])]


def _is_in_use(resource: Resource, preview: Preview) -> bool:
    """Whether it is what serves, or what would serve again, before this update has moved anything."""
    if resource.kind not in CARRIES_TRAFFIC:
        return False
    if resource.change is Change.REPLACE:
        return True
    return any(resource.name == swap.before for swap in preview.swaps) or not resource.parents


def _rollout(swap: Swap, where: str) -> str:
    rows = []
    ready = sum(spent for phase, spent in swap.phases if phase in {Phase.LOOK, Phase.SCALE, Phase.GATE, Phase.PROBE})
    took = f"about {duration(ready)}, as last time; " if ready else ""
    rows.append(("start the machines, wait until they are healthy", "", f"{took}at most {duration(swap.deadline)}"))
    former = 0
    for step in swap.steps:
        pause = due(swap.pauses, former, step.weight)
        if pause is not None:
            rows.append(_pause(pause))
        former = step.weight
        need = f", and at least {counted(step.min_requests, 'request')}" if step.min_requests else ""
        held = f"{duration(step.hold)}{need}" if step.is_watched else f"{duration(swap.convergence)} to converge"
        what = "all the traffic" if step.weight == ALL else "part of the traffic"
        rows.append((what, f"{step.weight} %", held))
    total = ready + sum(max(step.hold, swap.convergence) for step in swap.steps)
    time = f"about {duration(total)}" if ready else f"{duration(total)} from when the machines are healthy"
    watched = any(step.is_watched for step in swap.steps)
    late = f"; late metrics may add up to {duration(swap.data_deadline)} to each watched step" if watched else ""
    return "\n".join(
        [
            f"**Rollout{where}**: {time}{_waits(swap)}{late}",
            "",
            "| what | weight | how long |",
            "| --- | ---: | --- |",
            *(f"| {' | '.join(row)} |" for row in rows),
            *_hooks(swap),
        ]
    )


def _pause(pause: Pause) -> tuple[str, str, str]:
    then = "aborts" if pause.otherwise is Otherwise.ABORT else "continues"
    what = f"pause {pause.before}: `fleetswap continue` or `fleetswap abort`"
    return what, "", f"at most {duration(pause.deadline)}, then it {then}"


def _waits(swap: Swap) -> str:
    """How much longer people and hooks may take, in words."""
    pauses = sum(each.deadline for each in swap.pauses)
    hooks = sum(each.timeout * (len(swap.steps) if each.at is Moment.AFTER_STEP else 1) for each in swap.hooks)
    waits = []
    if pauses:
        waits.append(f"up to {duration(pauses)} in {counted(len(swap.pauses), 'pause')}")
    if hooks:
        waits.append(f"up to {duration(hooks)} in hooks")
    return f", plus {listed(waits)}" if waits else ""


def _hooks(swap: Swap) -> list[str]:
    if not swap.hooks:
        return []
    each = [f"{code(hook.label)} {WHEN[hook.at]} (at most {duration(hook.timeout)})" for hook in swap.hooks]
    decides = any(hook.at is not Moment.END for hook in swap.hooks)
    fails = " One that fails aborts the rollout, except at the end." if decides else ""
    return ["", f"Hooks: {listed(each)}.{fails}"]


def _rollback(swap: Swap, where: str, preview: Preview, proofs: Sequence[Proof]) -> str:
    if not swap.before:
        return f"**Rollback{where}**: none, nothing was live before. If the rollout fails, nothing is served."
    warm, cold = seconds_back(dict(swap.phases), swap.moves)
    lines = [
        f"**Rollback{where}**: to {code(swap.before)}{f' ({code(swap.image)})' if swap.image else ''}",
        "",
        "- while the rollout runs: automatically, at the first evidence against the new release; or `fleetswap abort`",
    ]
    known = f"about {duration(max(1.0, warm))}" if swap.phases else "one change of weights"
    start = f"about {duration(cold)}" if swap.phases else "the time that its machines take to start"
    if swap.standby == swap.before and swap.warm:
        lines.append(f"- for {duration(swap.warm)} after it, with warm machines: `fleetswap rollback`, {known}")
        lines.append(f"- later: `fleetswap rollback`, {start}")
    else:
        lines.append(f"- after it: `fleetswap rollback`, {start}")
    lost = [each for each in preview.resources if each.change is Change.DELETE and swap.before in each.name]
    if lost:
        lines.append(f"- :warning: this update deletes {counted(len(lost), 'resource')} of {code(swap.before)}")
    else:
        lines.append("- its AMI, launch template, Auto Scaling group and target group stay as they are")
    proof = drill.of_rollback(proofs, preview.stack, swap.service, swap.region, swap.before)
    lines += drill.lines(proof, code) if proof is not None else ()
    return "\n".join(lines)


def _packages(image: Image) -> str:
    changes = [_cut(each) for each in image.changes]
    if not changes:
        return ""
    more = [f"… and {len(changes) - LISTED} more"] if len(changes) > LISTED else []
    return "\n".join([f"**Packages** of {code(image.release)}", "", _fenced([*changes[:LISTED], *more], "")])


def messages(preview: Preview) -> str:
    """What was said in a preview beside errors and warnings; empty if nothing was."""
    said = preview.said(Severity.INFO)
    shown = [text for text in said if not text.startswith("package changes from")]  # the packages are a section
    lines = [line for text in shown for line in paragraph(text)]
    return "\n".join(["**Notes**", "", _fenced([_cut(each) for each in lines[:LISTED]], "")]) if lines else ""


def resources(preview: Preview) -> str:
    """The resources that change, folded; empty if none does."""
    if not preview.resources:
        return ""
    more = len(preview.resources) - LISTED
    lines = [
        f"{SIGNS[each.change]} {_named(each)}{f' [{listed(each.reasons)}]' if each.reasons else ''}"
        for each in preview.resources[:LISTED]
    ]
    return "\n".join(
        [
            f"<details><summary>Resources: {counts(preview.resources)}, {preview.unchanged} unchanged</summary>",
            "",
            _fenced([*map(_cut, lines), *([f"… and {more} more"] if more > 0 else [])], "diff"),
            "",
            "</details>",
        ]
    )


def counts(resources: Iterable[Resource]) -> str:
    """How many resources change in which way."""
    words = {
        Change.CREATE: "created",
        Change.UPDATE: "updated",
        Change.REPLACE: "replaced",
        Change.DELETE: "deleted",
    }
    ordered = sorted(resources, key=lambda each: list(Change).index(each.change))
    counts = [(change, len(list(found))) for change, found in groupby(ordered, key=lambda each: each.change)]
    return ", ".join(f"{counted(number, 'resource')} {words[change]}" for change, number in counts)


def _named(resource: Resource) -> str:
    return f"{resource.kind.rpartition(':')[2]} {resource.name}"


def listed(words: Sequence[str]) -> str:
    """The words as a sentence lists them; there is at least one."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _cut(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LINE else f"{line[: LINE - 1]}…"


def code(text: str) -> str:
    """A name from outside. In code nothing is markup; a backtick would end it."""
    quoted = _cut(text).replace("`", "'")
    return f"`{quoted}`"


def _verbatim(text: str, room: int) -> str:
    """A message from outside, as far as it has room: in a line if it is one, else as a block."""
    lines = [_cut(each) for each in paragraph(text)[:LISTED]]
    fit = sum(end <= room for end in accumulate(map(len, lines)))
    lines = lines if fit >= len(lines) else [*lines[: max(1, fit)], "…"]
    return code(lines[0]) if len(lines) == 1 else f"\n\n{_fenced(lines, '')}"


def _fenced(lines: Sequence[str], language: str) -> str:
    """A block of code, with a fence that no line of it can end (CommonMark, "Fenced code blocks")."""
    longest = max((len(each) for line in lines for each in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])
