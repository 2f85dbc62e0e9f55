"""The protection of a release's AMI from deregistration: a dynamic provider, because the AWS provider has no argument.

It depends on the AMI, so the engine deletes it first: the protection is lifted by the retention that deletes the AMI,
and by nothing before. Until then, EC2 refuses to deregister it.
"""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from fleetswap.aws.image import protection
from fleetswap_pulumi.checks import check_failures
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.reach import ReachInputs, differences

SCHEMA = 1
"""Version of the inputs. A newer program must keep reading the states that older ones wrote."""

REPLACING = ("image", "region")
"""Another value of these is the protection of another AMI."""


class Inputs(ReachInputs):
    """The resource's inputs: `image` is the AMI's ID."""

    schema_version: int
    image: str


class ImageProtectionProvider(ResourceProvider):
    """Protects one AMI, and lifts the protection. Repeating either changes nothing."""

    serialize_as_secret_always = False

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse inputs that this version cannot read."""
        return CheckResult(news, check_failures(Inputs, news))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another AMI has a protection of its own."""
        changed, replaces = differences(Inputs, REPLACING, _olds, _news)
        return DiffResult(changes=changed, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Protect it."""
        inputs = Inputs.of(props)
        protection.protect(inputs.admitted().ec2(), inputs.image)
        return CreateResult(f"{inputs.image}-protection", props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """A protection that somebody lifted has no ID: after a refresh, the next update protects the AMI again."""
        inputs = Inputs.of(props)
        return ReadResult(id_ if protection.is_protected(inputs.admitted().ec2(), inputs.image) else "", props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Only record."""
        return UpdateResult(_news)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Lift it: the AMI is deleted next."""
        inputs = Inputs.of(_props)
        protection.lift(inputs.admitted().ec2(), inputs.image)


class ImageProtection(Resource, module="fleetswap", name="ImageProtection"):
    """Protects the AMI of a release until the release is deleted."""

    def __init__(
        self, name: str, context: Context, image: pulumi.Output[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        inputs = {
            "schema_version": SCHEMA,
            "image": image,
            "region": context.region,
            "endpoint": context.endpoint,
            "access": context.reach,
        }
        super().__init__(ImageProtectionProvider(), name, inputs, opts)
