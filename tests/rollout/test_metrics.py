"""What is read of CloudWatch: the exact requests, and what a missing figure means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fleetswap.aws.rollout import metrics
from fleetswap.aws.rollout.metrics import Metrics, balancer_dimension, target_group_dimension
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.periods import Figures, Report

ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
LISTENER = f"{ARN}:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
ONE, TWO = f"{ARN}:targetgroup/web-a/73e2d6bc24d8a067", f"{ARN}:targetgroup/web-b/83e2d6bc24d8a067"
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()


SERVED = NOON + 630
"""When AWS answers, by its own clock: 30 s past 12:10."""


class Clock(datetime):
    """The wall clock of this machine."""

    ahead = 0.0

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(SERVED + cls.ahead, tz)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that asks no one, at a fixed time."""
    monkeypatch.setattr(Clock, "ahead", 0.0)
    monkeypatch.setattr(metrics, "datetime", Clock)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    return boto3.client("cloudwatch", region_name="us-east-1")


@pytest.fixture
def stub(client: Any) -> Iterator[Stubber]:
    """What CloudWatch answers."""
    with Stubber(client) as stub:
        yield stub
        stub.assert_no_pending_responses()


def query(key: str, metric: str, statistic: str, group: str | None, period: int = 60) -> dict[str, Any]:
    dimensions = [{"Name": "TargetGroup", "Value": group}] if group else []
    dimensions.append({"Name": "LoadBalancer", "Value": "app/web/50dc6c495c0c9188"})
    named = {"Namespace": "AWS/ApplicationELB", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": key, "MetricStat": {"Metric": named, "Period": period, "Stat": statistic}, "ReturnData": True}


def answer(
    figures: Mapping[str, Mapping[int, float]], status: str = "Complete", served: float = SERVED, **more: Any
) -> dict[str, Any]:
    """`figures` are by minutes after noon."""
    results = [
        {
            "Id": key,
            "Timestamps": [datetime.fromtimestamp(NOON + 60 * at, UTC) for at in values],
            "Values": [float(value) for value in values.values()],
            "StatusCode": status,
        }
        for key, values in figures.items()
    ]
    date = {"HTTPHeaders": {"date": format_datetime(datetime.fromtimestamp(served, UTC), usegmt=True)}}
    return {"MetricDataResults": results, "ResponseMetadata": date, **more}


def minutes(report: Report, target_group: str = ONE) -> dict[int, Figures]:
    return {int(told.start - NOON) // 60: told.groups[target_group] for told in report.told}


def asked(
    first: datetime, last: datetime, period: int = 60, groups: Sequence[str] = (ONE,), slow: str = ""
) -> dict[str, Any]:
    """The whole request."""
    queries = [
        query("requests", "RequestCount", "Sum", None, period),
        query("own5xx", "HTTPCode_ELB_5XX_Count", "Sum", None, period),
        query("own4xx", "HTTPCode_ELB_4XX_Count", "Sum", None, period),
    ]
    for number, arn in enumerate(groups):
        group = arn.split(":", 5)[5]
        queries.append(query(f"requests{number}", "RequestCount", "Sum", group, period))
        queries += [
            query(f"answers{which}xx{number}", f"HTTPCode_Target_{which}XX_Count", "Sum", group, period)
            for which in "2345"
        ]
        if slow:
            queries.append(query(f"timed{number}", "TargetResponseTime", "SampleCount", group, period))
            queries.append(query(f"quick{number}", "TargetResponseTime", slow, group, period))
    return {"MetricDataQueries": queries, "StartTime": first, "EndTime": last, "ScanBy": "TimestampAscending"}


def at(minute: int, second: int = 0) -> datetime:
    return datetime(2026, 11, 24, 12, minute, second, tzinfo=UTC)


def test_the_request(client: Any, stub: Stubber) -> None:
    """A dimension or a statistic that is misnamed gets no figures, and no error either."""
    figures: dict[str, dict[int, float]] = {
        "requests": {7: 900},
        "own5xx": {7: 4},
        "own4xx": {7: 1},
        "requests0": {7: 200},
        "answers2xx0": {7: 180},
        "answers3xx0": {7: 8},
        "answers4xx0": {7: 6},
        "answers5xx0": {7: 3},
        "timed0": {7: 198},
        "quick0": {7: 148},
    }
    stub.add_response("get_metric_data", answer(figures), asked(at(7), at(11), slow="TC(:0.5)"))
    report = Metrics(client, listener=LISTENER).counts([ONE], 200, 0.5)
    assert minutes(report) == {7: Figures(requests=200, good=194, errors=3, timed=198, quick=148)}
    assert [(told.requests, told.own_5xx, told.own_4xx) for told in report.told] == [(900, 4, 1)]
    assert (report.now, report.length) == (SERVED, 60)


def test_a_shorter_period_is_asked_for_in_the_local_cloud(client: Any, stub: Stubber) -> None:
    """A rehearsal of a minute would be over before the first figures."""
    stub.add_response("get_metric_data", answer({}), asked(at(10, 15), at(10, 35), period=5))
    report = Metrics(client, listener=LISTENER, period=5).counts([ONE], 12, None)
    assert (report.told, report.length) == ((), 5)


@pytest.mark.parametrize("ahead", [0, -3600, -300, 300, 3600])
def test_times_are_by_the_clock_of_aws(client: Any, stub: Stubber, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a slow clock the canary would be judged by figures of before it, with a fast one by none."""
    monkeypatch.setattr(Clock, "ahead", float(ahead))
    if ahead:
        stub.add_response("get_metric_data", answer({"requests": {3: 1}}))
    stub.add_response("get_metric_data", answer({"requests": {8: 9}}), asked(at(7), at(11)))
    stub.add_response("get_metric_data", answer({"requests": {9: 7}}), asked(at(8), at(11)))
    asking = Metrics(client, listener=LISTENER)
    first = asking.counts([ONE], 200, None)
    assert (first.now, [told.start for told in first.told]) == (SERVED, [NOON + 480])
    assert asking.counts([ONE], 100, None).now == SERVED, "what the clock is wrong by is known from then on"


def test_what_is_missing_is_zero_only_beside_other_figures(client: Any, stub: Stubber) -> None:
    """A minute of which nothing is known would count as a minute without errors, or one without requests as unknown."""
    figures: dict[str, dict[int, float]] = {
        "requests": {6: 50},
        "requests0": {7: 40},
        "answers5xx0": {},
        "requests1": {7: 60, 8: 70},
        "answers5xx1": {8: 2},
    }
    stub.add_response("get_metric_data", answer(figures))
    found = Metrics(client, listener=LISTENER).counts([ONE, TWO], 300, None)
    assert minutes(found) == {6: Figures(), 7: Figures(40), 8: Figures()}
    assert minutes(found, TWO) == {6: Figures(), 7: Figures(60), 8: Figures(70, 0, 2)}


def test_pages_are_put_together(client: Any, stub: Stubber) -> None:
    """The figures of a long bake come in pages; the later ones would be lost, or be taken for older than they are."""
    stub.add_response("get_metric_data", answer({"requests0": {1: 10}}, "PartialData", NextToken="more"))
    stub.add_response("get_metric_data", answer({"requests0": {2: 20}}, served=SERVED + 5))
    found = Metrics(client, listener=LISTENER).counts([ONE], 600, None)
    assert minutes(found) == {1: Figures(10), 2: Figures(20)}
    assert found.now == SERVED


@pytest.mark.parametrize(
    ("status", "error"), [("PartialData", TryAgain), ("InternalError", TryAgain), ("Forbidden", CloudError)]
)
def test_half_of_the_figures_are_none(client: Any, stub: Stubber, status: str, error: type[CloudError]) -> None:
    """Errors that CloudWatch did not read would count as no errors."""
    stub.add_response("get_metric_data", answer({"answers5xx0": {}}, status))
    with pytest.raises(CloudError, match="app/web/50dc6c495c0c9188") as caught:
        Metrics(client, listener=LISTENER).counts([ONE], 600, None)
    assert type(caught.value) is error


def test_a_throttle_is_unknown(client: Any, stub: Stubber) -> None:
    """A throttled reading would end the rollout."""
    stub.add_client_error("get_metric_data", "Throttling", http_status_code=400)
    with pytest.raises(TryAgain, match="cloudwatch:GetMetricData"):
        Metrics(client, listener=LISTENER).counts([ONE], 600, None)


def test_alarms_of_both_kinds(client: Any, stub: Stubber) -> None:
    """A composite alarm would be taken for one that does not exist; one that does not exist for a good one."""
    names = [f"web-{number}" for number in range(101)]
    kinds = ["MetricAlarm", "CompositeAlarm"]
    first = {
        "MetricAlarms": [{"AlarmName": "web-0", "StateValue": "OK"}],
        "CompositeAlarms": [{"AlarmName": "web-1", "StateValue": "ALARM"}],
    }
    last = {"MetricAlarms": [{"AlarmName": "web-100", "StateValue": "INSUFFICIENT_DATA"}]}
    stub.add_response("describe_alarms", first, {"AlarmNames": names[:100], "AlarmTypes": kinds})
    stub.add_response("describe_alarms", last, {"AlarmNames": names[100:], "AlarmTypes": kinds})
    found = Metrics(client, listener=LISTENER).alarms(names)
    assert found == {"web-0": "OK", "web-1": "ALARM", "web-100": "INSUFFICIENT_DATA"}
    assert Metrics(client, listener=LISTENER).alarms([]) == {}, "no names would ask for all alarms of the account"


def test_dimensions() -> None:
    """CloudWatch has no figures for a dimension that is cut wrongly."""
    assert balancer_dimension(LISTENER) == "app/web/50dc6c495c0c9188"
    assert target_group_dimension(ONE) == "targetgroup/web-a/73e2d6bc24d8a067"
    with pytest.raises(CloudError, match="is not the ARN of a load balancer's listener"):
        balancer_dimension(ONE)
