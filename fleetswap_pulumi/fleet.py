"""A stack from top to bottom: state, ledgers, wanted release, plans, and the fleet of each region.

A program only needs to call `deploy`. It is a function and not a component resource: a component would become the
parent of every resource, a resource's URN contains its parents, and every existing stack would see its whole fleet
replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pulumi

from fleetswap.domain.errors import CloudError, EvaluationError, FleetswapError, InputError
from fleetswap.domain.release.ledger import Ledger, from_plain
from fleetswap_pulumi.commit import commit_of
from fleetswap_pulumi.fleet_outputs import known
from fleetswap_pulumi.freezes import check_freezes
from fleetswap_pulumi.front_door import FrontDoor
from fleetswap_pulumi.front_survey import Fronts
from fleetswap_pulumi.ground import Networks
from fleetswap_pulumi.keys import Keys
from fleetswap_pulumi.network import Network
from fleetswap_pulumi.origin import Update
from fleetswap_pulumi.package_changes import Manifests
from fleetswap_pulumi.place import Place, Whereabouts, place
from fleetswap_pulumi.project import root
from fleetswap_pulumi.region import (
    Region,
    Standing,
    begin,
    context_of,
    declare_secrets,
    roll_out,
    stand,
)
from fleetswap_pulumi.region_plan import Decided, Ports, prepare, tell_changes, tell_proposals
from fleetswap_pulumi.release import Release
from fleetswap_pulumi.resource_checks import check_resources
from fleetswap_pulumi.rollout import Rollout
from fleetswap_pulumi.secrets_plan import OUTPUT as SECRETS
from fleetswap_pulumi.secrets_plan import before_there_is_a_key, check_sealed_file, only_the_key, plan_secrets
from fleetswap_pulumi.settings import Settings
from fleetswap_pulumi.skipped import remedy, skip
from fleetswap_pulumi.stack_state import HOME, StackState, read_state
from fleetswap_pulumi.traffic_checks import Images
from fleetswap_pulumi.wanted_release import ImageOnce, same_image, wanted_entry
from fleetswap_pulumi.waves import WavesArgs


@dataclass(frozen=True)
class Fleet:
    """What `deploy` has declared, for a program that adds resources of its own: a DNS name, an alarm."""

    url: pulumi.Output[str]
    network: Network
    front: FrontDoor
    releases: Mapping[str, Release]
    """Those that run or whose image is kept, by their ids."""
    rollout: Rollout
    regions: Mapping[str, Fleet] = field(default_factory=dict)
    """The fleets of the further regions, by their names."""


def deploy(
    settings: Settings,
    whereabouts: Whereabouts | None = None,
    networks: Networks | None = None,
    fronts: Fronts | None = None,
    manifests: Manifests | None = None,
    keys: Keys | None = None,
    images: Images | None = None,
) -> Fleet | None:
    """Declare the whole stack. Call it once per program: it exports `url`, `live`, `standby`, `seconds`, `boots`,
    `ledger`, `preview`, the secret header of each running release, `secrets`, if there are sealed ones, and `regions`
    with the same of each further region.

    None: the update only makes the key for the secrets of a new stack (`fleetswap_pulumi.secrets_plan`).

    The ledger is what the next update reads to know what there is. `whereabouts` is asked where the credentials lead
    to, `networks` about an existing VPC and endpoints, `fronts` about an existing listener and hosted zones,
    `manifests` what the live image contains, `keys` about the KMS keys that releases need, and `images` which releases
    have an AMI: AWS (or the local cloud) if they are not given. Raises `InputError` before the first resource if
    something asked for is wrong in any region.
    """
    image = ImageOnce(settings.image)
    update = Update(commit_of(root()), image)
    check_resources(settings.policies)
    state = read_state()
    _check_gone(settings, state)
    skipped = skip(settings.skipped, state)
    given = (whereabouts, networks, fronts, manifests, keys, images)
    ports = {region: Ports.of(of, *given) for region, of in _all(settings).items()}
    before = state.of(HOME)
    if before_there_is_a_key(settings, before):
        pulumi.log.warn(only_the_key(settings))
        if from_plain(before.get("ledger")).live is None:
            _declare_only_the_key(settings, ports[HOME], before, state)
            return None
    decided = _decide(settings, ports, state, image)
    check_freezes(decided, state)
    tell_changes(decided[HOME], ports[HOME])
    for region, each in decided.items():
        tell_proposals(each, region)
    return _declare(settings, decided, skipped, update)


def _all(settings: Settings) -> Mapping[str, Settings]:
    """The settings of all regions that are looked at, the home region's first."""
    there = {region: of for region, of in settings.elsewhere.items() if region not in settings.skipped}
    return {HOME: settings, **there}


def _check_gone(settings: Settings, state: StackState) -> None:
    """Refuse settings without a region that has a fleet: what is not declared is deleted."""
    gone = sorted(state.regions - set(settings.regions))
    if gone:
        raise InputError(
            f"the stack has a fleet in {', '.join(gone)}, and fleetswap:regions without"
            f" {'it' if len(gone) == 1 else 'them'} would delete it: restore the setting, or set"
            f" fleetswap:regions.{gone[0]}.retire to true to delete it"
        )


def _decide(
    settings: Settings, ports: Mapping[str, Ports], state: StackState, image: ImageOnce
) -> Mapping[str, Decided]:
    """What the update does in each region. An error of one is raised with those of all the others."""
    decided: dict[str, Decided] = {}
    failed: dict[str, FleetswapError] = {}
    for region, of in _all(settings).items():
        try:
            if HOME in failed and of.release is not None:
                # Which of its own releases has that image, the home region would have told.
                _place(of, ports[region], state.of(region))
                continue
            decided[region] = _decide_one(of, ports[region], state.of(region), image, decided.get(HOME))
        except EvaluationError:  # of the image, which is that of all regions
            raise
        except FleetswapError as error:
            if not failed and region == HOME and not settings.elsewhere:
                raise
            failed[region] = error
    if failed:
        kind = InputError if all(isinstance(error, InputError) for error in failed.values()) else FleetswapError
        raise kind("; ".join(_told(settings, failed))) from next(iter(failed.values()))
    return decided


def _told(settings: Settings, failed: Mapping[str, FleetswapError]) -> Iterator[str]:
    """Each error with its region; one that is the home region's as well, once."""
    for region, error in failed.items():
        if region == HOME or str(error) != str(failed.get(HOME)):
            also = f"; {remedy(region)}" if region != HOME and isinstance(error, CloudError) else ""
            yield f"{region or settings.region}: {error}{also}"


def _decide_one(
    settings: Settings, ports: Ports, before: Mapping[str, Any], image: ImageOnce, home: Decided | None
) -> Decided:
    """`home` is what is decided about the home region, for a further one."""
    here, ledger = _place(settings, ports, before)
    if before_there_is_a_key(settings, before):
        wanted = ledger.entry(str(ledger.live))
    elif settings.release is not None and home is not None:
        wanted = same_image(settings, ledger, home.plan.wanted)
    else:
        check_sealed_file(settings, before)
        wanted = wanted_entry(settings, ledger, ports.manifests, image)
    return prepare(settings, before, here, ledger, wanted, ports)


def _place(settings: Settings, ports: Ports, before: Mapping[str, Any]) -> tuple[Place, Ledger]:
    here = place(from_plain(before.get("ledger")), settings, ports.whereabouts)
    return here, here.ledger.behind(settings.front.listener_arn or ("internal" if settings.front.internal else ""))


def _declare(
    settings: Settings, decided: Mapping[str, Decided], skipped: Mapping[str, Mapping[str, Any]], update: Update
) -> Fleet:
    """Declare all regions but the skipped ones: the home region's image before the others', the rollouts by waves."""
    begun = {region: begin(of, Region(region) if region else None) for region, of in decided.items()}
    others = {region: of for region, of in begun.items() if region != HOME}
    home = stand(begun[HOME], [*others.values()])
    standing = {HOME: home, **{region: stand(of, (), home.disks) for region, of in others.items()}}
    fleets: dict[str, Fleet] = {}
    outputs: dict[str, Mapping[str, Any]] = {**skipped}
    earlier: dict[str, Rollout] = {}
    waves = {region: each.begun.decided.settings.wave for region, each in standing.items()}
    for wave in sorted(set(waves.values())):
        now = {}
        for region in (region for region, its in waves.items() if its == wave):
            told = _waves(settings, waves, region, earlier) if settings.regions else None
            now[region], outputs[region] = roll_out(
                standing[region], update, [*earlier.values()], told, home.disks if region != HOME else None
            )
            fleets[region] = _fleet(standing[region], now[region])
        earlier |= now
    for name, output in outputs.pop(HOME).items():
        pulumi.export(name, output)
    if outputs:
        pulumi.export("regions", outputs)
    return replace(fleets.pop(HOME), regions=fleets)


def _waves(settings: Settings, waves: Mapping[str, int], region: str, earlier: Mapping[str, Rollout]) -> WavesArgs:
    """What the rollout of a region tells of the others if it fails."""

    def named(regions: Iterable[str]) -> list[str]:
        return [each or settings.region for each in regions]

    return WavesArgs(
        {name: rollout.serving for name, rollout in zip(named(earlier), earlier.values(), strict=True)},
        named(each for each, its in waves.items() if its == waves[region] and each != region),
        named(each for each, its in waves.items() if its > waves[region]),
    )


def _fleet(standing: Standing, rollout: Rollout) -> Fleet:
    return Fleet(standing.front.url, standing.network, standing.front, standing.releases, rollout)


def _declare_only_the_key(settings: Settings, ports: Ports, before: Mapping[str, Any], state: StackState) -> None:
    """Declare the key of a new stack and the role of its machines. `InputError` if the stack is not new."""
    here, ledger = _place(settings, ports, before)
    if ports.networks.own_vpcs() or state.regions:
        raise InputError(
            "an update of this stack failed and left resources, which an update of the key alone would delete:"
            " deploy without fleetswap:secrets first, or destroy the stack"
        )
    context = context_of(settings, here, kms=True)
    secrets = plan_secrets(settings, ledger, None, before)
    everything = pulumi.ResourceOptions(provider=context.provider())
    sealed = declare_secrets(secrets, settings, context, here, None, everything)
    if sealed is not None:
        pulumi.export(SECRETS, known(sealed.told, before.get(SECRETS)))
