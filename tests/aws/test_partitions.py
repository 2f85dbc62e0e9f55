"""What we write of ARNs, hosts and principals is right in every partition of AWS."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleetswap.aws.partition import partition_of
from fleetswap.domain.partition import Partition, of_arn

KNOWS = ("fleetswap/domain/partition.py", "engine/aws_plugin/kind.py")
"""Where the names of AWS's own partition are."""

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("region", "name", "suffix", "ec2"),
    [
        ("eu-central-1", "aws", "amazonaws.com", "ec2.amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn", "ec2.amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com", "ec2.amazonaws.com"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu", "ec2.amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov", "ec2.amazonaws.com"),
        ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov", "ec2.amazonaws.com"),
        ("xx-new-1", "aws", "amazonaws.com", "ec2.amazonaws.com"),
    ],
)
def test_each_partition(region: str, name: str, suffix: str, ec2: str) -> None:
    """A role could not be assumed, or a policy would name resources that cannot be."""
    found = partition_of(region)
    assert found == Partition(name, suffix)
    assert found.principal("ec2") == ec2
    assert found.principal("scheduler") == "scheduler.amazonaws.com"
    assert found.host("ec2", region) == f"ec2.{region}.{suffix}"


def test_an_arn_names_its_partition() -> None:
    """An ARN of another partition would be refused by AWS half-way through a deploy."""
    assert of_arn("arn:aws-us-gov:iam::111122223333:role/x") == "aws-us-gov"


def test_no_arn_or_host_is_written_for_one_partition() -> None:
    """A deploy would fail in China, GovCloud or the European Sovereign Cloud, where nobody here tries it."""
    found = []
    for folder in ("fleetswap", "fleetswap_pulumi", "infra", "engine"):
        for path in (ROOT / folder).rglob("*.py"):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(r'"[^"]*(\barn:aws:(?!aws-sdk)|amazonaws\.com)', line) and not _is_shown(line):
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert [each for each in found if not each.startswith(KNOWS)] == []


def _is_shown(line: str) -> bool:
    """An example, or what a message shows; and services whose name as a principal is one everywhere."""
    return bool(
        re.search(
            r'examples=|…|"""|^\s+"arn:aws:[^{]*"$|"the ARN of |'
            r"(autoscaling|elasticloadbalancing|mrk\.kms|scheduler)\.amazon",
            line,
        )
    )
