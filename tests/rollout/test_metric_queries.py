"""What `rollout.metrics` asks CloudWatch: the exact requests, and what counts as a value."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from fleetswap.aws.rollout import metric_queries
from fleetswap.aws.rollout.metric_queries import MetricQueries
from fleetswap.domain.errors import CloudError, InputError, TryAgain
from fleetswap.domain.rollout.metric_checks import CloudWatch, MetricStat
from fleetswap.domain.rollout.metric_values import Series

NOON = int(datetime(2026, 11, 24, 12, 0, tzinfo=UTC).timestamp())
METRIC = CloudWatch("Shop", "Refusals", "Sum", {"Release": "web-1"}, period=60)
RATIO = CloudWatch(
    expression="100 * bad / all_",
    queries={"bad": MetricStat("Shop", "Bad", "Sum"), "all_": MetricStat("Shop", "All", "SampleCount")},
    period=300,
)


class Clock(datetime):
    """The wall clock of this machine: 12:10:30, as AWS's."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return datetime.fromtimestamp(NOON + 630, tz)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[MetricQueries, Stubber]]:
    monkeypatch.setattr(metric_queries, "datetime", Clock)
    client = boto3.client("cloudwatch", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    with Stubber(client) as stubber:
        yield MetricQueries(client), stubber
        stubber.assert_no_pending_responses()


def answer(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    date = format_datetime(datetime.fromtimestamp(NOON + 630, UTC), usegmt=True)
    return {
        "MetricDataResults": list(results),
        "ResponseMetadata": {"HTTPHeaders": {"date": date}, "HTTPStatusCode": 200},
        **more,
    }


def result(*values: float, first: int = 0, **more: Any) -> dict[str, Any]:
    at = [datetime.fromtimestamp(NOON + first + 60 * n, UTC) for n in range(len(values))]
    return {
        "Id": "fleetswap",
        "Label": "Refusals",
        "Timestamps": at,
        "Values": list(values),
        "StatusCode": "Complete",
        **more,
    }


def stat(name: str, metric: str, statistic: str, period: int, dimensions: dict[str, str]) -> dict[str, Any]:
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    what = {"Namespace": "Shop", "MetricName": metric, "Dimensions": named}
    asked = {"Metric": what, "Period": period, "Stat": statistic}
    return {"Id": name, "MetricStat": asked, "ReturnData": name == "fleetswap"}


def request(first: int, last: int, *queries: dict[str, Any]) -> dict[str, Any]:
    return {
        "MetricDataQueries": list(queries),
        "StartTime": datetime.fromtimestamp(NOON + first, UTC),
        "EndTime": datetime.fromtimestamp(NOON + last, UTC),
        "ScanBy": "TimestampAscending",
    }


def test_a_metric_is_asked_for_in_whole_periods(stub: tuple[MetricQueries, Stubber]) -> None:
    """The first value would stand for a part of its period, or one of another metric be judged."""
    queries, stubber = stub
    one = stat("fleetswap", "Refusals", "Sum", 60, {"Release": "web-1"})
    expected = request(480, 660, one)
    stubber.add_response("get_metric_data", answer(result(1.0, first=480), NextToken="more"), expected)
    stubber.add_response("get_metric_data", answer(result(2.0, first=540)), {**expected, "NextToken": "more"})
    assert queries.values(METRIC, 100) == Series(NOON + 630, 60, {NOON + 480: 1.0, NOON + 540: 2.0})


def test_an_expression_returns_its_own_values_alone(stub: tuple[MetricQueries, Stubber]) -> None:
    """A metric of the expression would be judged in its place, or its values start in the middle of a period."""
    queries, stubber = stub
    every = [
        stat("bad", "Bad", "Sum", 300, {}),
        stat("all_", "All", "SampleCount", 300, {}),
        {"Id": "fleetswap", "Expression": "100 * bad / all_", "ReturnData": True},
    ]
    stubber.add_response("get_metric_data", answer(result(1.5, float("nan"))), request(300, 900, *every))
    assert queries.values(RATIO, 100).values == {NOON: 1.5}, "what is not a number is no value"


@pytest.mark.parametrize(
    ("results", "kind", "message"),
    [
        ([result(1.0, StatusCode="PartialData")], TryAgain, r"only part of the data \(PartialData\)"),
        ([result(1.0, StatusCode="InternalError")], TryAgain, r"only part of the data \(InternalError\)"),
        ([result(StatusCode="Forbidden")], CloudError, "cloudwatch:GetMetricData"),
        ([result(1.0), result(1.0, Label="Other")], InputError, "has 2 series: make one of them"),
        ([result(1.0), result(9.0)], InputError, "has 2 series: make one of them"),
    ],
)
def test_what_is_not_whole_is_no_value(
    stub: tuple[MetricQueries, Stubber], results: list[Any], kind: type[Exception], message: str
) -> None:
    """Half of the data would pass a candidate, or of several series whichever comes last."""
    queries, stubber = stub
    stubber.add_response("get_metric_data", answer(*results))
    with pytest.raises(kind, match=message) as raised:
        queries.values(METRIC, 100)
    assert type(raised.value) is kind


def test_a_query_that_cloudwatch_does_not_accept_is_an_input_error(stub: tuple[MetricQueries, Stubber]) -> None:
    """A misspelled expression would be tried until the deadline, as if AWS were out of order."""
    queries, stubber = stub
    stubber.add_client_error("get_metric_data", "ValidationError", "Error in expression 'fleetswap'")
    with pytest.raises(InputError, match="Error in expression"):
        queries.values(RATIO, 100)


def test_a_clock_that_is_wrong_is_corrected_by_the_first_answer(stub: tuple[MetricQueries, Stubber]) -> None:
    """A deployer whose clock is ahead would ask for a time that has not come, and find no data."""
    queries, stubber = stub
    queries._ahead = -7200.0
    stubber.add_response("get_metric_data", answer())
    stubber.add_response(
        "get_metric_data",
        answer(result(1.0, first=540)),
        request(480, 660, stat("fleetswap", "Refusals", "Sum", 60, {"Release": "web-1"})),
    )
    assert queries.values(METRIC, 100).values == {NOON + 540: 1.0}
