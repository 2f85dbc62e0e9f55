"""The settings `aws:*` are read once, for the provider and for our clients; what cannot be taken by both is refused."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pulumi_aws
import pytest

from fleetswap.domain.access import PROVIDER_ONLY, READERS, REFUSED, Access, AssumedRole, Settings, account_of, camel
from fleetswap.domain.errors import InputError

ROLE = "arn:aws:iam::111122223333:role/deploy/web"
FULL: dict[str, Any] = {
    "profile": "company",
    "assumeRoles": [
        {
            "roleArn": ROLE,
            "sessionName": "ci",
            "externalId": "x/1",
            "duration": "12h",
            "policy": '{"Statement": []}',
            "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
            "sourceIdentity": "alice",
            "tags": {"team": "web"},
            "transitiveTagKeys": ["team"],
        },
        {"roleArn": "arn:aws-cn:iam::111122223333:role/x", "duration": "30m"},
    ],
    "allowedAccountIds": ["111122223333"],
    "forbiddenAccountIds": ["444455556666"],
    "endpoints": {"ec2": "https://ec2.example"},
    "useFipsEndpoint": True,
    "useDualstackEndpoint": True,
    "stsRegion": "us-east-1",
    "maxRetries": 9,
    "retryMode": "adaptive",
    "customCaBundle": "ca.pem",
    "sharedConfigFiles": ["config"],
    "sharedCredentialsFiles": ["credentials"],
    "ec2MetadataServiceEndpoint": "http://[fd00:ec2::254]",
    "ec2MetadataServiceEndpointMode": "IPv6",
    "skipMetadataApiCheck": True,
    "userAgents": ["shop/1.0 (ci)"],
}
WEB = {"roleArn": ROLE, "webIdentityTokenFile": "token", "sessionName": "ci", "duration": "1h30m"}


def known_to_pulumi() -> set[str]:
    return set(re.findall(r"__config__\.get\w*\('(\w+)'\)", inspect.getsource(pulumi_aws.config.vars)))


def test_every_setting_of_the_provider_is_taken_or_refused() -> None:
    """A new version's setting would be taken by the provider alone, and deploy half to another account."""
    ours = {camel(name) for name in READERS}
    assert ours | set(REFUSED) | {"region"} == known_to_pulumi()
    assert not ours & set(REFUSED)
    arguments = inspect.signature(pulumi_aws.ProviderArgs.__init__).parameters
    assert {*READERS, *map(_snake, REFUSED), "region"} == set(arguments) - {"__self__"}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


@pytest.mark.parametrize("plain", [{}, FULL, {"assumeRoleWithWebIdentity": WEB}], ids=["default", "full", "web"])
def test_what_is_in_a_state_is_read_as_it_was(plain: dict[str, Any]) -> None:
    """A refresh or a destroy would go to another account than the update, or call nothing a change."""
    access = Settings.of(plain).access
    assert Access.of(access.plain()) == access
    assert access.plain().keys() == plain.keys(), "a key is lost, or one that says nothing is kept"
    again = {**access.plain(), "maxRetries": 9.0}
    assert Access.of(again).max_retries == 9, "as the engine hands numbers on"


def test_durations_are_gos() -> None:
    """The provider and our clients would ask for sessions of different lengths."""
    access = Settings.of(FULL).access
    assert [role.duration for role in access.assume_roles] == [43200, 1800]
    assert [each["duration"] for each in access.plain()["assumeRoles"]] == ["43200s", "1800s"]


def test_values_are_read_as_a_person_or_pulumi_writes_them() -> None:
    """`pulumi config set --path` writes accounts as numbers, endpoints as a list, and everything else as text."""
    given = {
        "allowedAccountIds": [111122223333],
        "endpoints": [{"ec2": "https://a.example", "sts": ""}, {"elbv2": "https://b.example"}],
        "useFipsEndpoint": "true",
        "useDualstackEndpoint": "false",
        "maxRetries": "3",
        "profile": None,
    }
    access = Settings.of(given).access
    assert access == Access(
        allowed_account_ids=("111122223333",),
        endpoints={"ec2": "https://a.example", "elbv2": "https://b.example"},
        use_fips_endpoint=True,
        max_retries=3,
    )


def test_what_only_the_provider_needs_goes_to_it_and_not_into_states() -> None:
    """A setting would be lost on the way to the provider, or make every dynamic resource look changed."""
    given = {
        "defaultTags": {"tags": {"team": "web"}},
        "ignoreTags": {"keys": ["k"], "keyPrefixes": ["p:"]},
        "s3UsePathStyle": "true",
        "s3UsEast1RegionalEndpoint": "regional",
        "skipCredentialsValidation": True,
        "skipRegionValidation": True,
        "tagPolicyCompliance": "error",
    }
    settings = Settings.of(given)
    assert settings.access == Access()
    assert settings.default_tags == {"team": "web"}
    assert (settings.ignored_keys, settings.ignored_prefixes) == (("k",), ("p:",))
    assert set(settings.provider) == set(PROVIDER_ONLY)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"accessKey": "AKIA"}, "aws:accessKey: is not supported: a secret must not be"),
        ({"httpsProxy": "http://p"}, "aws:httpsProxy: is not supported: set HTTPS_PROXY"),
        ({"assumeRole": {}}, "aws:assumeRole: is not a setting (docs/reference/aws-settings.md"),
        ({"profile": 1}, "aws:profile: must be text, not 1"),
        ({"useFipsEndpoint": "yes"}, "aws:useFipsEndpoint: must be true or false, not 'yes'"),
        ({"maxRetries": 0}, "aws:maxRetries: must be a whole number from 1 to 9999, not 0"),
        ({"retryMode": "legacy"}, "aws:retryMode: must be standard or adaptive, not 'legacy'"),
        ({"stsRegion": "mars"}, "aws:stsRegion: must be a region"),
        ({"allowedAccountIds": "111122223333"}, "aws:allowedAccountIds: must be a list"),
        ({"allowedAccountIds": [1]}, "aws:allowedAccountIds[0]: must be the 12 digits"),
        ({"forbiddenAccountIds": [True]}, "aws:forbiddenAccountIds[0]: must be the 12 digits"),
        ({"endpoints": [{"ec2": "ec2.example"}]}, "aws:endpoints.ec2: must be a URL"),
        ({"endpoints": [["ec2"]]}, "aws:endpoints[0]: must be an object"),
        ({"sharedConfigFiles": ["a", "b"]}, "aws:sharedConfigFiles: must name one file"),
        ({"defaultTags": {"tags": {"a": 1}}}, 'aws:defaultTags.tags["a"]: must be text, not 1: put it in quotes'),
        ({"defaultTags": {"a": "1"}}, "aws:defaultTags.a: there is no such key, only tags"),
        ({"assumeRoles": [{}]}, "aws:assumeRoles[0].roleArn: is missing"),
        ({"assumeRoles": [{"roleArn": "x"}]}, "aws:assumeRoles[0].roleArn: must be the ARN of a role"),
        ({"assumeRoles": [{"roleArn": ROLE, "duration": "1d"}]}, ".duration: must be a duration such as 1h"),
        ({"assumeRoles": [{"roleArn": ROLE, "duration": "13h"}]}, ".duration: must be from 15m to 12h"),
        ({"assumeRoles": [{"roleArn": ROLE, "policy": "x"}]}, ".policy: must be a JSON policy"),
        ({"assumeRoles": [{"roleArn": ROLE, "policy": f'{{"a": "{"x" * 2048}"}}'}]}, "at most 2048 characters"),
        (
            {"assumeRoles": [{"roleArn": ROLE}, {"roleArn": ROLE, "duration": "2h"}]},
            "aws:assumeRoles[1].duration: must be 1h at most",
        ),
        (
            {"assumeRoleWithWebIdentity": WEB, "assumeRoles": [{"roleArn": ROLE, "duration": "2h"}]},
            "aws:assumeRoles[0].duration: must be 1h at most",
        ),
        (
            {"assumeRoleWithWebIdentity": {**WEB, "webIdentityToken": "x"}},
            ".webIdentityToken: is not supported: use webIdentityTokenFile",
        ),
    ],
)
def test_a_wrong_setting_is_told_by_its_name(given: dict[str, Any], told: str) -> None:
    """The first resource would be made before AWS, or one of two SDKs, says what is wrong."""
    with pytest.raises(InputError, match=re.escape(told)):
        Settings.of(given)


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Whoever corrects one setting would meet the next one only in the next preview."""
    with pytest.raises(InputError, match=r"aws:maxRetries: .*; aws:profile: .*; aws:token: "):
        Settings.of({"token": "x", "profile": 1, "maxRetries": -1})


def test_another_account_is_refused() -> None:
    """With the credentials of another account a second fleet would be made there."""
    here, there = "111122223333", "444455556666"
    Access().check(here)
    Access(allowed_account_ids=(here, there)).check(here)
    assert not Access().limits_accounts
    for access, told in [
        (Access(allowed_account_ids=(there,)), f"belong to AWS account {here}, but account {there} is meant"),
        (Access(allowed_account_ids=(there, "999900001111")), f"but one of the accounts {there}, 999900001111"),
        (Access(forbidden_account_ids=(here,)), "which aws:forbiddenAccountIds excludes"),
    ]:
        assert access.limits_accounts
        with pytest.raises(InputError, match=told):
            access.check(here)
    assert Access(forbidden_account_ids=(here,), profile="p").only(here) == Access(
        profile="p", allowed_account_ids=(here,)
    )


def test_an_arn_names_its_account() -> None:
    """A resource of an older version would have no account that credentials can be compared with."""
    assert account_of("arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:111122223333:listener/x") == "111122223333"
    assert account_of("arn:aws:s3:::bucket") is None
    assert account_of("listener") is None


def test_external_ids_are_kept_and_nothing_else_is_secret() -> None:
    """A secret would be in a state in clear text. AWS does not treat an external ID as one (IAM user guide, "Access to
    AWS accounts owned by third parties").
    """
    assert {"accessKey", "secretKey", "token"} <= set(REFUSED)
    assert AssumedRole(ROLE, external_id="x").external_id == "x"


def test_an_empty_text_is_told() -> None:
    """An environment variable that is unset in CI would choose the default profile, in silence."""
    with pytest.raises(InputError, match="profile: must not be empty"):
        Settings.of({"profile": ""})
