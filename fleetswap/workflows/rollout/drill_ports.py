"""What a drill needs from the outside, as `typing.Protocol`s.

Every call may raise `TryAgain` or `CloudError`: what it is about is then unknown. Only `Identity.try_switch` makes
something, and deletes it. `fleetswap.aws.rollout` implements them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from fleetswap.domain.drill.seen import Ami, Caller, Front, Launches, Snapshot, Subnet, SwitchRole, Template
from fleetswap.domain.drill.vcpus import Running
from fleetswap.domain.permissions.simulate import Denied, Question
from fleetswap.domain.release.default_key import EbsDefault, KeyAccess
from fleetswap.domain.rollout.health import Answer
from fleetswap.domain.secrets.key_state import KeyState


class Parts(Protocol):
    """What machines are launched from."""

    def launches(self, group: str) -> Launches | None:
        """How a group launches machines, or None if it does not exist."""

    def template(self, launches: Launches) -> Template | None:
        """The version of the launch template, or None if it does not exist."""

    def ami(self, image: str) -> Ami | None:
        """An AMI, or None if it does not exist."""

    def snapshots(self, ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """Those of the snapshots that exist."""

    def subnets(self, ids: Sequence[str]) -> Mapping[str, Subnet]:
        """Those of the subnets that exist."""

    def security_groups(self, ids: Sequence[str]) -> Collection[str]:
        """Those of the security groups that exist."""

    def offered(self, types: Collection[str], zones: Collection[str]) -> Collection[str]:
        """Those of the instance types that at least one of the zones offers."""

    def vcpus(self, types: Collection[str]) -> Mapping[str, int]:
        """The vCPUs of instance types."""

    def running(self) -> Sequence[Running]:
        """The machines that run in the region, whoever they belong to."""

    def quota(self, quota: str) -> float:
        """The value of a quota of EC2."""

    def try_launch(self, launches: Launches, template: Template) -> str:
        """Let EC2 check a launch without making it: its refusal, or an empty text."""


class Keys(Protocol):
    """KMS, and how EBS encrypts."""

    def state(self, arn: str) -> KeyState:
        """The state of a key; that it is unknown is a state as well."""

    def access(self, arn: str, role: str) -> KeyAccess:
        """What the policy of a key and its grants let a role do."""

    def ebs_default(self) -> EbsDefault:
        """How EBS encrypts what names no key."""


class Identity(Protocol):
    """IAM, and what EventBridge Scheduler says of a role."""

    def caller(self) -> Caller:
        """Whose credentials these are."""

    def denied(self, principal: str, question: Question) -> Sequence[Denied]:
        """Those of the actions that IAM's simulation does not allow a user or role."""

    def switch_role(self, stack: str, service: str, rule: str) -> SwitchRole | None:
        """The role of the stack's dead man's switch, or None if there is none."""

    def try_switch(self, service: str, rule: str, role: str) -> str:
        """Make a schedule that never fires, and delete it: why the role cannot be assumed, or an empty text."""


class Preview(Protocol):
    """The way to a release before its traffic."""

    def value(self, release: str, target_group: str | None = None) -> str | None:
        """The header value that reaches the release, or None if it has no preview rule."""

    def front(self, target_group: str) -> Front:
        """How the release with this target group is reached."""

    def get(self, front: Front, release: str, target_group: str) -> Answer:
        """What the release responds."""
