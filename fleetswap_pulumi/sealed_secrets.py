"""Sealed secrets: the KMS key of the stack, who may do what with it, and the role with which machines open them.

The role is the stack's and not a release's, so that the key policy can name it before there is a release, and the file
be sealed before there is an image. The key is never replaced: nothing of it that cannot change in place is declared
again. See `fleetswap.domain.secrets.key_policy`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pulumi
from pulumi_aws import iam, kms

from fleetswap.aws.partition import partition_of
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.secrets import key_policy
from fleetswap.domain.secrets.sealing import STACK, alias, encryption_context
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.iam_policy import document, trust
from fleetswap_pulumi.key_statements import KeyStatements
from fleetswap_pulumi.secrets_settings import SecretsSettings


@dataclass(frozen=True)
class SealedSecretsArgs:
    """`account` is the stack's, 12 digits. `running` are the declared releases that have machines, of any kind.

    `own_key`: the stack has a key of its own. `multi_region`: it is, or will be, a multi-Region key.
    """

    context: Context
    account: str
    settings: SecretsSettings
    running: Sequence[Entry]
    own_key: bool = True
    multi_region: bool = False


@dataclass(frozen=True)
class MachineRole:
    """The role of machines with one IAM path. `ready` is all that must be there before a machine boots with it.

    `keys` are the ARNs of the stack's own key (`""`) and of its replicas, by their regions.
    """

    arn: pulumi.Output[str]
    profile_arn: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]
    keys: Mapping[str, pulumi.Output[str]]


class SealedSecrets(pulumi.ComponentResource):
    """Outputs the key, and a role of machines for each IAM path."""

    key_arn: pulumi.Output[str] | None
    """None if the stack has no key of its own."""
    roles: Mapping[str, MachineRole]
    """By their paths."""
    told: pulumi.Output[dict[str, Any]]
    """The stack output `secrets`: ARNs (`key`, with which secrets are sealed, `role` of the machines; `stack_key` and
    `replicas`, if the stack has a key of its own), that key's `alias`, and the encryption `context`."""

    def __init__(self, name: str, args: SealedSecretsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("fleetswap:components:SealedSecrets", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self._context = encryption_context(args.context.stack)
        self._sealed = [entry for entry in args.running if entry.machine.secrets is not None]
        # That of new releases first: it must be there before the first of them, for the file to be sealed.
        new = [] if args.settings.sealing is None else [args.context.path]
        paths = list(dict.fromkeys([*new, *(entry.machine.path for entry in self._sealed)]))
        roles = {path: self._role(path) for path in paths}
        machines = {path: role.arn for path, role in roles.items() if self._is_plain(path)}
        self._document = self._policy(machines)
        key = self._key() if args.own_key else None
        replicas = [] if key is None else [self._replica(key, region) for region in args.settings.replica_regions]
        made = {} if key is None else dict(zip(("", *args.settings.replica_regions), (key, *replicas), strict=True))
        self._keys = {region: each.arn for region, each in made.items()}
        self._own(machines)
        self.key_arn = None if key is None else key.arn
        self.roles = {path: self._ready(path, role) for path, role in roles.items()}
        self.told = self._told(key, replicas, next(iter(roles.values()), None))
        self.register_outputs({"keyArn": self.key_arn, "roleArns": [role.arn for role in roles.values()]})

    def _label(self, path: str) -> str:
        """The name of what a path has, which is stable: a path can be longer than a role's name."""
        return "-".join(part for part in (f"{self._name}-machines", _name(path)) if part)

    def _role(self, path: str) -> iam.Role:
        label, context = self._label(path), self._args.context
        return iam.Role(
            label,
            path=path,
            description=f"machines of {context.stack} that open secrets",
            permissions_boundary=context.boundary,
            assume_role_policy=trust(partition_of(context.region).principal("ec2")),
            tags=context.tags(label),
            opts=self._child,
        )

    def _key(self) -> kms.Key:
        args = self._args
        key = kms.Key(
            self._name,
            description=f"secrets of {args.context.stack}",
            enable_key_rotation=True,
            rotation_period_in_days=args.settings.rotation_period,
            deletion_window_in_days=args.settings.deletion_window,
            multi_region=True if args.multi_region else None,
            policy=self._document,
            tags=args.context.tags(f"{self._name}-secrets"),
            # A key that is replaced takes all that is sealed with it along (aws_kms_key, ForceNew). Its policy changes
            # with the releases, see `fleetswap_pulumi.key_statements`.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["multiRegion", "policy"]),
        )
        kms.Alias(self._name, name=alias(args.context.stack), target_key_id=key.key_id, opts=self._child)
        return key

    def _replica(self, key: kms.Key, region: str) -> kms.ReplicaKey:
        label, context = f"{self._name}-{region}", self._args.context
        return kms.ReplicaKey(
            label,
            region=region,
            primary_key_arn=key.arn,
            description=f"secrets of {context.stack}",
            deletion_window_in_days=self._args.settings.deletion_window,
            policy=self._document,
            tags=context.tags(f"{self._name}-secrets"),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["policy"]),
        )

    def _is_plain(self, path: str) -> bool:
        """Whether machines with that path open secrets of the own key without attestation.

        Before the first release, the role may already do what a release of these settings will need.
        """
        sealings = [each.machine.secrets for each in self._of_path(path) if each.machine.secrets is not None]
        new = self._args.settings.sealing
        needs = [each for each in sealings or ([] if new is None else [new]) if each.key == STACK]
        return any(not each.attested for each in needs)

    def _account(self) -> list[dict[str, Any]]:
        args = self._args
        partition = partition_of(args.context.region).name
        return key_policy.of_account(
            partition=partition, account=args.account, context=self._context, editors=args.settings.editors
        )

    def _policy(self, machines: Mapping[str, pulumi.Output[str]]) -> pulumi.Output[str]:
        """With what the key is made. Later, its statements are resources of their own."""

        def policy(arns: Mapping[str, str]) -> str:
            opens = [each for path in machines for each in self._opens(path, arns[path])]
            return json.dumps({"Version": "2012-10-17", "Statement": [*self._account(), *opens]})

        return pulumi.Output.all(**machines).apply(policy)

    def _opens(self, path: str, role: str) -> list[dict[str, Any]]:
        return [key_policy.of_machines(role, self._context, _name(path))]

    def _own(self, machines: Mapping[str, pulumi.Output[str]]) -> None:
        """Declare the statements of the key and of its replicas, but for those of attested releases."""
        self._opening: dict[str, list[pulumi.Resource]] = {path: [] for path in machines}
        for region, key in self._keys.items():
            # They go with the key: a policy without them would lock the account out of it.
            stays = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
            label = _of_key(f"{self._name}-account", region)
            KeyStatements(label, self._args.context, key, self._account(), opts=stays)
            for path, role in machines.items():
                opens = role.apply(partial(self._opens, path))
                label = _of_key(self._label(path), region)
                self._opening[path].append(KeyStatements(label, self._args.context, key, opens, opts=self._child))

    def _ready(self, path: str, role: iam.Role) -> MachineRole:
        label, context, of_path = self._label(path), self._args.context, self._of_path(path)
        policies = dict.fromkeys(arn for entry in of_path for arn in entry.machine.policies)
        attached: list[pulumi.Resource] = [
            iam.RolePolicyAttachment(f"{label}-{_slug(arn)}", role=role.name, policy_arn=arn, opts=self._child)
            for arn in policies
        ]
        given = {entry.machine.secrets.key for entry in of_path if entry.machine.secrets is not None}
        given |= {self._args.settings.kms_key} if self._args.settings.kms_key is not None else set()
        # One each: a policy of them all would change before the rollout, and one that fails keeps the old standby.
        opens = [self._may_open(label, role, self._keys[""])] if self._keys else []
        opens += [self._may_open(f"{label}-{key.rpartition('/')[2]}", role, key) for key in sorted(given - {STACK})]
        profile = iam.InstanceProfile(label, path=path, role=role.name, tags=context.tags(label), opts=self._child)
        ready = (*opens, *attached, *self._opening.get(path, ()))
        return MachineRole(role.arn, profile.arn, ready, self._keys)

    def _may_open(self, label: str, role: iam.Role, key: pulumi.Input[str]) -> iam.RolePolicy:
        allowed = pulumi.Output.from_input(key).apply(lambda arn: document(key_policy.of_role([arn], self._context)))
        return iam.RolePolicy(label, role=role.name, policy=allowed, opts=self._child)

    def _of_path(self, path: str) -> list[Entry]:
        return [entry for entry in self._sealed if entry.machine.path == path]

    def _told(
        self, key: kms.Key | None, replicas: Sequence[kms.ReplicaKey], role: iam.Role | None
    ) -> pulumi.Output[dict[str, Any]]:
        given = self._args.settings.kms_key
        told: dict[str, Any] = {"context": self._context}
        if key is not None:
            told |= {"key": key.arn, "stack_key": key.arn, "alias": alias(self._args.context.stack)}
        if replicas:
            told["replicas"] = [each.arn for each in replicas]
        if given is not None:
            told["key"] = given
        if role is not None:
            told["role"] = role.arn
        return pulumi.Output.all(**told)


def _slug(policy_arn: str) -> str:
    """What names a managed policy in a resource's name: whose it is, and its path and name."""
    return policy_arn.split(":", 4)[4].replace(":policy/", "-").replace("/", "-")


def _name(path: str) -> str:
    """What tells the machines of a path from those of others."""
    return "" if path == "/" else hashlib.sha256(path.encode()).hexdigest()[:8]


def _of_key(label: str, region: str) -> str:
    """The name of what a key has: a replica's with its region."""
    return f"{label}-{region}" if region else label
