"""The managed policies of AWS itself: there when they are first asked for; and what else moto lacks of IAM and STS.

Decides when they are loaded: with the first ARN of one, because loading all 1,582 takes a fifth of a second, and most
runs never name one. Whether a policy allows anything is judged in `authorization`.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from moto.iam import models
from moto.iam.models import AWSManagedPolicy, IAMBackend, aws_managed_policies_data
from moto.sts.models import STSBackend
from moto.sts.responses import TokenResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_assume_role = TokenResponse.assume_role
_begin_session = STSBackend.assume_role
_create_linked_role = IAMBackend.create_service_linked_role
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


def patch(patches: Patches) -> None:
    """Make AWS's managed policies attachable, and name service-linked roles as AWS does."""
    patches.set(models, "SERVICE_NAME_CONVERSION", {**models.SERVICE_NAME_CONVERSION, **_SERVICES})
    patches.methods(TokenResponse, assume_role)
    patches.set(STSBackend, "assume_role", begin_session)
    patches.methods(IAMBackend, create_service_linked_role)
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
