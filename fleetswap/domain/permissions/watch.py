"""What the stack's alarms and its dashboard take."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Statement


def look(scope: Scope) -> Iterator[Statement]:
    """What a refresh reads."""
    if not scope.watched:
        return
    yield Statement(
        "LookAtAlarms",
        "the stack's alarms and rules of EventBridge, and their topic",
        (
            "cloudwatch:DescribeAlarms",
            "cloudwatch:ListTagsForResource",
            "events:DescribeRule",
            "events:ListTagsForResource",
            "events:ListTargetsByRule",
            *(("sns:GetTopicAttributes", "sns:ListTagsForResource") if scope.own_topic else ()),
        ),
        (*_alarms(scope), *_rules(scope), *(_topics(scope) if scope.own_topic else ())),
    )
    if scope.dashboard is not None:
        yield Statement(
            "LookAtDashboard", "whether there is the dashboard", ("cloudwatch:GetDashboard",), _dashboard(scope)
        )


def make(scope: Scope) -> Iterator[Statement]:
    """What an update changes."""
    if not scope.watched:
        return
    yield Statement(
        "MakeAlarms",
        "the stack's alarms, and what notices events that no metric has",
        (
            "cloudwatch:DeleteAlarms",
            "cloudwatch:PutMetricAlarm",
            "cloudwatch:TagResource",
            "cloudwatch:UntagResource",
            "events:DeleteRule",
            "events:PutRule",
            "events:PutTargets",
            "events:RemoveTargets",
            "events:TagResource",
            "events:UntagResource",
        ),
        (*_alarms(scope), *_rules(scope)),
    )
    yield Statement(
        "MeasureGroups",
        "the metrics of the stack's groups, by which machines that are missing are noticed",
        ("autoscaling:DisableMetricsCollection", "autoscaling:EnableMetricsCollection"),
        scope.groups,
        scope.own,
    )
    if scope.own_topic:
        yield Statement(
            "MakeTopic",
            "the topic that alarms notify",
            (
                "sns:CreateTopic",
                "sns:DeleteTopic",
                "sns:SetTopicAttributes",
                "sns:TagResource",
                "sns:UntagResource",
            ),
            _topics(scope),
        )
    if scope.dashboard is not None:
        yield Statement(
            "WriteDashboard",
            "the dashboard; without it there is a warning, and the deploy succeeds",
            ("cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard"),
            _dashboard(scope),
        )


def _arn(scope: Scope, service: str, resource: str) -> str:
    return f"arn:{scope.partition}:{service}:{scope.region}:{scope.account}:{resource}"


def _alarms(scope: Scope) -> tuple[str, ...]:
    return (_arn(scope, "cloudwatch", f"alarm:{scope.service}-*"),)


def _rules(scope: Scope) -> tuple[str, ...]:
    return (_arn(scope, "events", f"rule/{scope.service}-*"),)


def _topics(scope: Scope) -> tuple[str, ...]:
    return (_arn(scope, "sns", f"{scope.service}-alarms-*"),)


def _dashboard(scope: Scope) -> tuple[str, ...]:
    return (f"arn:{scope.partition}:cloudwatch::{scope.account}:dashboard/{scope.dashboard}",)
