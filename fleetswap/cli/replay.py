"""`fleetswap replay`: what a rollout would have done under other settings, from its record."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetswap.cli import options
from fleetswap.cli.display import print_json, print_result
from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout import readings
from fleetswap.domain.rollout.action_words import words
from fleetswap.domain.rollout.messages import Action
from fleetswap.domain.rollout.model import Order
from fleetswap.domain.rollout.policy import Policy
from fleetswap.domain.rollout.record import Kind
from fleetswap.domain.rollout.replay import Recorded, Replay
from fleetswap.domain.rollout.replay import replay as replay_of
from fleetswap.domain.rollout.replay_words import conclusion, lines
from fleetswap.workflows.rollout.read_record import load, read, recorded

STDIN = "-"

UNREAD = {
    "trusted": "the record has only whether the release was trusted",
    "probe_host": "another probe would have got another response",
    "probe_path": "another probe would have got another response",
    "probe_timeout": "another probe would have got another response",
    "interval": "a replay has the readings when they came",
    "alerts": "it changes no rollout",
}
"""Settings that a replay cannot have otherwise, and why."""


def replay(
    *,
    record: Annotated[str, typer.Argument(metavar="RECORD", help="The record of a rollout; - is standard input.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of fleetswap:rollout, such as errors.alpha=0.01 or strategy[0].hold=300; can be repeated.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Replay the record of a rollout: what it did, and with --set what it would have done under other settings.

    The readings of the rollout go through the same decisions again. Without --set every action is the same, at the same
    time. With it, the replay ends with the first action that differs, because nobody has read what would have come
    after that. It needs no AWS and no Pulumi. The exit status is 0 whether or not anything differs.
    """
    name = "standard input" if record == STDIN else record
    found = read(sys.stdin.buffer.read(), name) if record == STDIN else load(Path(record))
    given = recorded(found, name)
    if settings and found.header.kind is Kind.ROLLBACK:
        raise InputError(f"{name}: `fleetswap rollback --now` does not go by the settings, so --set has no meaning")
    policy = given.order.policy if not settings else _policy(given.order.policy, settings)
    replayed = replay_of(given, policy)
    said = conclusion(replayed, given.short)
    if as_json:
        print_json(
            {
                "service": found.header.service,
                "stack": found.header.stack,
                "candidate": found.header.candidate,
                "started": found.header.started,
                "set": settings or [],
                "conclusion": said,
                **_figures(given, replayed),
            }
        )
        return
    under = f" with {', '.join(settings)}" if settings else ""
    head = f"{found.header.service}: rollout of {found.header.candidate}, begun {found.header.started}, replayed{under}"
    print_result("\n".join([head, *lines(replayed), said]))


def _figures(given: Recorded, replayed: Replay) -> dict[str, Any]:
    parting = replayed.parting
    actions = []
    for number, moment in enumerate(replayed.other):
        parted = parting is not None and number == len(replayed.other) - 1
        action: dict[str, Any] = {
            "at": moment.at,
            "phase": moment.state.phase.value,
            **_action(moment.action, given.order),
        }
        if parted or replayed.differs(number):
            action["rollout"] = _action(replayed.rollout[number].action, given.order)
        actions.append(action)
    return {
        "incomplete": given.short or None,
        "parts": None
        if parting is None
        else {
            "how": parting.how.value,
            "at": parting.other.at,
            "rollout_at": None if parting.then is None else parting.then.at,
        },
        "actions": actions,
    }


def _action(action: Action, order: Order) -> dict[str, str]:
    return {"action": readings.name_of(action), "text": words(action, order)}


def _policy(policy: Policy, given: Sequence[str]) -> Policy:
    """The policy of a rollout under other settings. One `InputError` tells all that is wrong with them."""
    from pydantic import ValidationError  # noqa: PLC0415

    from fleetswap_pulumi.checks import key_of, problems_of, reason_of  # noqa: PLC0415
    from fleetswap_pulumi.policy import Judgement, RolloutSettings  # noqa: PLC0415

    plain: dict[str, Any] = json.loads(json.dumps(asdict(policy)))
    values = {key: plain[key] for key in Judgement.model_fields} | {
        key: plain["strategy"][key] for key in ("bake", "trusted_bake")
    }
    values["strategy"] = plain["strategy"]["steps"]
    problems = list[str]()
    for each in given:
        key, is_set, value = each.partition("=")
        key = key.removeprefix("fleetswap:").removeprefix("rollout.")
        if not is_set:
            problems.append(f"{each}: must be KEY=VALUE")
        elif (why := UNREAD.get(key)) is not None:
            problems.append(f"{key}: cannot be replayed: {why}")
        elif (wrong := _put(values, key, value)) is not None:
            problems.append(wrong)
    problems += _unread(policy, values)
    try:
        settings = RolloutSettings.model_validate(values)
    except ValidationError as error:
        raise _invalid([*problems, *(f"{key_of(each)}: {reason_of(each)}" for each in problems_of(error))]) from error
    try:
        found = settings.policy(policy.minimum).model_copy(update={"quick": policy.quick, "patience": policy.patience})
        other = found.to_policy()
    except (InputError, ValueError) as error:
        raise _invalid([*problems, str(error)]) from error
    if other.counts_requests and not policy.counts_requests:
        problems.append("the rollout counted no requests: errors, slow and min_requests cannot be replayed")
    if problems:
        raise _invalid(problems)
    return other


def _invalid(problems: Sequence[str]) -> InputError:
    return InputError(f"the settings are not valid for a replay: {'; '.join(dict.fromkeys(problems))}")


def _unread(policy: Policy, values: Mapping[str, Any]) -> Iterator[str]:
    """What the rollout would have had to read besides. `values` may be anything: they are judged by someone else."""
    alarms, slow = values["alarms"], values["slow"]
    for name in alarms if isinstance(alarms, list) else ():
        if name not in policy.alarms:
            yield f"alarms: the rollout did not read alarm {name}"
    if slow not in (None, policy.slow):
        counted = "did not count slow responses" if policy.slow is None else f"counted those above {policy.slow:g} s"
        yield f"slow: the rollout {counted}"
    yield from _unread_metrics(policy, values["metrics"])


def _unread_metrics(policy: Policy, given: object) -> Iterator[str]:
    """A threshold can be another one. What was asked cannot, nor live's values if they were not."""
    known = {check.name: check for check in policy.metrics}
    for number, metric in enumerate(given if isinstance(given, list) else ()):
        check = known.get(str(metric.get("name"))) if isinstance(metric, dict) else None
        if check is None:
            yield f"metrics[{number}]: the rollout did not read such a metric"
            continue
        plain = json.loads(json.dumps(asdict(check)))
        if any(metric.get(source) != plain[source] for source in ("cloudwatch", "prometheus")):
            yield f"metrics[{number}]: the rollout asked another query"
        if not check.compares and any(metric.get(key) is not None for key in ("at_most", "difference")):
            yield f"metrics[{number}]: the rollout did not read the live release's values"


def _put(values: dict[str, Any], key: str, text: str) -> str | None:
    """Put a value where a path of Pulumi's says. What is wrong with the path, or None."""
    if re.fullmatch(r"[a-z_]+(\[\d+\]|\.[a-z_]+)*", key) is None:
        return f"{key}: is not a setting"
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    at: Any = values
    parts: list[str | int] = [int(part) if part.isdigit() else part for part in re.findall(r"[a-z_]+|\d+", key)]
    for number, part in enumerate(parts):
        if isinstance(part, int) != isinstance(at, list) or (isinstance(part, int) and part >= len(at)):
            return f"{key}: there is no such key"
        if number == len(parts) - 1:
            at[part] = value
            return None
        if isinstance(at, dict) and at.get(part) is None:
            at[part] = {}
        at = at[part]
        if not isinstance(at, dict | list):
            return f"{key}: there is no such key"
    return None
