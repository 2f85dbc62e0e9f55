"""The adapters of one service: the one place that says which schedule, tags and stack belong to it.

A rollout's provider and the command line act on the same service, so each must find what the other has written. This
module creates clients and makes no call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from fleetswap.aws.keys import Keys
from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.hooks import HookRunner
from fleetswap.aws.rollout.metric_queries import MetricQueries
from fleetswap.aws.rollout.metrics import LOCAL_PERIOD, PERIOD, Metrics
from fleetswap.aws.rollout.notifier import Topic, region_of
from fleetswap.aws.rollout.previews import Previews
from fleetswap.aws.rollout.probe import HttpProber
from fleetswap.aws.rollout.switch import Switch
from fleetswap.aws.rollout.webhook import Several, Webhook
from fleetswap.domain.rollout.health import HTTP1, ProbeProtocol
from fleetswap.domain.rollout.rule import OWN, Rules

if TYPE_CHECKING:
    from fleetswap.aws.session import Cloud


class Adapters:
    """What a rollout of one service reaches AWS through. Safe to share between threads, as the clients are."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        stack: str,
        service: str,
        listener: str,
        tags: Mapping[str, str],
        switch_role: str | None = None,
        rules: Rules | None = OWN,
    ) -> None:
        """`stack` is as in the tags, `tags` are for a rule that has to be made, `rules` says where; see `Balancer`.

        Without a `switch_role`, what an earlier run armed is found all the same, and can be disarmed.
        """
        self._cloud = cloud
        self._stack = stack
        self._listener = listener
        elbv2 = cloud.elbv2()
        self.balancer = Balancer(elbv2, tags=tags, rules=rules)
        self.previews = Previews(elbv2, listener, tags=tags, rules=rules or OWN)
        self.keys = Keys(cloud)
        self.fleet = Fleet(cloud.autoscaling(), cloud.ec2, stack=stack)
        self.switch = Switch(
            cloud.scheduler(),
            service=service,
            stack=stack,
            listener=listener,
            shared=rules is None or rules.priorities is not None,
            role=switch_role,
        )

    def metrics(self) -> Metrics:
        """CloudWatch, which only a rollout asks: to make a client takes time that a preview does without."""
        return Metrics(self._cloud.cloudwatch(), listener=self._listener, period=self._period)

    def metric_queries(self) -> MetricQueries:
        """CloudWatch, for the metrics that the settings name."""
        return MetricQueries(self._cloud.cloudwatch(), self._period)

    @property
    def _period(self) -> int:
        return PERIOD if self._cloud.endpoint is None else LOCAL_PERIOD

    def prober(self, host: str | None, target_groups: Mapping[str, str], protocol: ProbeProtocol = HTTP1) -> HttpProber:
        """What asks through the load balancer. `host` is the `Host` to ask by, if not the URL's; `protocol` is how.

        `target_groups` are those of the releases, by which their preview rules are known without another call.
        """
        return HttpProber(lambda release: self.previews.value(release, target_groups.get(release)), host, protocol)

    def hooks(self, target_groups: Mapping[str, str], interrupted: Callable[[], bool] = lambda: False) -> HookRunner:
        """What runs hooks. `interrupted` is whether someone wants the rollout to stop."""
        return HookRunner(
            stack=self._stack,
            preview=lambda release: self.previews.value(release, target_groups.get(release)),
            function=self._cloud.function,
            interrupted=interrupted,
        )

    def notifier(self, topic: str | None, webhook_env: str | None = None) -> Several:
        """Whom a rollout notifies of its end: the SNS topic with this ARN, in its own region, and the webhook whose URL
        is in this environment variable. None of them: nobody.
        """
        topics = [Topic(self._cloud.sns(region_of(topic)), topic)] if topic is not None else []
        return Several([*topics, *([Webhook(webhook_env)] if webhook_env is not None else [])])
