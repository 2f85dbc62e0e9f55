"""The timeline of a rollout that has succeeded, for the state and for people. Nothing here fails a rollout.

A budget that is exceeded is a warning and never an error: a provider that raises loses its outputs, and with them the
ledger of a release that is live and good. `fleetswap show RELEASE --strict` is the error, for whoever wants one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleetswap.domain.rollout.origin import Origin, Sent, parts_of
from fleetswap.domain.rollout.record import Kind
from fleetswap.domain.text import one_line
from fleetswap.domain.timeline import words
from fleetswap.domain.timeline.deploys import assembled
from fleetswap.domain.timeline.history import added
from fleetswap.domain.timeline.model import Deploy, text_of, time_of
from fleetswap.workflows.rollout.run import Outcome


def origin_of(given: Mapping[str, Any] | None, region: str) -> Origin | None:
    """The origin that the input says. None if there is none, or it is not as it should be: no rollout fails for it."""
    try:
        return _read(given or {}, region)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None


def _read(given: Mapping[str, Any], region: str) -> Origin:
    started = time_of(given["started"])
    evaluation, registered = given.get("evaluation"), given.get("registered")
    images = [each for each in given.get("images") or () if isinstance(each.get("finished"), str)]
    return Origin(
        kind="rollback" if given["kind"] == "rollback" else "deploy",
        region=region,
        started=text_of(started),
        commit=_text(given, "commit"),
        commit_time=None if _text(given, "commit_time") is None else text_of(time_of(given["commit_time"])),
        subject=_text(given, "subject"),
        parts=parts_of(
            started,
            None if evaluation is None else (time_of(evaluation[0]), float(evaluation[1])),
            [
                Sent(
                    time_of(each["finished"]),
                    *(float(each.get(key) or 0.0) for key in ("build", "trial", "upload")),
                )
                for each in images
            ],
            time_of(registered) if isinstance(registered, str) else None,
        ),
        budgets={name: float(seconds) for name, seconds in (given.get("budgets") or {}).items()},
    )


def _text(given: Mapping[str, Any], key: str) -> str | None:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{key} must be text")
    return value


def deploy_of(outcome: Outcome, origin: Origin | None, *, service: str, stack: str, region: str) -> Deploy:
    """The deploy that the rollout has ended."""
    return assembled(
        release=outcome.live,
        previous=outcome.previous,
        service=service,
        stack=stack,
        region=region,
        kind=str(Kind.DEPLOY),
        run=outcome.run,
        started=outcome.started,
        phases=outcome.times,
        steps=outcome.steps,
        healthy=outcome.first_healthy,
        origin=origin,
    )


def over_budget(deploy: Deploy) -> tuple[str, ...]:
    """Lines for people."""
    return tuple(f"over budget: {line}" for line in words.over_budget(deploy))


def history_with(
    kept: object, made: Callable[[], Deploy], warn: Callable[[str], None]
) -> Sequence[Mapping[str, Any]] | None:
    """The history that a state has, with the deploy that was just made, whose budgets are warned of.

    If it cannot be made, the history stays as it is.
    """
    try:
        deploy = made()
        for line in over_budget(deploy):
            warn(line)
        return added(kept, deploy)
    except Exception as error:  # noqa: BLE001 - the release is live, and its ledger is to be written
        warn(f"this deploy is missing in `fleetswap history`: {one_line(error) or type(error).__name__}")
        return kept if isinstance(kept, list) else None
