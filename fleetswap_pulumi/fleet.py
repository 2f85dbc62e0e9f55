"""A stack from top to bottom: ledger, wanted release, plan, network, front door, releases, rollout.

A program only needs to call `deploy`. It is a function and not a component resource: a component would become the
parent of every resource, a resource's URN contains its parents, and every existing stack would see its whole fleet
replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pulumi
from pulumi.runtime import get_root_resource
from pulumi.runtime.sync_await import _sync_await

from fleetswap.aws.account import Account
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.keys import Keys as AwsKeys
from fleetswap.aws.network import Networks as AwsNetworks
from fleetswap.aws.rollout.fronts import Fronts as AwsFronts
from fleetswap.aws.session import Cloud
from fleetswap.domain import tags
from fleetswap.domain.errors import InputError
from fleetswap.domain.image.manifest import Manifest
from fleetswap.domain.release import attested
from fleetswap.domain.release.keys import needs_volume_key
from fleetswap.domain.release.ledger import Entry, Ledger, from_plain, to_plain
from fleetswap.domain.release.plan import Plan, is_past, plan, served
from fleetswap.domain.rollout.health import ProbeProtocol
from fleetswap.workflows.image.read_manifest import manifest_of
from fleetswap_pulumi import upload_estimate
from fleetswap_pulumi.auto_scaling import Tuning
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.front_door import HTTP_PORT, FrontDoor, FrontDoorArgs
from fleetswap_pulumi.front_survey import Fronts, approach
from fleetswap_pulumi.ground import Networks, survey
from fleetswap_pulumi.keys import Keys, OwnKeys, check_keys
from fleetswap_pulumi.network import Network, NetworkArgs
from fleetswap_pulumi.package_changes import Manifests, tell
from fleetswap_pulumi.place import Place, Whereabouts, check_offers, place
from fleetswap_pulumi.release import Release, ReleaseArgs
from fleetswap_pulumi.rollout import Rollout, RolloutArgs
from fleetswap_pulumi.sealed_secrets import SealedSecrets, SealedSecretsArgs
from fleetswap_pulumi.secrets_plan import OUTPUT as SECRETS
from fleetswap_pulumi.secrets_plan import (
    SecretsPlan,
    before_there_is_a_key,
    check_sealed_file,
    only_the_key,
    plan_secrets,
)
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.switch import Switch, SwitchArgs
from fleetswap_pulumi.upload_estimate import tell_upload
from fleetswap_pulumi.volume_key import OUTPUT as VOLUME_KEY
from fleetswap_pulumi.volume_key import VolumeKey, VolumeKeyArgs
from fleetswap_pulumi.wanted_release import wanted_entry


@dataclass(frozen=True)
class Fleet:
    """What `deploy` has declared, for a program that adds resources of its own: a DNS name, an alarm."""

    url: pulumi.Output[str]
    network: Network
    front: FrontDoor
    releases: Mapping[str, Release]
    """Those that run or whose image is kept, by their ids."""
    rollout: Rollout


def deploy(
    settings: Settings,
    whereabouts: Whereabouts | None = None,
    networks: Networks | None = None,
    fronts: Fronts | None = None,
    manifests: Manifests | None = None,
    keys: Keys | None = None,
) -> Fleet | None:
    """Declare the whole stack. Call it once per program: it exports `url`, `live`, `standby`, `seconds`, `ledger`,
    `preview`, the secret header of each running release, and `secrets`, if there are sealed ones.

    None: the update only makes the key for the secrets of a new stack (`fleetswap_pulumi.secrets_plan`).

    The ledger is what the next update reads to know what there is. `whereabouts` is asked where the credentials lead
    to, `networks` about an existing VPC and endpoints, `fronts` about an existing listener and hosted zones,
    `manifests` what the live image contains, and `keys` about the KMS keys that releases need: AWS (or the local
    cloud) if they are not given. Raises `InputError` before the first resource if something asked for is wrong.
    """
    before, now = read_outputs(), datetime.now(UTC)
    read = from_plain(before.get("ledger"))
    cloud = Cloud(settings.region, settings.endpoint, settings.aws.access)
    account = whereabouts or Account(cloud)
    here = place(read, _alone(settings), account)
    ledger = here.ledger.behind(settings.front.listener_arn or ("internal" if settings.front.internal else ""))
    networks = networks or AwsNetworks(cloud, settings.stack)
    key_first = before_there_is_a_key(settings, before)
    if key_first:
        pulumi.log.warn(only_the_key(settings))
    if key_first and ledger.live is None:
        _declare_only_the_key(settings, here, networks, before)
        return None
    if key_first:
        wanted = ledger.entry(str(ledger.live))
    else:
        check_sealed_file(settings, before)
        wanted = wanted_entry(settings, ledger, manifests or _manifests(cloud, settings.stack))
    decided = plan(
        ledger,
        wanted,
        retention=settings.retention.retention,
        max_size=settings.capacity.max,
        now=now,
    )
    secrets = plan_secrets(settings, ledger, decided, before)
    check_keys(decided, ledger, before, keys or AwsKeys(cloud))
    declared = (*decided.running, *decided.kept)
    # Also while this update deletes the last release that needs it: the update may fail, and the release stay.
    needed = needs_volume_key((*ledger.entries, *declared), settings.machine.kms_key, settings.upload.kms_key)
    ground = survey(
        settings,
        here,
        networks,
        wanted.release,
        needs_kms=any(entry.machine.secrets is not None for entry in decided.running),
    )
    ours = {tags.STACK: settings.stack, tags.SERVICE: settings.service}
    way_in = approach(settings, here.identity.account, fronts or AwsFronts(cloud, ours))
    for warning in way_in.warnings:
        pulumi.log.warn(warning)
    check_offers(wanted, here, ground.zones, account)
    _tell(wanted, ledger, decided)
    tell_upload(settings, wanted, ledger, upload_estimate.of(cloud), before.get(VOLUME_KEY))
    context = _context(settings, here, kms=needed or secrets is not None)
    everything = pulumi.ResourceOptions(provider=context.provider())

    volumes = _volume_key(context, here, everything, before) if needed else None
    network = Network(
        settings.service,
        NetworkArgs(
            context=context,
            ground=ground,
            front_port=settings.listener_port,
            service_ports=sorted({entry.health.port for entry in decided.running}),
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
    running = {entry.release for entry in decided.running}
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
                ),
                upload=settings.upload,
                boot_test=settings.image.boot_test,
                running=entry.release in running,
                deprecate=None if is_past(entry, now) else entry.deprecated,
                rules=way_in.rules,
                volume_key=volumes,
            ),
            opts=everything,
        )
        for entry in declared
    }
    sealed = _secrets(secrets, settings, context, here, decided, everything, before)
    own_keys = OwnKeys(sealed.key_arn if sealed is not None else None, volumes)
    for entry in declared:
        role = sealed.roles.get(entry.machine.path) if sealed is not None else None
        releases[entry.release].complete(role, own_keys.of(entry))
    health = decided.wanted.health
    rollout = Rollout(
        settings.service,
        RolloutArgs(
            context=context,
            listener_arn=front.listener_arn,
            url=front.own_url,
            candidate=decided.wanted.release,
            standby=decided.standby.release if decided.standby else None,
            releases=[release.target for release in releases.values() if release.target is not None],
            policy=settings.rollout.policy(settings.capacity.min, health.protocol_version, health.path),
            trusted=ledger.trusts(decided.wanted.release, settings.rollout.trusted),
            switch_role=switch.role_arn,
            alerts=settings.rollout.alerts,
            probe_host=settings.probe_host,
            rules=way_in.rules,
            protocol=ProbeProtocol(health.protocol_version, health.codes),
            keys=own_keys.of(decided.wanted),
        ),
        # Of everything: after the traffic has moved, nothing may fail that keeps the ledger from being written.
        opts=pulumi.ResourceOptions(
            depends_on=[network, front, switch, *releases.values(), *([sealed] if sealed is not None else [])]
        ),
    )
    disk = releases[decided.wanted.release].disk
    pulumi.export("url", front.url)
    seconds = {"build": disk.build_seconds, "upload": disk.upload_seconds, "rollout": rollout.seconds}
    _export(rollout, read, decided, seconds, before, releases)
    headers = {name: release.preview for name, release in releases.items() if release.preview is not None}
    pulumi.export("preview", _secret(pulumi.Output.all(**headers), before.get("preview")))
    return Fleet(front.url, network, front, releases, rollout)


def _alone(settings: Settings) -> Settings:
    if settings.regions:
        raise InputError("fleetswap:regions: this version reads the setting, and cannot deploy to several regions yet")
    return settings


def _declare_only_the_key(settings: Settings, here: Place, networks: Networks, before: Mapping[str, Any]) -> None:
    """Declare the key of a new stack and the role of its machines. `InputError` if the stack is not new."""
    if networks.own_vpcs():
        raise InputError(
            "an update of this stack failed and left resources, which an update of the key alone would delete:"
            " deploy without fleetswap:secrets first, or destroy the stack"
        )
    context = _context(settings, here, kms=True)
    secrets = plan_secrets(settings, here.ledger, None, before)
    _secrets(secrets, settings, context, here, None, pulumi.ResourceOptions(provider=context.provider()), before)


def _context(settings: Settings, here: Place, *, kms: bool) -> Context:
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
        ),
    )


def _secrets(
    secrets: SecretsPlan | None,
    settings: Settings,
    context: Context,
    here: Place,
    decided: Plan | None,
    opts: pulumi.ResourceOptions,
    before: Mapping[str, Any],
) -> SealedSecrets | None:
    """Declare the key and the role of the machines, and export what seals with them."""
    if secrets is None:
        return None
    sealed = SealedSecrets(
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
    pulumi.export(SECRETS, _known(sealed.told, before.get(SECRETS)))
    return sealed


def _volume_key(
    context: Context, here: Place, opts: pulumi.ResourceOptions, before: Mapping[str, Any]
) -> pulumi.Output[str]:
    """Declare the key for volumes and snapshots, and export its ARN."""
    key = VolumeKey(context.service, VolumeKeyArgs(context, here.identity.account), opts=opts)
    pulumi.export(VOLUME_KEY, _known(key.arn, before.get(VOLUME_KEY)))
    return key.arn


def _tell(wanted: Entry, ledger: Ledger, decided: Plan) -> None:
    """Show what the update changes beside its resources."""
    tell(wanted, ledger)
    if (changed := attested.changes(ledger, decided)) is not None:
        pulumi.log.info(changed)


def _manifests(cloud: Cloud, stack: str) -> Manifests:
    """The manifests of the stack's images, out of their snapshots. What cannot be read is a warning."""

    def read(identity: str) -> Manifest | None:
        return manifest_of(DirectSnapshots(*cloud.ebs_and_ec2(1)), stack, identity, pulumi.log.warn)

    return read


def _export(
    rollout: Rollout,
    read: Ledger,
    decided: Plan,
    seconds: Mapping[str, Any],
    before: Mapping[str, Any],
    releases: Mapping[str, Release],
) -> None:
    """Export what the rollout has reached; what an update without it (`--target`, `--exclude`) leaves is as it was.

    What was measured of an image is written down with it: the image never changes, so it is true whatever is reached.
    """

    def told(values: Sequence[Any]) -> Ledger:
        serving, left = values
        return served(read, decided.ledger, serving, left or None)

    # Not together with the times: those of an image that is left out are unknown, what the rollout has reached is not.
    reached = pulumi.Output.all(rollout.serving, rollout.left).apply(told)
    images = [entry.release for entry in decided.ledger.entries if entry.machine.attested]
    measured = {name: _known(releases[name].disk.measured, None) for name in images if name in releases}
    spent = pulumi.Output.all(reached, seconds).apply(
        lambda both: before.get("seconds", {}) if both[0] is read else both[1]
    )
    outputs = {
        "live": rollout.serving,
        "standby": reached.apply(lambda ledger: ledger.standby or ""),
        "seconds": spent,
        "ledger": pulumi.Output.all(reached, measured).apply(lambda both: to_plain(both[0].measuring(both[1]))),
    }
    for name, output in outputs.items():
        pulumi.export(name, _known(output, before.get(name)))


def _known(output: pulumi.Output[Any], otherwise: object) -> pulumi.Output[Any]:
    """An output of this update or, if the update leaves out what makes it, `otherwise`: the engine keeps "unknown"."""

    async def settled() -> object:
        return await output.future() if await output.is_known() else otherwise

    return output if pulumi.runtime.is_dry_run() else pulumi.Output.from_input(settled())


def _secret(headers: pulumi.Output[dict[str, Any]], before: object) -> pulumi.Output[Any]:
    """The headers as a secret output or, if the update leaves out a rule that has no header yet, those of `before`."""

    async def settled() -> object:
        found = await headers.future() if await headers.is_known() else None
        whole = found if found and None not in found.values() else before
        return None if whole is None else pulumi.Output.secret(whole)

    return pulumi.Output.secret(headers) if pulumi.runtime.is_dry_run() else pulumi.Output.from_input(settled())


def read_outputs() -> Mapping[str, Any]:
    """The outputs of this stack's last successful update; empty for a new stack.

    `readStackOutputs` returns synchronously, even in a preview, so the plan can be made before anything is declared.
    """
    # The engine writes the state when it registers the stack itself. Who reads a file backend meanwhile meets
    # half a file ("failed to load checkpoint: EOF"), so the stack must be registered first.
    root = get_root_resource()
    if root is not None:
        _sync_await(root.urn.future())
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    answer: dict[str, Any] = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value or {}
    outputs: Mapping[str, Any] = answer.get("outputs", {})
    return outputs
