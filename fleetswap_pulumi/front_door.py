"""The front door: the load balancer and its listener.

The listener's default action is a fixed 503. Traffic arrives through listener rules: one with the weights, which the
Rollout owns, and one preview rule per release. So no resource declared here can ever write weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import lb

from fleetswap_pulumi.context import Context

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""The policy that AWS recommends for HTTPS listeners (ELB user guide, Security policies)."""


@dataclass(frozen=True)
class FrontDoorArgs:
    """With a certificate, the listener uses HTTPS. `after` must be created first: the route to the internet."""

    context: Context
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Output[str] | None
    port: int
    certificate_arn: str | None
    idle_timeout: int
    after: Sequence[pulumi.Resource]
    dualstack: bool = False


class FrontDoor(pulumi.ComponentResource):
    """Outputs the listener and its URL."""

    listener_arn: pulumi.Output[str]
    url: pulumi.Output[str]

    def __init__(self, name: str, args: FrontDoorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:FrontDoor", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        balancer = lb.LoadBalancer(
            name,
            load_balancer_type="application",
            internal=False,
            ip_address_type="dualstack" if args.dualstack else None,
            security_groups=None if args.security_group_id is None else [args.security_group_id],
            subnets=args.subnet_ids,
            drop_invalid_header_fields=True,
            idle_timeout=args.idle_timeout,
            tags=args.context.tags(name),
            # ELBv2 refuses an internet-facing load balancer in a VPC without an internet gateway (InvalidSubnet).
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        secure = args.certificate_arn is not None
        listener = lb.Listener(
            name,
            load_balancer_arn=balancer.arn,
            port=args.port,
            protocol="HTTPS" if secure else "HTTP",
            certificate_arn=args.certificate_arn,
            ssl_policy=TLS_POLICY if secure else None,
            default_actions=[
                lb.ListenerDefaultActionArgs(
                    type="fixed-response",
                    fixed_response=lb.ListenerDefaultActionFixedResponseArgs(
                        content_type="text/plain", message_body="no release is live\n", status_code="503"
                    ),
                )
            ],
            tags=args.context.tags(name),
            opts=child,
        )
        self.listener_arn = listener.arn
        scheme, usual = ("https", 443) if secure else ("http", 80)
        port = "" if args.port == usual else f":{args.port}"
        self.url = pulumi.Output.concat(f"{scheme}://", balancer.dns_name, port)
        self.register_outputs({"listenerArn": self.listener_arn, "url": self.url})
