"""One `Access` is what every client of ours is made from: profile, roles, endpoints, variants, retries, authorities."""

from __future__ import annotations

import io
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials
from botocore.httpsession import DEFAULT_CA_BUNDLE, URLLib3Session

from fleetswap.aws import credentials
from fleetswap.aws.session import CONTROL_ATTEMPTS, Cloud
from fleetswap.domain.access import Access

OUTER, INNER = "arn:aws:iam::111122223333:role/outer", "arn:aws:iam::444455556666:role/deploy/inner"
CHAIN = {
    "profile": "company",
    "assumeRoles": [
        {"roleArn": OUTER, "externalId": "one"},
        {
            "roleArn": INNER,
            "sessionName": "ci",
            "duration": "15m",
            "policy": "{}",
            "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "sourceIdentity": "alice",
            "tags": {"team": "web"},
            "transitiveTagKeys": ["team"],
        },
    ],
}


class Sts:
    """Answers AssumeRole as STS does, and keeps who asked for what."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    def send(self, _session: object, request: Any) -> AWSResponse:
        body = request.body.decode() if isinstance(request.body, bytes) else request.body
        given = dict(urllib.parse.parse_qsl(body))
        given["url"] = request.url
        authorization = request.headers.get("Authorization", b"")
        text = authorization.decode() if isinstance(authorization, bytes) else authorization
        given["by"] = text.partition("Credential=")[2].partition("/")[0]
        self.asked.append(given)
        until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        number = len(self.asked)
        answer = f"""<{given["Action"]}Response><{given["Action"]}Result><Credentials>
            <AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>secret{number}</SecretAccessKey>
            <SessionToken>token{number}</SessionToken><Expiration>{until}</Expiration></Credentials>
            <AssumedRoleUser><Arn>arn:aws:sts::444455556666:assumed-role/inner/ci</Arn>
            <AssumedRoleId>AROA:ci</AssumedRoleId></AssumedRoleUser>
            </{given["Action"]}Result></{given["Action"]}Response>"""
        return AWSResponse(request.url, 200, HTTPHeaders(), Raw(answer.encode()))


class Raw(io.BytesIO):
    def stream(self, *_args: object, **_options: object) -> Iterator[bytes]:
        yield self.read()


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    found = Sts()
    monkeypatch.setattr(URLLib3Session, "send", lambda session, request: found.send(session, request))
    credentials._chain.cache_clear()
    yield found
    credentials._chain.cache_clear()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    config = tmp_path / "config"
    config.write_text("[profile company]\naws_access_key_id = profile\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))


def key_of(found: Credentials | None) -> str:
    assert found is not None
    return str(found.get_frozen_credentials().access_key)


def test_a_chain_of_roles_begins_with_the_profile(sts: Sts) -> None:
    """Our clients would work in another account than the provider, or without the conditions of its session."""
    assert key_of(Cloud("eu-central-1", access=Access.of(CHAIN)).credentials()()) == "ASIA2"
    first, second = sts.asked
    assert (first["by"], first["RoleArn"], first["ExternalId"]) == ("profile", OUTER, "one")
    assert first["RoleSessionName"] == credentials.SESSION_NAME
    assert "sts.eu-central-1.amazonaws.com" in first["url"]
    assert {key: value for key, value in second.items() if key not in ("Action", "Version", "url")} == {
        "by": "ASIA1",
        "RoleArn": INNER,
        "RoleSessionName": "ci",
        "DurationSeconds": "900",
        "Policy": "{}",
        "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/ReadOnlyAccess",
        "SourceIdentity": "alice",
        "Tags.member.1.Key": "team",
        "Tags.member.1.Value": "web",
        "TransitiveTagKeys.member.1": "team",
    }


def test_every_client_signs_with_the_role(sts: Sts) -> None:
    """A call of one client would be made by whoever deploys, and not by the role: in another account."""
    cloud = Cloud("eu-central-1", access=Access.of(CHAIN))
    ebs, small = cloud.ebs_and_ec2(1)
    made: list[Any] = [ebs, small, cloud.small_ec2(), cloud.sts(), cloud.autoscaling(), cloud.ec2(), cloud.elbv2()]
    made += [cloud.cloudwatch(), cloud.scheduler(), cloud.sns("us-east-1")]
    keys = {client._request_signer._credentials.get_frozen_credentials().access_key for client in made}
    assert keys == {"ASIA2"}, "also made by: whoever is in the environment"
    assert len(sts.asked) == 2, "the roles were assumed again for another client"


def test_the_roles_are_kept_for_the_process_until_aws_says_otherwise(sts: Sts) -> None:
    """Each operation would assume them again; or an upload would go on with a session that AWS has revoked."""
    look = Cloud("eu-central-1", access=Access.of(CHAIN)).credentials()
    other = Cloud("eu-central-1", access=Access.of(CHAIN)).credentials()
    assert key_of(look()) == key_of(other()) == "ASIA2"
    # The signer asks a second time only if the service says that the credentials have expired.
    assert key_of(look()) == "ASIA4"
    assert len(sts.asked) == 4


def test_a_role_that_nobody_can_assume_has_no_credentials(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback would be shown to whoever is not logged in."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    access = Access.of({"assumeRoles": [{"roleArn": OUTER}], "skipMetadataApiCheck": True})
    assert Cloud("eu-central-1", access=access).credentials()() is None
    assert sts.asked == []


def test_a_token_is_changed_for_the_first_role(sts: Sts, tmp_path: Path) -> None:
    """A CI system without keys could not deploy, or would send a signature that it does not have."""
    token = tmp_path / "token"
    token.write_text("a.jwt")
    web = {"roleArn": OUTER, "webIdentityTokenFile": str(token)}
    access = Access.of(
        {"assumeRoleWithWebIdentity": web, "assumeRoles": [{"roleArn": INNER}], "stsRegion": "us-west-2"}
    )
    assert key_of(Cloud("eu-central-1", access=access).credentials()()) == "ASIA2"
    first, second = sts.asked
    assert (first["Action"], first["WebIdentityToken"], first["by"]) == ("AssumeRoleWithWebIdentity", "a.jwt", "")
    assert (second["Action"], second["by"]) == ("AssumeRole", "ASIA1")
    assert all("sts.us-west-2.amazonaws.com" in each["url"] for each in sts.asked)


def test_a_profile_goes_before_the_environment(tmp_path: Path) -> None:
    """Keys in the environment would win here, and the profile in the provider: two accounts in one deploy."""
    assert key_of(Cloud("eu-central-1", access=Access(profile="company")).credentials()()) == "profile"
    other = tmp_path / "shared"
    other.write_text("[company]\naws_access_key_id = shared\naws_secret_access_key = s\n")
    access = Access(profile="company", shared_credentials_files=(str(other),))
    assert key_of(Cloud("eu-central-1", access=access).credentials()()) == "shared"


def test_endpoints_are_each_services_own() -> None:
    """A service would be asked at AWS although the settings name another address, or the other way round."""
    endpoints = {"ec2": "https://ec2.example", "elasticloadbalancingv2": "https://elb.example"}
    cloud = Cloud("eu-central-1", "http://127.0.0.1:9", Access(endpoints=endpoints))
    assert cloud.ec2().meta.endpoint_url == cloud.small_ec2().meta.endpoint_url == "https://ec2.example"
    assert cloud.elbv2().meta.endpoint_url == "https://elb.example"
    ebs, ec2 = cloud.ebs_and_ec2(1)
    assert (ebs.meta.endpoint_url, ec2.meta.endpoint_url) == ("http://127.0.0.1:9", "https://ec2.example")


def test_variants_of_endpoints_are_aws_own() -> None:
    """A call that must be made to a FIPS endpoint would be made to another; or botocore would refuse to be made."""
    fips = Cloud("us-east-1", access=Access(use_fips_endpoint=True, endpoints={"sts": "https://sts.example"}))
    ebs, ec2 = fips.ebs_and_ec2(1)
    assert (ebs.meta.endpoint_url, ec2.meta.endpoint_url) == (
        "https://ebs-fips.us-east-1.amazonaws.com",
        "https://ec2-fips.us-east-1.amazonaws.com",
    )
    assert fips.sts().meta.endpoint_url == "https://sts.example"
    dual = Cloud("us-east-1", access=Access(use_dualstack_endpoint=True))
    assert dual.ec2().meta.endpoint_url == "https://ec2.us-east-1.api.aws"


def test_retries_and_the_name_in_cloudtrail_are_the_settings() -> None:
    """A setting would be taken by the provider, and ignored by what does most of the work."""
    config: Any = Cloud("us-east-1").ec2().meta.config
    assert config.retries["total_max_attempts"] == CONTROL_ATTEMPTS
    config = Cloud("us-east-1").sts(2).meta.config
    assert config.retries["total_max_attempts"] == 2, "`fleetswap doctor` would wait for what does not answer"
    access = Access(max_retries=3, retry_mode="adaptive", user_agents=("shop/1.0",))
    cloud = Cloud("us-east-1", access=access)
    config = cloud.elbv2().meta.config
    assert config.retries == {"mode": "adaptive", "total_max_attempts": 3}
    config = cloud.sts(2).meta.config
    assert config.retries["total_max_attempts"] == 3
    assert config.user_agent_extra == cloud.user_agent == "fleetswap shop/1.0"


def test_the_authorities_are_the_settings(tmp_path: Path) -> None:
    """A company's proxy with a certificate of its own would be trusted by the provider alone."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(DEFAULT_CA_BUNDLE).read_bytes())
    cloud = Cloud("us-east-1", access=Access(custom_ca_bundle=str(bundle)))
    assert cloud.ec2()._endpoint.http_session._verify == str(bundle)  # type: ignore[attr-defined]
    missing = Cloud("us-east-1", access=Access(custom_ca_bundle=str(tmp_path / "none.pem")))
    with pytest.raises(Exception, match=r"none\.pem cannot be read"):
        missing.trust()
