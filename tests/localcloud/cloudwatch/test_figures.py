"""Statistics of what was measured, and what a line of HAProxy's log means for a load balancer's metrics."""

from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.balancer.traffic import Tally, Traffic
from localcloud.cloudwatch import alb_metrics
from localcloud.cloudwatch.figures import Metrics, Sample, key
from localcloud.hooks import TargetHealth

VALUES = st.lists(st.integers(0, 50).map(float), min_size=1, max_size=60)


@given(VALUES, st.integers(0, 60), st.integers(0, 60))
def test_statistics_are_those_of_the_values(values: list[float], low: int, high: int) -> None:
    """A canary would be judged by other averages, percentiles or ranks than CloudWatch's."""
    sample = Sample()
    for value in values:
        sample.add(Sample(Counter({value: 1})))
    assert sample.statistic("Sum") == sum(values)
    assert sample.statistic("SampleCount") == len(values)
    assert sample.statistic("Average") == sum(values) / len(values)
    assert (sample.statistic("Minimum"), sample.statistic("Maximum")) == (min(values), max(values))
    assert (sample.statistic("p0"), sample.statistic("p100")) == (min(values), max(values))
    median = sample.statistic("p50")
    assert median in values
    assert sum(value <= median for value in values) * 2 >= len(values)
    assert sum(value < median for value in values) * 2 <= len(values)
    assert sample.statistic(f"PR(:{low})") == 100 * sum(value <= low for value in values) / len(values)
    inside = [value for value in values if low < value <= high]
    assert sample.statistic(f"PR({low}:{high})") == 100 * len(inside) / len(values)
    assert sample.statistic(f"TC({low}:{high})") == len(inside)
    assert sample.statistic(f"TS({low}:{high})") == sum(inside)
    assert sample.statistic(f"TM({low}:{high})") == (sum(inside) / len(inside) if inside else None)
    clipped = [min(max(value, low), high) for value in values]
    if low <= high:
        assert sample.statistic(f"WM({low}:{high})") == pytest.approx(sum(clipped) / len(clipped))
    slow = sum(value > low for value in values)
    assert len(values) - (sample.statistic(f"TC(:{low})") or 0) == slow


def test_a_percentile_of_many_is_not_the_largest() -> None:
    """One slow answer in a hundred would count as the latency of all."""
    sample = Sample(Counter({0.01: 99, 5.0: 1}))
    assert (sample.statistic("p99"), sample.statistic("p99.9")) == (0.01, 5.0)


def test_bounds_may_be_ranks() -> None:
    """An alarm on the mean of all but the slowest tenth would be one on something else."""
    sample = Sample(Counter({float(number): 1 for number in range(1, 11)}))
    shorts = {"tc90": 9, "ts90": 45, "tm90": 5, "wm90": (45 + 9) / 10, "IQM": 5}
    longs = {"TC(:90%)": 9, "TS(80%:)": 19, "TM(10%:90%)": 5.5, "WM(10%:90%)": (2 + 44 + 9) / 10, "TC(5%:95%)": 9}
    assert {name: sample.statistic(name) for name in shorts} == shorts
    assert {name: sample.statistic(name) for name in longs} == longs
    assert sample.statistic("TM(:0.5%)") is None
    assert sample.statistic("TC(:100%)") == sample.statistic("TC(0%:)") == 10


def test_of_sets_there_are_no_percentiles() -> None:
    """A percentile would be invented from a minimum and a maximum."""
    sample = Sample(sets=[(10.0, 50.0, 1.0, 9.0)])
    assert (sample.statistic("Average"), sample.statistic("Maximum"), sample.statistic("p50")) == (5.0, 9.0, None)
    assert sample.statistic("PR(:5)") is sample.statistic("TC(:5)") is None


@pytest.mark.parametrize(
    "name", ["p101", "median", "PR(:)", "PR(1)", "PR(:5%)", "TC(:)", "TC(1%:2)", "tc", "TC90", "iqm", "", "sum"]
)
def test_an_unknown_statistic_is_none(name: str) -> None:
    """A misspelt statistic would be answered with figures."""
    with pytest.raises(ValueError, match=f"^{re.escape(name)}$"):
        Sample(Counter({1.0: 1})).statistic(name)


def test_periods_begin_where_the_range_begins() -> None:
    """Figures would be shifted against the time in which they were measured."""
    metrics, metric = Metrics(), key("n", "m", {"a": "b"})
    for at in (100, 119, 120, 179, 180):
        metrics.add(metric, at, Sample(Counter({1.0: 1})), unit=None, resolution=1)
    series = metrics.find(key("n", "m", {"a": "b"}))
    assert series is not None
    found = [(at, sample.statistic("Sum")) for at, sample in series.between(60, 180, 60)]
    assert found == [(60, 2.0), (120, 2.0)]
    assert metrics.find(key("n", "m", {"a": "c"})) is None


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


LISTENER = "arn:aws:elasticloadbalancing:us-east-1:1:listener/app/web/1a/2b"
GROUP = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/blue/3c"


def figures(*lines: str) -> dict[tuple[str, str], float | None]:
    """What is reported of these lines of the log: by metric and target group (empty for the load balancer alone)."""
    clock = Clock()
    traffic = Traffic(clock)
    try:
        traffic.name("127.66.0.1:80", LISTENER, {"tg0": GROUP})
        for line in lines:
            traffic.read(line)
        assert traffic.take(1009.9) == {}
        taken = traffic.take(1010.0)
        assert traffic.take(2000.0) == {}
    finally:
        traffic.close()
    found = {}
    for (_, name, dimensions), at, sample, _ in alb_metrics.of_traffic(taken):
        assert at == 1000
        places = dict(dimensions)
        assert places.pop("LoadBalancer") == "app/web/1a"
        statistic = "Average" if name == "TargetResponseTime" else "Sum"
        found[name, places.get("TargetGroup", "")] = sample.statistic(statistic)
    return found


def test_an_answer_of_a_target_counts_for_its_group_and_its_balancer() -> None:
    """The canary's own errors and times would not be told from the others'."""
    found = figures("127.66.0.1:80 tg0 s1 200 40 -- -", "127.66.0.1:80 tg0 s2 500 60 -- -")
    for place in ("", "targetgroup/blue/3c"):
        assert found["RequestCount", place] == 2
        assert found["HTTPCode_Target_2XX_Count", place] == 1
        assert found["HTTPCode_Target_5XX_Count", place] == 1
        assert found["TargetResponseTime", place] == 0.05
    assert len(found) == 8


def test_an_answer_of_the_balancer_is_not_its_target_s() -> None:
    """A target that never answered would count as one that answered 502, or not at all."""
    found = figures("127.66.0.1:80 tg0 s1 502 -1 SC -")
    assert found == {
        ("RequestCount", ""): 1,
        ("RequestCount", "targetgroup/blue/3c"): 1,
        ("HTTPCode_ELB_5XX_Count", ""): 1,
    }


def test_without_a_target_no_request_is_counted() -> None:
    """Requests that no target got would make an error rate look better."""
    assert figures("127.66.0.1:80 tg0 <NOSRV> 503 -1 LR -") == {("HTTPCode_ELB_5XX_Count", ""): 1}
    assert figures("127.66.0.1:80 listener <NOSRV> 404 -1 LR fixed") == {
        ("HTTPCode_ELB_4XX_Count", ""): 1,
        ("HTTP_Fixed_Response_Count", ""): 1,
    }
    assert figures("127.66.0.1:80 listener <NOSRV> 301 -1 LR redirect") == {
        ("HTTPCode_ELB_3XX_Count", ""): 1,
        ("HTTP_Redirect_Count", ""): 1,
    }
    # A version of HTTP that the target group does not speak: the load balancer's own 464, which no rule asked for.
    assert figures("127.66.0.1:80 listener <NOSRV> 464 -1 LR own") == {("HTTPCode_ELB_4XX_Count", ""): 1}


def test_a_client_that_goes_away_is_no_target_s_answer() -> None:
    """A request that hung until its user gave up would count as answered well, or as none. In AWS it is a 460."""
    assert figures("127.66.0.1:80 tg0 s1 -1 -1 CH -") == {
        ("HTTPCode_ELB_4XX_Count", ""): 1,
        ("RequestCount", ""): 1,
        ("RequestCount", "targetgroup/blue/3c"): 1,
    }


@pytest.mark.parametrize("line", ["", "Proxy listener started.", "127.0.0.9:1 tg0 s1 200 1 -- -", "x y z a b c -"])
def test_other_lines_count_nothing(line: str) -> None:
    """What HAProxy says about itself, or a stranger sends, would become traffic."""
    assert figures(line) == {}


def test_health_is_counted_where_there_are_targets() -> None:
    """An alarm on healthy hosts would see none where all are, or see groups that nobody uses."""
    names = ("blue", "idle", "empty")
    groups = [SimpleNamespace(arn=f"a:a:a:a:a:targetgroup/{name}/1", load_balancer_arns=[]) for name in names]
    for used in (groups[0], groups[2]):
        used.load_balancer_arns = ["a:a:a:a:a:loadbalancer/app/web/2"]
    states = ["healthy", "healthy", "unhealthy", "initial", "draining"]
    targets = [TargetHealth(str(number), 80, state) for number, state in enumerate(states)]
    elbv2 = SimpleNamespace(target_groups=dict(enumerate(groups)))
    found = alb_metrics.of_health(elbv2, lambda arn: [] if "empty" in arn else targets, 1000)
    place = (("LoadBalancer", "app/web/2"), ("TargetGroup", "targetgroup/blue/1"))
    assert {metric: sample.statistic("Average") for metric, _, sample, _ in found} == {
        ("AWS/ApplicationELB", "HealthyHostCount", place): 2,
        ("AWS/ApplicationELB", "UnHealthyHostCount", place): 1,
    }


def test_a_slot_s_tally_is_counted_up() -> None:
    """Two requests of one slot would be one."""
    tally = Tally()
    for _ in range(2):
        tally.count("s1", 200, 3, "--")
    assert (tally.chosen, tally.answers, tally.times) == (2, Counter({2: 2}), Counter({3: 2}))
