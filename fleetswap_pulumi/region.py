"""The fleet of one region, as it is declared once `fleetswap_pulumi.region_plan` has decided.

In steps, because regions wait for each other: `begin` and `stand` declare all but the rollout; `roll_out` moves the
traffic. The home region's resources have no parent of their own: a URN contains the parents' types, and every stack
that has one region would see its whole fleet replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from fleetswap.domain.dashboard import name_of
from fleetswap.domain.release.ledger import to_plain
from fleetswap.domain.release.plan import Plan, is_past
from fleetswap.domain.rollout.health import ProbeProtocol
from fleetswap.domain.rollout.pins import ALL_ON_DEMAND
from fleetswap.domain.secrets.sealing import STACK
from fleetswap_pulumi.alarms import Alarms, AlarmsArgs, WatchedArgs
from fleetswap_pulumi.auto_scaling import Tuning
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.dashboard import Dashboard, DashboardArgs, body_of
from fleetswap_pulumi.disk_image import DiskImage
from fleetswap_pulumi.elsewhere import elsewhere
from fleetswap_pulumi.fleet_outputs import known, outputs_of, record_of
from fleetswap_pulumi.front_door import HTTP_PORT, FrontDoor, FrontDoorArgs
from fleetswap_pulumi.keys import OwnKeys
from fleetswap_pulumi.network import Network, NetworkArgs
from fleetswap_pulumi.origin import Update, origin_of
from fleetswap_pulumi.place import Place
from fleetswap_pulumi.region_plan import Decided
from fleetswap_pulumi.release import Release, ReleaseArgs
from fleetswap_pulumi.rollout import Rollout, RolloutArgs
from fleetswap_pulumi.sealed_secrets import SealedSecrets, SealedSecretsArgs
from fleetswap_pulumi.secrets_plan import OUTPUT as SECRETS
from fleetswap_pulumi.secrets_plan import SecretsPlan
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.switch import Switch, SwitchArgs
from fleetswap_pulumi.traffic_checks import refuse_replacement, refuse_second
from fleetswap_pulumi.volume_key import OUTPUT as VOLUME_KEY
from fleetswap_pulumi.volume_key import VolumeKey, VolumeKeyArgs
from fleetswap_pulumi.waves import WavesArgs


class Region(pulumi.ComponentResource):
    """The parent of all resources of a further region. Its type has the region's name, so that their URNs do."""

    def __init__(self, region: str) -> None:
        super().__init__(type_of(region), region)


def type_of(region: str) -> str:
    """The type of a region's component."""
    return f"fleetswap:regions/{region}:Region"


@dataclass(frozen=True)
class Begun:
    """What a region's images need: all are sent together. `outputs` are the stack's or, elsewhere, the region's."""

    decided: Decided
    context: Context
    parent: Region | None
    everything: pulumi.ResourceOptions
    volume_key: pulumi.Output[str] | None
    outputs: dict[str, pulumi.Output[Any]]

    def places_of(self, identity: str) -> Sequence[Mapping[str, Any]]:
        """Where in the region an image is sent to: nowhere, or once."""
        upload = self.decided.settings.upload
        return [
            elsewhere(
                entry.release,
                self.context,
                entry,
                upload,
                self.volume_key if entry.image.kms_key == STACK else entry.image.kms_key,
            )
            for entry in self.decided.declared
            if entry.image.identity == identity
        ][:1]


@dataclass(frozen=True)
class Standing:
    """All of a region's fleet but for its rollout."""

    begun: Begun
    network: Network
    front: FrontDoor
    switch: Switch
    releases: Mapping[str, Release]
    sealed: SealedSecrets | None
    own_keys: OwnKeys
    alarms: Alarms | None

    @property
    def disks(self) -> Mapping[str, DiskImage]:
        """The disk images of the declared releases, by the identities of their images."""
        return {entry.image.identity: self.releases[entry.release].disk for entry in self.begun.decided.declared}


def begin(decided: Decided, parent: Region | None = None) -> Begun:
    """Declare the provider of a region, and its key for volumes and snapshots."""
    settings = decided.settings
    outputs: dict[str, pulumi.Output[Any]] = {}
    context = context_of(
        settings,
        decided.here,
        kms=decided.needs_volume_key or decided.secrets is not None,
        # Also what is deleted is deleted where it is: on a local cloud, and not on AWS.
        alarms=settings.alarms is not None or bool(decided.before.get("alarms")),
        parents=() if parent is None else (type_of(settings.region),),
    )
    everything = pulumi.ResourceOptions(parent=parent, provider=context.provider(parent))
    volumes = _volume_key(decided, context, everything, outputs) if decided.needs_volume_key else None
    return Begun(decided, context, parent, everything, volumes, outputs)


def stand(begun: Begun, others: Sequence[Begun] = (), images: Mapping[str, DiskImage] | None = None) -> Standing:
    """Declare the fleet of a region but for its rollout.

    The home region sends its images to the `others` as well; there, `images` are those of the home region, by identity.
    """
    decided, context, everything, volumes = begun.decided, begun.context, begun.everything, begun.volume_key
    settings, way_in, ground = decided.settings, decided.way_in, decided.ground
    network = Network(
        settings.service,
        NetworkArgs(
            context=context,
            ground=ground,
            front_port=settings.listener_port,
            service_ports=sorted({entry.health.port for entry in decided.plan.running}),
            sources=settings.front.sources,
            redirect_port=HTTP_PORT if settings.front.redirect_http else None,
            balancer_groups=way_in.seen.security_groups if way_in.seen is not None else (),
        ),
        opts=everything,
    )
    front = FrontDoor(
        settings.service,
        FrontDoorArgs(
            context=context,
            subnet_ids=network.balancer_subnet_ids,
            security_group_id=network.front_group_id,
            port=settings.listener_port,
            certificate_arn=settings.front.certificate_arn,
            idle_timeout=settings.front.idle_timeout,
            after=network.way_out,
            dualstack=ground.ipv6,
            settings=settings.front,
            seen=way_in.seen,
            zone_id=way_in.zone.id if way_in.zone is not None else None,
        ),
        opts=everything,
    )
    switch = Switch(
        settings.service, SwitchArgs(context, front.listener_arn, shared=way_in.seen is not None), opts=everything
    )
    running = {entry.release for entry in decided.plan.running}
    releases = {
        entry.release: Release(
            ReleaseArgs(
                context=context,
                entry=entry,
                network=network,
                listener_arn=front.listener_arn,
                tuning=Tuning(
                    cpu_percent=settings.capacity.cpu_percent,
                    warmup=settings.capacity.warmup,
                    drain=way_in.drain,
                    grace=settings.health.grace,
                    requests_per_target=settings.capacity.requests_per_target,
                    balancer=front.balancer,
                    healthy_percent=settings.capacity.healthy_percent,
                    measured=settings.alarms is not None,
                ),
                upload=settings.upload,
                boot_test=settings.image.boot_test,
                running=entry.release in running,
                deprecate=None if is_past(entry, decided.now) else entry.deprecated,
                rules=way_in.rules,
                volume_key=volumes,
                share=decided.sharing.of(entry),
                sent_before=(images or {}).get(entry.image.identity),
                also=[place for other in others for place in other.places_of(entry.image.identity)],
            ),
            opts=everything,
        )
        for entry in decided.declared
    }
    sealed = declare_secrets(decided.secrets, settings, context, decided.here, decided.plan, everything)
    if sealed is not None:
        begun.outputs[SECRETS] = known(sealed.told, decided.before.get(SECRETS))
    own_keys = OwnKeys(sealed.key_arn if sealed is not None else None, volumes)
    for entry in decided.declared:
        role = sealed.roles.get(entry.machine.path) if sealed is not None else None
        releases[entry.release].complete(role, own_keys.of(entry))
    alarms = _alarms(begun, front, switch, releases)
    return Standing(begun, network, front, switch, releases, sealed, own_keys, alarms)


def roll_out(
    standing: Standing,
    update: Update,
    after: Sequence[pulumi.Resource] = (),
    waves: WavesArgs | None = None,
    images: Mapping[str, DiskImage] | None = None,
) -> tuple[Rollout, dict[str, pulumi.Output[Any]]]:
    """Declare the rollout, which comes after those of `after`, and what its region outputs.

    With `waves`, the stack has several regions, so this rollout may end before an update that fails. `images` are as in
    `stand`.
    """
    decided, parent, releases = standing.begun.decided, standing.begun.parent, standing.releases
    settings, way_in = decided.settings, decided.way_in
    wanted, standby = decided.plan.wanted, decided.plan.standby
    health, sealed = wanted.health, standing.sealed
    release = releases[wanted.release]
    sent = [release.disk, *(disk for identity, disk in (images or {}).items() if identity == wanted.image.identity)]
    is_new = all(entry.release != wanted.release for entry in decided.ledger.entries)
    rollout = Rollout(
        settings.service,
        RolloutArgs(
            context=standing.begun.context,
            listener_arn=standing.front.listener_arn,
            url=standing.front.own_url,
            candidate=wanted.release,
            standby=standby.release if standby else None,
            releases=[release.target for release in releases.values() if release.target is not None],
            policy=settings.rollout.policy(settings.capacity.min, health.protocol_version, health.path),
            trusted=decided.ledger.trusts(wanted.release, settings.rollout.trusted),
            switch_role=standing.switch.role_arn,
            alerts=settings.rollout.alerts,
            webhook_env=settings.rollout.webhook_env,
            probe_host=settings.probe_host,
            rules=way_in.rules,
            protocol=ProbeProtocol(health.protocol_version, health.codes),
            keys=standing.own_keys.of(wanted),
            schedules=settings.capacity.schedules,
            warm_pool=settings.capacity.warm_pool.pool if settings.capacity.warm_pool is not None else None,
            ledger=to_plain(decided.plan.ledger) if waves is not None else None,
            waves=waves,
            origin=origin_of(update, settings, disks=sent, made=release.made if is_new else ()),
        ),
        # Of everything: after the traffic has moved, nothing may fail that keeps the ledger from being written.
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[
                standing.network,
                standing.front,
                standing.switch,
                *releases.values(),
                *([sealed] if sealed is not None else []),
                *([standing.alarms] if standing.alarms is not None else []),
                *after,
            ],
        ),
    )
    _dashboard(standing, rollout)
    live = decided.ledger.live
    if live is None:
        made_first = [standing.switch.role_arn, standing.network.machine_group_id, *standing.front.ids.values()]
        refuse_second(settings.stack, settings.service, made_first, decided.services)
    elif live in releases:
        refuse_replacement(settings.stack, live, {**standing.front.ids, **releases[live].ids}, decided.services)
    if standby is not None and standby.release not in {live, wanted.release}:
        refuse_replacement(settings.stack, standby.release, releases[standby.release].ids, decided.services, back=True)
    outputs = {
        "url": standing.front.url,
        **outputs_of(rollout, decided.read, decided.plan, decided.before, releases),
        **standing.begun.outputs,
    }
    if parent is not None:
        parent.register_outputs({"url": standing.front.url, "live": rollout.serving})
    return rollout, outputs


def context_of(
    settings: Settings, here: Place, *, kms: bool, alarms: bool = False, parents: tuple[str, ...] = ()
) -> Context:
    """What every component needs. A service is named only if something needs it: its provider would change."""
    return Context(
        stack=settings.stack,
        service=settings.service,
        region=settings.region,
        endpoint=settings.endpoint,
        account=here.identity.account,
        extra_tags=settings.all_tags,
        aws=settings.aws,
        boundary=settings.iam.permissions_boundary,
        path=settings.iam.path,
        more_services=(
            *(("kms",) if kms else ()),
            *(("route53",) if settings.front.domain is not None else ()),
            *(("wafv2",) if settings.front.web_acl_arn is not None else ()),
            *(("cloudwatch", "events", "sns") if alarms else ()),
        ),
        parents=parents,
    )


def declare_secrets(
    secrets: SecretsPlan | None,
    settings: Settings,
    context: Context,
    here: Place,
    decided: Plan | None,
    opts: pulumi.ResourceOptions,
) -> SealedSecrets | None:
    """Declare the key and the role of the machines."""
    if secrets is None:
        return None
    return SealedSecrets(
        settings.service,
        SealedSecretsArgs(
            context=context,
            account=here.identity.account,
            settings=secrets.settings,
            running=() if decided is None else decided.running,
            own_key=secrets.own_key,
            multi_region=secrets.multi_region,
        ),
        opts=opts,
    )


def _alarms(begun: Begun, front: FrontDoor, switch: Switch, releases: Mapping[str, Release]) -> Alarms | None:
    """Declare the alarms of the releases that have machines."""
    decided, settings = begun.decided, begun.decided.settings.alarms
    if settings is None:
        return None
    watched = [
        WatchedArgs(
            entry.release, release.targets, release.target.group, entry.machine.on_demand_percent < ALL_ON_DEMAND
        )
        for entry in decided.declared
        if (release := releases[entry.release]).target is not None and release.targets is not None
    ]
    own = decided.way_in.seen is None
    alarms = Alarms(
        begun.context.service,
        AlarmsArgs(begun.context, settings, front.balancer, own, watched, switch.role_arn),
        opts=begun.everything,
    )
    begun.outputs["alarms"] = known(
        pulumi.Output.all(topic=alarms.topic_arn, dashboard=_dashboard_name(begun)), decided.before.get("alarms")
    )
    return alarms


def _dashboard_name(begun: Begun) -> str | None:
    settings = begun.decided.settings
    if settings.alarms is None or not settings.alarms.dashboard:
        return None
    return name_of(settings.stack, settings.service, settings.region)


def _dashboard(standing: Standing, rollout: Rollout) -> None:
    """Declare the dashboard, which marks what the rollout has done."""
    name, alarms, decided = _dashboard_name(standing.begun), standing.alarms, standing.begun.decided
    if name is None or alarms is None or decided.settings.alarms is None:
        return
    latency = decided.settings.alarms.latency
    Dashboard(
        decided.settings.service,
        DashboardArgs(
            standing.begun.context,
            name,
            body_of(
                decided.settings.service,
                decided.settings.region,
                standing.front.balancer,
                [
                    (entry.release, release.targets, release.target.group)
                    for entry in decided.declared
                    if (release := standing.releases[entry.release]).target is not None
                ],
                None if latency is None else latency.percentile,
                alarms.arns,
                alarms.rules,
            ),
            decided.plan.wanted.release,
            record_of(rollout),
        ),
        opts=pulumi.ResourceOptions(parent=standing.begun.parent, depends_on=[rollout]),
    )


def _volume_key(
    decided: Decided, context: Context, opts: pulumi.ResourceOptions, outputs: dict[str, pulumi.Output[Any]]
) -> pulumi.Output[str]:
    """Declare the key for volumes and snapshots, and output its ARN."""
    key = VolumeKey(
        context.service, VolumeKeyArgs(context, decided.here.identity.account, decided.sharing.share), opts=opts
    )
    outputs[VOLUME_KEY] = known(key.arn, decided.before.get(VOLUME_KEY))
    return key.arn
