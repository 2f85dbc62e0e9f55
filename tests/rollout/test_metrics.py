"""What is read of CloudWatch: the exact requests, and what a missing figure means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fleetswap.aws import metrics
from fleetswap.aws.metrics import Metrics, balancer_dimension, target_group_dimension
from fleetswap.domain.errors import CloudError
from fleetswap.domain.orders import Unavailable
from fleetswap.domain.rates import Counts, total

ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012"
LISTENER = f"{ARN}:listener/app/web/50dc6c495c0c9188/f2f7dc8efc522ab2"
ONE, TWO = f"{ARN}:targetgroup/web-a/73e2d6bc24d8a067", f"{ARN}:targetgroup/web-b/83e2d6bc24d8a067"
NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp()


class Clock(datetime):
    """The wall clock, 30 s past 12:10."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(NOON + 630, tz)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that asks no one, at a fixed time."""
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


def answer(figures: Mapping[str, Mapping[int, float]], status: str = "Complete", **more: Any) -> dict[str, Any]:
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
    return {"MetricDataResults": results, **more}


def minutes(counts: Mapping[int, Counts]) -> dict[int, Counts]:
    return {int(at - NOON) // 60: each for at, each in counts.items()}


def test_the_request(client: Any, stub: Stubber) -> None:
    """A dimension or a statistic that is misnamed gets no figures, and no error either."""
    asked = {
        "MetricDataQueries": [
            query("all", "RequestCount", "Sum", None),
            query("requests0", "RequestCount", "Sum", "targetgroup/web-a/73e2d6bc24d8a067"),
            query("errors0", "HTTPCode_Target_5XX_Count", "Sum", "targetgroup/web-a/73e2d6bc24d8a067"),
            query("answers0", "TargetResponseTime", "SampleCount", "targetgroup/web-a/73e2d6bc24d8a067"),
            query("quick0", "TargetResponseTime", "PR(:0.5)", "targetgroup/web-a/73e2d6bc24d8a067"),
        ],
        "StartTime": datetime(2026, 11, 24, 12, 7, tzinfo=UTC),
        "EndTime": datetime(2026, 11, 24, 12, 11, tzinfo=UTC),
        "ScanBy": "TimestampAscending",
    }
    figures: dict[str, dict[int, float]] = {
        "all": {7: 900},
        "requests0": {7: 200},
        "errors0": {7: 3},
        "answers0": {7: 198},
        "quick0": {7: 75.0},
    }
    stub.add_response("get_metric_data", answer(figures), asked)
    found = Metrics(client, listener=LISTENER).counts([ONE], 200, 0.5)
    assert minutes(found[ONE]) == {7: Counts(200, 3, 200 - 148)}, "148 of 198 answers came in time"


def test_a_shorter_period_is_asked_for_in_the_local_cloud(client: Any, stub: Stubber) -> None:
    """A rehearsal of a minute would be over before the first figures."""
    asked = {
        "MetricDataQueries": [query("all", "RequestCount", "Sum", None, period=5)]
        + [
            query(f"{key}0", metric, "Sum", "targetgroup/web-a/73e2d6bc24d8a067", period=5)
            for key, metric in [("requests", "RequestCount"), ("errors", "HTTPCode_Target_5XX_Count")]
        ],
        "StartTime": datetime(2026, 11, 24, 12, 10, 15, tzinfo=UTC),
        "EndTime": datetime(2026, 11, 24, 12, 10, 35, tzinfo=UTC),
        "ScanBy": "TimestampAscending",
    }
    stub.add_response("get_metric_data", answer({}), asked)
    assert Metrics(client, listener=LISTENER, period=5).counts([ONE], 12, None) == {ONE: {}}


def test_what_is_missing_is_zero_only_beside_other_figures(client: Any, stub: Stubber) -> None:
    """A minute of which nothing is known would count as a minute without errors, or one without requests as unknown."""
    figures: dict[str, dict[int, float]] = {
        "all": {6: 50},
        "requests0": {7: 40},
        "errors0": {},
        "requests1": {7: 60, 8: 70},
        "errors1": {8: 2},
    }
    stub.add_response("get_metric_data", answer(figures))
    found = Metrics(client, listener=LISTENER).counts([ONE, TWO], 300, None)
    assert minutes(found[ONE]) == {6: Counts(0, 0), 7: Counts(40, 0), 8: Counts(0, 0)}
    assert minutes(found[TWO]) == {6: Counts(0, 0), 7: Counts(60, 0), 8: Counts(70, 2)}
    assert total(found[TWO].values()) == Counts(130, 2, None)


def test_requests_without_answers_hang_or_are_early(client: Any, stub: Stubber) -> None:
    """A release that never answers would have no slow answers; one whose figures are late would have only such."""
    figures: dict[str, dict[int, float]] = {"requests0": {1: 10, 9: 20}, "requests1": {}}
    stub.add_response("get_metric_data", answer(figures))
    found = Metrics(client, listener=LISTENER).counts([ONE, TWO], 600, 1.0)
    assert minutes(found[ONE]) == {1: Counts(10, 0, 10), 9: Counts(20, 0, None)}
    assert minutes(found[TWO]) == {1: Counts(0, 0, 0), 9: Counts(0, 0, 0)}


def test_pages_are_put_together(client: Any, stub: Stubber) -> None:
    """The figures of a long bake come in pages; the later ones would be lost."""
    stub.add_response("get_metric_data", answer({"requests0": {1: 10}}, "PartialData", NextToken="more"))
    stub.add_response("get_metric_data", answer({"requests0": {2: 20}}))
    found = Metrics(client, listener=LISTENER).counts([ONE], 600, None)
    assert minutes(found[ONE]) == {1: Counts(10, 0), 2: Counts(20, 0)}


@pytest.mark.parametrize(
    ("status", "error"), [("PartialData", Unavailable), ("InternalError", Unavailable), ("Forbidden", CloudError)]
)
def test_half_of_the_figures_are_none(client: Any, stub: Stubber, status: str, error: type[CloudError]) -> None:
    """Errors that CloudWatch did not read would count as no errors."""
    stub.add_response("get_metric_data", answer({"errors0": {}}, status))
    with pytest.raises(CloudError, match="app/web/50dc6c495c0c9188") as caught:
        Metrics(client, listener=LISTENER).counts([ONE], 600, None)
    assert type(caught.value) is error


def test_a_throttle_is_unknown(client: Any, stub: Stubber) -> None:
    """A throttled reading would end the rollout."""
    stub.add_client_error("get_metric_data", "Throttling", http_status_code=400)
    with pytest.raises(Unavailable, match="cloudwatch:GetMetricData"):
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
