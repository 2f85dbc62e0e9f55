"""The provider's own configuration: what is accepted, what is refused, and the API clients that it leads to.

It refuses every configuration whose endpoints are not all given and on this machine: the stand-in never talks to AWS.
"""

from __future__ import annotations

import ipaddress
import json
import os
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.aws_plugin import VERSION, check, compare, credentials, schema
from engine.aws_plugin.kind import Boto, OperationError
from engine.aws_plugin.wire import UNKNOWN, Props, Value

if TYPE_CHECKING:
    import boto3

SERVICES = ("ec2", "autoscaling", "elbv2", "iam", "sts")
"""The services that nearly every program needs, by their names in boto3: each must have an endpoint."""

MORE_SERVICES = ("kms", "route53", "wafv2", "cloudwatch", "events", "sns")
"""Those that only some resource types need: without an endpoint these types fail, and nothing else does."""

REMEDY = (
    "this stand-in only talks to a local cloud; install the official plugin with "
    f"`pulumi plugin install resource aws {VERSION}`"
)

_IMPLEMENTED = frozenset(
    {"accessKey", "secretKey", "token", "profile", "region", "endpoints", "defaultTags", "ignoreTags", "maxRetries"}
    | {"skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation", "skipRequestingAccountId"}
    | {"assumeRoles", "assumeRoleWithWebIdentity", "allowedAccountIds", "forbiddenAccountIds", "stsRegion", "retryMode"}
    | {"customCaBundle", "sharedConfigFiles", "sharedCredentialsFiles", "userAgents", "ec2MetadataServiceEndpoint"}
    | {"ec2MetadataServiceEndpointMode"}
    # Without effect where every endpoint is given: AWS alone has variants of its endpoints, and nothing here uses S3.
    | {"useFipsEndpoint", "useDualstackEndpoint", "s3UsePathStyle", "s3UsEast1RegionalEndpoint"}
)
ENGINE_KEYS = frozenset({"version", "pluginDownloadURL", "__internal", "__pulumi"})
"""What the engine itself puts among a provider's properties."""

_ALIASES = {"elbv2": ("elbv2", "elasticloadbalancingv2"), "elb": ("elb",)}


def parse(given: Props) -> Props:
    """The configuration with its JSON strings read: the SDK sends every value that is not a string as JSON."""
    known = schema.provider()
    parsed: Props = {}
    for name, value in given.items():
        if name in ENGINE_KEYS:
            continue
        kind = known[name].type if name in known else schema.ScalarType("str")
        parsed[name] = value
        if isinstance(value, str) and kind != schema.ScalarType("str"):
            try:
                parsed[name] = json.loads(value)
            except ValueError:
                parsed[name] = value  # the type check names it
    return parsed


def same(one: Value, other: Value) -> bool:
    """Whether two values of the configuration say the same, whoever has written their JSON."""
    return bool(one is not UNKNOWN and compare.in_order(one) == compare.in_order(other))


def written(given: Props) -> Props:
    """The configuration with its JSON as the official plugin writes it, so that the other's is no change."""
    known = schema.provider()
    text = schema.ScalarType("str")
    return {
        name: value if name not in known or known[name].type == text else compare.in_order(value)
        for name, value in given.items()
    }


def failures(given: Props) -> Iterator[tuple[str, str]]:
    """What is wrong with a configuration: property and reason. Unknown values are left for Configure."""
    config = parse(given)
    known = schema.provider()
    yield from check.type_failures(config, known, implemented=_IMPLEMENTED, what="the aws provider")
    if (
        not isinstance(config.get("region") or os.environ.get("AWS_REGION"), str)
        and config.get("region") is not UNKNOWN
    ):
        yield "region", 'missing: set it on the provider, such as aws.Provider("aws", region="us-east-1", …)'
    yield from _endpoint_failures(config.get("endpoints"))
    yield from _role_failures(config)


def _role_failures(config: Props) -> Iterator[tuple[str, str]]:
    """Roles that cannot be assumed as they are given."""
    roles = config.get("assumeRoles")
    given = [(f"assumeRoles[{number}]", role) for number, role in enumerate(roles if isinstance(roles, list) else [])]
    given.append(("assumeRoleWithWebIdentity", config.get("assumeRoleWithWebIdentity") or {}))
    for path, role in given:
        if role is UNKNOWN or not isinstance(role, dict):
            continue
        if role and not role.get("roleArn"):
            yield f"{path}.roleArn", "missing"
        if isinstance(role.get("duration"), str):
            try:
                credentials.seconds(role["duration"])
            except ValueError as error:
                yield f"{path}.duration", str(error)


def _endpoint_failures(endpoints: Value) -> Iterator[tuple[str, str]]:
    if endpoints is UNKNOWN:
        return
    blocks = endpoints if isinstance(endpoints, list) else []
    merged = _merge(blocks)
    missing = [service for service in SERVICES if _endpoint(merged, service) is None]
    if missing:
        yield "endpoints", f"no endpoint for {', '.join(missing)}: {REMEDY}"
        return
    for service, url in merged.items():
        if url is not UNKNOWN and not is_loopback(str(url)):
            yield "endpoints", f"{service}: {url} is not a loopback address: {REMEDY}"


def _merge(blocks: list[Any]) -> dict[str, Any]:
    return {name: url for block in blocks if isinstance(block, dict) for name, url in block.items() if url}


def _endpoint(merged: dict[str, Any], service: str) -> Value:
    names = _ALIASES.get(service, (service,))
    return next((merged[name] for name in names if name in merged), None)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine, by its address or as `localhost`; a name is never looked up."""
    try:
        parts = urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"}:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class Clients:
    """API clients of one configured provider, made when first needed and shared by its calls (they are thread-safe)."""

    region: str
    endpoints: dict[str, str]
    config: Props = field(default_factory=dict, repr=False)
    default_tags: dict[str, str] = field(default_factory=dict)
    ignored_tags: frozenset[str] = frozenset()
    ignored_prefixes: tuple[str, ...] = ()
    max_retries: int = 5
    _made: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _session: boto3.Session | None = field(default=None, repr=False)

    def client(self, service: str, region: str | None = None) -> Boto:
        """The client of a service; raises OperationError for one without an endpoint: nothing ever reaches AWS."""
        if service not in self.endpoints:
            message = f"the aws provider has no endpoint for {service}: {REMEDY}"
            raise OperationError(message)
        key = (service, region or self.region)
        with self._lock:
            if key not in self._made:
                if self._session is None:
                    self._session = credentials.session(self.config, self._sts)
                make: Boto = self._session.client  # the stubs know literal service names only
                region_name = self.config.get("stsRegion") if service == "sts" else None
                self._made[key] = make(
                    service,
                    region_name=region_name or key[1],
                    endpoint_url=self.endpoints[service],
                    config=self._settings(),
                )
            return self._made[key]

    def _settings(self) -> Any:  # noqa: ANN401 - boto3's
        from botocore.config import Config  # noqa: PLC0415 - 0.2 s of CPU that no preview pays

        return Config(
            retries={"mode": self.config.get("retryMode") or "standard", "total_max_attempts": self.max_retries},
            max_pool_connections=32,
            connect_timeout=5,
            read_timeout=60,
            proxies={},
            parameter_validation=True,
            user_agent_extra=" ".join(self.config.get("userAgents") or ()) or None,
        )

    def _sts(self, given: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's
        settings = self._settings()
        return {
            "region_name": self.config.get("stsRegion") or self.region,
            "endpoint_url": self.endpoints["sts"],
            "config": settings if given is None else settings.merge(given),
        }

    def check_account(self) -> None:
        """Refuse an account that the configuration does not allow, with a ValueError in the official plugin's words."""
        allowed, forbidden = self.config.get("allowedAccountIds"), self.config.get("forbiddenAccountIds")
        if (allowed or forbidden) and not self.config.get("skipRequestingAccountId"):
            account = str(self.client("sts").get_caller_identity()["Account"])
            if (allowed and account not in allowed) or account in (forbidden or ()):
                message = f"AWS account ID not allowed: {account}"
                raise ValueError(message)


def configure(given: Props) -> Clients:
    """The clients that a configuration leads to; raises ValueError with one line if it must be refused."""
    for name, reason in failures(given):
        message = f"{name}: {reason}"
        raise ValueError(message)
    config = parse(given)
    merged = _merge(config["endpoints"])
    return Clients(
        region=str(config.get("region") or os.environ["AWS_REGION"]),
        endpoints={service: str(url) for service in (*SERVICES, *MORE_SERVICES) if (url := _endpoint(merged, service))},
        config=config,
        default_tags=dict((config.get("defaultTags") or {}).get("tags") or {}),
        ignored_tags=frozenset((config.get("ignoreTags") or {}).get("keys") or ()),
        ignored_prefixes=tuple((config.get("ignoreTags") or {}).get("keyPrefixes") or ()),
        max_retries=int(config.get("maxRetries") or 5),
    )
