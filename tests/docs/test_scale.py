"""The page on AWS's quotas, and the arithmetic behind its tables."""

from __future__ import annotations

import json

import pytest

from tools import quotas, scale
from tools.quotas import Bucket, buckets
from tools.scale import Load, at_once, calls, loads, written

RECORDING = json.loads(scale.RECORDING.read_text())


def test_the_tables_are_what_the_recording_says() -> None:
    """The page would show numbers of an older recording. `make fmt`."""
    page = scale.PAGE.read_text()
    assert written(page) == page


def test_a_deploy_was_recorded() -> None:
    """The tables would be computed from something else, and look as good."""
    made = {name: calls(step) for name, step in RECORDING["steps"].items()}
    assert made["deploy"]["ebs:PutSnapshotBlock"] > 0
    assert made["deploy"]["elbv2:ModifyRule"] > 0
    assert made["preview"].total() < made["deploy"].total() < made["first"].total()
    assert not any(call.partition(":")[2].startswith(("Create", "Modify", "Put")) for call in made["preview"])
    for one in quotas.KEPT:
        assert made["first"][one.made_by] > 0, one.name


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("ec2:DescribeImages", {(100, 20)}),
        ("ec2:DescribeSnapshots", {(50, 10)}),
        ("ec2:RunInstances", {(5, 2)}),
        ("ec2:CreateLaunchTemplate", {(50, 5)}),
        ("elbv2:DescribeRules", {(40, 10)}),
        ("elbv2:ModifyRule", {(40, 10), (20, 3)}),
        ("elbv2:CreateLoadBalancer", {(40, 10), (10, 0.2)}),
        ("ebs:StartSnapshot", {(10, 10)}),
        ("iam:CreateRole", set()),
    ],
)
def test_a_call_takes_from_the_buckets_that_aws_documents(call: str, expected: set[tuple[float, float]]) -> None:
    """A call would be compared with the quota of another."""
    assert {(one.capacity, one.refill) for one in buckets(call)} == expected


def test_a_bucket_that_actions_share_has_the_busiest_second_of_all_of_them() -> None:
    """Two calls in different seconds would look like a burst, or two in the same second like none."""
    step = {"by_second": [{"elbv2:DescribeRules": 2, "elbv2:ModifyRule": 1}, {"elbv2:DescribeTags": 2}]}
    found = {load.bucket.name: (load.count, load.busiest) for load in loads(step)}
    assert found == {
        "elbv2: all actions together": (5, 3),
        "elbv2: Describe…": (4, 2),
        "elbv2: Create…, Modify…, Delete…, tags": (1, 1),
    }


@pytest.mark.parametrize(
    ("count", "busiest", "expected"),
    [(10, 10, 5), (200, 10, 2), (1000, 10, 0)],
    ids=["burst", "refill", "not even one"],
)
def test_deploys_together_are_bounded_by_the_burst_and_by_the_refill(count: int, busiest: int, expected: int) -> None:
    """The page would promise that more deploys fit than AWS lets through."""
    assert Load(Bucket("any", 40, 10), count, busiest).deploys(seconds=40) == expected


def test_more_deploys_than_said_are_under_way_in_less_than_a_thousandth_of_the_time() -> None:
    """The number to compare with would be a mean, which is exceeded half of the time."""
    day = scale.HOURS * 3600
    assert at_once(1) == 1, "mean 0.007: two together in 0.002 % of the time"
    assert at_once(day / scale.DEPLOYS) == 5, "mean 1: more than 5 with probability 0.0006, more than 4 with 0.0037"
