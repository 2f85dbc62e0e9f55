"""The policy pack: the policies of `fleetswap.domain.resource_policies`, as a policy pack.

The program judges its own resources (`fleetswap_pulumi.resource_checks`). The pack judges what the engine gets, so it
also sees outputs once they are known, and stacks whose program is not ours or does not check.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pulumi_policy import (
    EnforcementLevel,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from fleetswap.domain.resource_policies import POLICIES, UNKNOWN, Declared, Policy


def plain(properties: Mapping[str, object]) -> dict[str, object]:
    """The properties, with what is not known yet as `UNKNOWN` instead of an error at the first look."""
    return {key: _at(properties, key) for key in properties}


def _at(of: object, key: object) -> object:
    try:
        value = of[key]  # type: ignore[index] # a mapping with a key of its own, or a list with an index
    except UnknownValueError:
        return UNKNOWN
    if isinstance(value, Mapping):
        return plain(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_at(value, index) for index in range(len(value))]
    return value


def parents(urn: str) -> tuple[str, ...]:
    """The types of the components around a resource: a URN is urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME."""
    return tuple(urn.split("::")[2].split("$")[:-1])


def of_resource(policy: Policy) -> ResourceValidationPolicy:
    """One that looks at a resource alone: an update is stopped before the resource is created."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for wrong in policy.check(Declared(args.resource_type, args.name, plain(args.props), parents(args.urn))):
            report(wrong, None)

    return ResourceValidationPolicy(name_of(policy), policy.description, validate, EnforcementLevel.MANDATORY)


def of_stack(policy: Policy) -> StackValidationPolicy:
    """One that looks at what a resource refers to, which the engine says of a whole stack."""

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for resource in args.resources:
            refers = {
                key: tuple(declared(each) for each in origins)
                for key, origins in resource.property_dependencies.items()
            }
            for wrong in policy.check(declared(resource, refers)):
                report(wrong, resource.urn)

    return StackValidationPolicy(name_of(policy), policy.description, validate, EnforcementLevel.MANDATORY)


def declared(resource: PolicyResource, refers: Mapping[str, tuple[Declared, ...]] | None = None) -> Declared:
    """The resource, as the policies take it."""
    return Declared(resource.resource_type, resource.name, plain(resource.props), parents(resource.urn), refers or {})


def name_of(policy: Policy) -> str:
    """By which it is reported."""
    return next(name for name, each in POLICIES.items() if each is policy)


def serve() -> None:
    """Serve the pack to the engine that started it, until it ends this process."""
    PolicyPack("fleetswap", [of_stack(each) if each.needs_others else of_resource(each) for each in POLICIES.values()])
