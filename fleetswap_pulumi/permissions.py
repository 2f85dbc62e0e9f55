"""What of a stack's settings decides its permissions, for `fleetswap permissions`.

It is the only module of the library that the commands import, so it also has what reads the settings: `fleetswap diff`
needs that too.
"""

from __future__ import annotations

from fleetswap.aws.partition import partition_of
from fleetswap.domain.dashboard import name_of
from fleetswap.domain.errors import InputError
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.secrets.sealing import STACK
from fleetswap_pulumi.parse import settings_of
from fleetswap_pulumi.settings import Settings

__all__ = ["account_of", "scope_of", "settings_of"]


def account_of(settings: Settings) -> str | None:
    """The account that the settings name, if they name exactly one."""
    allowed = settings.aws.access.allowed_account_ids
    return settings.account or (allowed[0] if len(allowed) == 1 else None)


def scope_of(settings: Settings, *, stack: str, account: str, key: str | None) -> Scope:
    """What the settings use. `stack` is `project/stack`; `key` is the account's default for EBS.

    `InputError` if the key is not of the stack's region.
    """
    secrets, volumes = settings.secrets, (settings.machine.kms_key, settings.upload.kms_key)
    front, network, partition = settings.front, settings.network, partition_of(settings.region)
    if key is not None and key.split(":")[3:4] != [settings.region]:
        raise InputError(f"--kms-key {key} is not a key of region {settings.region}")
    return Scope(
        account=account,
        region=settings.region,
        stack=stack,
        service=settings.service,
        partition=partition.name,
        suffix=partition.suffix,
        path=settings.iam.path,
        boundary=settings.iam.permissions_boundary,
        machine_policies=settings.machine.policies,
        trusted_stacks=settings.upload.stacks,
        trusted_accounts=settings.upload.accounts,
        share=settings.upload.shared,
        vpc=network.vpc.id if network.vpc else None,
        nat=network.nat != "none",
        endpoints=bool(network.endpoints) or (secrets is not None and network.vpc is None),
        ipv6=network.ipv6,
        prefix_lists=tuple(sorted({rule.prefix_list for rule in network.egress if rule.prefix_list})),
        listener=front.listener_arn,
        certificates=bool(front.certificates),
        domain=front.domain.name.lower().removesuffix(".") if front.domain else None,
        zone_id=front.domain.zone_id if front.domain else None,
        web_acl=front.web_acl_arn,
        alerts=settings.rollout.alerts,
        functions=tuple(
            dict.fromkeys(each.function for each in settings.rollout.hooks or () if each.function is not None)
        ),
        alarms=bool(settings.rollout.alarms),
        watched=settings.alarms is not None,
        own_topic=settings.alarms is not None and settings.alarms.topic is None,
        dashboard=(
            name_of(stack, settings.service, settings.region)
            if settings.alarms is not None and settings.alarms.dashboard
            else None
        ),
        keys=tuple(dict.fromkeys(each for each in (key, *volumes) if each is not None and each != STACK)),
        volume_key=STACK in volumes,
        secrets=secrets is not None,
        secrets_key=secrets.kms_key if secrets is not None else None,
        # A key that is retired stays until no release needs it.
        secrets_stack_key=secrets is not None and (secrets.own_key or secrets.retire),
        replica_regions=secrets.replica_regions if secrets is not None else (),
    )
