"""What an earlier version has put into the state, read by the present providers and by the present ledger."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from fleetswap.domain.release.ledger import from_plain, to_plain
from fleetswap_pulumi.disk_image import DiskImageProvider
from fleetswap_pulumi.preview import PreviewGuardProvider, PreviewRuleProvider
from fleetswap_pulumi.rollout import RolloutProvider
from localcloud.server import LocalCloud
from tests.localcloud.conftest import cloud
from tests.program.conftest import no_account
from tests.states.old import V0_1
from tests.states.replay import Replay, replay

__all__ = ["cloud", "no_account"]

PROVIDERS = {
    "DiskImage": DiskImageProvider,
    "PreviewGuard": PreviewGuardProvider,
    "PreviewRule": PreviewRuleProvider,
    "Rollout": RolloutProvider,
}
DYNAMIC = [each["urn"] for each in V0_1.resources() if each["type"].startswith("pulumi-python:dynamic/")]


@pytest.fixture
def aws() -> Iterator[Replay]:
    """AWS as it was when the state was written."""
    with replay(V0_1.answers) as server:
        yield server


def resource(urn: str, endpoint: str) -> tuple[Any, str, dict[str, Any], dict[str, Any]]:
    """The provider that the state names, loaded as Pulumi loads it for `delete` and `read`; id, inputs, outputs."""
    (found,) = [each for each in V0_1.resources(endpoint) if each["urn"] == urn]
    provider = pickle.loads(base64.b64decode(found["outputs"].pop("__provider")))  # noqa: S301 - our own file
    assert type(provider) is PROVIDERS[found["type"].rpartition(":")[2]]
    del found["inputs"]["__provider"]
    return provider, found["id"], found["inputs"], found["outputs"]


@pytest.mark.parametrize("urn", DYNAMIC, ids=lambda urn: urn.split(":dynamic/fleetswap:")[1])
def test_a_resource_is_read_and_nothing_has_changed(urn: str, aws: Replay) -> None:
    """A stack of an earlier version could not be deployed or refreshed any more."""
    provider, id_, inputs, outputs = resource(urn, aws.endpoint)
    assert provider.check(outputs, inputs).failures == []
    diff = provider.diff(id_, outputs, inputs)
    assert (diff.changes, diff.replaces) == (False, [])
    read = provider.read(id_, outputs)
    assert (read.id, read.outs) == (id_, outputs)
    assert aws.refused == []


def test_another_answer_to_a_shortage_is_no_reason_for_a_rollout(aws: Replay) -> None:
    """The new default would make the first update after an upgrade a rollout of what is live."""
    (urn,) = [urn for urn in DYNAMIC if ":Rollout::" in urn]
    provider, id_, inputs, outputs = resource(urn, aws.endpoint)
    policy = {**inputs["policy"], "shortage": "on-demand", "shortage_limit": 20.0}
    assert not provider.diff(id_, outputs, {**inputs, "policy": policy}).changes
    assert provider.diff(id_, outputs, {**inputs, "policy": {**policy, "readings": 9.0}}).changes


def test_what_is_gone_can_be_deleted(cloud: LocalCloud) -> None:
    """A stack of an earlier version could not be taken down to its end, once something of it was deleted by hand."""
    for urn in reversed(DYNAMIC):
        provider, id_, _, outputs = resource(urn, cloud.endpoint)
        provider.delete(id_, outputs)


def test_every_kind_is_there() -> None:
    """The test above would pass without a resource that it says it reads."""
    assert {urn.split(":dynamic/fleetswap:")[1].partition("::")[0] for urn in DYNAMIC} == set(PROVIDERS)


def test_the_ledger_stays_as_it_was() -> None:
    """The releases that run would be made anew, or no way would lead back to the version before."""
    assert to_plain(from_plain(V0_1.ledger)) == V0_1.ledger
