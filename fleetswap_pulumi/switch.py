"""What the dead man's switch may do: the role with which EventBridge Scheduler restores the previous weights.

The schedule itself belongs to the rollout, which creates it before the first weight changes and deletes it at the end;
see `fleetswap.aws.rollout.switch`. The role may change the rules of this one listener and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam

from fleetswap.aws.partition import partition_of
from fleetswap.domain import tags
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.iam_policy import document, trust


@dataclass(frozen=True)
class SwitchArgs:
    """`listener_arn` is the listener whose rules the switch may change; if it is `shared`, only those of the stack."""

    context: Context
    listener_arn: pulumi.Output[str]
    shared: bool = False


class Switch(pulumi.ComponentResource):
    """Outputs the role's ARN, once the role has its permissions."""

    role_arn: pulumi.Output[str]

    def __init__(self, name: str, args: SwitchArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:Switch", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        role = iam.Role(
            f"{name}-switch",
            path=args.context.path,
            permissions_boundary=args.context.boundary,
            assume_role_policy=trust(partition_of(args.context.region).principal("scheduler")),
            tags=args.context.tags(f"{name}-switch"),
            opts=child,
        )
        own = {tags.STACK: args.context.stack, tags.SERVICE: args.context.service} if args.shared else {}
        policy = iam.RolePolicy(
            f"{name}-switch",
            role=role.name,
            policy=args.listener_arn.apply(lambda listener: _policy(listener, own)),
            opts=child,
        )
        self.role_arn = pulumi.Output.all(role.arn, policy.id).apply(lambda made: str(made[0]))
        self.register_outputs({"roleArn": self.role_arn})


def _policy(listener_arn: str, own: Mapping[str, str]) -> str:
    """The ARN of a rule is its listener's, with another word in it (Service Authorization Reference, ELB v2).

    Its own id is known only when the rollout has made it. `own` are the tags that the rule must have, if others have
    rules on the listener: ModifyRule supports aws:ResourceTag (the same reference).
    """
    rules = listener_arn.replace(":listener/", ":listener-rule/") + "/*"
    statement: dict[str, object] = {
        "Effect": "Allow",
        "Action": "elasticloadbalancing:ModifyRule",
        "Resource": rules,
    }
    if own:
        statement["Condition"] = {"StringEquals": {f"aws:ResourceTag/{key}": value for key, value in own.items()}}
    return document(statement)
