"""The front door: the load balancer and its listener, or an existing listener.

The default action of an own listener is a fixed 503; that of an existing one is never touched. Traffic arrives through
listener rules: one with the weights, which the Rollout owns, and one preview rule per release. So no resource declared
here can ever write weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pulumi
from pulumi_aws import lb, route53, wafv2

from fleetswap.domain.rollout.listener import Seen
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.front_settings import FrontSettings

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""The policy that AWS recommends for HTTPS listeners (ELB user guide, Security policies)."""

HTTP_PORT = 80


@dataclass(frozen=True)
class FrontDoorArgs:
    """With a certificate, the listener uses HTTPS. `after` must be created first: the route to the internet.

    Of `settings`, everything else is taken: more certificates, logs and so on. `seen` is an existing listener, in place
    of an own load balancer; `zone_id` is the hosted zone of the domain.
    """

    context: Context
    subnet_ids: list[pulumi.Output[str]]
    security_group_id: pulumi.Output[str] | None
    port: int
    certificate_arn: str | None
    idle_timeout: int
    after: Sequence[pulumi.Resource]
    dualstack: bool = False
    settings: FrontSettings = field(default_factory=FrontSettings)
    seen: Seen | None = None
    zone_id: str | None = None


class FrontDoor(pulumi.ComponentResource):
    """Outputs the listener, its load balancer, the URL for users, and the one that AWS gave, which works before any DNS
    record does.
    """

    listener_arn: pulumi.Output[str]
    url: pulumi.Output[str]
    own_url: pulumi.Output[str]
    balancer: pulumi.Output[str]
    """The end of the load balancer's ARN, `app/NAME/ID`, by which CloudWatch knows it."""
    ids: dict[str, pulumi.Output[str]]
    """Of what carries the traffic, by what it is, if it is the stack's own."""

    def __init__(self, name: str, args: FrontDoorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        self.ids = {}
        super().__init__("fleetswap:components:FrontDoor", name, None, opts)
        self._args, self._child = args, pulumi.ResourceOptions(parent=self)
        seen = args.seen
        if seen is None:
            dns_name, balancer_zone = self._own(name)
            secure, port, dualstack = args.certificate_arn is not None, args.port, args.dualstack
        else:
            self.listener_arn = pulumi.Output.from_input(seen.arn)
            self.balancer = pulumi.Output.from_input(seen.balancer)
            dns_name, balancer_zone = (pulumi.Output.from_input(each) for each in (seen.dns_name, seen.zone_id))
            secure, port, dualstack = seen.protocol == "HTTPS", seen.port, seen.dualstack
        scheme, usual = ("https", 443) if secure else ("http", HTTP_PORT)
        ending = "" if port == usual else f":{port}"
        self.own_url = pulumi.Output.concat(f"{scheme}://", dns_name, ending)
        self.url = self.own_url
        domain = args.settings.domain
        if domain is not None and args.zone_id is not None:
            self.url = pulumi.Output.from_input(f"{scheme}://{domain.name}{ending}")
            for kind in ("A", "AAAA") if dualstack else ("A",):
                route53.Record(
                    name if kind == "A" else f"{name}-{kind.lower()}",
                    zone_id=args.zone_id,
                    name=domain.name,
                    type=kind,
                    aliases=[
                        route53.RecordAliasArgs(name=dns_name, zone_id=balancer_zone, evaluate_target_health=True)
                    ],
                    opts=self._child,
                )
        self.register_outputs({"listenerArn": self.listener_arn, "url": self.url})

    def _own(self, name: str) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Declare the load balancer and its listener. What is as AWS has it anyway is not among the inputs."""
        args, front = self._args, self._args.settings
        logs = front.access_logs
        balancer = lb.LoadBalancer(
            name,
            load_balancer_type="application",
            internal=front.internal,
            ip_address_type="dualstack" if args.dualstack else None,
            security_groups=None if args.security_group_id is None else [args.security_group_id],
            subnets=args.subnet_ids,
            drop_invalid_header_fields=True,
            idle_timeout=args.idle_timeout,
            enable_http2=None if front.http2 else False,
            enable_deletion_protection=True if front.deletion_protection else None,
            access_logs=None
            if logs is None
            else lb.LoadBalancerAccessLogsArgs(bucket=logs.bucket, prefix=logs.prefix, enabled=True),
            tags=args.context.tags(name),
            # ELBv2 refuses an internet-facing load balancer in a VPC without an internet gateway (InvalidSubnet).
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.after),
        )
        if front.web_acl_arn is not None:
            wafv2.WebAclAssociation(name, resource_arn=balancer.arn, web_acl_arn=front.web_acl_arn, opts=self._child)
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
            opts=self._child,
        )
        for arn in front.certificates:
            # Named by what it is: were it by its place in the list, to remove one would take others off as well.
            lb.ListenerCertificate(
                f"{name}-{arn.rpartition('/')[2]}", listener_arn=listener.arn, certificate_arn=arn, opts=self._child
            )
        if front.redirect_http:
            self._redirect(f"{name}-redirect", balancer, listener)
        self.listener_arn, self.balancer = listener.arn, balancer.arn_suffix
        self.ids = {"the load balancer": balancer.id, "its listener": listener.id}
        return balancer.dns_name, balancer.zone_id

    def _redirect(self, name: str, balancer: lb.LoadBalancer, listener: lb.Listener) -> None:
        lb.Listener(
            name,
            load_balancer_arn=balancer.arn,
            port=HTTP_PORT,
            protocol="HTTP",
            default_actions=[
                lb.ListenerDefaultActionArgs(
                    type="redirect",
                    redirect=lb.ListenerDefaultActionRedirectArgs(
                        protocol="HTTPS", port=str(self._args.port), status_code="HTTP_301"
                    ),
                )
            ],
            tags=self._args.context.tags(name),
            # Of a stack that had no certificate, the listener is at port 80 until it is updated (DuplicateListener).
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[listener])),
        )
