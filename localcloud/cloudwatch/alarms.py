"""CloudWatch's alarms as AWS runs them: what is refused, when one changes its state, and whom it tells.

Decides the state of alarms that compare a statistic of one metric, or the result of metric math, with a threshold.
Others (expressions that `expressions` does not know, and anomaly detection) are kept, and stay as they are until
SetAlarmState says otherwise; moto has no PutCompositeAlarm. Of the actions, messages to SNS topics and scaling policies
are done. A policy is invoked again at each look, as long as the state is ALARM; one that SetAlarmState set invokes
none.

The alarms of a target tracking policy on a metric of AWS (`tracks`: `scale_out` or `scale_in`) are looked at each 10 s,
for this is a minute here (`lateness`, which also says how many data points they want). A sum counts six times, so that
requests a minute stay that.

An alarm is looked at when a period has ended, at least each minute, and as much later as a load balancer's figures are
late (`lateness`, `metrics`), so that these are there. So a state that SetAlarmState set lasts until then, as in AWS. A
new alarm is INSUFFICIENT_DATA; a changed one keeps its state. Moto calls a new alarm OK, evaluates none, tells nobody,
and shows composite alarms always.

Sources: CloudWatch API reference (PutMetricAlarm, DescribeAlarms, SetAlarmState), user guide ("Configuring how
CloudWatch alarms treat missing data"; "Using Amazon CloudWatch alarms": only actions of Auto Scaling are repeated).
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, ValidationError
from moto.cloudwatch.models import CloudWatchBackend
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

from localcloud.balancer.traffic import SLOT_SECONDS
from localcloud.cloudwatch.figures import SIMPLE, Sample, key
from localcloud.cloudwatch.metrics import evaluated, figures
from localcloud.moto_state import backend
from localcloud.sns import MAX_SUBJECT

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"
MARGIN_SECONDS = 3.0  # after the load balancers' figures are there
EXTRA_PERIODS = 2  # AWS looks back further than it evaluates, so that late data counts: by how much is undocumented
MAX_SECONDS = 86_400  # EvaluationPeriods times Period, for periods shorter than an hour
PAGE = 100

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}
MAX_QUERIES = 20  # metrics and expressions of one alarm
_ID = re.compile(r"[a-z][a-zA-Z0-9_]{0,254}")
_NAMES = re.compile(r"\b[a-z]\w*\b")  # functions are in capitals
MISSING = frozenset({"breaching", "notBreaching", "ignore", "missing"})

_put_metric_alarm, _set_alarm_state = CloudWatchBackend.put_metric_alarm, CloudWatchBackend.set_alarm_state
_delete_alarms = CloudWatchBackend.delete_alarms

log = logging.getLogger(__name__)


def patch(patches: Patches) -> None:
    """Make alarms work as described above."""
    patches.methods(CloudWatchBackend, put_metric_alarm, set_alarm_state, delete_alarms)
    patches.methods(CloudWatchResponse, describe_alarms)


def put_metric_alarm(self: Moto, **asked: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks an alarm, and keeps the state of one that is changed."""
    if asked.get("metric_data_queries"):
        _check_math(asked)
    elif asked.get("metric_name"):
        _check(asked)
    before = self.alarms.get(asked["name"])
    alarm = _put_metric_alarm(self, **asked)
    alarm.state_value = UNKNOWN
    if before is not None:
        for kept in ("state_value", "state_reason", "state_reason_data", "state_updated_timestamp", "history"):
            setattr(alarm, kept, getattr(before, kept))
    return alarm


def _check(asked: dict[str, Any]) -> None:
    for name in ("comparison_operator", "evaluation_periods", "period", "threshold"):
        if asked.get(name) is None:
            raise ValidationError(f"The parameter {name.title().replace('_', '')} is required.")
    if bool(asked.get("statistic")) == bool(asked.get("extended_statistic")):
        raise InvalidParameterCombination("Exactly one of Statistic and ExtendedStatistic must be specified.")
    period, periods = int(asked["period"]), int(asked["evaluation_periods"])
    rules = {
        f"ComparisonOperator must be one of {', '.join(COMPARISONS)}.": asked["comparison_operator"] in COMPARISONS,
        "Period must be 10, 20, 30 or a multiple of 60.": period in {10, 20, 30} or (period > 0 and period % 60 == 0),
        "EvaluationPeriods must be at least 1.": periods >= 1,
        "Period times EvaluationPeriods must be a day at most.": period >= 3600 or period * periods <= MAX_SECONDS,
        "DatapointsToAlarm must be 1 to EvaluationPeriods.": 1 <= int(asked.get("datapoints_to_alarm") or 1) <= periods,
        f"Statistic must be one of {', '.join(SIMPLE)}.": asked.get("statistic") in {None, *SIMPLE},
        f"TreatMissingData must be one of {', '.join(sorted(MISSING))}.": asked.get("treat_missing_data")
        in {None, *MISSING},
    }
    for message, holds in rules.items():
        if not holds:
            raise ValidationError(message)
    try:
        Sample().statistic(asked.get("extended_statistic") or "Sum")
    except ValueError:
        raise ValidationError(f"ExtendedStatistic {asked['extended_statistic']} is not supported.") from None


def _check_math(asked: dict[str, Any]) -> None:
    """An alarm of several metrics (API reference: PutMetricAlarm, MetricDataQuery): one result, each id once."""
    if asked.get("metric_name") or asked.get("period") or asked.get("statistic") or asked.get("extended_statistic"):
        raise InvalidParameterCombination("Metrics cannot be specified with MetricName, Period or a Statistic.")
    for name in ("comparison_operator", "evaluation_periods", "threshold"):
        if asked.get(name) is None:
            raise ValidationError(f"The parameter {name.title().replace('_', '')} is required.")
    queries = asked["metric_data_queries"]
    ids = [query.id for query in queries]
    stats = [query.metric_stat for query in queries if query.metric_stat is not None]
    rules = {
        f"Metrics must have 1 to {MAX_QUERIES} members.": len(queries) <= MAX_QUERIES,
        "Every Id in Metrics must be one of its own that begins with a small letter.": len(set(ids)) == len(ids)
        and all(_ID.fullmatch(each) for each in ids),
        "Each member of Metrics must have exactly one of Expression and MetricStat.": all(
            bool(query.expression) != (query.metric_stat is not None) for query in queries
        ),
        "Exactly one element of the metrics list should return data.": sum(
            str(query.return_data).lower() == "true" for query in queries
        )
        == 1,
        "Every Period must be 10, 20, 30 or a multiple of 60.": all(
            int(stat.period) in {10, 20, 30} or (int(stat.period) > 0 and int(stat.period) % 60 == 0) for stat in stats
        ),
        "An expression may name no id that is not in Metrics.": all(
            set(_NAMES.findall(query.expression or "")) <= set(ids) for query in queries
        ),
        f"TreatMissingData must be one of {', '.join(sorted(MISSING))}.": asked.get("treat_missing_data")
        in {None, *MISSING},
    }
    for message, holds in rules.items():
        if not holds:
            raise ValidationError(message)


def set_alarm_state(self: Moto, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
    """AWS does the actions of the new state; moto none."""
    before = self.alarms[alarm_name].state_value if alarm_name in self.alarms else ""
    _set_alarm_state(self, alarm_name, reason, reason_data, state_value)
    if before != state_value:
        _tell(self.alarms[alarm_name], before)


def delete_alarms(self: Moto, alarm_names: list[str]) -> None:
    """AWS forgets the tags with the alarm; moto gives them to the next one of that name."""
    for name in alarm_names:
        if name in self.alarms:
            self.tagger.delete_all_tags_for_resource(self.alarms[name].alarm_arn)
    _delete_alarms(self, alarm_names)


def describe_alarms(self: Moto) -> Moto:
    """AWS joins the filters, answers in pages, and shows composite alarms only if asked for them."""
    asked = self._get_params()
    names, prefix = asked.get("AlarmNames") or [], asked.get("AlarmNamePrefix")
    types = asked.get("AlarmTypes") or ["MetricAlarm"]
    size = int(asked.get("MaxRecords") or 50)
    if names and prefix:
        raise InvalidParameterCombination("AlarmNames and AlarmNamePrefix are mutually exclusive.")
    if len(names) > PAGE or not 1 <= size <= PAGE or set(types) - {"MetricAlarm", "CompositeAlarm"}:
        raise ValidationError(f"At most {PAGE} AlarmNames, 1 to {PAGE} MaxRecords, AlarmTypes of CloudWatch.")
    found = [
        alarm
        for name, alarm in sorted(self.cloudwatch_backend.alarms.items())
        if (not names or name in names)
        and name.startswith(prefix or "")
        and asked.get("StateValue") in {None, alarm.state_value}
        and any(action.startswith(asked.get("ActionPrefix") or "") for action in alarm.alarm_actions or [""])
        and ("MetricAlarm" if alarm.rule is None else "CompositeAlarm") in types
        and name > (asked.get("NextToken") or "")
    ]
    page = found[: max(size, len(names))]
    return ActionResult(
        {
            "MetricAlarms": [alarm for alarm in page if alarm.rule is None],
            "CompositeAlarms": [alarm for alarm in page if alarm.rule is not None],
            "NextToken": page[-1].name if len(found) > len(page) else None,
        }
    )


def tick(cloudwatch: Moto, now: float, lateness: Lateness, scale: Callable[[Moto], None]) -> None:
    """Look at the alarms whose period has ended; `scale` invokes the policies of one that rings. With `LOCK` held."""
    for alarm in list(cloudwatch.alarms.values()):
        watches = alarm.metric_name or alarm.metric_data_queries
        if alarm.rule is not None or not watches or alarm.comparison_operator not in COMPARISONS:
            continue
        step = min(_rhythm(alarm, lateness)[0], 60)
        end = int((now - lateness.metrics[1] - MARGIN_SECONDS) // step) * step
        looked_at = getattr(alarm, "looked_at", None)
        alarm.looked_at = end
        if looked_at is None or looked_at >= end:  # AWS, too, needs a while for the first look
            continue
        try:
            points, periods, needed = _points(cloudwatch, alarm, end, lateness)
        except ValidationError as error:  # an expression that the local cloud does not know
            log.warning("alarm %s stays %s: %s", alarm.name, alarm.state_value, error.message)
            continue
        alarm.newest = next((point for point in points if point is not None), None)
        state, reason = evaluate(alarm, points, periods, needed)
        if state not in {None, alarm.state_value}:
            before = alarm.state_value
            log.info("alarm %s: %s -> %s: %s", alarm.name, before, state, reason)
            alarm.update_state(reason, json.dumps({"version": "1.0"}), state)
            _tell(alarm, before)
        if alarm.state_value == ALARM and alarm.actions_enabled:
            scale(alarm)


def _rhythm(alarm: Moto, lateness: Lateness) -> tuple[int, int, float]:
    """The seconds of a period, how many are evaluated, and how often a sum counts."""
    tracks = getattr(alarm, "tracks", None)
    if alarm.metric_data_queries:
        lengths = [
            int(query.metric_stat.period) for query in alarm.metric_data_queries if query.metric_stat is not None
        ]
        return max(lengths, default=60), int(alarm.evaluation_periods), 1.0
    if tracks is None:
        return int(alarm.period), int(alarm.evaluation_periods), 1.0
    periods = round(lateness.of(tracks, alarm.name) / SLOT_SECONDS)
    return SLOT_SECONDS, max(1, periods), 60 / SLOT_SECONDS if alarm.statistic == "Sum" else 1.0


def _points(cloudwatch: Moto, alarm: Moto, end: int, lateness: Lateness) -> tuple[list[float | None], int, int]:
    """The figures of the last periods, newest first, None for one that is missing.

    And how many are evaluated, and how many of these are to be breaching.
    """
    period, periods, times = _rhythm(alarm, lateness)
    needed = int(alarm.datapoints_to_alarm or periods)
    if alarm.metric_data_queries:
        ages = range(periods + EXTRA_PERIODS)
        queries = [*map(_query, alarm.metric_data_queries)]
        values = evaluated(cloudwatch, queries, end - len(ages) * period, end)
        return [values.get(end - (age + 1) * period) for age in ages], periods, needed
    dimensions = {one.name: one.value for one in alarm.dimensions}
    series = cloudwatch.metrics.find(key(alarm.namespace, alarm.metric_name, dimensions))
    found: list[float | None] = []
    for number in range(periods + EXTRA_PERIODS):
        start = end - (number + 1) * period
        sample = Sample()
        for _, part in figures(series, start, start + period, period):
            sample.add(part)
        value = sample.statistic(alarm.statistic or alarm.extended_statistic)
        found.append(value * times if value is not None and (sample.values or sample.sets) else None)
    return found, periods, needed


def _query(query: Moto) -> dict[str, Any]:
    """A query of an alarm as GetMetricData has it."""
    asked: dict[str, Any] = {"Id": query.id, "ReturnData": str(query.return_data).lower() == "true"}
    if query.expression:
        return {**asked, "Expression": query.expression}
    stat = query.metric_stat
    dimensions = [{"Name": one.name, "Value": one.value} for one in stat.metric.dimensions]
    metric = {"Namespace": stat.metric.namespace, "MetricName": stat.metric.metric_name, "Dimensions": dimensions}
    return {**asked, "MetricStat": {"Metric": metric, "Period": int(stat.period), "Stat": stat.stat}}


def evaluate(alarm: Moto, points: list[float | None], periods: int, needed: int) -> tuple[str | None, str]:
    """(state, reason) that follow from figures, newest first, None for missing; state None means that it stays.

    `needed` of so many periods must breach. User guide, "How alarm state is evaluated when data is
    missing": as long as there are enough real figures, the newest count, however old; else what is missing is filled.
    """
    breaches = COMPARISONS[alarm.comparison_operator]
    real = [(age, breaches(value, float(alarm.threshold))) for age, value in enumerate(points) if value is not None]
    newest = real[:periods]
    bad = sum(breach for _, breach in newest)
    reason = f"Threshold Crossed: {bad} of the last {len(newest)} datapoints breach the threshold ({alarm.threshold})."
    if bad >= needed:
        return ALARM, reason
    if len(newest) == periods:
        return OK, reason
    if alarm.treat_missing_data in {"breaching", "notBreaching"}:
        filled = bad + (periods - len(newest) if alarm.treat_missing_data == "breaching" else 0)
        return (ALARM if filled >= needed else OK), f"{reason} Missing ones were treated as {alarm.treat_missing_data}."
    if newest and bad < len(newest):
        return OK, reason
    if not newest and alarm.treat_missing_data != "ignore":
        return UNKNOWN, "Insufficient Data: no datapoints were received."
    # All that there are breach: an alarm does not wait for the missing ones if the oldest is old enough.
    sure = newest and newest[-1][0] + 1 >= needed and alarm.treat_missing_data != "ignore"
    return (ALARM if sure else None), reason


def _tell(alarm: Moto, before: str) -> None:
    """Publish to the topics of the alarm's new state, in the words of CloudWatch's messages."""
    if not alarm.actions_enabled:
        return
    lists = {OK: alarm.ok_actions, ALARM: alarm.alarm_actions, UNKNOWN: alarm.insufficient_data_actions}
    message = {
        "AlarmName": alarm.name,
        "AlarmArn": alarm.alarm_arn,
        "AlarmDescription": alarm.description,
        "NewStateValue": alarm.state_value,
        "NewStateReason": alarm.state_reason,
        "OldStateValue": before,
        "StateChangeTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000"),
        "Region": "US East (N. Virginia)",
        "Trigger": {"MetricName": alarm.metric_name, "Namespace": alarm.namespace, "Threshold": alarm.threshold},
    }
    for arn in lists[alarm.state_value]:
        if arn.split(":")[2:3] != ["sns"]:
            continue
        subject = f'{alarm.state_value}: "{alarm.name}" in US East (N. Virginia)'[:MAX_SUBJECT]
        try:
            backend("sns").publish(json.dumps(message), arn=arn, phone_number=None, subject=subject)
        except ServiceException as error:  # a topic that is gone
            log.warning("alarm %s: %s: %s", alarm.name, arn, error.message)
