"""Endpoints by the names of the settings."""

from __future__ import annotations

import pytest

from fleetswap.domain.network.endpoints import (
    GATEWAY,
    INTERFACE,
    Endpoint,
    Service,
    choose,
    doubled_rules,
    service_names,
    with_kms,
)

ZONES = ("eu-central-1a", "eu-central-1b")
KMS = Service("com.amazonaws.eu-central-1.kms", INTERFACE, frozenset(ZONES), private_dns=True)
S3 = Service("com.amazonaws.eu-central-1.s3", GATEWAY, frozenset(ZONES))
S3_INTERFACE = Service("com.amazonaws.eu-central-1.s3", INTERFACE, frozenset(ZONES), private_dns=True)
OTHERS = Service("com.amazonaws.vpce.eu-central-1.vpce-svc-1", INTERFACE, frozenset({"eu-central-1b"}))
ALL = (S3_INTERFACE, S3, KMS, OTHERS)


def test_names_mean_what_the_region_has() -> None:
    """Machines would connect to another service than the one that was named, or pay for an interface to S3."""
    choice = choose(["kms", "s3", OTHERS.name], "eu-central-1", ZONES, ALL)
    assert choice.problems == ()
    assert choice.endpoints == (
        Endpoint("kms", KMS.name, INTERFACE, ZONES, private_dns=True),
        Endpoint("s3", S3.name, GATEWAY),
        Endpoint(OTHERS.name, OTHERS.name, INTERFACE, ("eu-central-1b",)),
    )
    assert choice.endpoints[2].label == "com-amazonaws-vpce-eu-central-1-vpce-svc-1"


def test_a_prefix_list_is_named_once() -> None:
    """AWS would refuse the rule that both the endpoint and `egress` ask for."""
    chosen = choose(["kms", "s3"], "eu-central-1", ZONES, ALL).endpoints
    services = {"pl-1": S3.name, "pl-2": "com.amazonaws.eu-central-1.dynamodb", "pl-4": KMS.name}
    (told,) = doubled_rules(chosen, ["pl-1", "pl-2", "pl-3", "pl-4"], services)
    assert told.startswith("pl-1 is the prefix list of the endpoint s3")


def test_an_interface_is_what_a_service_without_a_gateway_has() -> None:
    """In a region whose S3 has no gateway endpoint, none could be made; or a queue's would be one."""
    assert choose(["s3"], "eu-central-1", ZONES, [S3_INTERFACE]).endpoints[0].kind == INTERFACE
    both = Service(KMS.name, GATEWAY, frozenset(ZONES))
    assert choose(["kms"], "eu-central-1", ZONES, [both, KMS]).endpoints[0].kind == INTERFACE


def test_what_is_wrong_with_the_names_is_told() -> None:
    """The deploy would fail half-way, with the first of the mistakes."""
    elsewhere = Service("com.amazonaws.eu-central-1.sqs", INTERFACE, frozenset({"eu-central-1c"}))
    nowhere = Service("com.amazonaws.eu-central-1.new", INTERFACE)
    problems = choose(
        ["kmss", "sqs", "new", "kms", KMS.name], "eu-central-1", ZONES, [*ALL, elsewhere, nowhere]
    ).problems
    assert [problem.partition(":")[0] for problem in problems] == [
        "eu-central-1 has no endpoint service kmss",
        f"the endpoint service {elsewhere.name} is in none of the zones {', '.join(ZONES)}, only in eu-central-1c",
        f"the endpoint service {nowhere.name} is in none of the zones {', '.join(ZONES)}, only in none",
        f"kms and {KMS.name} are the same endpoint service",
    ]


@pytest.mark.parametrize(
    ("name", "region", "names"),
    [
        ("kms", "us-east-1", ("com.amazonaws.us-east-1.kms", "cn.com.amazonaws.us-east-1.kms")),
        ("ecr.api", "cn-north-1", ("com.amazonaws.cn-north-1.ecr.api", "cn.com.amazonaws.cn-north-1.ecr.api")),
        ("com.amazonaws.vpce.us-east-1.vpce-svc-1", "us-east-1", ("com.amazonaws.vpce.us-east-1.vpce-svc-1",)),
    ],
)
def test_a_short_name_is_looked_for_in_every_partition(name: str, region: str, names: tuple[str, ...]) -> None:
    """In China no endpoint would be found."""
    assert service_names(name, region) == names


def test_secrets_need_kms() -> None:
    """A machine in a private subnet could not decrypt its secrets, and hang at boot."""
    assert with_kms(["logs"], "us-east-1", needs_kms=True) == ("logs", "kms")
    assert with_kms(["kms", "logs"], "us-east-1", needs_kms=True) == ("kms", "logs")
    full = "com.amazonaws.us-east-1.kms"
    assert with_kms([full], "us-east-1", needs_kms=True) == (full,), "or the same endpoint would be asked for twice"
    assert with_kms(["logs"], "us-east-1", needs_kms=False) == ("logs",)
