"""What doctor asks about an account, and says of it: permissions by IAM's simulation, and quotas.

IAM is a stand-in: the local cloud's own evaluation of policies, which has IAM's rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from fleetswap.aws.session import Cloud
from fleetswap.cli import doctor_account
from fleetswap.domain.checklist import Finding, State
from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.statement import Policy
from fleetswap_pulumi.permissions import settings_of
from localcloud.authorization import policies as iam
from tests.permissions.scopes import ACCOUNT, EVERYTHING, REGION, SCOPES

ROLE = f"arn:aws:iam::{ACCOUNT}:role/ci/deploy"
CALLER = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/me"
FULL = policies(EVERYTHING, Purpose.DEPLOY)


class Account:
    """The clients of an account. The caller's role has the policies `attached`; `values` are the account's own quotas;
    `refused` are operations with the code that they raise. `missing` are keys that the role's policies ask for.
    """

    def __init__(
        self,
        attached: tuple[Policy, ...] = FULL,
        refused: Mapping[str, str] | None = None,
        values: Mapping[str, float] | None = None,
        missing: tuple[str, ...] = (),
        caller: str = CALLER,
    ) -> None:
        self.attached = tuple(iam.Policy.parse(json.dumps(each.document())) for each in attached)
        self.refused, self.missing, self.caller, self.region = refused or {}, missing, caller, REGION
        self.values = {"L-1216C47A": 64.0, "L-34B43A08": 64.0, "L-CDE20ADC": 500.0} if values is None else values
        self.asked: list[dict[str, Any]] = []

    def client(self) -> Any:
        """Of every service."""
        return SimpleNamespace(
            get_caller_identity=lambda: {"Arn": self.caller, "Account": ACCOUNT},
            get_role=self._role,
            get_service_quota=self._quota,
            get_aws_default_service_quota=lambda **_asked: {"Quota": {"Value": 3000.0}},
            get_paginator=lambda name: SimpleNamespace(paginate=lambda **asked: self._pages(name, asked)),
        )

    sts = iam = ec2 = autoscaling = elbv2 = service_quotas = client

    def _refuse(self, operation: str) -> None:
        if operation in self.refused:
            answer: Any = {"Error": {"Code": self.refused[operation], "Message": "no"}}
            raise ClientError(answer, operation)

    def _role(self, RoleName: str) -> Any:  # noqa: N803 - as IAM calls it
        self._refuse("get_role")
        return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/ci/{RoleName}"}}

    def _quota(self, *, ServiceCode: str, QuotaCode: str) -> Any:  # noqa: N803 - as the service calls them
        assert ServiceCode in {"ec2", "autoscaling", "elasticloadbalancing"}
        self._refuse("get_service_quota")
        if QuotaCode not in self.values:
            raise ClientError({"Error": {"Code": "NoSuchResourceException", "Message": ""}}, "GetServiceQuota")
        return {"Quota": {"Value": self.values[QuotaCode]}}

    def _pages(self, name: str, asked: dict[str, Any]) -> Iterator[Any]:
        self._refuse(name)
        if name == "simulate_principal_policy":
            yield {"EvaluationResults": list(self._simulated(asked))}
            return
        machines = [
            {"InstanceType": "m7i.large"},
            {"InstanceType": "m7i.large", "InstanceLifecycle": "spot"},
            {"InstanceType": "inf2.xlarge"},
        ]
        sizes = {"m7i.large": 2, "m7i.xlarge": 4, "inf2.xlarge": 4}
        yield {
            "describe_instances": {"Reservations": [{"Instances": machines}]},
            "describe_auto_scaling_groups": {"AutoScalingGroups": [{}, {}]},
            "describe_target_groups": {"TargetGroups": [{}]},
            "describe_instance_types": {
                "InstanceTypes": [
                    {"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": count}} for kind, count in sizes.items()
                ]
            },
        }[name]

    def _simulated(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.asked.append(asked)
        keys = {each["ContextKeyName"].lower(): tuple(each["ContextKeyValues"]) for each in asked["ContextEntries"]}
        named, (resource,) = iam.Named((asked["PolicySourceArn"],), ACCOUNT), asked["ResourceArns"]
        for action in asked["ActionNames"]:
            question = iam.Question(action, resource, keys)
            allowed = iam.decide(question, keys, iam.Policies(self.attached), named).allowed
            decision = "allowed" if allowed else "implicitDeny"
            yield {"EvalActionName": action, "EvalDecision": decision, "MissingContextValues": list(self.missing)}


def permitted(account: Account, scope: Any = EVERYTHING) -> Finding:
    return doctor_account.permissions(cast("Cloud", account), scope)


def roomy(account: Account, **machine: Any) -> list[Finding]:
    """Two to eight machines, the first two of them On-Demand."""
    found = {
        "aws:region": REGION,
        "fleetswap:service": "web",
        "fleetswap:image": json.dumps({"file": "web.raw"}),
        "fleetswap:capacity": json.dumps({"min": 2, "max": 8}),
        "fleetswap:machine": json.dumps({"instance_types": ["m7i.large", "m7i.xlarge"], **machine}),
    }
    return list(doctor_account.room(cast("Cloud", account), settings_of(found)))


@pytest.mark.parametrize("name", SCOPES)
def test_the_policies_that_are_printed_pass(name: str) -> None:
    """Whoever has attached exactly what the command prints would be told that something is missing."""
    account = Account(policies(SCOPES[name], Purpose.DEPLOY))
    found = permitted(account, SCOPES[name])
    assert found.state is State.OK, found
    assert f"by the policies of {ROLE};" in found.detail, "with its path"
    assert not [arn for each in account.asked for arn in each["ResourceArns"] if "*" in arn != "*"]
    kinds = {each["ContextKeyName"]: each["ContextKeyType"] for one in account.asked for each in one["ContextEntries"]}
    assert (kinds["aws:SecureTransport"], kinds["aws:RequestedRegion"]) == ("boolean", "string")


def test_what_is_missing_is_named() -> None:
    """A deploy would find out half-way; or the line would be as long as the policy."""
    one = FULL[0].statements[-1]
    without = tuple(replace(each, statements=tuple(s for s in each.statements if s.sid != one.sid)) for each in FULL)
    found = permitted(Account(without))
    assert found.state is State.FAILED
    assert sorted(one.actions)[0] in found.detail
    assert found.remedy == "attach the policies that `fleetswap permissions` prints"
    nothing = permitted(Account(()))
    assert nothing.state is State.FAILED
    assert " more" in nothing.detail
    assert len(str(nothing)) < 400


def test_what_is_allowed_on_some_resources_is_neither_missing_nor_well() -> None:
    """A policy that is finer than ours would be called broken, or one without some of the resources be called well."""
    first = next(one for each in FULL for one in each.statements if one.sid == "MakeNetwork")
    narrow = replace(first, resources=first.resources[:1])
    fine = tuple(
        replace(each, statements=tuple(narrow if one == first else one for one in each.statements)) for each in FULL
    )
    found = permitted(Account(fine))
    assert found.state is State.WARNING, found
    assert "on some of the stack's resources only" in found.detail


def test_a_condition_that_the_simulation_cannot_meet_is_no_verdict() -> None:
    """A condition on an address or a login would make a working role look broken, or a broken one well."""
    found = permitted(Account((), missing=("aws:SourceIp",)))
    assert found.state is State.WARNING
    assert "IAM's simulation cannot meet them" in found.detail


@pytest.mark.parametrize(
    ("account", "words", "remedy"),
    [
        (Account(refused={"simulate_principal_policy": "AccessDenied"}), "iam:SimulatePrincipalPolicy", "--for doctor"),
        (Account(refused={"get_role": "AccessDenied"}), "iam:GetRole", "--for doctor"),
        (Account(refused={"simulate_principal_policy": "Throttling"}), "iam:SimulatePrincipalPolicy", "try again"),
        (Account(caller=f"arn:aws:iam::{ACCOUNT}:root"), f"does not simulate arn:aws:iam::{ACCOUNT}:root", "a role"),
        (Account(caller=f"arn:aws:sts::{ACCOUNT}:federated-user/me"), "does not simulate", "a role"),
    ],
)
def test_what_may_not_be_simulated_is_skipped(account: Account, words: str, remedy: str) -> None:
    """Without a permission for the question, doctor would end, or say that all is well."""
    found = permitted(account)
    assert (found.state, words in found.detail, remedy in found.remedy) == (State.SKIPPED, True, True), found


def test_iam_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow simulation would keep doctor from ending, or what was not asked be called well."""
    monkeypatch.setattr(doctor_account, "SECONDS", -1.0)
    found = permitted(Account())
    assert found.state is State.SKIPPED
    assert found.detail.startswith("IAM has answered for 0 of ")


def test_room_is_counted_beside_what_runs() -> None:
    """A deploy would meet a quota that was there to be seen; or one that is large enough be raised."""
    (found,) = roomy(Account())
    assert found.state is State.OK
    assert found.detail.split("; ") == [
        "On-Demand machines: a deploy takes 2, and there is room for 31 (Standard: 2 of 64 vCPUs used)",
        "Spot machines: a deploy takes 0 to 6, and there is room for 31 (Standard: 2 of 64 vCPUs used)",
        "Auto Scaling groups: a deploy takes 1, and there is room for 498 (2 of 500 used)",
        "target groups: a deploy takes 1, and there is room for 2,999 (1 of 3,000 used)",
    ]
    short, tight, group, ok = roomy(Account(values={"L-1216C47A": 5, "L-34B43A08": 12, "L-CDE20ADC": 2}))
    assert [each.state for each in (short, tight, group, ok)] == [State.FAILED, State.WARNING, State.FAILED, State.OK]
    assert short.remedy.startswith("raise ec2 L-1216C47A in Service Quotas")
    assert "target groups" in ok.detail


@pytest.mark.parametrize(
    ("refused", "skipped"),
    [(("get_service_quota",), 3), (("describe_instances",), 1), (("describe_target_groups",), 1)],
)
def test_a_quota_that_may_not_be_read_is_skipped(refused: tuple[str, ...], skipped: int) -> None:
    """One permission that is missing would end the list, or make of an unknown quota one that is large enough."""
    found = roomy(Account(refused=dict.fromkeys(refused, "AccessDenied")))
    left_out = [each for each in found if each.state is State.SKIPPED]
    assert len(left_out) == skipped
    assert all("permissions --for doctor" in each.remedy and "access denied" in each.detail for each in left_out)
    assert not [each for each in found if each.state is State.FAILED]


@pytest.mark.parametrize(
    "machine",
    [
        {"instance_types": None, "requirements": {"vcpus": {"min": 2}, "memory_mib": {"min": 4096}}},
        {"instance_types": ["u-6tb1.metal"]},
    ],
)
def test_machines_whose_quota_is_not_known_are_skipped(machine: dict[str, Any]) -> None:
    """Numbers would be made up for machines that nobody has chosen yet, or be compared with the wrong quota."""
    skipped, ok = roomy(Account(), **machine)
    assert (skipped.state, ok.state) == (State.SKIPPED, State.OK)
    assert skipped.detail.startswith("vCPUs: ")
    assert "machines" not in ok.detail
