"""The dead man's switch: a one-time EventBridge Scheduler schedule that restores the previous weights if the deployer
dies.

It writes, reads and deletes the one schedule of a service, and decides nothing: neither when it fires nor what it
restores. Implements `fleetswap.workflows.rollout.ports.Switch`.

The schedule calls ELBv2's ModifyRule itself (a universal target), with the request that describes the previous rule, so
no code of ours has to run. It fires within the minute after its time (EventBridge Scheduler user guide, "Schedule
types": "60 seconds precision"). The service deletes it afterwards.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fleetswap.aws.answers import answered_at
from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.balancer import weights_of
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.partition import of_arn
from fleetswap.domain.rollout.model import Armed, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_scheduler.type_defs import UpdateScheduleInputTypeDef

GROUP = "default"
"""The schedule group that every account has."""

TARGET = "arn:{partition}:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule"
"""A universal target: service and API action in the names of the AWS SDK (user guide, "Using universal targets")."""

NAME_CHARS = 45
"""Of the service's name, so that the schedule's has at most 64."""

DESCRIPTION = "Fleetswap: puts the traffic back if the deploying machine dies. Run: "
"""For whoever finds it in the console; what follows is the run that the schedule belongs to."""

RETRIED_SECONDS = 300
RETRIES = 20
"""How long, and how often, the service tries again if ELBv2 throttles it. Its default is a day; by then another
deployer has done newer work, which a late try would undo. 60 s is the least that it accepts (RetryPolicy)."""

TRIES = 3
"""Tries of creating what another deployer creates or deletes at this moment; two would do for two deployers."""


class Switch:
    """The schedule of one listener. Safe to share between threads, as the client is."""

    def __init__(
        self,
        client: EventBridgeSchedulerClient,
        *,
        service: str,
        stack: str,
        listener: str,
        shared: bool = False,
        role: str | None = None,
    ) -> None:
        """`shared`: other stacks have rules on the listener, too, perhaps of a service with this name.

        `role` is the ARN of what the service acts as: it must trust scheduler.amazonaws.com and may ModifyRule.

        Without a role it can be read and disarmed, but not armed. A schedule that would write a rule of another
        listener than `listener` is another stack's, whatever its name: it is never read, written or deleted.
        """
        self._client = client
        self._listener = listener
        self._name = schedule_name(service, f"{listener} {stack}" if shared else listener)
        self._names = (self._name, former_name(service, stack))
        self._role = role

    def arm(self, seconds: float, rule: Rule, run: str) -> None:
        """Put `rule` back in so many seconds, instead of whatever the schedule would do by now; it is then `run`'s.

        Repeating it only moves the time. Raises `TryAgain` or `CloudError`; then the schedule may have been written
        or not.
        """
        if self._role is None:
            raise CloudError(f"schedule {self._name} cannot be written without a role for EventBridge Scheduler")
        for _ in range(TRIES):
            found, now, others = self._look()
            if self._name in others:
                raise CloudError(
                    f"schedule {self._name} does not belong to this listener: delete it if nobody needs it"
                )
            present = found is not None and found["Name"] == self._name
            if found is None:
                self._delete(self._name)  # who may not delete it is to find out before any weight has moved
            request = self._request(now + timedelta(seconds=math.ceil(seconds)), rule, run, self._role)
            with explained("scheduler:UpdateSchedule" if present else "scheduler:CreateSchedule", self._name):
                try:
                    if present:
                        self._client.update_schedule(**request)
                    else:
                        self._client.create_schedule(**request)
                    break
                except ClientError as error:
                    if code(error) == ("ResourceNotFoundException" if present else "ConflictException"):
                        continue  # it fired, or was made, since we looked
                    if code(error) == "ConflictException":
                        raise TryAgain(f"schedule {self._name} is being changed by someone else") from error
                    raise self._about_role(error) from error
        else:
            raise TryAgain(
                f"schedule {self._name} keeps appearing and disappearing: someone else is deploying the same service"
            )
        if found is not None and not present:
            self._delete(found["Name"])  # of an older version, and this one has taken it over

    def disarm(self, run: str | None) -> None:
        """Delete the schedule, unless it is of another run; with None, whosever it is. Repeating it changes nothing.

        Raises `TryAgain` or `CloudError`.
        """
        found, _, _ = self._look()
        while found is not None and (run is None or _run_of(found) == run):
            self._delete(found["Name"])
            if found["Name"] == self._names[-1]:
                return
            found, _, _ = self._look(self._names[-1:])

    def _delete(self, name: str) -> None:
        with explained("scheduler:DeleteSchedule", name):
            try:
                self._client.delete_schedule(Name=name, GroupName=GROUP)
            except ClientError as error:
                if code(error) == "ConflictException":
                    raise TryAgain(f"schedule {name} is being changed by someone else") from error
                if code(error) != "ResourceNotFoundException":  # gone already is what was wanted
                    raise

    def armed(self) -> Armed | None:
        """What the schedule will do, or None if there is none of this listener. Raises `TryAgain` or `CloudError`.

        Of one that someone has changed, the time may be unknown: it is then never due.
        """
        found, now, _ = self._look()
        if found is None:
            return None
        at = time_of(found.get("ScheduleExpression", ""))
        request = request_of(found.get("Target", {}).get("Input", ""))
        return Armed(
            rule=Rule(weights=weights_of(request.get("Actions", [])), verbatim=json.dumps(request, sort_keys=True)),
            seconds=math.inf if at is None else (at - now).total_seconds(),
            run=_run_of(found),
        )

    def _look(self, names: Sequence[str] = ()) -> tuple[Mapping[str, Any] | None, datetime, frozenset[str]]:
        """The schedule, the time of the service, and the names under which there is one of someone else.

        A deployer's clock may be wrong, and the switch fires by AWS's.
        """
        now, others = datetime.now(UTC), frozenset[str]()
        for name in names or self._names:
            with explained("scheduler:GetSchedule", name):
                try:
                    answer: Mapping[str, Any] = self._client.get_schedule(Name=name, GroupName=GROUP)
                except ClientError as error:
                    if code(error) != "ResourceNotFoundException":
                        raise
                    now = answered_at(error.response)
                    continue
            now = answered_at(answer)
            if self._is_of_this_listener(answer):
                return {**answer, "Name": name}, now, others
            others |= {name}
        return None, now, others

    def _is_of_this_listener(self, schedule: Mapping[str, Any]) -> bool:
        """The ARN of a rule is its listener's, with another word in it and the rule's own id behind it."""
        rule = request_of(schedule.get("Target", {}).get("Input", "")).get("RuleArn", "")
        return str(rule).startswith(self._listener.replace(":listener/", ":listener-rule/") + "/")

    def _request(self, at: datetime, rule: Rule, run: str, role: str) -> UpdateScheduleInputTypeDef:
        return {
            "Name": self._name,
            "GroupName": GROUP,
            "Description": f"{DESCRIPTION}{run}",
            "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "State": "ENABLED",
            "Target": {
                "Arn": TARGET.format(partition=of_arn(role)),
                "RoleArn": role,
                "Input": rule.verbatim,
                "RetryPolicy": {"MaximumEventAgeInSeconds": RETRIED_SECONDS, "MaximumRetryAttempts": RETRIES},
            },
        }

    def _about_role(self, error: ClientError) -> Exception:
        """A role that was made a moment ago is not known everywhere yet; one that trusts no scheduler never will be."""
        if code(error) == "ValidationException" and "assume" in error.response["Error"].get("Message", ""):
            return TryAgain(
                f"EventBridge Scheduler cannot assume {self._role}: its trust policy must name scheduler.amazonaws.com"
            )
        return error


def schedule_name(service: str, listener: str) -> str:
    """The name of a listener's one schedule: whoever deploys to that listener finds it, and nobody else.

    Of an existing listener, which several stacks share, each stack has its own.

    Two stacks may have one name: with another backend, or of another organization. It has at most 64 characters
    (CreateSchedule, Name).
    """
    return _named(service, listener)


def former_name(service: str, stack: str) -> str:
    """The name that a schedule had in older versions; a rollout that died may have left one."""
    return _named(service, stack)


def _named(service: str, by: str) -> str:
    kept = re.sub(r"[^0-9A-Za-z_.-]", "-", service)[:NAME_CHARS]
    return f"fleetswap-{kept}-{hashlib.sha256(by.encode()).hexdigest()[:8]}"


def _run_of(schedule: Mapping[str, Any]) -> str:
    """The run that a schedule belongs to; empty for one that is none of ours."""
    description: str = schedule.get("Description", "")
    return description.removeprefix(DESCRIPTION) if description.startswith(DESCRIPTION) else ""


def time_of(expression: str) -> datetime | None:
    """The time of an `at(...)` in UTC; None for what someone else has made of the schedule."""
    try:
        return datetime.strptime(expression, "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
    except ValueError:
        return None


def request_of(text: str) -> Mapping[str, Any]:
    """The request that a schedule sends; empty for what is none."""
    try:
        request = json.loads(text)
    except ValueError:
        return {}
    return request if isinstance(request, dict) else {}
