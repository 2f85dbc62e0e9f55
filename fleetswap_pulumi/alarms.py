"""The alarms of a service, and the topic that they notify. Nothing here carries traffic, and no rollout watches it.

A release's alarms come and go with its group. Each is such that a release without traffic or machines is in none:
no requests and no responses are OK, and a group that is to have no machines is short of none.

Rules of EventBridge, which notify the same topic, notice what has no metric: that the dead man's switch has fired,
and that a Spot Instance is interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, sns

from fleetswap.aws.partition import partition_of
from fleetswap.domain import measures
from fleetswap.domain.measures import Measure, Metric
from fleetswap.domain.partition import Partition
from fleetswap_pulumi.alarm_settings import AlarmSettings
from fleetswap_pulumi.context import Context

OK_WITHOUT_DATA, UNKNOWN_WITHOUT_DATA = "notBreaching", "missing"


@dataclass(frozen=True)
class WatchedArgs:
    """A release with machines: the end of its target group's ARN, and its group's name."""

    release: str
    targets: pulumi.Input[str]
    group: pulumi.Input[str]
    spot: bool
    """Whether it has Spot Instances."""


@dataclass(frozen=True)
class AlarmsArgs:
    """`balancer` is the end of the load balancer's ARN; it is `own` if no other service has requests there."""

    context: Context
    settings: AlarmSettings
    balancer: pulumi.Input[str]
    own: bool
    releases: Sequence[WatchedArgs]
    switch_role: pulumi.Input[str]


class Alarms(pulumi.ComponentResource):
    """Outputs the topic, the ARNs of the alarms, and the names of the rules by what they notice."""

    topic_arn: pulumi.Output[str]
    arns: list[pulumi.Output[str]]
    rules: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:Alarms", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.arns, self.rules = [], {}
        self.topic_arn, self._ready = self._topic()
        failed = args.settings.failed
        if failed is not None and args.own:
            self._alarm(
                f"{name}-failed",
                f"More than {failed.percent:g} % of the requests to {name} failed (5xx, or no response).",
                measures.failed_at_all(failed.min_requests),
                {"LoadBalancer": args.balancer},
                cloudwatch.MetricAlarmArgs(
                    comparison_operator="GreaterThanThreshold",
                    evaluation_periods=failed.minutes,
                    threshold=failed.percent,
                    treat_missing_data=OK_WITHOUT_DATA,
                ),
            )
        for watched in args.releases:
            self._of_release(watched)
        if args.settings.switch:
            self._rule(
                "switch",
                f"the dead man's switch of {name} has fired",
                "<time>: the deployer of a rollout died, and EventBridge Scheduler restored the weights of before."
                " Run `fleetswap status`, then `pulumi up`.",
                _switch(args.switch_role),
            )
        spot = [watched.release for watched in args.releases if watched.spot]
        if args.settings.spot and spot:
            self._rule(
                "spot",
                f"a Spot Instance of {name} is interrupted",
                "<time>: EC2 Auto Scaling replaces a machine, because EC2 takes its Spot Instance back.",
                _spot(spot),
            )
        self.register_outputs({"topicArn": self.topic_arn})

    def _of_release(self, watched: WatchedArgs) -> None:
        settings, release = self._args.settings, watched.release
        places = {
            "LoadBalancer": self._args.balancer,
            "TargetGroup": watched.targets,
            "AutoScalingGroupName": watched.group,
        }
        if (failed := settings.failed) is not None:
            self._alarm(
                f"{release}-failed",
                f"More than {failed.percent:g} % of the requests to release {release} failed (5xx, or no response).",
                measures.failed(failed.min_requests),
                places,
                cloudwatch.MetricAlarmArgs(
                    comparison_operator="GreaterThanThreshold",
                    evaluation_periods=failed.minutes,
                    threshold=failed.percent,
                    treat_missing_data=OK_WITHOUT_DATA,
                ),
                release,
            )
        if (latency := settings.latency) is not None:
            metric = measures.latency(latency.percentile)
            self._alarm(
                f"{release}-latency",
                f"The {latency.percentile:g}th percentile of the response times of release {release} is above"
                f" {latency.seconds:g} s.",
                None,
                {},
                cloudwatch.MetricAlarmArgs(
                    namespace=metric.of[0],
                    metric_name=metric.name,
                    dimensions={each: places[each] for each in metric.of[1]},
                    extended_statistic=metric.statistic,
                    period=measures.PERIOD,
                    # Five slow responses in a night are no percentile.
                    evaluate_low_sample_count_percentiles="ignore",
                    comparison_operator="GreaterThanThreshold",
                    evaluation_periods=latency.minutes,
                    threshold=latency.seconds,
                    treat_missing_data=OK_WITHOUT_DATA,
                ),
                release,
            )
        if (healthy := settings.healthy) is not None:
            self._alarm(
                f"{release}-healthy",
                f"Release {release} has had fewer healthy machines than its group wants for {healthy.minutes} minutes.",
                measures.MISSING,
                places,
                cloudwatch.MetricAlarmArgs(
                    comparison_operator="GreaterThanThreshold",
                    evaluation_periods=healthy.minutes,
                    threshold=0,
                    treat_missing_data=UNKNOWN_WITHOUT_DATA,
                ),
                release,
            )

    def _alarm(
        self,
        name: str,
        description: str,
        measure: Measure | None,
        places: Mapping[str, pulumi.Input[str]],
        args: cloudwatch.MetricAlarmArgs,
        release: str | None = None,
    ) -> None:
        """Of a measure, or of the metric that is in `args`."""
        args.alarm_description = description
        args.alarm_actions = args.ok_actions = [self.topic_arn]
        args.tags = self._args.context.tags(name, release=release)
        if measure is not None:
            args.metric_queries = _queries(measure, places)
        opts = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=self._ready))
        self.arns.append(cloudwatch.MetricAlarm(name, args, opts=opts).arn)

    def _rule(self, what: str, title: str, text: str, pattern: pulumi.Input[str]) -> None:
        """A rule whose message Amazon Q Developer in chat applications takes as well ("Custom notifications")."""
        name = f"{self._name}-{what}"
        rule = cloudwatch.EventRule(
            name, description=title, event_pattern=pattern, tags=self._args.context.tags(name), opts=self._child
        )
        content = {"textType": "client-markdown", "title": title, "description": text}
        cloudwatch.EventTarget(
            name,
            rule=rule.name,
            target_id="topic",
            arn=self.topic_arn,
            input_transformer=cloudwatch.EventTargetInputTransformerArgs(
                input_paths={"time": "$.time"},
                input_template=json.dumps({"version": "1.0", "source": "custom", "content": content}),
            ),
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=self._ready)),
        )
        self.rules[what] = rule.name

    def _topic(self) -> tuple[pulumi.Output[str], list[pulumi.Resource]]:
        """The topic, and what must exist before anything may publish to it.

        It is not encrypted: no alarm can use SNS's own key (CloudWatch user guide), and a customer managed key is of
        an existing topic.
        """
        if self._args.settings.topic is not None:
            return pulumi.Output.from_input(self._args.settings.topic), []
        name, context = f"{self._name}-alarms", self._args.context
        topic = sns.Topic(name, tags=context.tags(name), opts=self._child)
        partition = partition_of(context.region)
        where = f"arn:{partition.name}:cloudwatch:{context.region}:{context.account}:alarm"
        policy = topic.arn.apply(lambda arn: _topic_policy(arn, f"{where}:{self._name}-*", partition))
        return topic.arn, [sns.TopicPolicy(name, arn=topic.arn, policy=policy, opts=self._child)]


def _queries(measure: Measure, places: Mapping[str, pulumi.Input[str]]) -> list[cloudwatch.MetricAlarmMetricQueryArgs]:
    """The expression, which is what is compared, and its metrics."""

    def query(metric: Metric) -> cloudwatch.MetricAlarmMetricQueryArgs:
        namespace, dimensions = metric.of
        return cloudwatch.MetricAlarmMetricQueryArgs(
            id=metric.id,
            metric=cloudwatch.MetricAlarmMetricQueryMetricArgs(
                namespace=namespace,
                metric_name=metric.name,
                dimensions={each: places[each] for each in dimensions},
                period=measures.PERIOD,
                stat=metric.statistic,
            ),
        )

    result = cloudwatch.MetricAlarmMetricQueryArgs(
        id="result", expression=measure.expression, label="result", return_data=True
    )
    return [result, *map(query, measure.metrics)]


def _topic_policy(topic: str, alarms: str, partition: Partition) -> str:
    """Who may publish besides the account's own roles. EventBridge has taken no condition in such a policy (user
    guide, "Amazon SNS permissions"); CloudWatch does.
    """
    publish = {"Effect": "Allow", "Action": "sns:Publish", "Resource": topic}
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "Alarms",
                    **publish,
                    "Principal": {"Service": partition.principal("cloudwatch")},
                    "Condition": {"ArnLike": {"aws:SourceArn": alarms}},
                },
                {"Sid": "Rules", **publish, "Principal": {"Service": partition.principal("events")}},
            ],
        }
    )


def _switch(role: pulumi.Input[str]) -> pulumi.Output[str]:
    """A change of a rule by the role of the switch, which EventBridge Scheduler alone may assume.

    The metrics of Scheduler are those of a whole schedule group, which other services share.
    """
    return pulumi.Output.from_input(role).apply(
        lambda arn: json.dumps(
            {
                "source": ["aws.elasticloadbalancing"],
                "detail-type": ["AWS API Call via CloudTrail"],
                "detail": {
                    "eventName": ["ModifyRule"],
                    "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": [arn]}}},
                },
            }
        )
    )


def _spot(releases: Sequence[str]) -> str:
    """The end of a machine in a group of one of the releases, for a reason with Spot in it.

    The warning of EC2 has the ID of an instance, and not whose it is. A group's name begins with its release's.
    """
    return json.dumps(
        {
            "source": ["aws.autoscaling"],
            "detail-type": ["EC2 Instance Terminate Successful", "EC2 Instance Terminate Unsuccessful"],
            "detail": {
                "AutoScalingGroupName": [{"prefix": f"{release}-"} for release in releases],
                "Cause": [{"wildcard": "*Spot*"}, {"wildcard": "*spot*"}],
            },
        }
    )
