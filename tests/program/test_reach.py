"""All that talks to AWS for a stack does so in one way: declared once, stored in the state, its account compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fleetswap.aws.caller import admitted
from fleetswap.aws.session import Cloud
from fleetswap.domain.access import Access
from fleetswap.domain.errors import InputError
from fleetswap.workflows.rollout.run import Observed
from fleetswap_pulumi import rollout
from fleetswap_pulumi.disk_image import DiskImageProvider
from fleetswap_pulumi.preview import PreviewGuardProvider, PreviewRuleProvider
from fleetswap_pulumi.rollout import RolloutProvider
from localcloud.server import LocalCloud
from tests.fakes.ebs import disk_file
from tests.program.declared import Program, declare

if TYPE_CHECKING:
    from mypy_boto3_sts import STSClient

HERE, OTHER = "123456789012", "999900001111"
ROLE = f"arn:aws:iam::{HERE}:role/deploy"
ACCESS: dict[str, Any] = {
    "profile": "company",
    "assumeRoles": [{"roleArn": ROLE, "duration": "1h", "tags": {"a": "b"}}],
    "endpoints": {"sns": "https://sns.example"},
    "useFipsEndpoint": True,
    "maxRetries": 3,
}
LISTENER = f"arn:aws:elasticloadbalancing:us-east-1:{HERE}:listener/app/web/1/2"
DYNAMIC = ("DiskImage", "PreviewGuard", "PreviewRule", "Rollout")


def program(folder: Path, aws: dict[str, Any] | None = None, **values: Any) -> Program:
    file = disk_file(folder / "disk.raw") if not (folder / "disk.raw").exists() else folder / "disk.raw"
    given = {"service": "web", "image": {"file": str(file)}, **values}
    raw = {key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in given.items()}
    told = {
        key: json.dumps(value) if isinstance(value, (dict, list)) else str(value) for key, value in (aws or {}).items()
    }
    return declare(raw, aws=told)


def provider_of(found: Program) -> dict[str, Any]:
    (one,) = [each for each in found.resources if each.type == "pulumi:providers:aws"]
    return {key: _parsed(value) for key, value in one.inputs.items()}


def _parsed(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def test_the_provider_and_ours_take_the_same(tmp_path: Path) -> None:
    """Half of a deploy would be in another account, as another role, or at another endpoint than the rest."""
    found = program(tmp_path, {**ACCESS, "useFipsEndpoint": "true", "tagPolicyCompliance": "error"})
    given = provider_of(found)
    assert given["profile"] == "company"
    assert given["assumeRoles"] == [{"roleArn": ROLE, "duration": "3600s", "tags": {"a": "b"}}]
    assert given["endpoints"] == [{"sns": "https://sns.example"}]
    assert (given["useFipsEndpoint"], given["maxRetries"], given["tagPolicyCompliance"]) == (True, 3, "error")
    assert given["allowedAccountIds"] == [HERE]
    for kind in DYNAMIC:
        (access,) = [each.inputs["access"] for each in found.of(kind)]
        assert Access.of(access) == Access.of(ACCESS).only(HERE), kind


def test_without_settings_only_the_account_is_said(tmp_path: Path) -> None:
    """Whoever sets nothing would have to; or a snapshot could be read and deleted with any account's credentials."""
    found = program(tmp_path)
    given = {key for key in provider_of(found) if not key.startswith("skip")}  # which the SDK sets by itself
    assert given == {"region", "ignoreTags", "allowedAccountIds"}
    for kind in DYNAMIC:
        (access,) = [each.inputs["access"] for each in found.of(kind)]
        assert access == {"allowedAccountIds": [HERE]}, kind


def test_the_local_cloud_is_every_endpoint_that_is_not_named(tmp_path: Path) -> None:
    """`make up` would talk to AWS, or a service that somebody runs elsewhere would be asked at the local cloud."""
    found = program(tmp_path, {"endpoints": {"sts": "http://127.0.0.1:2"}}, endpoint="http://127.0.0.1:1")
    (endpoints,) = provider_of(found)["endpoints"]
    assert (endpoints.pop("sts"), set(endpoints.values())) == ("http://127.0.0.1:2", {"http://127.0.0.1:1"})


def test_default_tags_are_on_everything_and_not_the_providers(tmp_path: Path) -> None:
    """A snapshot or a machine would lack the tag that bills it; given to both, the provider's could show as drift."""
    aws = {"defaultTags": {"tags": {"team": "web", "cost": "1"}}, "ignoreTags": {"keys": ["k"], "keyPrefixes": ["p"]}}
    found = program(tmp_path, aws, tags={"cost": "2"})
    tagged = [each.inputs["tags"] for each in found.resources if each.inputs.get("tags")]
    assert len(tagged) > 20
    for tags in tagged:
        if isinstance(tags, list):  # of a group, to be handed to its machines
            tags = {tag["key"]: tag["value"] for tag in tags}  # noqa: PLW2901 - another form of the same
        assert (tags["team"], tags["cost"]) == ("web", "2")
    given = provider_of(found)
    assert "defaultTags" not in given
    assert given["ignoreTags"]["keyPrefixes"] == ["p"]
    assert "k" in given["ignoreTags"]["keys"]
    assert len(given["ignoreTags"]["keys"]) > 1, "the marks of a rollout would be drift"


@pytest.mark.parametrize(
    ("aws", "values", "told"),
    [
        ({"allowedAccountIds": [OTHER]}, {}, f"account {HERE}, but account {OTHER} is meant.*aws:assumeRoles"),
        ({"forbiddenAccountIds": [HERE]}, {}, f"account {HERE}, which aws:forbiddenAccountIds excludes"),
        ({"allowedAccountIds": [OTHER]}, {"account": HERE}, "account: 123456789012 is not among aws:allowedAccountIds"),
        ({"token": "x"}, {"sevrice": "y"}, "aws:token: is not supported.*fleetswap:sevrice is not a setting"),
        ({"defaultTags": {"tags": {"fleetswap:x": "y"}}}, {}, "'fleetswap:x' is reserved"),
    ],
)
def test_a_wrong_account_or_setting_is_refused_in_the_preview(
    tmp_path: Path, aws: dict[str, Any], values: dict[str, Any], told: str
) -> None:
    """A second fleet would be made in the account of whoever's credentials are in the environment."""
    with pytest.raises(InputError, match=told):
        program(tmp_path, aws, **values)


def rollout_inputs(**changes: Any) -> dict[str, Any]:
    sides = [{"release": "web-1", "group": "g", "target_group": "t"}]
    given = {
        "live": "web-1",
        "service": "web",
        "listener": LISTENER,
        "url": "http://x",
        "sides": sides,
        "policy": {"capacity": 1},
    }
    return COMMON | given | {"tags": {"fleetswap:stack": "p/s"}} | changes


def rule_inputs(**changes: Any) -> dict[str, Any]:
    return COMMON | {"release": "web-1", "listener": LISTENER, "target_group": "t", "tags": {}} | changes


def disk_inputs(**changes: Any) -> dict[str, Any]:
    given = {"stack": "p/s", "release": "web-1", "identity": "sha256:x", "file": "x.raw", "changes": [], "tags": {}}
    return COMMON | given | {"access": {"allowedAccountIds": [HERE]}} | changes


COMMON: dict[str, Any] = {"schema_version": 1, "region": "us-east-1", "endpoint": None}
KINDS: dict[str, tuple[Any, Callable[..., dict[str, Any]]]] = {
    "disk image": (DiskImageProvider(), disk_inputs),
    "preview guard": (PreviewGuardProvider(), rule_inputs),
    "preview rule": (PreviewRuleProvider(), rule_inputs),
    "rollout": (RolloutProvider(), rollout_inputs),
}


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A fleet that is as it should be; what is added is its drift."""
    drift: list[str] = []
    monkeypatch.setattr(rollout, "_observe", lambda _: Observed(live="web-1", weights={}, sizes={}, drift=tuple(drift)))
    return drift


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize("kind", KINDS)
def test_another_way_to_aws_is_stored_and_the_account_alone_is_none(kind: str) -> None:
    """A destroy would use a profile that is gone; or an upgrade would show every resource as changed."""
    provider, inputs = KINDS[kind]
    old = inputs(access=None)
    for access, changed in [
        (None, False),
        ({"allowedAccountIds": [HERE]}, False),
        ({"profile": "other"}, True),
        ({"assumeRoles": [{"roleArn": ROLE}]}, True),
    ]:
        diff = provider.diff("id", old, old | {"access": access})
        assert (diff.changes, diff.replaces) == (changed, [])
    failures = provider.check(old, old | {"access": {"someday": True}}).failures
    assert [failure.property for failure in failures] == ["access"]


def test_another_way_to_aws_is_no_rollout(steady: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """To name another profile would move traffic, or scale machines: or a drift would stay because of it."""
    rolled: list[dict[str, Any]] = []

    def roll_out(props: dict[str, Any], _owner: str, _history: object) -> dict[str, Any]:
        rolled.append(props)
        return {"serving": "new"}

    monkeypatch.setattr(rollout, "_roll_out", roll_out)
    old = rollout_inputs() | {"serving": "web-1", "record": {"run": "r"}}
    new = rollout_inputs(access={"profile": "other"})
    outs = RolloutProvider().update("id", old, new).outs or {}
    assert rolled == []
    assert (outs["serving"], outs["record"], outs["access"]) == ("web-1", {"run": "r"}, {"profile": "other"})
    steady.append("something")
    RolloutProvider().update("id", old, new)
    assert rolled == [new]
    steady.clear()
    RolloutProvider().update("id", old, new | {"standby": "web-1"})
    assert len(rolled) == 2


OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], object]] = {
    "create": lambda provider, inputs: provider.create(inputs),
    "read": lambda provider, inputs: provider.read("id", inputs),
    "update": lambda provider, inputs: provider.update("id", inputs, inputs),
    "delete": lambda provider, inputs: provider.delete("id", inputs),
}
ASKS_NOBODY = {("preview guard", "create"), ("preview guard", "read"), ("preview guard", "update")}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_done_with_the_credentials_of_another_account(kind: str, operation: str, cloud: LocalCloud) -> None:
    """A refresh would find nothing there, and a destroy forget what runs and is paid for."""
    provider, inputs = KINDS[kind]
    asked = inputs(endpoint=cloud.endpoint)
    elsewhere = json.loads(json.dumps(asked).replace(HERE, OTHER))
    if (kind, operation) in ASKS_NOBODY:
        OPERATIONS[operation](provider, elsewhere)
        return
    with pytest.raises(InputError, match=f"account {HERE}, but account {OTHER} is meant"):
        OPERATIONS[operation](provider, elsewhere)


def test_aws_is_asked_once_for_the_account(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a hundred operations would ask STS; or those of another key would be taken for the first one's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "asked-once")
    asked: list[str] = []
    really = Cloud.sts

    def sts(self: Cloud) -> STSClient:
        asked.append("sts")
        return really(self)

    monkeypatch.setattr(Cloud, "sts", sts)
    for _ in range(3):
        admitted(Cloud("us-east-1", cloud.endpoint, Access(allowed_account_ids=(HERE,))))
    admitted(Cloud("us-east-1", cloud.endpoint))
    assert asked == ["sts"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    admitted(Cloud("us-east-1", cloud.endpoint), HERE)
    assert asked == ["sts", "sts"]
