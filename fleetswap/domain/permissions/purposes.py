"""Which statements each purpose takes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from fleetswap.domain.permissions import doctor, drill, fleet, front, images, keys, looks, network, retention, watch
from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Policy, Statement, divide


class Purpose(Enum):
    """For whom a policy is."""

    DEPLOY = "deploy"
    PREVIEW = "preview"
    ROLLBACK = "rollback"
    DRILL = "drill"
    MACHINE = "machine"
    SECRETS = "secrets"
    GC = "gc"
    DOCTOR = "doctor"


def policies(scope: Scope, purpose: Purpose) -> tuple[Policy, ...]:
    """The managed policies of a purpose; none if it needs none."""
    found = statements(scope, purpose)
    return divide(f"fleetswap-{scope.service}-{purpose.value}", found) if found else ()


def statements(scope: Scope, purpose: Purpose) -> tuple[Statement, ...]:
    """The statements of a purpose, before they are divided into policies."""
    return tuple(_STATEMENTS[purpose](scope))


def _preview(scope: Scope) -> Iterator[Statement]:
    """`pulumi preview`, `fleetswap status`, `why` and `manifest`."""
    yield from looks.look(scope)
    yield from keys.look(scope)
    yield from watch.look(scope)
    yield from images.look_at_encryption(scope)
    yield from images.look_at_shares(scope)
    yield images.read_snapshots(scope)
    yield from images.decrypt(scope)


def _deploy(scope: Scope) -> Iterator[Statement]:
    """All of an update: `pulumi up`, `refresh` and `destroy`, with a refresh before each."""
    yield from looks.look(scope)
    yield from keys.look(scope)
    yield from watch.look(scope)
    yield from images.look_at_encryption(scope)
    yield from images.look_at_shares(scope)
    yield from looks.watch_machines(scope)
    yield looks.watch_traffic(scope)
    own = (*images.images(scope), *network.network(scope), *fleet.templates(scope))
    yield from own
    yield fleet.tag_on_create(scope, *(action for one in own for action in one.actions))
    yield fleet.tag_anew(scope)
    yield from front.front(scope)
    yield from looks.write_domain(scope)
    yield from fleet.groups(scope)
    yield from fleet.launches(scope)
    yield from fleet.roles(scope)
    yield fleet.linked_roles(scope)
    yield from fleet.switch(scope)
    yield fleet.pass_roles(scope, scope.ec2_principal, "scheduler.amazonaws.com")
    yield from fleet.alerts(scope)
    yield from watch.make(scope)
    yield from fleet.hooks(scope)
    yield from images.key(scope)
    yield from keys.make(scope)
    yield from keys.use_own(scope)
    yield from keys.seal(scope)


def _rollback(scope: Scope) -> Iterator[Statement]:
    """`fleetswap status`, `abort` and `rollback --now`.

    If Spot capacity is short, a rollback changes the group's mix of machines, for which AWS checks what a launch takes.
    """
    yield from looks.look_at_service(scope)
    yield from keys.look_at_states(scope)
    yield from looks.watch_machines(scope)
    yield from front.make_rules(scope)
    yield front.tag_rules(scope)
    yield front.change_rules(scope)
    yield Statement(
        "ChangeGroups",
        "capacity, tags and scheduled scale-in of the stack's groups",
        (
            "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteScheduledAction",
            "autoscaling:DeleteTags",
            "autoscaling:PutScheduledUpdateGroupAction",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        scope.groups,
        scope.own,
    )
    yield from fleet.launches(scope)
    yield fleet.pass_roles(scope, scope.ec2_principal)
    yield fleet.disarm(scope)


def _drill(scope: Scope) -> Iterator[Statement]:
    """`fleetswap drill`: all of a rollback, whose permissions are tried, and what it reads and tries besides.

    What also changes something is the schedule that proves the switch's role.
    """
    yield from (one for one in _rollback(scope) if one.sid != "PassRoles")
    yield fleet.pass_roles(scope, scope.ec2_principal, "scheduler.amazonaws.com")
    yield from drill.look(scope)
    yield drill.try_switch(scope)


def _machine(scope: Scope) -> Iterator[Statement]:
    """The machines' role has the managed policies of the settings and, of ours, what opens secrets."""
    yield from keys.open_at_boot(scope)


def _secrets(scope: Scope) -> Iterator[Statement]:
    """`fleetswap secrets`."""
    yield from keys.look_at_states(scope)
    yield from keys.edit(scope)


def _gc(scope: Scope) -> Iterator[Statement]:
    """`fleetswap gc`."""
    yield from retention.look(scope)
    yield from retention.delete(scope)


_STATEMENTS = {
    Purpose.DEPLOY: _deploy,
    Purpose.PREVIEW: _preview,
    Purpose.ROLLBACK: _rollback,
    Purpose.DRILL: _drill,
    Purpose.MACHINE: _machine,
    Purpose.SECRETS: _secrets,
    Purpose.GC: _gc,
    Purpose.DOCTOR: doctor.look,
}
