"""What is decided about the fleet of one region, before the first resource of any: it looks, decides, and refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi

from fleetswap.aws.account import Account
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.keys import Keys as AwsKeys
from fleetswap.aws.network import Networks as AwsNetworks
from fleetswap.aws.rollout.fronts import Fronts as AwsFronts
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.release import attested
from fleetswap.domain.release.keys import needs_volume_key
from fleetswap.domain.release.ledger import Entry, Ledger, from_plain
from fleetswap.domain.release.placement import Sizes
from fleetswap.domain.release.plan import Plan, plan
from fleetswap.domain.rollout import boots
from fleetswap.workflows.image.read_manifest import manifest_of
from fleetswap_pulumi import upload_estimate
from fleetswap_pulumi.capacity_settings import misfits_of_warm_pool
from fleetswap_pulumi.front_survey import Approach, Fronts, approach
from fleetswap_pulumi.ground import Ground, Networks, survey
from fleetswap_pulumi.keys import Keys, check_keys
from fleetswap_pulumi.package_changes import Manifests, tell
from fleetswap_pulumi.place import Place, Whereabouts, check_offers, check_placement, with_cores
from fleetswap_pulumi.secrets_plan import SecretsPlan, plan_secrets
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.sharing import Sharing, plan_sharing
from fleetswap_pulumi.traffic_checks import (
    Asked,
    Images,
    Services,
    check_https,
    check_rollback,
    images_of,
    services_of,
    sizes_of,
)
from fleetswap_pulumi.traffic_checks import Sizes as GroupSizes
from fleetswap_pulumi.upload_estimate import Estimates, tell_upload
from fleetswap_pulumi.volume_key import OUTPUT as VOLUME_KEY


@dataclass(frozen=True)
class Ports:
    """Whom a region's program asks: where the credentials lead to, about an existing VPC and endpoints, about an
    existing listener and hosted zones, what the live image contains, about the KMS keys that releases need, what an
    upload will send, which releases have an AMI, which services there are, and how large the groups are.
    """

    whereabouts: Whereabouts
    networks: Networks
    fronts: Fronts
    manifests: Manifests
    keys: Keys
    estimates: Estimates
    images: Images
    services: Services
    sizes: GroupSizes

    @classmethod
    def of(
        cls,
        settings: Settings,
        whereabouts: Whereabouts | None = None,
        networks: Networks | None = None,
        fronts: Fronts | None = None,
        manifests: Manifests | None = None,
        keys: Keys | None = None,
        images: Images | None = None,
    ) -> Ports:
        """AWS, or the local cloud, of the settings' region, for those that are not given."""
        cloud = Cloud(settings.region, settings.endpoint, settings.aws.access)
        return cls(
            whereabouts or Account(cloud),
            networks or AwsNetworks(cloud, settings.stack),
            fronts or AwsFronts(cloud, {tags.STACK: settings.stack, tags.SERVICE: settings.service}),
            manifests or _manifests(cloud, settings.stack),
            keys or AwsKeys(cloud),
            upload_estimate.of(cloud),
            images or images_of(cloud, settings.stack, settings.service),
            services_of(cloud, settings.service),
            sizes_of(cloud, settings.stack, settings.service),
        )


def _manifests(cloud: Cloud, stack: str) -> Manifests:
    """The manifests of the stack's images, out of their snapshots. What cannot be read is a warning."""

    def read(identity: str) -> Manifest | None:
        return manifest_of(DirectSnapshots(*cloud.ebs_and_ec2(1)), stack, identity, pulumi.log.warn)

    return read


@dataclass(frozen=True)
class Decided:
    """All that is decided about a region's fleet. `before` are its outputs of the update before."""

    settings: Settings
    before: Mapping[str, Any]
    read: Ledger
    ledger: Ledger
    here: Place
    plan: Plan
    secrets: SecretsPlan | None
    ground: Ground
    way_in: Approach
    needs_volume_key: bool
    now: datetime
    services: Services
    sharing: Sharing

    @property
    def declared(self) -> tuple[Entry, ...]:
        """The releases that are declared: those with machines first."""
        return (*self.plan.running, *self.plan.kept)


def prepare(
    settings: Settings, before: Mapping[str, Any], here: Place, ledger: Ledger, wanted: Entry, ports: Ports
) -> Decided:
    """Decide what the update does about the region. Raises `InputError` with what is wrong, and changes nothing.

    `ledger` is that of `here`, behind the front door of the settings.
    """
    now = datetime.now(UTC)
    wanted = with_cores(wanted, ledger, ports.whereabouts)
    settings = _with_fitting_pool(settings, wanted)
    decided = plan(ledger, wanted, retention=settings.retention.retention, max_size=settings.capacity.max, now=now)
    secrets = plan_secrets(settings, ledger, decided, before)
    check_keys(decided, ledger, before, ports.keys, here.identity.account)
    declared = (*decided.running, *decided.kept)
    # Also while this update deletes the last release that needs it: the update may fail, and the release stay.
    needed = needs_volume_key((*ledger.entries, *declared), settings.machine.kms_key, settings.upload.kms_key)
    ground = survey(
        settings,
        here,
        ports.networks,
        wanted.release,
        needs_kms=any(entry.machine.secrets is not None for entry in decided.running),
    )
    check_https(settings.front, ledger, str(before.get("url") or ""))
    way_in = approach(settings, here.identity.account, ports.fronts)
    for warning in way_in.warnings:
        pulumi.log.warn(warning)
    # Only in an existing VPC do zones change in place.
    zones = tuple(each.removeprefix(settings.region) for each in ground.zones) if ground.vpc is not None else ()
    check_rollback(ledger, decided, Asked(ports.images, ports.sizes, ports.whereabouts, zones))
    check_offers(wanted, here, ground.zones, ports.whereabouts)
    sizes = Sizes(settings.capacity.min, settings.capacity.max)
    check_placement(wanted, here, ground.zones, sizes, ports.whereabouts)
    sharing = plan_sharing(settings, here, wanted, ports.whereabouts)
    read = from_plain(before.get("ledger"))
    return Decided(
        settings,
        before,
        read,
        ledger,
        here,
        decided,
        secrets,
        ground,
        way_in,
        needed,
        now,
        ports.services,
        sharing,
    )


def _with_fitting_pool(settings: Settings, wanted: Entry) -> Settings:
    """Without the warm pool, if an older release can have none: that is no reason to refuse a rollback to it."""
    pool, of = settings.capacity.warm_pool, wanted.machine
    problems = [problem for _, problem in misfits_of_warm_pool(pool, of.on_demand_percent, of.weights)]
    if not problems:
        return settings
    pulumi.log.warn(f"release {wanted.release} gets no warm pool: it was made with other settings of the machine")
    return settings.model_copy(update={"capacity": settings.capacity.model_copy(update={"warm_pool": None})})


def tell_proposals(decided: Decided, region: str) -> None:
    """Show which settings do not fit how long machines took to become healthy in the last rollouts. Changes none."""
    settings = decided.settings
    measured = boots.read(str(decided.before.get("boots") or ""))
    for each in boots.proposals(measured, warmup=settings.capacity.warmup, grace=settings.health.grace):
        pulumi.log.info(f"{region}: {each.line}" if region else each.line)


def tell_changes(decided: Decided, ports: Ports) -> None:
    """Show what the update changes beside its resources."""
    wanted = decided.plan.wanted
    tell(wanted, decided.ledger)
    if (changed := attested.changes(decided.ledger, decided.plan)) is not None:
        pulumi.log.info(changed)
    tell_upload(decided.settings, wanted, decided.ledger, ports.estimates, decided.before.get(VOLUME_KEY))
