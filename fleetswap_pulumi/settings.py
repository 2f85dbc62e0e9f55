"""The settings of a stack, as the models that validate them: types, defaults, limits, descriptions.

`fleetswap_pulumi.policy` has those of a rollout, and `infra.config` reads them. docs/reference/settings.md and the
comments in Pulumi.prod.yaml are generated from these models, so write descriptions for whoever edits that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated

import pulumi
from pydantic import (
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from fleetswap.aws.partition import partition_of
from fleetswap.domain import access, tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.partition import of_arn
from fleetswap.domain.rollout.rule import matches_host, matches_path
from fleetswap.domain.secrets.sealing import STACK
from fleetswap_pulumi.alarm_settings import AlarmSettings
from fleetswap_pulumi.alarm_settings import misfits as misfits_of_alarms
from fleetswap_pulumi.budgets_settings import BudgetsSettings
from fleetswap_pulumi.capacity_settings import CapacitySettings, misfits_of_warm_pool
from fleetswap_pulumi.checks import Strict, wrong_together
from fleetswap_pulumi.front_settings import (
    LONGEST_DRAIN,
    FrontSettings,
    HealthSettings,
    misfits,
    of_other_regions,
)
from fleetswap_pulumi.image_settings import ImageSettings, UploadSettings
from fleetswap_pulumi.machine_settings import IamSettings, MachineSettings
from fleetswap_pulumi.names import (
    AccountId,
    Region,
    Service,
    is_of_region,
)
from fleetswap_pulumi.network_settings import NetworkSettings
from fleetswap_pulumi.policies_settings import PoliciesSettings
from fleetswap_pulumi.policy import RolloutSettings
from fleetswap_pulumi.region_settings import RegionSettings
from fleetswap_pulumi.retention_settings import RetentionSettings
from fleetswap_pulumi.secrets_settings import SecretsSettings, short_form
from fleetswap_pulumi.secrets_settings import misfits as misfits_of_secrets

NAMESPACE = "fleetswap"


class Settings(Strict):
    """All settings of a stack."""

    region: Region = Field(examples=["eu-central-1"])
    """AWS Region of the stack."""
    aws: SkipJsonSchema[InstanceOf[access.Settings]] = Field(default=access.Settings(), exclude=True)
    """The other settings of the AWS provider (docs/reference/aws-settings.md)."""
    account: AccountId | None = Field(default=None, examples=["111122223333"])
    """ID of the AWS account to deploy to. Credentials for any other account are refused. The account of a running fleet
    is in the ledger and cannot change."""
    service: Service = Field(examples=["web"])
    """Name of the service, at most 15 characters. Every release's ID begins with it."""
    image: ImageSettings
    release: str | None = Field(default=None, examples=["web-7f3a1b2c"])
    """ID of a release in the ledger that gets the traffic instead of `image`: a rollback in one line. Remove it to
    deploy `image` again."""
    upload: UploadSettings = UploadSettings()
    machine: MachineSettings = MachineSettings()
    secrets: Annotated[SecretsSettings | None, BeforeValidator(short_form)] = Field(
        default=None, examples=[{"file": "secrets/prod.yaml"}]
    )
    iam: IamSettings = IamSettings()
    capacity: CapacitySettings = CapacitySettings()
    network: NetworkSettings = NetworkSettings()
    front: FrontSettings = FrontSettings()
    health: HealthSettings = HealthSettings()
    rollout: RolloutSettings = RolloutSettings()
    budgets: BudgetsSettings | None = Field(
        default=None, examples=[{"launch": 60, "start_to_live": 600, "commit_to_live": 900}]
    )
    alarms: Annotated[AlarmSettings | None, BeforeValidator(short_form)] = Field(
        default=None, examples=[{"latency": {"seconds": 1}}]
    )
    retention: RetentionSettings = RetentionSettings()
    policies: PoliciesSettings = PoliciesSettings()
    tags: dict[str, str] = Field(default={}, validate_default=True, examples=[{"team": "web"}])
    """Additional tags for all resources: at most 40, with values of at most 255 characters. They go before
    `aws:defaultTags`."""
    wave: int = Field(default=1, ge=1, le=100)
    """Wave of the rollout in the home region, that of `aws:region`. Wave by wave, the rollouts of a stack with several
    `regions` run together; the first that fails stops the waves after it."""
    regions: dict[Region, RegionSettings] = Field(default={}, examples=[{"eu-west-1": {"wave": 2}}])
    """Further AWS Regions in which the stack runs the same image, by their names."""
    elsewhere: SkipJsonSchema[Mapping[str, Settings]] = Field(default={}, exclude=True)
    """The settings of the further regions that are not retired, each as if it were a stack of its own."""
    endpoint: str | None = Field(
        default=None, pattern=r"^http://127\.0\.0\.1:\d{1,5}$", examples=["http://127.0.0.1:4510"]
    )
    """Address of a local cloud. Unset: AWS."""

    @property
    def skipped(self) -> list[str]:
        """The further regions that an update leaves as they are."""
        return [name for name, region in self.regions.items() if region.skip]

    @field_validator("account")
    @classmethod
    def _is_allowed(cls, value: str | None, info: ValidationInfo) -> str | None:
        allowed = info.data["aws"].access.allowed_account_ids if "aws" in info.data else ()
        if value is not None and allowed and value not in allowed:
            raise ValueError(f"{value} is not among aws:allowedAccountIds")
        return value

    @field_validator("tags")
    @classmethod
    def _can_be_tags(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        defaults = info.data["aws"].default_tags if "aws" in info.data else {}
        try:
            tags.check(defaults)
        except InputError as error:
            raise ValueError(f"aws:defaultTags: {error}") from error
        try:
            tags.check({**defaults, **value})
        except InputError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("front")
    @classmethod
    def _is_of_one_region(cls, value: FrontSettings, info: ValidationInfo) -> FrontSettings:
        problems = list(of_other_regions(value, info.data.get("region", "")))
        if problems and "region" in info.data:
            raise wrong_together(problems)
        return value

    @field_validator("health")
    @classmethod
    def _suits_the_front_door(cls, value: HealthSettings, info: ValidationInfo) -> HealthSettings:
        problems = list(misfits(value, info.data["front"])) if "front" in info.data else []
        if problems:
            raise wrong_together(problems)
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Settings:
        vpc, own, problems = self.network.vpc, self.front.listener_arn is None, list(self._other_partitions())
        problems += misfits_of_alarms(self.alarms, self.region)
        problems += misfits_of_warm_pool(self.capacity.warm_pool, self.machine.on_demand_percent, self.machine.weights)
        for path, key in (("machine.kms_key", self.machine.kms_key), ("upload.kms_key", self.upload.kms_key)):
            if key not in (None, STACK) and not is_of_region(str(key), self.region):
                problems.append((path, f"{key} is not of region {self.region}, as it must be"))
        heaviest = max(self.machine.weights, default=1)
        if heaviest > self.capacity.max:
            problems.append(("machine.instance_types", f"a weight of {heaviest} is more than capacity.max"))
        if self.secrets is not None:
            problems += misfits_of_secrets(self.secrets, self.region, boot_test=self.image.boot_test is not None)
        if own and vpc is not None and not vpc.names_balancer_subnets:
            problems.append(("network.vpc.balancer_subnets", "is missing: name them, or `balancer_subnet_tags`"))
        if not own and vpc is None:
            problems.append(("network.vpc", "is missing: machines behind an existing listener must be in its VPC"))
        if not own and vpc is not None and vpc.names_balancer_subnets:
            problems.append(("network.vpc.balancer_subnets", "is for a load balancer of the stack's own: remove it"))
        if own and not self.network.ipv6 and any(":" in each for each in self.front.sources):
            problems.append(("front.sources", "has IPv6 addresses, and network.ipv6 is not set"))
        if problems:
            raise wrong_together(problems)
        return self

    def _other_partitions(self) -> Iterator[tuple[str, str]]:
        """ARNs that AWS would refuse half-way through a deploy."""
        partition = partition_of(self.region).name
        for path, arn in _arns(self.model_dump(mode="json")):
            if of_arn(arn) != partition:
                yield path, f"is an ARN of partition {of_arn(arn)}, and {self.region} is in {partition}"

    @model_validator(mode="after")
    def _probes_what_its_rules_take(self) -> Settings:
        front, host, problems = self.front, self.probe_host, []
        if front.hosts and host is None:
            problems.append(("rollout.probe_host", "is missing: every one of front.hosts is a pattern"))
        elif front.hosts and not any(matches_host(each, str(host).partition(":")[0]) for each in front.hosts):
            problems.append(("rollout.probe_host", f"{host} is none of front.hosts, so no probe would be answered"))
        path = self.rollout.probed(self.health.protocol_version, self.health.path).partition("?")[0]
        if front.paths and not any(matches_path(each, path) for each in front.paths):
            problems.append(("rollout.probe_path", f"{path} is none of front.paths, so no probe would be answered"))
        if problems:
            raise wrong_together(problems)
        return self

    @property
    def waves(self) -> Mapping[str, int]:
        """The wave of every region that has a fleet, the home region's first."""
        return {self.region: self.wave, **{region: each.wave for region, each in self.elsewhere.items()}}

    @property
    def all_tags(self) -> dict[str, str]:
        """The user's tags: those for all of a company's stacks, and this stack's own."""
        return {**self.aws.default_tags, **self.tags}

    @property
    def drain(self) -> int:
        """Seconds that a deregistering target has to finish its open requests."""
        return min(self.front.idle_timeout, LONGEST_DRAIN) if self.health.drain is None else self.health.drain

    @property
    def probe_host(self) -> str | None:
        """The `Host` of a probe: as given, else the first host that is not a pattern, else the domain."""
        named = [host for host in self.front.hosts if not set(host) & {"*", "?"}]
        domain = [self.front.domain.name] if self.front.domain is not None else []
        return self.rollout.probe_host or next(iter((*named, *domain)), None)

    @property
    def listener_port(self) -> int:
        """The given port, or the default of the scheme."""
        if self.front.port is not None:
            return self.front.port
        return 443 if self.front.certificate_arn else 80

    @property
    def stack(self) -> str:
        """`project/stack`, as in the tag of that name."""
        return f"{pulumi.get_project()}/{pulumi.get_stack()}"


def _arns(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """All ARNs among the settings, with their paths."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _arns(each, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _arns(each, f"{path}[{number}]")
    elif (
        isinstance(value, str)
        and re.match(r"arn:aws[a-z-]*:", value)
        and not path.startswith(("tags.", "image.", "regions."))
    ):
        yield path, value
