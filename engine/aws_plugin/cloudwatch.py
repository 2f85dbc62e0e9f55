"""CloudWatch's alarms of metrics: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_changes, tag_list, tag_map
from engine.aws_plugin.kind import Call, Kind, forget_missing
from engine.aws_plugin.wire import Props, Value

_PLAIN = {
    "actionsEnabled": "ActionsEnabled",
    "alarmActions": "AlarmActions",
    "alarmDescription": "AlarmDescription",
    "comparisonOperator": "ComparisonOperator",
    "datapointsToAlarm": "DatapointsToAlarm",
    "evaluateLowSampleCountPercentiles": "EvaluateLowSampleCountPercentile",
    "evaluationPeriods": "EvaluationPeriods",
    "extendedStatistic": "ExtendedStatistic",
    "insufficientDataActions": "InsufficientDataActions",
    "metricName": "MetricName",
    "namespace": "Namespace",
    "okActions": "OKActions",
    "period": "Period",
    "statistic": "Statistic",
    "threshold": "Threshold",
    "treatMissingData": "TreatMissingData",
    "unit": "Unit",
}
"""Properties that PutMetricAlarm and DescribeAlarms call the same."""

_WHOLE = ("datapointsToAlarm", "evaluationPeriods", "period")


class MetricAlarm(Kind):
    """An alarm of a metric, or of an expression of metrics (`aws_cloudwatch_metric_alarm`)."""

    type_name = "aws:cloudwatch/metricAlarm:MetricAlarm"
    noun = "CloudWatch Metric Alarm"
    supported = frozenset({*_PLAIN, "dimensions", "metricQueries", "name", "region", "tags"})
    replace = frozenset({"name"})
    defaults: ClassVar[Props] = {"actionsEnabled": True, "treatMissingData": "missing"}
    computed = frozenset({"arn", "name", "evaluateLowSampleCountPercentiles"})
    rules = Rules(sets=frozenset({"alarmActions", "insufficientDataActions", "metricQueries", "okActions"}))
    name_length = 255

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """One metric or several, and for one a statistic (Terraform: `ConflictsWith`)."""
        given = [name for name in ("metricName", "metricQueries") if props.get(name)]
        if len(given) != 1:
            yield "metricName", "an alarm has exactly one of metricName, metricQueries"
        if props.get("metricName") and bool(props.get("statistic")) == bool(props.get("extendedStatistic")):
            yield "statistic", "an alarm of a metric has exactly one of statistic, extendedStatistic"

    def create(self, call: Call, props: Props) -> str:
        """Put it, with its tags."""
        tags = {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {}
        self._put(call, props, tags)
        call.made = str(props["name"])
        return call.made

    @staticmethod
    def _put(call: Call, props: Props, tags: dict[str, Any]) -> None:
        arguments = {api: props[name] for name, api in _PLAIN.items() if props.get(name) not in (None, "", [])}
        arguments |= {_PLAIN[name]: int(props[name]) for name in _WHOLE if props.get(name) is not None}
        if props.get("dimensions"):
            arguments["Dimensions"] = _dimensions(props["dimensions"])
        if props.get("metricQueries"):
            arguments["Metrics"] = [_query(each) for each in props["metricQueries"]]
        call.client("cloudwatch").put_metric_alarm(AlarmName=props["name"], **arguments, **tags)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The alarm and its tags."""
        api = call.client("cloudwatch")
        found = api.describe_alarms(AlarmNames=[resource_id], AlarmTypes=["MetricAlarm"])["MetricAlarms"]
        if not found:
            return None
        alarm = found[0]
        tags = api.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"]
        return {
            **{name: alarm.get(api_name) for name, api_name in _PLAIN.items()},
            "name": alarm["AlarmName"],
            "arn": alarm["AlarmArn"],
            "dimensions": {each["Name"]: each["Value"] for each in alarm.get("Dimensions", [])} or None,
            "metricQueries": [_seen(each) for each in alarm.get("Metrics", [])] or None,
            "tagsAll": tag_map(tags),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Put it again, which replaces all but the tags (API reference: PutMetricAlarm)."""
        if changed - {"tags", "tagsAll"}:
            self._put(call, new, {})
        api, arn = call.client("cloudwatch"), old["arn"]
        removed, set_now = tag_changes(old, new)
        if removed:
            api.untag_resource(ResourceARN=arn, TagKeys=removed)
        if set_now:
            api.tag_resource(ResourceARN=arn, Tags=tag_list(set_now))

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        forget_missing(lambda: call.client("cloudwatch").delete_alarms(AlarmNames=[resource_id]))


def _dimensions(given: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(given.items())]


def _query(given: Mapping[str, Any]) -> dict[str, Any]:
    """One of `metricQueries` as PutMetricAlarm wants it."""
    query: dict[str, Any] = {"Id": given["id"], "ReturnData": bool(given.get("returnData"))}
    query |= {api: given[name] for name, api in (("expression", "Expression"), ("label", "Label")) if given.get(name)}
    metric = given.get("metric")
    if metric:
        what = {"Namespace": metric.get("namespace"), "MetricName": metric["metricName"]}
        what = {key: value for key, value in what.items() if value}
        statistic = {
            "Metric": {**what, "Dimensions": _dimensions(metric.get("dimensions") or {})},
            "Period": int(metric["period"]),
            "Stat": metric["stat"],
        }
        query["MetricStat"] = statistic | ({"Unit": metric["unit"]} if metric.get("unit") else {})
    return query


def _seen(query: Mapping[str, Any]) -> Value:
    """One of an alarm's queries as the SDK has it."""
    found: dict[str, Any] = {"id": query["Id"], "returnData": bool(query.get("ReturnData"))}
    found |= {name: query.get(api) for name, api in (("expression", "Expression"), ("label", "Label"))}
    if stat := query.get("MetricStat"):
        metric = stat["Metric"]
        found["metric"] = {
            "namespace": metric.get("Namespace"),
            "metricName": metric["MetricName"],
            "dimensions": {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])},
            "period": stat["Period"],
            "stat": stat["Stat"],
            "unit": stat.get("Unit"),
        }
    return found
