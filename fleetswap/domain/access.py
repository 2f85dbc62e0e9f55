"""With which account, role and endpoints a stack talks to AWS: the settings `aws:*`, read once for all that use them.

The keys and their meaning are those of Pulumi's AWS provider (`pulumi_aws.config`). What the provider takes is taken by
our own clients alike, or refused with the reason, so that no two parts of a deploy can be in different accounts. What
is read here has no secret in it, and can be in a state. It makes no call, and reads no file and no environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import urlsplit

from fleetswap.domain.errors import InputError

LEAST_SECONDS, MOST_SECONDS, CHAINED_SECONDS = 900, 43_200, 3_600
"""How long the session of a role may last (STS, AssumeRole, DurationSeconds); a chained role's, one hour at most."""

POLICY_CHARS = 2048
"""Greatest session policy (STS, AssumeRole, Policy)."""

SECRET = "a secret must not be in settings or in a state: use AWS_PROFILE, or assumeRoles"  # noqa: S105 (names one)

REFUSED = {
    "accessKey": SECRET,
    "secretKey": SECRET,
    "token": SECRET,
    "httpProxy": "set HTTP_PROXY, which the provider reads, too",
    "httpsProxy": "set HTTPS_PROXY, which the provider reads, too",
    "noProxy": "set NO_PROXY, which the provider reads, too",
    "insecure": "connections are never made without verifying certificates: use customCaBundle",
    "skipRequestingAccountId": "the account is needed to refuse a wrong one: remove it",
    "tokenBucketRateLimiterCapacity": "only the SDK of the provider has it: use maxRetries and retryMode",
}
"""Settings of the provider that are refused, and what to do instead."""

REMEDY = "select that account with AWS_PROFILE, aws:profile or aws:assumeRoles"


@dataclass(frozen=True)
class WebIdentity:
    """A role that is assumed with the token of an OpenID Connect provider, which is in a file."""

    role_arn: str
    web_identity_token_file: str
    session_name: str | None = None
    duration: int | None = None
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()


@dataclass(frozen=True)
class AssumedRole:
    """A role to assume, with the credentials found before it. `duration` is in seconds."""

    role_arn: str
    session_name: str | None = None
    external_id: str | None = None
    duration: int | None = None
    policy: str | None = None
    policy_arns: tuple[str, ...] = ()
    source_identity: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tag_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Access:
    """How a stack reaches AWS: whose credentials, which account they must be of, and which endpoints.

    By default as every AWS SDK does: the credentials of the environment, and AWS's own endpoints.
    """

    profile: str | None = None
    assume_role_with_web_identity: WebIdentity | None = None
    assume_roles: tuple[AssumedRole, ...] = ()
    """Each with the session of the one before it; the last one's is used."""
    allowed_account_ids: tuple[str, ...] = ()
    forbidden_account_ids: tuple[str, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """URLs, by the provider's names of the services."""
    use_fips_endpoint: bool = False
    use_dualstack_endpoint: bool = False
    sts_region: str | None = None
    max_retries: int | None = None
    retry_mode: str | None = None
    custom_ca_bundle: str | None = None
    shared_config_files: tuple[str, ...] = ()
    shared_credentials_files: tuple[str, ...] = ()
    ec2_metadata_service_endpoint: str | None = None
    ec2_metadata_service_endpoint_mode: str | None = None
    skip_metadata_api_check: bool = False
    user_agents: tuple[str, ...] = ()

    @classmethod
    def of(cls, plain: Mapping[str, object]) -> Self:
        """Read the plain form back. `InputError` if this version does not know all that is in it."""
        return cls(**_read(plain, {name: READERS[name] for name in _names(cls)}))

    def plain(self) -> dict[str, Any]:
        """As it is in a state: the keys are those of the settings `aws:*`. What has its default is left out."""
        plain: dict[str, Any] = _plain(self)
        return plain

    def only(self, account: str) -> Self:
        """The same for one account alone."""
        return replace(self, allowed_account_ids=(account,), forbidden_account_ids=())

    @property
    def limits_accounts(self) -> bool:
        """Whether it matters which account the credentials are of."""
        return bool(self.allowed_account_ids or self.forbidden_account_ids)

    def check(self, account: str) -> None:
        """Refuse an account, by its 12 digits, that is not to be worked in, with an `InputError`."""
        allowed, forbidden = self.allowed_account_ids, self.forbidden_account_ids
        if allowed and account not in allowed:
            which = "account" if len(allowed) == 1 else "one of the accounts"
            raise InputError(
                f"these credentials belong to AWS account {account}, but {which} {', '.join(allowed)} is meant:"
                f" {REMEDY}"
            )
        if account in forbidden:
            raise InputError(
                f"these credentials belong to AWS account {account}, which aws:forbiddenAccountIds excludes:"
                " select another account with AWS_PROFILE, aws:profile or aws:assumeRoles"
            )


@dataclass(frozen=True)
class Settings:
    """The settings `aws:*` without the region: what all clients take, and what is only the provider's.

    `default_tags` are merged into the tags of every resource by the one tag policy, and are not given to the provider.
    Tags that `ignore_tags` names are not looked at by the provider, and nothing of ours removes another's tags.
    """

    access: Access = Access()
    default_tags: Mapping[str, str] = field(default_factory=dict)
    ignored_keys: tuple[str, ...] = ()
    ignored_prefixes: tuple[str, ...] = ()
    provider: Mapping[str, str | bool] = field(default_factory=dict)
    """By the names of the provider's arguments: what only it has a use for."""

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Self:
        """Read and validate the settings, by their names without `aws:`. One `InputError` tells all that is wrong."""
        values = _read(given, READERS)
        tags, ignored = values.pop("default_tags", {}), values.pop("ignore_tags", {})
        provider = {name: values.pop(name) for name in PROVIDER_ONLY if name in values}
        return cls(Access(**values), tags, ignored.get("keys", ()), ignored.get("key_prefixes", ()), provider)


def account_of(arn: str) -> str | None:
    """The account of an ARN (`arn:PARTITION:SERVICE:REGION:ACCOUNT:…`), if it names one."""
    found = re.match(r"arn:[^:]+:[^:]*:[^:]*:(\d{12}):", arn)
    return found.group(1) if found else None


def camel(name: str) -> str:
    """A name of ours as Pulumi writes it in settings."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever a state can hold
    match value:
        case Access() | AssumedRole() | WebIdentity():
            pairs = ((each, getattr(value, each.name)) for each in fields(value))
            return {
                camel(each.name): f"{item}s" if each.name == "duration" else _plain(item)
                for each, item in pairs
                if item not in (None, (), {}, False)
            }
        case tuple():
            return [_plain(each) for each in value]
        case Mapping():
            return dict(value)
        case _:
            return value


def _names(of: type[Any]) -> list[str]:
    return [each.name for each in fields(of)]


class _Wrong(ValueError):
    """What is wrong, and with which key below the setting."""

    def __init__(self, where: str, error: ValueError) -> None:
        self.path = where + getattr(error, "path", "")
        super().__init__(str(error))


def _read(given: Mapping[str, object], readers: Mapping[str, Callable[[Any], object]]) -> dict[str, Any]:
    """The values by our names. One `InputError` tells all that is wrong, by their names in the settings."""
    ours = {camel(name): name for name in readers}
    values: dict[str, Any] = {}
    problems = []
    for key, value in sorted(given.items()):
        if value is None:
            continue
        try:
            if key in REFUSED:
                raise ValueError(f"is not supported: {REFUSED[key]}")
            if key not in ours:
                raise ValueError("is not a setting (docs/reference/aws-settings.md lists them)")
            values[ours[key]] = readers[ours[key]](value)
        except ValueError as error:
            problems.append(f"{_Wrong(f'aws:{key}', error).path}: {error}")
    if not problems and "assume_role_with_web_identity" in values:
        problems += _chained(values.get("assume_roles", ())[:1], 0)
    if not problems:
        problems += _chained(values.get("assume_roles", ())[1:], 1)
    if problems:
        raise InputError("; ".join(problems))
    return values


def _chained(roles: Sequence[AssumedRole], first: int) -> list[str]:
    """What AWS would refuse of roles that are assumed with the session of another role."""
    return [
        f"aws:assumeRoles[{number}].duration: must be 1h at most, because a role is assumed with another role's session"
        for number, role in enumerate(roles, first)
        if (role.duration or 0) > CHAINED_SECONDS
    ]


def _text(value: object) -> str:
    if value == "":
        raise ValueError("must not be empty")
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}")
    return value


def _matching(pattern: str, what: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        text = _text(value)
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {what}, not {text!r}")
        return text

    return read


def _one_of(*choices: str) -> Callable[[object], str]:
    return _matching("|".join(choices), " or ".join(choices))


def _flag(value: object) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError(f"must be true or false, not {value!r}")


def _positive(value: object) -> int:
    if isinstance(value, float) and value.is_integer():  # as the engine hands numbers on
        value = int(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-9]\d{0,3}", str(value)):
        raise ValueError(f"must be a whole number from 1 to 9999, not {value!r}")
    return int(str(value))


def _list(element: Callable[[Any], Any]) -> Callable[[object], tuple[Any, ...]]:
    def read(value: object) -> tuple[Any, ...]:
        if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
            raise ValueError(f"must be a list, not {value!r}")
        found = []
        for number, each in enumerate(value):
            try:
                found.append(element(each))
            except ValueError as error:
                raise _Wrong(f"[{number}]", error) from error
        return tuple(found)

    return read


def _one_file(value: object) -> tuple[str, ...]:
    """The provider takes several; the AWS SDK for Python, one."""
    files: tuple[str, ...] = _list(_text)(value)
    if len(files) != 1:
        raise ValueError("must name one file, because the AWS SDK for Python reads one")
    return files


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"must be an object, not {value!r}")
    return value


def _texts(value: object) -> dict[str, str]:
    found = {}
    for key, item in _object(value).items():
        if not isinstance(item, str):
            raise _Wrong(f'["{key}"]', ValueError(f"must be text, not {item!r}: put it in quotes"))
        found[key] = item
    return found


def _account(value: object) -> str:
    """12 digits; `pulumi config set --path` writes a number where there are nothing but digits."""
    text = str(int(value)) if isinstance(value, (int, float)) else value
    if not isinstance(text, str) or not re.fullmatch(r"\d{12}", text):
        raise ValueError(f"must be the 12 digits of an account in quotes, not {value!r}")
    return text


def _url(value: object) -> str:
    text = _text(value)
    if urlsplit(text).scheme not in ("https", "http") or not urlsplit(text).hostname:
        raise ValueError(f"must be a URL that begins with https:// or http://, not {text!r}")
    return text


def _endpoints(value: object) -> dict[str, str]:
    """A list of objects, as the provider takes it, or one object."""
    found: dict[str, str] = {}
    for each in [value] if isinstance(value, Mapping) else _list(_object)(value):
        for service, url in each.items():
            if not url:
                continue
            try:
                found[service] = _url(url)
            except ValueError as error:
                raise _Wrong(f".{service}", error) from error
    return found


def _seconds(value: object) -> int:
    """A duration as Go writes it: `1h30m`."""
    parts = re.findall(r"(\d+)(h|m|s)", _text(value))
    if "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"must be a duration such as 1h or 30m, not {value!r}")
    seconds = sum(int(number) * {"h": 3600, "m": 60, "s": 1}[unit] for number, unit in parts)
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise ValueError(f"must be from 15m to 12h, not {value!r}")
    return seconds


def _policy(value: object) -> str:
    text = _text(value)
    try:
        good = isinstance(json.loads(text), dict) and len(text) <= POLICY_CHARS
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"must be a JSON policy of at most {POLICY_CHARS} characters")
    return text


def _record(kind: type[Any], readers: Mapping[str, Callable[[Any], object]]) -> Callable[[object], Any]:
    """What reads an object with these keys."""

    def read(value: object) -> object:
        ours = {camel(name): name for name in readers}
        found = {}
        for key, item in _object(value).items():
            if key == "webIdentityToken":
                raise _Wrong(f".{key}", ValueError("is not supported: use webIdentityTokenFile"))
            if key not in ours:
                raise _Wrong(f".{key}", ValueError(f"there is no such key, only {', '.join(map(camel, readers))}"))
            try:
                found[ours[key]] = readers[ours[key]](item)
            except ValueError as error:
                raise _Wrong(f".{key}", error) from error
        needed = [] if kind is dict else [each.name for each in fields(kind) if _is_needed(each)]
        for name in needed:
            if name not in found:
                raise _Wrong(f".{camel(name)}", ValueError("is missing"))
        return kind(**found)

    return read


def _is_needed(of: Any) -> bool:  # noqa: ANN401 - a field of a dataclass
    return of.default is MISSING and of.default_factory is MISSING


def _within_tags(value: object) -> dict[str, str]:
    found: dict[str, str] = _record(dict, {"tags": _texts})(value).get("tags", {})
    return found


_REGION = _matching(r"[a-z]{2,6}(-[a-z]+)+-\d+", "a region")
_ROLE = _matching(r"arn:aws[a-z-]*:iam::\d{12}:role/[\x21-\x7e]+", "the ARN of a role")
_POLICIES = _list(_matching(r"arn:aws[a-z-]*:iam::(aws|\d{12}):policy/\S+", "the ARN of a policy"))
_SESSION = _matching(r"[\w+=,.@-]{2,64}", "2 to 64 letters, digits or +=,.@-_")

# The limits are those of STS (AssumeRole, AssumeRoleWithWebIdentity).
_ASSUMED: Mapping[str, Callable[[Any], object]] = {
    "role_arn": _ROLE,
    "session_name": _SESSION,
    "external_id": _matching(r"[\w+=,.@:/-]{2,1224}", "2 to 1224 letters, digits or +=,.@:/-_"),
    "duration": _seconds,
    "policy": _policy,
    "policy_arns": _POLICIES,
    "source_identity": _SESSION,
    "tags": _texts,
    "transitive_tag_keys": _list(_text),
}
_WEB = {name: _ASSUMED[name] for name in ("role_arn", "session_name", "duration", "policy", "policy_arns")}

READERS: Mapping[str, Callable[[Any], object]] = {
    "profile": _text,
    "assume_roles": _list(_record(AssumedRole, _ASSUMED)),
    "assume_role_with_web_identity": _record(WebIdentity, {**_WEB, "web_identity_token_file": _text}),
    "allowed_account_ids": _list(_account),
    "forbidden_account_ids": _list(_account),
    "default_tags": _within_tags,
    "ignore_tags": _record(dict, {"keys": _list(_text), "key_prefixes": _list(_text)}),
    "endpoints": _endpoints,
    "use_fips_endpoint": _flag,
    "use_dualstack_endpoint": _flag,
    "sts_region": _REGION,
    "max_retries": _positive,
    "retry_mode": _one_of("standard", "adaptive"),
    "custom_ca_bundle": _text,
    "shared_config_files": _one_file,
    "shared_credentials_files": _one_file,
    "ec2_metadata_service_endpoint": _url,
    "ec2_metadata_service_endpoint_mode": _one_of("IPv4", "IPv6"),
    "skip_metadata_api_check": _flag,
    "user_agents": _list(_matching(r"[\x21-\x7e]+( \([^)]*\))?", "a product such as name/1.0")),
    "s3_use_path_style": _flag,
    "s3_us_east1_regional_endpoint": _one_of("legacy", "regional"),
    "skip_credentials_validation": _flag,
    "skip_region_validation": _flag,
    "tag_policy_compliance": _one_of("error", "warning", "disabled"),
}
"""What reads a setting, by our name for it. With `REFUSED` these are all settings of `pulumi_aws`."""

PROVIDER_ONLY = (
    "s3_use_path_style",
    "s3_us_east1_regional_endpoint",
    "skip_credentials_validation",
    "skip_region_validation",
    "tag_policy_compliance",
)
