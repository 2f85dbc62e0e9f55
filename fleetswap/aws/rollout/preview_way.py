"""The way to a release through its preview rule: the load balancer's own address, and what a healthy response is.

Implements `fleetswap.workflows.rollout.drill_ports.Preview`. It sends one request, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fleetswap.aws.errors import explained
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.domain.drill.seen import Front
from fleetswap.domain.rollout.health import Answer, ProbeProtocol

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud

SECONDS = 5.0
"""For connecting, and for each read, as a rollout's probe."""

WILDCARDS = frozenset("*?")


class PreviewWay:
    """The way on one listener. Safe to share between threads, as the clients are."""

    def __init__(self, cloud: Cloud, listener: str, previews: Previews, hosts: tuple[str, ...] = ()) -> None:
        """`hosts` are those that the stack's rules take requests for; empty: any."""
        self._cloud = cloud
        self._listener = listener
        self._previews = previews
        self._host = next((each for each in hosts if not WILDCARDS & set(each)), None)

    @cached_property
    def _elbv2(self) -> Any:  # noqa: ANN401 - parts of answers that the stubs have as optional
        return self._cloud.elbv2()

    def value(self, release: str, target_group: str | None = None) -> str | None:
        """The header value that reaches the release, or None if it has no preview rule."""
        return self._previews.value(release, target_group)

    def front(self, target_group: str) -> Front:
        """How the release with this target group is reached. Raises `TryAgain` or `CloudError`."""
        with explained("elasticloadbalancing:DescribeListeners", self._listener):
            listener = self._elbv2.describe_listeners(ListenerArns=[self._listener])["Listeners"][0]
        balancer = listener["LoadBalancerArn"]
        with explained("elasticloadbalancing:DescribeLoadBalancers", balancer):
            found = self._elbv2.describe_load_balancers(LoadBalancerArns=[balancer])["LoadBalancers"][0]
        with explained("elasticloadbalancing:DescribeTargetGroups", target_group):
            checked = self._elbv2.describe_target_groups(TargetGroupArns=[target_group])["TargetGroups"][0]
        scheme, path = listener["Protocol"].lower(), checked.get("HealthCheckPath", "/")
        codes, protocol = _health(checked)
        return Front(f"{scheme}://{found['DNSName']}:{listener['Port']}{path}", codes, self._host, protocol)

    def get(self, front: Front, release: str, target_group: str) -> Answer:
        """What the release responds, or why there is no response. Raises `TryAgain` or `CloudError`."""
        prober = HttpProber(lambda each: self.value(each, target_group), front.host, front.protocol)
        return prober.get(front.url, release=release, timeout=SECONDS)


def _health(target_group: Mapping[str, Any]) -> tuple[str, ProbeProtocol]:
    """The HTTP statuses of a healthy response, and what to speak. gRPC has statuses of its own behind HTTP's 200."""
    matcher, version = target_group.get("Matcher", {}), target_group.get("ProtocolVersion", "HTTP1").lower()
    if version == "grpc":
        return "200", ProbeProtocol(version, matcher.get("GrpcCode", "0"))
    return matcher.get("HttpCode", "200"), ProbeProtocol(version)
