"""All settings of a stack, as the model that they are held against: types, defaults, limits, and what each means.

Every key stands in docs/reference/settings.md and, commented, in Pulumi.prod.yaml. A key that is not known here is an
error, because a misspelt safety setting must not be silently ignored. `infra.config` reads them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pulumi
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from fleetswap.domain import tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.rollout.policy import Policy
from fleetswap.workflows.image import upload
from fleetswap_pulumi.names import (
    MONTH,
    AccountId,
    CertificateArn,
    Deadline,
    HostName,
    InstanceType,
    Path,
    PolicyArn,
    Region,
    Service,
    StatusCodes,
    TopicArn,
    Wait,
    Zone,
    distinct,
    is_of_region,
)

NAMESPACE = "fleetswap"

LONGEST_DRAIN = 3600
"""Seconds (ELBv2, deregistration_delay.timeout_seconds)."""


class _Strict(BaseModel):
    """No unknown keys, nothing changes after reading. Numbers may be strings, as `pulumi config set` writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class NixImage(_Strict):
    """An image that Nix builds."""

    expression: str
    """Path of the expression, relative to the project's root."""
    attr: str | None = None
    """Attribute of the expression to build; the expression itself if not given."""
    args: dict[str, str] = {}
    """Arguments of the expression, passed with `--argstr`. Nix ignores those that the expression does not know, and
    nobody can tell them from a misspelt one. Put what looks like a number in quotes: YAML reads 1.10 as 1.1."""
    options: dict[str, str] = {}
    """Options of Nix, passed with `--option`."""

    @field_validator("args", "options", mode="before")
    @classmethod
    def _as_strings(cls, value: object) -> object:
        """`version: 2` is a number in YAML; for Nix it is a string either way."""
        if not isinstance(value, Mapping):
            return value
        return {key: _plain(item) for key, item in value.items()}


class ImageSettings(_Strict):
    """Where the image comes from: exactly one of `nix` and `file`."""

    nix: NixImage | None = None
    """An image that Nix builds."""
    file: str | None = None
    """A disk that something else built: raw, VHD or qcow2; a path relative to the project's root."""

    @model_validator(mode="after")
    def _exactly_one(self) -> ImageSettings:
        if (self.nix is None) == (self.file is None):
            raise ValueError("give exactly one of `nix` and `file`")
        return self


class UploadSettings(_Strict):
    """How images are shipped into EBS. A change changes no release, only how the next image is sent."""

    sparse: Literal["none", "holes"] = "none"
    """`none` sends every block. `holes` skips what the file never had written, where nothing is inherited; on an
    encrypted volume such a block reads as garbage, so it is for images made by tools that leave real holes."""
    samples: int = Field(default=upload.SAMPLES, ge=0, le=1000)
    """Unchanged blocks that are read back from the parent snapshot before it is trusted."""
    trusted_stacks: tuple[str, ...] = ()
    """Other stacks (`project/stack`) of the account and region whose snapshots may be the parent, so that the first
    image need not be sent whole. Whoever may upload for them decides what this stack's machines boot."""
    connections: int = Field(default=upload.CONNECTIONS, ge=1, le=1000)
    """Requests on their way at once, at most."""


class MachineSettings(_Strict):
    """What the machines are made of besides the image. A change makes a new release."""

    instance_types: Annotated[tuple[InstanceType, ...], AfterValidator(distinct)] = Field(
        default=("c7i.large", "c7a.large", "m7i.large", "m7a.large"), min_length=1, max_length=40
    )
    """Instance types that may serve; several, so that spot capacity is found in one of their pools."""
    on_demand_base: int = Field(default=2, ge=0)
    """Machines that are always on demand."""
    on_demand_percent: int = Field(default=0, ge=0, le=100)
    """Of the machines above the base, how many of a hundred are on demand; the others are spot."""
    root_gib: int | None = Field(default=None, ge=1, le=16384)
    """Size of the root volume in GiB; the image's own if not given."""
    policies: Annotated[tuple[PolicyArn, ...], AfterValidator(distinct)] = Field(default=(), max_length=20)
    """ARNs of managed policies for the instance role; an account allows 10 a role if its quota was not raised."""


class CapacitySettings(_Strict):
    """How many machines. Changes apply in place."""

    min: int = Field(default=2, ge=1)
    """Least number of machines of the live release."""
    max: int = Field(default=8, ge=1)
    """Greatest number of machines of one release. A greater one applies in place, a smaller one to the next release."""
    cpu_percent: float = Field(default=50, gt=0, le=100)
    """Target tracking keeps the average CPU near this."""
    # The provider leaves a 0 out of CreateAutoScalingGroup, and AWS then takes the group's cooldown, 300 s.
    warmup: int = Field(default=60, ge=1, le=3600)
    """Seconds after launch in which a machine's CPU does not count yet. A longer one holds back scale-out."""

    @model_validator(mode="after")
    def _in_order(self) -> CapacitySettings:
        if self.min > self.max:
            raise ValueError(f"min ({self.min}) is greater than max ({self.max})")
        return self


class NetworkSettings(_Strict):
    """The VPC. A change is refused once a fleet stands on it, because AWS would replace the network."""

    cidr: str = "10.66.0.0/16"
    """IPv4 range of the VPC, a /16 to /24."""
    zones: tuple[Zone, Zone] | None = None
    """Letters of the two availability zones; the first two that the account has, if not given. What a fleet stands in
    stays, whatever AWS adds."""

    @field_validator("zones")
    @classmethod
    def _are_two(cls, value: tuple[str, str] | None) -> tuple[str, str] | None:
        if value is not None and value[0] == value[1]:
            raise ValueError(f"{value[0]} is named twice; a load balancer needs two zones")
        return value

    @field_validator("cidr")
    @classmethod
    def _is_a_network(cls, value: str) -> str:
        network = ipaddress.IPv4Network(value)
        if not 16 <= network.prefixlen <= 24:
            raise ValueError(f"the prefix is /{network.prefixlen}, AWS and two subnets need /16 to /24")
        if network.is_loopback or network.is_link_local or network.is_multicast or network.is_reserved:
            raise ValueError(f"{value} is not for hosts of a network: use a private range, such as 10.66.0.0/16")
        return value


class FrontSettings(_Strict):
    """The load balancer's listener."""

    port: int | None = Field(default=None, ge=1, le=65535)
    """Port of the listener; 443 with a certificate and 80 without, if not given."""
    certificate_arn: CertificateArn | None = None
    """ACM certificate for HTTPS, of the stack's region; HTTP without."""
    idle_timeout: int = Field(default=60, ge=1, le=4000)
    """Seconds without a byte after which the load balancer closes a connection. The application must keep its own
    connections open for longer, or users get a 502 now and then."""


class HealthSettings(_Strict):
    """The target group's health check (ELBv2's own limits) and where the service listens.

    All but `drain` and `grace` belong to the image, so a change makes a new release.
    """

    port: int = Field(default=8080, ge=1, le=65535)
    """Port of the service on the machine."""
    path: Path = "/healthz"
    """Path of the health check."""
    codes: StatusCodes = "200"
    """Statuses that are healthy, such as `200`, `200,204` or `200-299` (ELBv2 Matcher: 200 to 499)."""
    interval: int = Field(default=5, ge=5, le=300)
    """Seconds between two checks."""
    timeout: int = Field(default=3, ge=2, le=120)
    """Seconds until a check has failed."""
    healthy: int = Field(default=2, ge=2, le=10)
    """Good checks in a row until an unhealthy target is healthy again."""
    unhealthy: int = Field(default=2, ge=2, le=10)
    """Bad checks in a row until a target is unhealthy."""
    drain: int | None = Field(default=None, ge=0, le=3600)
    """Seconds that a leaving target may finish its open requests in; `front.idle_timeout` if not given. What takes
    longer is cut off when a release is scaled in."""
    grace: int = Field(default=300, ge=0, le=7200)
    """Seconds after launch in which the auto scaling group ignores bad health: a new image's first boots are slow,
    because each block comes from S3 when it is first read. Shorter than a boot, no machine would ever serve."""

    @model_validator(mode="after")
    def _in_order(self) -> HealthSettings:
        if self.timeout >= self.interval:
            raise ValueError(f"timeout ({self.timeout} s) must be smaller than interval ({self.interval} s)")
        return self


class StepSettings(_Strict):
    """One step of a canary."""

    weight: int = Field(ge=1, le=100)
    """Of a hundred requests, how many the candidate gets. Ascending; a last step of 100 is added if missing."""
    hold: Wait = 0
    """Seconds that the weight is held, at least. With requests to judge by, until its minutes are told, too."""
    min_requests: int = Field(default=0, ge=0)
    """Requests that must have been counted in whole minutes of this very step; without them the rollout is aborted."""


class LimitSettings(_Strict):
    """How bad the candidate may be, of one kind. docs/reference/rates.md has the mathematics and its figures."""

    alpha: float = Field(default=0.001, gt=0, le=0.5)
    """Greatest probability, over a whole rollout, that a candidate that keeps to the limit is aborted."""
    ratio: float = Field(default=1.5, ge=1)
    """The candidate's rate may be this many times the live release's."""
    tolerated: float = Field(default=0.001, ge=0, lt=1)
    """A rate up to this is no reason to abort, however good the live release is."""
    ceiling: float | None = Field(default=None, gt=0, lt=1)
    """A rate above this is a reason, unless the live release is no better."""


class ErrorSettings(LimitSettings):
    """The same for requests that end with a 5xx or no answer, where a tenth of all is too much for any service."""

    ceiling: float | None = Field(default=0.1, gt=0, lt=1)
    """A rate above this is a reason, unless the live release is no better."""


class RolloutSettings(_Strict):
    """How traffic moves to a new release, and what it must prove."""

    strategy: Literal["all-at-once"] | tuple[StepSettings, ...] = (StepSettings(weight=10, hold=60, min_requests=50),)
    """`all-at-once`, or the steps of a canary."""
    bake: Wait = 60
    """Seconds that a release which was never live before is watched with all the traffic on it, at least."""
    trusted: int = Field(default=3, ge=0)
    """Releases of the ledger, the newest first, that skip canary and bake because they were live: the way back. One
    that was left for an older one does not."""
    trusted_bake: Wait = 0
    """Seconds that such a release is watched with all the traffic on it."""
    deadline: Deadline = 600
    """Seconds from the start until a candidate that is not healthy is given up."""
    readings: int = Field(default=3, ge=1, le=100)
    """Good readings in a row that count as proof."""
    interval: float = Field(default=2, ge=0.1, le=60)
    """Seconds between two readings."""
    data_deadline: Wait = 420
    """Seconds after a step's hold, and its convergence, until evidence that is still missing aborts the rollout."""
    shift_deadline: float = Field(default=60, gt=0, le=3600)
    """Seconds until new weights must be seen to hold."""
    convergence: float = Field(default=60, ge=0, le=3600)
    """Seconds from when new weights are seen until every node of the load balancer goes by them."""
    switch_margin: Deadline = 120
    """Seconds that the dead man's switch waits longer than a step may take. It fires within a minute after its time."""
    probe_path: Path = "/"
    """Path that is probed, through the preview rule before the candidate has traffic, and plainly after."""
    probe_host: HostName | None = None
    """`Host` that a probe sends, for an application that answers only to the names that users ask it by; the load
    balancer's own name if not given. The health check of the load balancer always sends a machine's private address."""
    probe_statuses: tuple[int, ...] = Field(default=(200,), min_length=1)
    """Statuses that a probe accepts."""
    probe_timeout: float = Field(default=5, gt=0, le=60)
    """Seconds until a probe has failed."""
    alarms: tuple[str, ...] = Field(default=(), max_length=100)
    """CloudWatch alarms. One that rings at the start, or begins to ring, ends the rollout."""
    errors: ErrorSettings | None = ErrorSettings()
    """How many requests of the candidate may end with a 5xx or no answer; `null` does not judge it by them."""
    slow: float | None = Field(default=None, gt=0, le=4000)
    """Seconds above which an answer is slow; without it nobody judges by that."""
    slowness: LimitSettings = LimitSettings()
    """How many slow answers the candidate may give."""
    report_only: tuple[Literal["image", "probe", "alarms", "errors", "slowness"], ...] = ()
    """Checks that are told, but neither abort nor wait."""
    shortage: Literal["abort", "on-demand"] = "abort"
    """What to do when EC2 has no capacity for the candidate: give up, or launch on-demand machines for spot ones."""
    shortage_patience: Wait = 180
    """Seconds that a shortage may last before that."""
    warm: float = Field(default=3600, ge=0, le=MONTH)
    """Seconds that the release before is kept warm; then AWS itself scales it in."""
    again: bool = False
    """Whether a release that was rolled back by hand (`fleetswap rollback --now`) may be deployed again."""
    alerts: TopicArn | None = None
    """ARN of an SNS topic that is told of the end of every rollout, good or bad."""

    @property
    def policy(self) -> dict[str, Any]:
        """What the rollout's policy takes, but for the capacity."""
        plain = self.model_dump(exclude={"strategy", "bake", "trusted", "trusted_bake", "alerts", "probe_host"})
        steps = () if isinstance(self.strategy, str) else tuple(step.model_dump() for step in self.strategy)
        return {**plain, "strategy": {"steps": steps, "bake": self.bake, "trusted_bake": self.trusted_bake}}

    @model_validator(mode="after")
    def _makes_sense(self) -> RolloutSettings:
        try:
            Policy.of({"capacity": 1, **self.policy})
        except InputError as error:
            raise ValueError(str(error)) from error
        return self


class RetentionSettings(_Strict):
    """What is kept besides the live release and its standby."""

    images: int = Field(default=3, ge=0, le=50)
    """Older releases whose AMI is kept without machines."""


class Settings(_Strict):
    """All settings of a stack."""

    service: Service
    """Name of the service; part of every release's id."""
    image: ImageSettings
    """The image to deploy."""
    release: str | None = None
    """A release of the ledger to put the traffic on, instead of the image: the rollback."""
    upload: UploadSettings = UploadSettings()
    """How images are shipped."""
    machine: MachineSettings = MachineSettings()
    """What the machines are made of besides the image."""
    capacity: CapacitySettings = CapacitySettings()
    """How many machines."""
    network: NetworkSettings = NetworkSettings()
    """The VPC."""
    front: FrontSettings = FrontSettings()
    """The listener."""
    health: HealthSettings = HealthSettings()
    """Health check and port of the service."""
    rollout: RolloutSettings = RolloutSettings()
    """How traffic moves."""
    retention: RetentionSettings = RetentionSettings()
    """What is kept."""
    tags: dict[str, str] = {}
    """More tags for every resource: 40 at most, values of 255 characters."""
    account: AccountId | None = None
    """The AWS account that the stack is for: credentials of another are refused. Once a fleet runs, its account is kept
    in the ledger, and no other is taken."""
    endpoint: str | None = Field(default=None, pattern=r"^http://127\.0\.0\.1:\d{1,5}$")
    """Address of a local cloud; AWS if not given."""
    region: Region
    """From `aws:region`."""

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, value: dict[str, str]) -> dict[str, str]:
        try:
            tags.check(value)
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _of_one_region(self) -> Settings:
        certificate = self.front.certificate_arn
        if certificate is not None and not is_of_region(certificate, self.region):
            raise ValueError(f"front.certificate_arn {certificate} is not of region {self.region}, as it must be")
        return self

    @property
    def drain(self) -> int:
        """Seconds that a leaving target may finish its open requests in."""
        return min(self.front.idle_timeout, LONGEST_DRAIN) if self.health.drain is None else self.health.drain

    @property
    def listener_port(self) -> int:
        """The port given, or the scheme's own."""
        if self.front.port is not None:
            return self.front.port
        return 443 if self.front.certificate_arn else 80

    @property
    def stack(self) -> str:
        """`project/stack`, as in the tag of the same meaning."""
        return f"{pulumi.get_project()}/{pulumi.get_stack()}"


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        raise ValueError(f"{value} may have been written otherwise (YAML reads 1.10 as 1.1): put it in quotes")
    return str(value) if isinstance(value, int) else value
