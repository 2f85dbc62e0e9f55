"""`fleetswap permissions`: prints the IAM policies of a stack, out of its settings alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetswap.cli import options, project
from fleetswap.cli.connect import joining
from fleetswap.cli.display import print_json
from fleetswap.cli.way import Way
from fleetswap.domain.errors import FleetswapError, InputError
from fleetswap.domain.permissions.keys import key_policies
from fleetswap.domain.permissions.purposes import Purpose, policies
from fleetswap.domain.permissions.statement import LONGEST, Policy, Statement, length

if TYPE_CHECKING:
    from fleetswap.domain.permissions.scope import Scope

KeyPolicies = tuple[tuple[tuple[str, ...], tuple[Statement, ...]], ...]
"""The statements that the policies of existing keys need, with the keys."""

PLACEHOLDER = "111122223333"
"""The account in AWS's own examples."""

WHAT = {
    Purpose.DEPLOY: "deploys, refreshes and destroys",
    Purpose.PREVIEW: "previews and refreshes, and shows the status of",
    Purpose.ROLLBACK: "shows the status of, aborts a rollout of, and rolls back with --now,",
    Purpose.DRILL: "tries a rollback, with the permissions of one,",
    Purpose.MACHINE: "is the role of a machine of",
    Purpose.SECRETS: "seals and opens the secrets of",
    Purpose.GC: "deletes what nothing needs of",
    Purpose.DOCTOR: "checks with doctor what a deploy needs of",
}


def permissions(
    *,
    purpose: Annotated[
        Purpose,
        typer.Option(
            "--for",
            help="What the policies are for: the role that deploys, previews, rolls back, tries a rollback, edits"
            " secrets, collects garbage or runs doctor, or that of the machines.",
        ),
    ] = Purpose.DEPLOY,
    stack: Annotated[
        str | None,
        typer.Option(metavar="STACK", show_default="the only one", help="The stack, by Pulumi's name."),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            show_default="the settings', or the credentials'",
            help="AWS account of the stack.",
        ),
    ] = None,
    kms_key: Annotated[
        str | None,
        typer.Option(metavar="ARN", help="Customer managed KMS key that encrypts the account's EBS volumes."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="REGION", show_default="the home region", help="A further region of the settings."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Print the IAM policies of a stack: exactly what its settings need.

    Run in the project folder. It reads the settings of the stack and, unless they or --account name the account, asks
    AWS for the account of the credentials. A policy is at most as long as IAM allows; attach all that are printed.
    """
    file = _stack(stack)
    scope, note = _scope(file, account, kms_key, region)
    found = policies(scope, purpose)
    if region not in (None, file.setting(project.REGION)):  # the account has those of the home region as well
        found = tuple(replace(policy, name=f"{policy.name}-{scope.region}") for policy in found)
    keys = key_policies(scope) if purpose is Purpose.DEPLOY else ()
    if as_json:
        print_json(_figures(scope, purpose, found, keys))
    else:
        typer.echo("\n".join(_lines(scope, purpose, found, keys)))
    if note:
        typer.echo(note, err=True)


def _stack(name: str | None) -> project.StackFile:
    here = project.find(project.here())
    if here is None:
        raise InputError("no Pulumi project here: run this in the folder of Pulumi.yaml")
    if name is not None:
        found = here.stack(name)
        if found is None:
            raise InputError(f"stack {name} has no {here.file(name).name} here")
        return found
    stacks = here.stacks()
    if len(stacks) != 1:
        raise InputError(
            f"which stack? Name it with --stack ({here.name} has: {', '.join(one.stack for one in stacks) or 'none'})"
        )
    return stacks[0]


def _scope(file: project.StackFile, account: str | None, key: str | None, region: str | None) -> tuple[Scope, str]:
    """The scope, and what to say of an account that nothing names."""
    # Here and not above: the models of the settings are the library's for Pulumi programs, and take a second to load.
    from fleetswap_pulumi.permissions import account_of, scope_of, settings_of  # noqa: PLC0415

    if account is not None and not re.fullmatch(r"\d{12}", account):
        raise InputError(f"--account {account} is not an account ID: it has 12 digits")
    config = file.config()
    settings = settings_of(config)
    others = ", ".join(settings.elsewhere)
    note = f"These are for {settings.region} alone: print those of {others} with --region" if others else ""
    if region not in (None, settings.region):
        if region not in settings.elsewhere:
            raise InputError(f"{region} is not among the Regions of {file.path.name}: {others or settings.region}")
        settings, note = settings.elsewhere[str(region)], ""
    known = account or account_of(settings)
    if known is None:
        known, unknown = _ask(Way(settings.region, settings.endpoint, settings.aws.access))
        note = unknown or note
    return scope_of(settings, stack=file.tag, account=known, key=key), note


def _ask(way: Way) -> tuple[str, str]:
    """The account of the credentials; without any, the placeholder, and why."""
    from fleetswap.aws.account import Account  # noqa: PLC0415 (not needed if the settings name the account)

    try:
        with joining(way) as cloud:
            return Account(cloud).id(), ""
    except FleetswapError as error:
        return PLACEHOLDER, (
            f"{PLACEHOLDER} stands for your account: name it with --account or fleetswap:account, or log in ({error})"
        )


def _figures(scope: Scope, purpose: Purpose, found: tuple[Policy, ...], keys: KeyPolicies) -> Mapping[str, object]:
    """Everything, for `--json`."""
    figures: dict[str, Any] = {
        "for": purpose.value,
        "stack": scope.stack,
        "service": scope.service,
        "account": scope.account,
        "region": scope.region,
        "policies": [
            {
                "name": policy.name,
                "document": policy.document(),
                "reasons": {one.sid: one.reason for one in policy.statements},
            }
            for policy in found
        ],
        "key_policy": [one.plain() for each, own in keys if each == scope.keys for one in own],
        "key_policies": [{"keys": each, "statements": [one.plain() for one in own]} for each, own in keys],
    }
    if purpose is Purpose.MACHINE:
        figures["attached"] = list(scope.machine_policies)
        figures["boundary"] = scope.boundary
    return figures


def _lines(scope: Scope, purpose: Purpose, found: tuple[Policy, ...], keys: KeyPolicies) -> Iterator[str]:
    yield (
        f"Policies of a role that {WHAT[purpose]} {scope.service} of {scope.stack}"
        f" (account {scope.account}, {scope.region})"
    )
    if purpose is Purpose.MACHINE:
        attached = ", ".join(scope.machine_policies) or "none (fleetswap:machine.policies)"
        yield ""
        if found:
            yield "The machines' role has this inline policy, with the ARN of the key:"
            yield ""
            yield json.dumps(found[0].document(), indent=2)
            yield ""
            yield f"Attached managed policies: {attached}"
        else:
            yield f"Fleetswap gives the machines' role no policy of its own. Attached managed policies: {attached}"
        yield f"Permissions boundary: {scope.boundary or 'none'}"
        return
    for policy in found:
        yield ""
        yield f"{policy.name} ({length(policy.statements)} of {LONGEST} characters)"
        yield ""
        yield from _reasons(policy.statements)
        yield ""
        yield json.dumps(policy.document(), indent=2)
    for each, own in keys:
        yield ""
        yield f"Add these statements to the key policy of {' and of '.join(each)}:"
        yield ""
        yield from _reasons(own)
        yield ""
        yield json.dumps([one.plain() for one in own], indent=2)
    yield ""
    yield "Save each document as NAME.json; then, for each:"
    for policy in found:
        arn = f"arn:{scope.partition}:iam::{scope.account}:policy/{policy.name}"
        yield f"  aws iam create-policy --policy-name {policy.name} --policy-document file://{policy.name}.json"
        yield f"  aws iam attach-role-policy --role-name ROLE --policy-arn {arn}"


def _reasons(statements: tuple[Statement, ...]) -> Iterator[str]:
    width = max(len(one.sid) for one in statements)
    for one in statements:
        yield f"  {one.sid:{width}}  {one.reason}"
