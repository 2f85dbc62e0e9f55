"""EventBridge Scheduler: one-time schedules that fire, and what the service refuses.

Decides which schedules are valid, when one is due and what becomes of it afterwards. The call itself is made through
the local cloud's own endpoint, in a thread, so that the faults that were asked for concern it, too. A rule of `faults`
for the service `scheduler` and the operation `Invoke` delays a firing (`delay`) or makes an attempt fail.

As in AWS: an `at(...)` in the past is refused; State DISABLED at its time means that it never fires; an update replaces
everything, and moves the time; ActionAfterCompletion DELETE deletes the schedule after the last attempt, unless it was
updated since; what an attempt fails with counts only if it is a throttle, a server's error or a lost connection, and is
then tried again as the RetryPolicy says. What has begun to fire is not stopped by a later update or deletion.

A schedule fires late, as in AWS (`lateness`, `schedules`), and calls with the rights of the role that it was given: a
role that may not make the call, or no longer trusts the service, fails at the moment of firing. Not as in AWS: retries
begin after a second, and `rate` and `cron` never fire.

Source: EventBridge Scheduler API reference (CreateSchedule, UpdateSchedule, Target, RetryPolicy), user guide ("Using
universal targets", "Schedule types").
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, ParamValidationError
from botocore.session import get_session
from moto.scheduler.exceptions import ScheduleGroupNotFound, ValidationException
from moto.scheduler.models import EventBridgeSchedulerBackend, Schedule
from moto.scheduler.responses import EventBridgeSchedulerResponse

from localcloud.authorization.services import may_assume
from localcloud.moto_state import ACCOUNT_ID, LOCK, REGION, backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.faults.lateness import Lateness
    from localcloud.faults.rules import Faults
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

RETRY_SECONDS: Final = (1.0, 60.0)  # first and longest pause between attempts
MAX_AGE, MAX_ATTEMPTS = range(60, 86_401), range(186)  # API reference: RetryPolicy

_AT = re.compile(r"at\((\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})\)")
_RECURRING = re.compile(r"(rate\(\d+ (minute|hour|day)s?\)|cron\(\S+( \S+){5}\))")
_NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
_UNIVERSAL = re.compile(r"arn:aws[a-z-]*:scheduler:::aws-sdk:([a-z0-9]+):([a-zA-Z0-9]+)")
_READS = ("get", "describe", "list", "poll", "receive", "search", "scan", "query", "select", "read")
_SERVICES: Final = ("autoscaling", "cloudwatch", "ec2", "elbv2", "iam", "kms", "scheduler", "sns")
_PASSING = frozenset({"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"})

_create, _update = EventBridgeSchedulerBackend.create_schedule, EventBridgeSchedulerBackend.update_schedule

log = logging.getLogger(__name__)


class Firing:
    """What fires schedules. `endpoint` is the local cloud's own, `sleep` waits and ends early when it stops."""

    def __init__(
        self,
        endpoint: str,
        faults: Faults,
        lateness: Lateness,
        clock: Callable[[], float],
        sleep: Callable[[float], Any],
    ) -> None:
        self._endpoint = endpoint
        self._faults = faults
        self._lateness = lateness
        self._clock = clock
        self._sleep = sleep
        self._stopping = False
        self._pool = ThreadPoolExecutor(
            8, thread_name_prefix="schedules"
        )  # one that is retried must not hold others up

    def tick(self) -> None:
        """Fire what is due. With `LOCK` held."""
        now = self._clock()
        for group in backend("scheduler").schedule_groups.values():
            for schedule in group.schedules.values():
                due = _due(schedule)
                if due is None or getattr(schedule, "fired", None) == _version(schedule):
                    continue
                if due + self._lateness.of("schedules", schedule.name, due) > now:
                    continue
                schedule.fired = _version(schedule)
                if schedule.state == "ENABLED":
                    self._pool.submit(self._fire, schedule, _version(schedule), dict(schedule.target), now)

    def close(self) -> None:
        """Fire no more, and wait for what is on its way."""
        self._stopping = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fire(self, schedule: Moto, version: tuple[Any, ...], target: dict[str, Any], since: float) -> None:
        try:
            self._try(schedule.name, target, since)
        except Exception:  # a thread's error would be lost
            log.exception("schedule %s", schedule.name)
        if schedule.action_after_completion != "DELETE":
            return
        with LOCK:
            group = backend("scheduler").schedule_groups.get(schedule.group_name)
            if group is not None and group.schedules.get(schedule.name) is schedule and _version(schedule) == version:
                del group.schedules[schedule.name]

    def _try(self, name: str, target: dict[str, Any], since: float) -> None:
        policy, pause = target["RetryPolicy"], RETRY_SECONDS[0]
        for attempt in range(int(policy.get("MaximumRetryAttempts", MAX_ATTEMPTS[-1])) + 1):
            if attempt:
                self._sleep(pause)
                pause = min(pause * 2, RETRY_SECONDS[1])
            if self._stopping or self._clock() - since > int(policy.get("MaximumEventAgeInSeconds", MAX_AGE[-1])):
                break
            verdict = self._faults.judge("scheduler", "Invoke")
            if verdict.delay:
                self._sleep(verdict.delay)
            if verdict.rule is not None:
                continue
            try:
                self._call(target)
            except (ClientError, HTTPClientError) as error:
                log.warning("schedule %s, attempt %d: %s", name, attempt + 1, error)
                if not _passes(error):
                    return
            else:
                log.info("schedule %s called %s", name, target["Arn"])
                return
        log.warning("schedule %s gave up", name)

    def _call(self, target: dict[str, Any]) -> None:
        service, operation = _operation(target["Arn"])
        with LOCK:
            assumed = _assume(target["RoleArn"])
        if assumed is None:
            log.warning("schedule's role %s cannot be assumed", target["RoleArn"])
            return
        client = get_session().create_client(
            service,
            endpoint_url=self._endpoint,
            region_name=REGION,
            aws_access_key_id=assumed.access_key_id,
            aws_secret_access_key=assumed.secret_access_key,
            aws_session_token=assumed.session_token,
            config=Config(retries={"total_max_attempts": 1}),
        )
        try:
            call: Callable[..., Any] = vars(type(client))[xform_name(operation)]
            call(client, **json.loads(target.get("Input") or "{}"))
        except ParamValidationError:
            log.exception("schedule's input for %s", target["Arn"])
        finally:
            client.close()


def patch(patches: Patches, clock: Callable[[], float]) -> None:
    """Make the service strict. `clock` gives seconds since the epoch."""
    patches.set(EventBridgeSchedulerBackend, "wall_clock", staticmethod(clock))
    patches.methods(EventBridgeSchedulerBackend, create_schedule, update_schedule)
    patches.methods(EventBridgeSchedulerResponse, delete_schedule_group)
    patches.set(EventBridgeSchedulerResponse, "update_schedule", _update_response)


def create_schedule(self: Moto, **asked: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks everything; moto nothing, and answers 500 for an unknown group."""
    if not _NAME.fullmatch(asked["name"]):
        raise ValidationException(f"Value '{asked['name']}' at 'name' failed to satisfy constraint")
    self.get_schedule_group(asked["group_name"])
    _check(self, asked)
    return _create(self, **asked)


def update_schedule(self: Moto, **asked: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """As `create_schedule`. What an update does not name takes its default (API reference: UpdateSchedule)."""
    schedule = self.get_schedule(asked["group_name"], asked["name"])
    after = asked.pop("action_after_completion", None)
    _check(self, {**asked, "action_after_completion": after})
    updated = _update(self, **{**asked, "state": asked["state"] or "ENABLED"})
    schedule.action_after_completion = after
    schedule.revision = getattr(schedule, "revision", 0) + 1
    return updated


def _update_response(self: Moto) -> str:
    """AWS updates ActionAfterCompletion; moto does not read it."""
    members = {
        "description": "Description",
        "end_date": "EndDate",
        "flexible_time_window": "FlexibleTimeWindow",
        "group_name": "GroupName",
        "kms_key_arn": "KmsKeyArn",
        "schedule_expression": "ScheduleExpression",
        "schedule_expression_timezone": "ScheduleExpressionTimezone",
        "start_date": "StartDate",
        "state": "State",
        "target": "Target",
        "action_after_completion": "ActionAfterCompletion",
    }
    asked = {name: self._get_param(member) for name, member in members.items()}
    name = unquote(self.uri.split("?")[0].split("/")[-1])
    return json.dumps({"ScheduleArn": self.scheduler_backend.update_schedule(name=name, **asked).arn})


def delete_schedule_group(self: Moto) -> str:
    """AWS keeps the group called default; moto deletes it, and answers 500 for an unknown one."""
    name = self.uri.split("?")[0].split("/")[-1]
    if name == "default":
        raise ValidationException("The default schedule group cannot be deleted")
    if name not in self.scheduler_backend.schedule_groups:
        raise ScheduleGroupNotFound(name)
    self.scheduler_backend.delete_schedule_group(name)
    return "{}"


def _check(scheduler: Moto, asked: dict[str, Any]) -> None:
    expression = asked["schedule_expression"] or ""
    if not _AT.fullmatch(expression) and not _RECURRING.fullmatch(expression):
        raise ValidationException(f"Invalid Schedule Expression {expression}.")
    try:
        due = _moment(expression, asked["schedule_expression_timezone"] or "UTC")
    except (ValueError, ZoneInfoNotFoundError):
        raise ValidationException(f"Invalid Schedule Expression {expression}, or time zone.") from None
    if due is not None and due <= scheduler.wall_clock() - 1:  # the second that it names may have begun
        raise ValidationException(f"Invalid Schedule Expression {expression}: it is in the past.")
    window = asked["flexible_time_window"] or {}
    if window.get("Mode") not in {"OFF", "FLEXIBLE"} or (
        (window["Mode"] == "FLEXIBLE") != ("MaximumWindowInMinutes" in window)
    ):
        raise ValidationException("FlexibleTimeWindow needs a Mode, and MaximumWindowInMinutes if it is FLEXIBLE.")
    if asked["state"] not in {None, "ENABLED", "DISABLED"}:
        raise ValidationException("State must be ENABLED or DISABLED.")
    if asked["action_after_completion"] not in {None, "NONE", "DELETE"}:
        raise ValidationException("ActionAfterCompletion must be NONE or DELETE.")
    _check_target(asked["target"] or {})


def _check_target(target: dict[str, Any]) -> None:
    if not target.get("Arn") or not target.get("RoleArn"):
        raise ValidationException("Target needs Arn and RoleArn.")
    if _role(target["RoleArn"]) is None:
        raise ValidationException(
            "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        )
    policy = target.get("RetryPolicy") or {}
    if (
        policy.get("MaximumEventAgeInSeconds", MAX_AGE[-1]) not in MAX_AGE
        or policy.get("MaximumRetryAttempts", 0) not in MAX_ATTEMPTS
    ):
        raise ValidationException("MaximumEventAgeInSeconds must be 60 to 86400, MaximumRetryAttempts 0 to 185.")
    if not _UNIVERSAL.fullmatch(target["Arn"]):
        return  # a templated target: stored, and never called
    try:
        _operation(target["Arn"])
    except LookupError:
        raise ValidationException(f"{target['Arn']} is not a valid target, or not one of the local cloud.") from None
    try:
        fine = isinstance(json.loads(target.get("Input") or "{}"), dict)
    except ValueError:
        fine = False
    if not fine:
        raise ValidationException("Input must be a JSON object.")


def _role(role_arn: str) -> Moto | None:
    """A role that trusts the service; None if it does not, or there is none."""
    role = next((role for role in backend("iam").roles.values() if role.arn == role_arn), None)
    context = {
        "aws:sourceaccount": (ACCOUNT_ID,),
        "aws:sourcearn": (f"arn:aws:scheduler:{REGION}:{ACCOUNT_ID}:schedule-group/default",),
    }
    return role if role is not None and may_assume("scheduler.amazonaws.com", role, context) else None


def _assume(role_arn: str) -> Moto | None:
    """A session of a target's role; None if the service cannot assume it."""
    if _role(role_arn) is None:
        return None
    return backend("sts").assume_role(
        region_name=REGION,
        role_session_name=f"scheduler-{secrets.token_hex(8)}",
        role_arn=role_arn,
        policy=None,
        duration=900,
        external_id=None,
    )


def _operation(arn: str) -> tuple[str, str]:
    """(service, operation) of a universal target, in botocore's names. Raises LookupError for one that is none."""
    found = _UNIVERSAL.fullmatch(arn)
    if found is None or found[2].startswith(_READS):
        raise LookupError(arn)
    for service in _SERVICES:
        model = get_session().get_service_model(service)
        if str(model.metadata["serviceId"]).replace(" ", "").lower() == found[1]:
            operation = found[2][:1].upper() + found[2][1:]
            if operation in model.operation_names:
                return service, operation
    raise LookupError(arn)


def _moment(expression: str, zone: str) -> float | None:
    """When an `at(...)` is, in seconds since the epoch; None for what recurs."""
    found = _AT.fullmatch(expression)
    local = ZoneInfo(zone)
    return datetime.fromisoformat(found[1]).replace(tzinfo=local).timestamp() if found else None


def _due(schedule: Schedule) -> float | None:
    return _moment(schedule.schedule_expression, schedule.schedule_expression_timezone)


def _version(schedule: Schedule) -> tuple[Any, ...]:
    """What tells a schedule from itself before its last update."""
    return (schedule.arn, schedule.creation_date, getattr(schedule, "revision", 0))


def _passes(error: ClientError | BotoCoreError) -> bool:
    """Whether an error may pass by itself."""
    if not isinstance(error, ClientError):
        return True
    status: int = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= 500 or error.response["Error"]["Code"] in _PASSING
