"""Who calls, what they may do, and whether the dead man's switch can act: IAM's simulation, and a schedule.

Implements `fleetswap.workflows.rollout.drill_ports.Identity`. The schedule is disabled, far in the future, has a name
of its own and is deleted at once: it can neither fire nor be taken for a switch. EventBridge Scheduler refuses to make
one whose role it cannot assume, which proves more than a look at the role's trust policy.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from fleetswap.aws.errors import code, explained
from fleetswap.aws.rollout.switch import GROUP, NAME_CHARS, TARGET, TRIES
from fleetswap.domain import tags
from fleetswap.domain.drill.seen import Caller, SwitchRole
from fleetswap.domain.errors import TryAgain
from fleetswap.domain.partition import of_arn
from fleetswap.domain.permissions.simulate import Denied, Question, kind, texts

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

ALLOWED = "allowed"
"""EvalDecision of what is allowed (IAM API reference, EvaluationResult); else `implicitDeny` or `explicitDeny`."""

MODIFY = "elasticloadbalancing:ModifyRule"

DESCRIPTION = "Fleetswap: made by `fleetswap drill`, disabled, and deleted at once. Delete it if it is still there."

FORBIDDEN = 403
"""HTTP's status for who may not make the schedule, and so has made none."""

NEVER = "at(2099-01-01T00:00:00)"


class Identity:
    """IAM and EventBridge Scheduler of an account. Safe to share between threads, as the clients are."""

    def __init__(self, cloud: Cloud) -> None:
        """No call is made, and no client, before something is asked."""
        self._cloud = cloud

    @cached_property
    def _iam(self) -> Any:  # noqa: ANN401 - as `Cloud.iam`
        return self._cloud.iam()

    def caller(self) -> Caller:
        """Whose credentials these are. Of a session the role is asked for: its ARN has a path, the session's has none.

        Raises `TryAgain` or `CloudError`.
        """
        with explained("sts:GetCallerIdentity", self._cloud.region):
            answer = self._cloud.sts().get_caller_identity()
        arn, account = answer["Arn"], answer["Account"]
        session = re.fullmatch(r"arn:[\w-]+:sts::\d+:assumed-role/([^/]+)/.+", arn)
        if session is not None:
            with explained("iam:GetRole", session[1]):
                arn = self._iam.get_role(RoleName=session[1])["Role"]["Arn"]
        return Caller(account, arn, is_root=arn.endswith(":root"))

    def denied(self, principal: str, question: Question) -> tuple[Denied, ...]:
        """Those of the actions that the policies of a user or role do not allow it (SimulatePrincipalPolicy).

        One resource at a time: of several, the answer's decision is that of the strictest. Session policies and those
        of resources are not simulated. Raises `TryAgain` or `CloudError`.
        """
        with explained("iam:SimulatePrincipalPolicy", principal):
            pages = self._iam.get_paginator("simulate_principal_policy").paginate(
                PolicySourceArn=principal,
                ActionNames=list(question.actions),
                ResourceArns=[question.resource],
                ContextEntries=[
                    {"ContextKeyName": key, "ContextKeyType": kind(value), "ContextKeyValues": texts(value)}
                    for key, value in question.context.items()
                ],
            )
            results = [each for page in pages for each in page["EvaluationResults"]]
        return tuple(
            Denied(each["EvalActionName"], question.resource, sure=not _missing(each))
            for each in results
            if each["EvalDecision"] != ALLOWED
        )

    def switch_role(self, stack: str, service: str, rule: str) -> SwitchRole | None:
        """The role of the stack's dead man's switch, by its name and tags, or None. Raises `TryAgain` or `CloudError`.

        An answer with many roles has no tags, so those that have the name are asked about one by one.
        """
        with explained("iam:ListRoles", f"{service}-switch-*"):
            pages = self._iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 1000})
            named = [
                each["RoleName"]
                for page in pages
                for each in page["Roles"]
                if each["RoleName"].startswith(f"{service}-switch-")
            ]
        for name in named:
            with explained("iam:GetRole", name):
                try:
                    role = self._iam.get_role(RoleName=name)["Role"]
                except ClientError as error:
                    if code(error) != "NoSuchEntity":  # deleted since it was listed
                        raise
                    continue
            its = {each["Key"]: each["Value"] for each in role.get("Tags", ())}
            if its.get(tags.STACK) == stack and its.get(tags.SERVICE) == service:
                context = {f"aws:ResourceTag/{key}": its[key] for key in (tags.STACK, tags.SERVICE)}
                allowed = not self.denied(role["Arn"], Question((MODIFY,), rule, context))
                return SwitchRole(role["Arn"], allowed)
        return None

    def try_switch(self, service: str, rule: str, role: str) -> str:
        """Make a schedule that never fires, and delete it: why the role cannot be assumed, or an empty text.

        Repeating it deletes what one that died has left. Raises `TryAgain` or `CloudError`.
        """
        name = drill_schedule(service)
        client = self._cloud.scheduler()
        target = {"Arn": TARGET.format(partition=of_arn(role)), "RoleArn": role, "Input": json.dumps({"RuleArn": rule})}
        asked: Any = {
            "Name": name,
            "GroupName": GROUP,
            "Description": DESCRIPTION,
            "ScheduleExpression": NEVER,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "DISABLED",
            "Target": target,
        }
        for _ in range(TRIES):
            there = True  # perhaps: if no answer comes, or one that died has left it
            try:
                with explained("scheduler:CreateSchedule", name):
                    try:
                        client.create_schedule(**asked)
                    except ClientError as error:
                        if code(error) == "ConflictException":  # of a drill that died, or runs just now
                            continue
                        there = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != FORBIDDEN
                        if code(error) != "ValidationException" or "assume" not in error.response["Error"]["Message"]:
                            raise
                        return f"EventBridge Scheduler cannot assume {role}"
                return ""
            finally:
                if there:
                    self._delete(name)
        raise TryAgain(f"schedule {name} keeps appearing: other drills of the service are running")

    def _delete(self, name: str) -> None:
        with explained("scheduler:DeleteSchedule", name):
            try:
                self._cloud.scheduler().delete_schedule(Name=name, GroupName=GROUP)
            except ClientError as error:
                if code(error) != "ResourceNotFoundException":
                    raise


def _missing(result: Any) -> list[str]:  # noqa: ANN401 - a part of an answer
    """The keys of the request that policies ask for and nobody has given; told beside the resource, if there is one."""
    parts = [result, *result.get("ResourceSpecificResults", ())]
    explicit = result["EvalDecision"] == "explicitDeny"
    return [] if explicit else [key for part in parts for key in part.get("MissingContextValues", ())]


def drill_schedule(service: str) -> str:
    """The name of a drill's schedule, among those that the stack's policies allow. It is never a switch's."""
    return f"fleetswap-{re.sub(r'[^0-9A-Za-z_.-]', '-', service)[:NAME_CHARS]}-drill"
