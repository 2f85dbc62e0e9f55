"""Metrics, alarms and messages: what they refuse, what they answer, and when an alarm changes its state."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from operator import le
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from fleetswap.domain import measures
from localcloud.balancer.traffic import SLOT_SECONDS, Slot, Tally
from localcloud.cloudwatch import alarms, alb_metrics, metrics
from localcloud.cloudwatch.figures import Sample, key
from localcloud.faults.lateness import Lateness
from localcloud.moto_state import LOCK, backend
from tests.localcloud.clients import Clients, refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.conftest import Clock

PLACE = {"LoadBalancer": "app/web/1", "TargetGroup": "targetgroup/blue/2"}
ERRORS, TIMES, REQUESTS = "HTTPCode_Target_5XX_Count", "TargetResponseTime", "RequestCount"
NOON = 1_800_014_400.0  # on the hour, UTC


class Watch:
    """The metrics of a load balancer called `web` and its target group `blue`, at a time that stands still."""

    def __init__(self, cloud: LocalCloud, clients: Clients, clock: Clock) -> None:
        self.cloud, self.clients, self.clock = cloud, clients, clock
        self.aws = clients.cloudwatch
        self.now = clock.now = NOON

    def measure(self, name: str, at: float, *values: float) -> None:
        metric = key(alb_metrics.NAMESPACE, name, PLACE)
        with LOCK:
            metrics.publish(backend("cloudwatch"), metric, NOON + at, Sample(Counter(values)), "Count", 10)

    def step(self, seconds: float) -> None:
        self.now += seconds
        self.clock.now = self.now
        with LOCK:
            self.cloud._control.tick()

    def query(self, name: str, stat: str, period: int, **more: Any) -> Any:
        dimensions = [{"Name": one, "Value": value} for one, value in more.pop("place", PLACE).items()]
        metric = {"Namespace": alb_metrics.NAMESPACE, "MetricName": name, "Dimensions": dimensions}
        return {"Id": "m", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **more}

    def data(self, *queries: Any, start: float = 0, end: float = 120, **more: Any) -> Any:
        return self.aws.get_metric_data(
            MetricDataQueries=list(queries), StartTime=moment(start), EndTime=moment(end), **more
        )["MetricDataResults"]

    def figures(self, name: str, stat: str, period: int, start: float = 0, end: float = 120) -> dict[int, float]:
        """Figures by the second, after noon, at which their period begins."""
        (found,) = self.data(self.query(name, stat, period), start=start, end=end)
        assert found["StatusCode"] == "Complete"
        seconds = [round(at.timestamp() - NOON) for at in found["Timestamps"]]
        return dict(zip(seconds, found["Values"], strict=True))

    def alarm(self, **changed: Any) -> None:
        """An alarm called `a` on more than two errors in two minutes of three."""
        asked: dict[str, Any] = {
            "AlarmName": "a",
            "Namespace": alb_metrics.NAMESPACE,
            "MetricName": ERRORS,
            "Dimensions": [{"Name": name, "Value": value} for name, value in PLACE.items()],
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": 2,
            "Threshold": 2,
            "ComparisonOperator": "GreaterThanThreshold",
            **changed,
        }
        self.aws.put_metric_alarm(**{name: value for name, value in asked.items() if value is not None})

    def state(self, name: str = "a") -> str:
        (alarm,) = self.aws.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return alarm["StateValue"]

    def notifications(self) -> list[Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.cloud.port, timeout=30)
        try:
            connection.request("GET", "/_localcloud/notifications")
            return list(json.loads(connection.getresponse().read())["notifications"])
        finally:
            connection.close()


def moment(seconds: float) -> datetime:
    """So many seconds after noon."""
    return datetime.fromtimestamp(NOON + seconds, UTC)


@pytest.fixture
def watch(cloud: LocalCloud, clients: Clients, clock: Clock) -> Watch:
    """See `Watch`."""
    return Watch(cloud, clients, clock)


def test_figures_are_those_of_their_periods(watch: Watch) -> None:
    """A canary's errors would be those of another minute, or be made up where there was no traffic."""
    for at, count in ((0, 1.0), (50, 2.0), (110, 4.0), (130, 8.0)):
        watch.measure(ERRORS, at, count)
    assert watch.figures(ERRORS, "Sum", 60) == {0: 3.0, 60: 4.0}
    assert watch.figures(ERRORS, "Sum", 10) == {0: 1.0, 50: 2.0, 110: 4.0}
    assert watch.figures(ERRORS, "Sum", 60, start=45, end=130) == {0: 3.0, 60: 4.0}
    assert watch.figures(ERRORS, "Sum", 10, start=55, end=115) == {50: 2.0, 110: 4.0}
    assert watch.figures(ERRORS, "Sum", 60, start=-600, end=0) == {}
    assert watch.figures(ERRORS, "Sum", 5) == {}
    assert watch.figures("RequestCount", "Sum", 60) == {}
    other: Any = watch.query(ERRORS, "Sum", 60, place={"LoadBalancer": "app/web/1"})
    assert watch.data(other)[0]["Values"] == []


def test_times_have_percentiles_and_ranks(watch: Watch) -> None:
    """A candidate that got slow could not be told."""
    watch.measure(TIMES, 0, *[0.1] * 95, *[2.0] * 5)
    got = {stat: watch.figures(TIMES, stat, 60) for stat in ("p50", "p99", "PR(:0.5)", "SampleCount", "Average")}
    assert got == {"p50": {0: 0.1}, "p99": {0: 2.0}, "PR(:0.5)": {0: 95.0}, "SampleCount": {0: 100.0}} | {
        "Average": {0: pytest.approx(0.195)}
    }


def test_the_newest_come_first_unless_asked(watch: Watch) -> None:
    """A program that takes the first figure for the oldest would look right."""
    watch.measure(ERRORS, 0, 1.0)
    watch.measure(ERRORS, 60, 2.0)
    query = watch.query(ERRORS, "Sum", 60)
    assert watch.data(query)[0]["Values"] == [2.0, 1.0]
    assert watch.data(query, ScanBy="TimestampAscending")[0]["Values"] == [1.0, 2.0]
    hidden = {**query, "Id": "n", "ReturnData": False}
    assert [one["Id"] for one in watch.data(query, hidden)] == ["m"]


def test_a_wrong_question_is_refused(watch: Watch) -> None:
    """A query that AWS refuses would be answered with figures, or with none, which looks like no traffic."""
    query, ask = watch.query, watch.data
    questions: list[Any] = [
        lambda: ask(query(ERRORS, "Sum", 45)),
        lambda: ask(query(ERRORS, "Sum", 0)),
        lambda: ask(query(ERRORS, "Total", 60)),
        lambda: ask({**query(ERRORS, "Sum", 60), "Id": "M"}),
        lambda: ask(query(ERRORS, "Sum", 60), query(ERRORS, "Sum", 60)),
        lambda: ask({"Id": "m"}),
        lambda: ask(query(ERRORS, "Sum", 60), start=60, end=60),
        lambda: ask(*[{**query(ERRORS, "Sum", 60), "Id": f"m{number}"} for number in range(501)]),
    ]
    assert [refusal(question) for question in questions] == ["ValidationError"] * len(questions)


def test_the_older_call_answers_the_same(watch: Watch) -> None:
    """A program that uses GetMetricStatistics would see other figures, or count on their order."""

    def ask(**changed: Any) -> Any:
        return watch.aws.get_metric_statistics(
            **{
                "Namespace": alb_metrics.NAMESPACE,
                "MetricName": TIMES,
                "Dimensions": [{"Name": name, "Value": value} for name, value in PLACE.items()],
                "StartTime": moment(0),
                "EndTime": moment(600),
                "Period": 60,
                "Statistics": ["Maximum"],
                **changed,
            }
        )["Datapoints"]

    for minute in range(8):
        watch.measure(TIMES, minute * 60, float(minute))
    points = ask(ExtendedStatistics=["p50"])
    found = {point["Timestamp"]: (point["Maximum"], point["ExtendedStatistics"]["p50"]) for point in points}
    assert found == {moment(minute * 60): (minute, minute) for minute in range(8)}
    assert [point["Timestamp"] for point in points] != sorted(found)
    assert refusal(lambda: ask(Period=90)) == "InvalidParameterValue"
    assert refusal(lambda: ask(Statistics=["Median"])) == "InvalidParameterValue"
    assert refusal(lambda: ask(Statistics=[])) == "InvalidParameterCombination"
    assert refusal(lambda: ask(EndTime=moment(1_441 * 60))) == "InvalidParameterCombination"


def test_a_program_s_own_metrics_are_kept_as_they_are(watch: Watch) -> None:
    """Figures of its own would be found under other dimensions, or finer than they were given."""
    own: Any = {"MetricName": "Jobs", "Dimensions": [{"Name": "queue", "Value": "a"}], "Timestamp": moment(5)}
    data: Any = [
        {**own, "Value": 3.0},
        {**own, "Values": [1.0, 5.0], "Counts": [2, 1]},
        {**own, "MetricName": "Fine", "Value": 1.0, "StorageResolution": 1},
        {**own, "MetricName": "Sets", "StatisticValues": {"SampleCount": 2, "Sum": 6, "Minimum": 1, "Maximum": 5}},
    ]
    watch.aws.put_metric_data(Namespace="Own", MetricData=data)

    def value(name: str, stat: str, period: int = 60) -> list[float]:
        metric = {"Namespace": "Own", "MetricName": name, "Dimensions": own["Dimensions"]}
        return list(
            watch.data({"Id": "m", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}})[0]["Values"]
        )

    assert (value("Jobs", "Sum"), value("Jobs", "SampleCount"), value("Jobs", "p50")) == ([10.0], [4.0], [1.0])
    assert (value("Jobs", "Sum", 10), value("Fine", "Sum", 1)) == ([], [1.0])
    assert (value("Sets", "Average"), value("Sets", "p50")) == ([3.0], [])


ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012"


@pytest.fixture
def counted(watch: Watch) -> dict[Slot, Tally]:
    """What went through the load balancer and is not published yet. Its figures are as late as AWS's."""
    waiting: dict[Slot, Tally] = {}

    def take(before: float) -> dict[Slot, Tally]:
        return {one: waiting.pop(one) for one in list(waiting) if one[0] + SLOT_SECONDS <= before}

    machines = SimpleNamespace(take_traffic=take, target_health=lambda _: [])
    watch.cloud._control._publisher = alb_metrics.Publisher(machines, Lateness())
    return waiting


def test_figures_come_late_in_parts_and_grow(watch: Watch, counted: dict[Slot, Tally]) -> None:
    """A rollout would be rehearsed with figures that are whole and there at once, which in AWS they never are."""
    asked = {
        REQUESTS: ("Sum", 40.0),
        "HTTPCode_Target_2XX_Count": ("Sum", 30.0),
        "HTTPCode_Target_3XX_Count": ("Sum", 4.0),
        "HTTPCode_Target_4XX_Count": ("Sum", 3.0),
        ERRORS: ("Sum", 2.0),
        TIMES: ("TC(:0.25)", 30.0),
    }
    tally = Tally(chosen=40, answers=Counter({2: 30, 3: 4, 4: 3, 5: 2}), times=Counter({250: 30, 2000: 9}))
    counted[int(NOON), f"{ARN}:listener/app/web/1/9", f"{ARN}:targetgroup/blue/2"] = tally
    queries: list[Any] = [
        {**watch.query(name, stat, SLOT_SECONDS), "Id": f"m{number}"}
        for number, (name, (stat, _)) in enumerate(asked.items())
    ]
    seen: list[tuple[float, ...]] = []
    watch.step(SLOT_SECONDS)
    for _ in range(21):  # by the second, until 20 s after the period has ended
        seen.append(tuple(sum(found["Values"]) for found in watch.data(*queries)))
        watch.step(1)
    assert not any(map(any, seen[:10]))
    assert seen[20] == tuple(whole for _, whole in asked.values())
    assert all(map(le, before, after) for before, after in pairwise(seen))
    first_seen = [next(second for second, values in enumerate(seen) if values[n]) for n in range(len(asked))]
    whole_since = [next(second for second, values in enumerate(seen) if values[n] == seen[20][n]) for n in range(6)]
    assert len(set(first_seen)) >= 3
    assert sum(first < whole for first, whole in zip(first_seen, whole_since, strict=True)) >= 3


def test_figures_are_listed_and_of_both_places(watch: Watch, counted: dict[Slot, Tally]) -> None:
    """Who looks for a metric would not find it, or find the balancer's for the target group's."""
    watch.cloud._control._publisher._lateness.change({"metrics": [0, 0]})
    slot = (int(NOON), f"{ARN}:listener/app/web/1/9", f"{ARN}:targetgroup/blue/2")
    counted[slot] = Tally(chosen=3, answers=Counter({5: 2}), own=Counter({5: 1}), times=Counter({250: 2}))
    watch.step(10.5)
    assert watch.figures(ERRORS, "Sum", 10) == {}
    watch.step(1)
    assert watch.figures(ERRORS, "Sum", 10) == {0: 2.0}
    assert watch.figures(TIMES, "Average", 10) == {0: 0.25}
    listed = watch.aws.list_metrics(Namespace=alb_metrics.NAMESPACE)["Metrics"]
    places: dict[str, set[int]] = {}
    for metric in listed:
        places.setdefault(metric["MetricName"], set()).add(len(metric["Dimensions"]))
    assert places == {name: {1, 2} for name in (REQUESTS, ERRORS, TIMES)} | {"HTTPCode_ELB_5XX_Count": {1}}


X, F, N = 9.0, 0.0, None  # breaching, fine, missing


@pytest.mark.parametrize(
    ("points", "needed", "missing", "ignored", "breaching", "fine"),
    [
        ((X, N, X, N, F), 3, "OK", "OK", "OK", "OK"),
        ((N, N, N, N, F), 3, "OK", "OK", "OK", "OK"),
        ((N, N, N, N, N), 3, "INSUFFICIENT_DATA", None, "ALARM", "OK"),
        ((X, N, X, X, F), 3, "ALARM", "ALARM", "ALARM", "ALARM"),
        ((N, N, X, N, N), 3, "ALARM", None, "ALARM", "OK"),
        ((X, N, X, N, F), 2, "ALARM", "ALARM", "ALARM", "ALARM"),
        ((X, F, X, F, F), 2, "ALARM", "ALARM", "ALARM", "ALARM"),
        ((N, N, X, N, F), 2, "OK", "OK", "ALARM", "OK"),
        ((F, N, N, N, N), 2, "OK", "OK", "ALARM", "OK"),
        ((N, X, N, N, N), 2, "ALARM", None, "ALARM", "OK"),
    ],
)
def test_missing_figures_count_as_in_aws_s_tables(
    points: Any, needed: int, missing: str, ignored: str | None, breaching: str, fine: str
) -> None:
    """An alarm would ring, or stay silent, where AWS's does not. User guide: its two tables, newest figure last."""
    expected = {"missing": missing, None: missing, "ignore": ignored, "breaching": breaching, "notBreaching": fine}
    for treat, state in expected.items():
        alarm = SimpleNamespace(threshold=2, comparison_operator="GreaterThanThreshold", treat_missing_data=treat)
        assert alarms.evaluate(alarm, list(points), 3, needed)[0] == state, treat


def test_an_alarm_rings_and_ends(watch: Watch) -> None:
    """A rollout would go on while its alarm should ring, or be aborted by an old one for ever; nobody would be told."""
    topic = watch.clients.client("sns").create_topic(Name="pager")["TopicArn"]
    watch.alarm(AlarmActions=[topic], OKActions=[topic])
    assert watch.state() == "INSUFFICIENT_DATA"
    watch.step(4)
    for minute in range(3):
        watch.measure(ERRORS, minute * 60, 9.0)
    watch.step(60)
    watch.step(60)
    assert watch.state() == "ALARM"
    for minute in range(3, 6):
        watch.measure(ERRORS, minute * 60, 1.0)
    watch.step(240)
    assert watch.state() == "OK"
    told = [(one["topic"], json.loads(one["message"])) for one in watch.notifications()]
    assert [(arn, message["OldStateValue"], message["NewStateValue"]) for arn, message in told] == [
        (topic, "INSUFFICIENT_DATA", "ALARM"),
        (topic, "ALARM", "OK"),
    ]


def test_the_alarm_of_a_release_rings_for_failed_requests_alone(watch: Watch) -> None:
    """The alarms of a stack could not be tried: none of an expression would ever ring, or that of a standby would."""
    measure = measures.failed(20)
    for name, place in (("live", PLACE), ("standby", {**PLACE, "TargetGroup": "targetgroup/green/3"})):
        stats: list[Any] = [
            {**watch.query(each.name, each.statistic, 60, place=place), "Id": each.id, "ReturnData": False}
            for each in measure.metrics
        ]
        watch.aws.put_metric_alarm(
            AlarmName=name,
            Metrics=[{"Id": "result", "Expression": measure.expression, "ReturnData": True}, *stats],
            EvaluationPeriods=3,
            Threshold=5,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )
    watch.step(4)
    for minute in range(10):
        # Nothing of 3xx and 4xx: such a service's are never reported.
        counts = {"RequestCount": 100.0, "HTTPCode_Target_2XX_Count": 70.0 if 3 <= minute < 6 else 99.0}
        for name, count in counts.items():
            watch.measure(name, minute * 60, count)
    states = []
    for _ in range(12):
        watch.step(60)
        states.append((watch.state("live"), watch.state("standby")))
    assert {standby for _, standby in states} == {"OK"}
    live = [state for state, _ in states]
    assert [state for state, before in zip(live, [None, *live], strict=False) if state != before] == [
        "OK",
        "ALARM",
        "OK",
    ]


def test_an_alarm_that_cannot_be_evaluated_here_stays_as_it_is(watch: Watch) -> None:
    """One expression that the local cloud does not know would stop its clock, and with it everything that is due."""
    queries: list[Any] = [
        {"Id": "result", "Expression": "RATE(m)", "ReturnData": True},
        {**watch.query(ERRORS, "Sum", 60), "ReturnData": False},
    ]
    watch.aws.put_metric_alarm(
        AlarmName="a", Metrics=queries, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold"
    )
    watch.step(60)
    watch.step(60)
    assert watch.state() == "INSUFFICIENT_DATA"


def test_a_state_that_was_set_lasts_until_the_next_look(watch: Watch) -> None:
    """A rehearsal could not make an alarm ring; or it would ring for ever, as no alarm of AWS does."""
    topic = watch.clients.client("sns").create_topic(Name="pager")["TopicArn"]
    watch.alarm(AlarmActions=[topic], TreatMissingData="notBreaching")
    watch.step(4)
    watch.step(60)
    assert watch.state() == "OK"
    watch.aws.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="a rehearsal")
    watch.step(30)
    assert watch.state() == "ALARM"
    assert [one["subject"].split(":")[0] for one in watch.notifications()] == ["ALARM"]
    watch.step(30)
    assert watch.state() == "OK"


def test_a_changed_alarm_keeps_its_state(watch: Watch) -> None:
    """Each deploy of the stack would silence the alarm that it should heed."""
    watch.alarm()
    watch.aws.set_alarm_state(AlarmName="a", StateValue="ALARM", StateReason="r")
    watch.alarm(Threshold=3)
    (shown,) = watch.aws.describe_alarms(AlarmNames=["a"])["MetricAlarms"]
    assert (shown["StateValue"], shown["StateReason"], shown["Threshold"]) == ("ALARM", "r", 3.0)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Period": 45}, "ValidationError"),
        ({"Period": None}, "ValidationError"),
        ({"EvaluationPeriods": 0}, "ValidationError"),
        ({"EvaluationPeriods": 1_441}, "ValidationError"),
        ({"DatapointsToAlarm": 4}, "ValidationError"),
        ({"ComparisonOperator": "Greater"}, "ValidationError"),
        ({"TreatMissingData": "fine"}, "ValidationError"),
        ({"Statistic": "p99"}, "ValidationError"),
        ({"Statistic": None}, "InvalidParameterCombination"),
        ({"ExtendedStatistic": "p99"}, "InvalidParameterCombination"),
        ({"Statistic": None, "ExtendedStatistic": "p101"}, "ValidationError"),
    ],
    ids=str,
)
def test_an_alarm_that_never_could_ring_is_refused(watch: Watch, changed: dict[str, Any], code: str) -> None:
    """A wrong alarm would look like one that is silent because all is well."""
    assert refusal(lambda: watch.alarm(**changed)) == code


def test_alarms_are_found_as_aws_finds_them(watch: Watch) -> None:
    """A composite alarm would be seen unasked, or the second page never."""
    for number in range(5):
        watch.alarm(AlarmName=f"a{number}")
    watch.alarm(AlarmName="b")
    with LOCK:  # moto has no PutCompositeAlarm
        backend("cloudwatch").alarms["b"].rule = "ALARM(a1)"
    describe: Any = watch.aws.describe_alarms
    first = describe(MaxRecords=3)
    second = describe(MaxRecords=3, NextToken=first["NextToken"])
    names = [alarm["AlarmName"] for page in (first, second) for alarm in page["MetricAlarms"]]
    assert names == ["a0", "a1", "a2", "a3", "a4"]
    assert "NextToken" not in second
    assert first["CompositeAlarms"] == []
    shown = describe(AlarmNames=["a1", "b", "none"], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert [one["AlarmName"] for one in (*shown["MetricAlarms"], *shown["CompositeAlarms"])] == ["a1", "b"]
    watch.aws.set_alarm_state(AlarmName="a1", StateValue="OK", StateReason="r")
    assert [one["AlarmName"] for one in describe(StateValue="OK", AlarmNamePrefix="a")["MetricAlarms"]] == ["a1"]
    assert refusal(lambda: describe(AlarmNames=["a"], AlarmNamePrefix="a")) == "InvalidParameterCombination"
    assert refusal(lambda: describe(MaxRecords=101)) == "ValidationError"


def test_a_message_that_sns_refuses_is_refused(watch: Watch) -> None:
    """A notifier would be found broken on the day of the first bad deploy."""
    sns = watch.clients.client("sns")
    topic = sns.create_topic(Name="pager")["TopicArn"]
    for wrong in (
        {"Subject": "x" * 101},
        {"Subject": "zurück"},
        {"Subject": "a\nb"},
        {"Subject": " a"},
        {"Message": ""},
    ):
        asked: Any = {"TopicArn": topic, "Message": "m", **wrong}
        assert refusal(lambda asked=asked: sns.publish(**asked)) == "InvalidParameter", wrong  # type: ignore[misc] # mypy cannot tell a lambda with a default
    sns.publish(TopicArn=topic, Message="m" * 262_144, Subject="x" * 100)
    assert [(one["topic"], one["subject"]) for one in watch.notifications()] == [(topic, "x" * 100)]


def test_expressions_are_made_of_the_other_queries(watch: Watch) -> None:
    """A rollout's metric math would be tried out against moto's, which knows almost none of it."""
    for at, errors, requests in ((0, 1.0, 4.0), (60, 0.0, 0.0)):
        watch.measure(ERRORS, at, errors)
        watch.measure(REQUESTS, at, requests)
    queries = [{**watch.query(name, "Sum", 60), "Id": id_} for name, id_ in ((ERRORS, "e"), (REQUESTS, "r"))]
    hidden = [{**query, "ReturnData": False} for query in queries]
    (ratio,) = watch.data(
        {"Id": "x", "Expression": "rate * 100"}, {"Id": "rate", "Expression": "e / r", "ReturnData": False}, *hidden
    )
    assert (ratio["Id"], ratio["Timestamps"], ratio["Values"]) == ("x", [moment(0)], [25.0])
    (rate,) = watch.data({"Id": "rate", "Expression": "e / r"}, *hidden)
    assert rate["Messages"][0]["Code"] == "ArithmeticError", "0 / 0 is dropped"
    for wrong, problem in (("AVG(e)", "does not know AVG"), ("x + e", "names itself"), ("m1", "there is no m1")):
        with pytest.raises(ClientError, match=f"'x': .*{problem}"):
            watch.data({"Id": "x", "Expression": wrong}, *hidden)
    other = {**watch.query(ERRORS, "Sum", 120), "Id": "other"}
    with pytest.raises(ClientError, match="one period"):
        watch.data({"Id": "x", "Expression": "e"}, *hidden, other)
