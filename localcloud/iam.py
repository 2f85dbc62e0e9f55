"""The managed policies of AWS itself: there when they are first asked for; and what else moto lacks of IAM, STS and
Service Quotas.

Decides when they are loaded: with the first ARN of one, because loading all 1,582 takes a fifth of a second, and most
runs never name one. Whether a policy allows anything is judged in `authorization`.
"""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

from moto.core.responses import ActionResult
from moto.iam import models
from moto.iam.exceptions import IAMException, NotFoundException
from moto.iam.models import AWSManagedPolicy, IAMBackend, aws_managed_policies_data
from moto.iam.responses import IamResponse
from moto.servicequotas.models import ServiceQuotasBackend
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

from localcloud.authorization.callers import policies_of
from localcloud.authorization.policies import Named, Question, Verdict, decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_assume_role = TokenResponse.assume_role
_begin_session = STSBackend.assume_role
_create_linked_role = IAMBackend.create_service_linked_role
_service_quota = ServiceQuotasBackend.get_service_quota
_PREFIX = "arn:aws:iam::aws:policy/"
_TAKING_AN_ARN = (
    "attach_role_policy",
    "attach_user_policy",
    "attach_group_policy",
    "get_policy",
    "get_policy_version",
    "list_policy_versions",
)

_NAMED = {"mrk.kms.amazonaws.com": "AWSServiceRoleForKeyManagementServiceMultiRegionKeys"}
"""Service-linked roles whose names follow no rule."""

_SERVICES = {"elasticloadbalancing": "ElasticLoadBalancing", "spot": "EC2Spot"}
"""How AWS writes a service in the name of its role, where moto does not know it."""


_STRICTNESS = ("allowed", "implicitDeny", "explicitDeny")
"""Of a decision (IAM API reference, EvaluationResult)."""

_VCPU_QUOTAS = frozenset(
    {"L-1216C47A", "L-34B43A08", "L-74FC7D96", "L-88CF9481", "L-DB2E81BA", "L-3819A6DF", "L-1945791B"}
    | {"L-B5D1601B", "L-417A185B", "L-7212CCBC", "L-7295265B", "L-E3A00192"}
)
VCPUS = 256.0
"""Each of them. A new account of AWS has 5 or none."""

_QUOTAS = {
    **{("ec2", each): VCPUS for each in _VCPU_QUOTAS},
    ("autoscaling", "L-CDE20ADC"): 500.0,
    ("elasticloadbalancing", "L-B22855CB"): 3000.0,
}
"""By service; the others than of vCPUs are AWS's defaults, for groups and target groups in a region."""


class InvalidInput(IAMException):  # type: ignore[misc] # moto has no types
    """An input that IAM does not take."""

    code = "InvalidInput"


def patch(patches: Patches) -> None:
    """Make AWS's managed policies attachable, and name service-linked roles as AWS does."""
    patches.set(models, "SERVICE_NAME_CONVERSION", {**models.SERVICE_NAME_CONVERSION, **_SERVICES})
    patches.methods(TokenResponse, assume_role)
    patches.set(STSBackend, "assume_role", begin_session)
    patches.methods(IAMBackend, create_service_linked_role)
    patches.methods(IamResponse, simulate_principal_policy)
    patches.methods(ServiceQuotasBackend, get_service_quota)
    for name in _TAKING_AN_ARN:
        patches.set(IAMBackend, name, _loading(getattr(IAMBackend, name)))


def assume_role(self: Moto) -> Moto:
    """AWS limits a session by the managed policies that it is begun with, and gives it tags; moto reads neither."""
    answer = _assume_role(self)
    assumed = answer.result["Credentials"]
    assumed.policy_arns = [one["arn"] for one in self._get_param("PolicyArns", [])]
    assumed.tags = self._get_param("Tags", [])
    return answer


def begin_session(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS's sessions are of one role and end with it; moto's would be of the next role of that name, too."""
    assumed = _begin_session(self, *args, **kwargs)
    assumed.role_id = assumed.user_id.partition(":")[0]
    return assumed


def create_service_linked_role(self: Moto, service_name: str, description: str, suffix: str) -> Moto:
    """AWS's name of some is none that moto would make."""
    role = _create_linked_role(self, service_name, description, suffix)
    role.name = _NAMED.get(service_name, role.name)
    return role


def simulate_principal_policy(self: Moto) -> ActionResult:
    """What the policies of a user or a role, and its boundary, say to each action on each resource.

    As in AWS: an assumed role is not taken, only the role; sessions and the policies of resources are left out; of
    several resources, the decision of an action is the strictest, and each has one of its own. Not as in AWS: no
    matched statements, and no missing context keys.
    """
    source = self._get_param("PolicySourceArn")
    policies = policies_of(self.backend, source)
    if policies is None:
        if not re.fullmatch(r"arn:[\w-]+:iam::\d{12}:(role|user|group)/.+", source):
            raise InvalidInput(f"Invalid Entity Arn: {source} does not clearly define entity type and name.")
        raise NotFoundException(f"The entity with ARN {source} cannot be found.")
    entries = self._get_param("ContextEntries", [])
    context = {one["ContextKeyName"].lower(): tuple(one["ContextKeyValues"]) for one in entries}
    context |= {"aws:principalarn": (source,), "aws:principalaccount": (self.current_account,)}
    named = Named((source,), self.current_account)
    results = []
    for action in self._get_param("ActionNames"):
        decisions = {
            resource: _decision(decide(Question(action, resource), context, policies, named))
            for resource in self._get_param("ResourceArns", ["*"])
        }
        results.append(
            {
                "EvalActionName": action,
                "EvalResourceName": next(iter(decisions)),
                "EvalDecision": max(decisions.values(), key=_STRICTNESS.index),
                "MatchedStatements": [],
                "MissingContextValues": [],
                "ResourceSpecificResults": [
                    {"EvalResourceName": resource, "EvalResourceDecision": decision}
                    for resource, decision in decisions.items()
                ],
            }
        )
    return ActionResult({"EvaluationResults": results, "IsTruncated": False})


def _decision(verdict: Verdict) -> str:
    if verdict.allowed:
        return _STRICTNESS[0]
    return _STRICTNESS[2] if "explicit deny" in verdict.why else _STRICTNESS[1]


def get_service_quota(_self: Moto, service_code: str, quota_code: str) -> dict[str, Any]:
    """Those that moto does not have: it has only the quotas of VPC."""
    value = _QUOTAS.get((service_code, quota_code))
    if value is None:
        found: dict[str, Any] = _service_quota(_self, service_code, quota_code)
        return found
    return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": value, "Unit": "None", "Adjustable": True}


def _loading(original: Callable[..., Any]) -> Callable[..., Any]:
    """AWS has its managed policies in every account; moto has none unless all are loaded at its start."""

    @functools.wraps(original)
    def call(self: Moto, policy_arn: str, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - moto's own arguments
        if policy_arn.startswith(_PREFIX) and not self.aws_managed_policies:
            self.aws_managed_policies = [
                AWSManagedPolicy.from_data(name, self.account_id, self.region_name, data)
                for name, data in json.loads(aws_managed_policies_data).items()
            ]
            self.managed_policies.update((policy.arn, policy) for policy in self.aws_managed_policies)
        return original(self, policy_arn, *args, **kwargs)

    return call
