"""The settings `front` and `health`: the load balancer, its rules, and how the service behind it is reached.

Each limit is ELBv2's, Route 53's or S3's, with its source. What several keys must agree in is checked here as well, and
reported together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from fleetswap.domain.rollout.rule import matches_host
from fleetswap_pulumi.checks import Strict, wrong_together
from fleetswap_pulumi.names import (
    BucketName,
    CertificateArn,
    Cidr,
    DomainName,
    HostedZoneId,
    HostPattern,
    ListenerArn,
    Path,
    PathPattern,
    StatusCodes,
    WebAclArn,
    distinct,
    is_of_region,
)

CONDITION_VALUES = 5
"""Of one rule (ELB user guide, Quotas, "Condition values per rule")."""

CONDITION_WILDCARDS = 5
"""Of one rule (the same, "Condition wildcards per rule")."""

CERTIFICATES = 25
"""Of a load balancer, not counting the default one (the same, "Certificates per Application Load Balancer")."""

PRIORITIES = 6
"""Priorities that a service needs: the rule with the weights, the preview rules of the live release, its standby and
the candidate, and of candidates that failed and that the next update deletes. With preview_sources a preview rule has
another behind it, which refuses everybody else."""

LONGEST_DRAIN = 3600
"""Seconds (ELBv2, deregistration_delay.timeout_seconds)."""

EVERYONE = "0.0.0.0/0"
EVERYONE_V6 = "::/0"

OWN = (
    "port",
    "certificate_arn",
    "certificates",
    "redirect_http",
    "internal",
    "sources",
    "access_logs",
    "web_acl_arn",
    "deletion_protection",
    "idle_timeout",
    "http2",
)
"""What belongs to a load balancer of our own, and is someone else's to say of an existing one."""

Problem = tuple[str, str]
"""A key below the section, and what is wrong with it."""


class DomainSettings(Strict):
    """An alias record in Route 53 for the load balancer. One of `zone` and `zone_id` is required."""

    name: DomainName = Field(examples=["shop.example.com"])
    """Domain name of the service: the zone's own name, or one below it."""
    zone: DomainName | None = Field(default=None, examples=["example.com"])
    """Name of the hosted zone. A private zone counts only with a load balancer that is internal, and resolves only in
    the VPCs that it is associated with."""
    zone_id: HostedZoneId | None = Field(default=None, examples=["Z0123456789ABCDEFGHIJ"])
    """ID of the hosted zone, if several have the same name."""

    @model_validator(mode="after")
    def _is_in_its_zone(self) -> DomainSettings:
        if (self.zone is None) == (self.zone_id is None):
            raise ValueError("give exactly one of `zone` and `zone_id`")
        if self.zone is not None and self.name != self.zone and not self.name.endswith(f".{self.zone}"):
            raise ValueError(f"{self.name} is not in zone {self.zone}")
        return self


class AccessLogSettings(Strict):
    """Access logs, only for the stack's own load balancer. The bucket's policy must let Elastic Load Balancing write
    to it.
    """

    bucket: BucketName = Field(examples=["example-logs"])
    """Name of an S3 bucket of the stack's region."""
    prefix: str | None = Field(default=None, min_length=1, max_length=512, examples=["web"])
    """Prefix of the logs in the bucket, without a slash at either end."""

    @field_validator("prefix")
    @classmethod
    def _is_not_elbs(cls, value: str | None) -> str | None:
        # ELB user guide, "Enable access logs": the prefix must not include the string AWSLogs.
        if value is not None and "AWSLogs" in value:
            raise ValueError("must not contain AWSLogs, which Elastic Load Balancing adds itself")
        if value is not None and value != value.strip("/"):
            raise ValueError("must not begin or end with a slash")
        return value


class FrontSettings(Strict):
    """The load balancer: one of the stack's own, or the listener of an existing Application Load Balancer. A Network
    Load Balancer cannot be used.
    """

    listener_arn: ListenerArn | None = Field(
        default=None,
        examples=[
            "arn:aws:elasticloadbalancing:eu-central-1:111122223333:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2"
        ],
    )
    """ARN of an existing listener. The stack adds its own rules and changes neither the default action nor the rules of
    others. Needs `priorities`, `hosts` or `paths`, and `network.vpc`. Settings that are only for the stack's own load
    balancer cannot be set then. Unset: the stack creates a load balancer."""
    priorities: tuple[int, int] | None = Field(default=None, examples=[[1000, 1019]])
    """First and last priority of the stack's rules on an existing listener, 1 to 50,000 and at least 6 of them, with
    `preview_sources` 11. The last one is the rule with the weights, the others are preview rules."""
    hosts: Annotated[tuple[HostPattern, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["shop.example.com"]]
    )
    """Host names that the service responds to; `*` and `?` are wildcards. Unset: all."""
    paths: Annotated[tuple[PathPattern, ...], AfterValidator(distinct)] = Field(default=(), examples=[["/", "/shop/*"]])
    """Paths that the service responds to; `*` and `?` are wildcards. Unset: all."""
    preview_sources: Annotated[tuple[Cidr, ...], AfterValidator(distinct)] = Field(
        default=(), examples=[["203.0.113.0/24"]]
    )
    """CIDR blocks that may use preview rules, in addition to the secret header. Must contain the address that the
    deployer reaches the load balancer from, because it probes the candidate: from elsewhere, it gets a 403, which
    aborts the rollout. Unset: everyone who has the header. A rule has at most 5 hosts, paths and CIDR blocks, one of
    which is the header of a preview rule."""
    port: int | None = Field(default=None, ge=1, le=65535, examples=[443])
    """Port of the listener, only for the stack's own load balancer. Unset: 443 with a certificate, otherwise 80."""
    certificate_arn: CertificateArn | None = Field(
        default=None, examples=["arn:aws:acm:eu-central-1:111122223333:certificate/replace-me"]
    )
    """ARN of the certificate for HTTPS, in the stack's region, only for the stack's own load balancer. Unset: HTTP."""
    certificates: Annotated[tuple[CertificateArn, ...], AfterValidator(distinct)] = Field(
        default=(),
        max_length=CERTIFICATES,
        examples=[["arn:aws:acm:eu-central-1:111122223333:certificate/replace-me-too"]],
    )
    """ARNs of additional certificates, chosen by the name that a client asks for (SNI), only for the stack's own load
    balancer."""
    redirect_http: bool = False
    """Whether port 80 redirects to HTTPS, only for the stack's own load balancer, with a certificate."""
    internal: bool = False
    """Whether the load balancer has private addresses only, only for the stack's own load balancer. AWS cannot change
    this in place: a change is refused while a fleet runs."""
    sources: Annotated[tuple[Cidr, ...], AfterValidator(distinct)] = Field(default=(EVERYONE,), min_length=1)
    """CIDR blocks that may reach the load balancer, only for the stack's own load balancer. Must contain the address
    that the deployer reaches it from, because it probes the candidate."""
    domain: DomainSettings | None = Field(default=None, examples=[{"name": "shop.example.com", "zone": "example.com"}])
    access_logs: AccessLogSettings | None = Field(default=None, examples=[{"bucket": "example-logs", "prefix": "web"}])
    web_acl_arn: WebAclArn | None = Field(
        default=None, examples=["arn:aws:wafv2:eu-central-1:111122223333:regional/webacl/replace-me/replace-me"]
    )
    """ARN of a web ACL of AWS WAF, in the stack's region, only for the stack's own load balancer."""
    deletion_protection: bool = False
    """Whether AWS refuses to delete the load balancer, only for the stack's own load balancer. `pulumi destroy` then
    fails until this is set to false and deployed."""
    idle_timeout: int = Field(default=60, ge=1, le=4000)
    """Seconds without data after which the load balancer closes a connection, only for the stack's own load balancer.
    The application must keep idle connections open longer than this, or clients occasionally get a 502."""
    http2: bool = True
    """Whether clients may use HTTP/2, only for the stack's own load balancer. Needs a certificate to have an effect."""

    @field_validator("priorities", mode="before")
    @classmethod
    def _are_two_numbers(cls, value: object) -> object:
        if value is not None and not (isinstance(value, (list, tuple)) and len(value) == 2):
            raise ValueError(f"must be the first and the last priority, such as [1000, 1019], not {value!r}")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> FrontSettings:
        problems = [*self._about_rules(), *(self._about_existing() if self.listener_arn else self._about_own())]
        if problems:
            raise wrong_together(problems)
        return self

    def _about_rules(self) -> Iterator[Problem]:
        values = len(self.hosts) + len(self.paths)
        if values > CONDITION_VALUES:
            yield (
                "hosts",
                f"hosts and paths have {values} values, and a rule can have at most {CONDITION_VALUES} (ELB quotas)",
            )
        elif values + len(self.preview_sources) + 1 > CONDITION_VALUES:
            yield (
                "preview_sources" if self.preview_sources else "hosts",
                f"hosts, paths and preview_sources have {values + len(self.preview_sources)} values, and a preview rule"
                f" can have at most {CONDITION_VALUES}, of which its header is one (ELB quotas)",
            )
        wildcards = sum(len(re.findall(r"[*?]", each)) for each in (*self.hosts, *self.paths))
        if wildcards > CONDITION_WILDCARDS:
            yield (
                "hosts",
                f"hosts and paths have {wildcards} wildcards, and a rule can have at most"
                f" {CONDITION_WILDCARDS} (ELB quotas)",
            )
        name = self.domain.name if self.domain else None
        if name is not None and self.hosts and not any(matches_host(each, name) for each in self.hosts):
            yield "domain.name", f"{name} is none of hosts, so no request for it would reach the service: add it there"

    def _about_existing(self) -> Iterator[Problem]:
        for key in OWN:
            if key in self.model_fields_set:
                yield key, "belongs to a load balancer of the stack's own, and listener_arn is an existing one"
        if not (self.hosts or self.paths):
            yield (
                "hosts",
                'is missing: without hosts or paths the rule would take every request (if so, set paths: ["/*"])',
            )
        if self.priorities is None:
            yield "priorities", f"is missing: a range of at least {PRIORITIES} for the rules on the existing listener"
            return
        first, last = self.priorities
        if not 1 <= first <= last <= 50_000:  # CreateRule, Priority
            yield "priorities", f"{first} to {last} is not a range within 1 to 50000"
        elif last - first + 1 < (needed := 2 * PRIORITIES - 1 if self.preview_sources else PRIORITIES):
            yield "priorities", f"{first} to {last} has {last - first + 1} priorities, and a service needs {needed}"

    def _about_own(self) -> Iterator[Problem]:
        if self.priorities is not None:
            yield "priorities", "is only for an existing listener: set listener_arn"
        if self.certificate_arn is None:
            for key in ("certificates", "redirect_http"):
                if getattr(self, key):
                    yield key, "needs certificate_arn"
        elif self.certificate_arn in self.certificates:
            yield "certificates", f"names {self.certificate_arn}, which is certificate_arn already"
        if self.redirect_http and self.port == 80:
            yield "redirect_http", "needs another port than 80, which is the one that redirects"

    def arns(self) -> Iterator[tuple[str, str]]:
        """The ARNs that must be of the stack's region, with their keys."""
        for key in ("listener_arn", "certificate_arn", "web_acl_arn"):
            if (arn := getattr(self, key)) is not None:
                yield key, arn
        for number, arn in enumerate(self.certificates):
            yield f"certificates[{number}]", arn


class HealthSettings(Strict):
    """Port, protocol and health check of the service. A change creates a new release, except for `drain` and `grace`.

    The limits are ELBv2's (CreateTargetGroup).
    """

    port: int = Field(default=8080, ge=1, le=65535)
    """Port of the service on the machine."""
    protocol: Literal["http", "https"] = "http"
    """Protocol that the load balancer speaks to the machines, for requests and health checks. With `https`, it does not
    check the machines' certificates."""
    protocol_version: Literal["http1", "http2", "grpc"] = "http1"
    """Version of the protocol for requests. `http2` and `grpc` need an HTTPS listener and clients that use HTTP/2. For
    gRPC, a failed request is one that fails as HTTP: only in a probe does a gRPC status count. To change to or from
    `grpc` use `all-at-once`: no client can use both."""
    path: Path = "/healthz"
    """Path of the health check; for gRPC `/package.service/method`."""
    codes: StatusCodes = "200"
    """Status codes that count as healthy, such as `200`, `200,204` or `200-299`: of HTTP from 200 to 499, of gRPC from
    0 to 99. The `Host` of a health check is the machine's private address: for an application that responds only to its
    own names, let it except the path, or add what it responds then (403)."""
    interval: int = Field(default=5, ge=5, le=300)
    """Seconds between two health checks."""
    timeout: int = Field(default=3, ge=2, le=120, validate_default=True)
    """Seconds without a response after which a health check fails. Must be less than `interval`."""
    healthy: int = Field(default=2, ge=2, le=10)
    """Consecutive successful health checks before an unhealthy machine is healthy again."""
    unhealthy: int = Field(default=2, ge=2, le=10)
    """Consecutive failed health checks before a machine is unhealthy."""
    drain: int | None = Field(default=None, ge=0, le=3600, examples=[60])
    """Deregistration delay: seconds that a machine has to finish open requests before it is terminated. Requests that
    take longer are cut off, so it must not be less than the load balancer's idle timeout. Unset: the idle timeout."""
    grace: int = Field(default=300, ge=0, le=7200)
    """Health check grace period: seconds after launch before an unhealthy machine is replaced. Must be longer than the
    slowest boot, or no machine ever serves. The first boots of a new image are slow, because EBS loads each block from
    S3 when it is first read."""

    @field_validator("timeout")
    @classmethod
    def _below_interval(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("interval", value + 1):
            raise ValueError(f"{value} must be less than interval ({info.data['interval']})")
        return value

    @model_validator(mode="after")
    def _checks_what_it_speaks(self) -> HealthSettings:
        grpc = self.protocol_version == "grpc"
        lowest, highest, kind = (0, 99, "gRPC") if grpc else (200, 499, "HTTP")
        problems: list[Problem] = []
        wrong = [each for each in re.split("[-,]", self.codes) if not lowest <= int(each) <= highest]
        if wrong:
            codes = f"{lowest} to {highest}"
            problems.append(
                ("codes", f"{wrong[0]} is not a status code of {kind} that a health check accepts ({codes})")
            )
        if grpc and not re.fullmatch(r"/[^/]+/[^/]+", self.path):
            problems.append(("path", f"{self.path} is not /package.service/method, as a gRPC health check has it"))
        if problems:
            raise wrong_together(problems)
        return self


def of_other_regions(front: FrontSettings, region: str) -> Iterator[Problem]:
    """The ARNs that are not of the stack's region."""
    for key, arn in front.arns():
        if not is_of_region(arn, region):
            yield key, f"{arn} is not of region {region}, as it must be"


def misfits(health: HealthSettings, front: FrontSettings) -> Iterator[Problem]:
    """What of `health` does not go with a load balancer of our own. An existing one is asked, not its settings."""
    if front.listener_arn is not None:
        return
    version = health.protocol_version
    if version != "http1" and front.certificate_arn is None:
        # ELB user guide, "Target groups", Protocol version: HTTP/2 and gRPC need an HTTPS listener.
        yield "protocol_version", f"{version} needs HTTPS: set front.certificate_arn"
    elif version != "http1" and not front.http2:
        # ELB user guide, "Target groups", Protocol version: HTTP/1.1 requests to these targets fail, with HTTP 464.
        yield "protocol_version", f"{version} needs clients that use HTTP/2, and front.http2 is false"
    timeout = min(front.idle_timeout, LONGEST_DRAIN)
    if "idle_timeout" in front.model_fields_set and health.drain is not None and health.drain < timeout:
        yield "drain", f"{health.drain} is less than front.idle_timeout ({front.idle_timeout})"
