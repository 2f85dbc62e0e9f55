"""The policies on the resources of a program, each looked at when it is declared: before anything is created.

A transformation of the stack sees every resource that is declared after it, also those that a user's program adds. It
sees Python values: what is an output is not known yet, and a policy pack judges it (`policy/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi import _types

from fleetswap.domain.errors import InputError
from fleetswap.domain.resource_policies import AMI, GROUP, UNKNOWN, Declared, violations
from fleetswap_pulumi.policies_settings import PoliciesSettings

REFERRED = (AMI, GROUP)
"""What policies look at through the inputs of other resources."""


def check_resources(settings: PoliciesSettings) -> None:
    """Judge every resource that the program declares from now on. Its constructor raises `InputError` if it violates a
    mandatory policy. Call it once a program.
    """
    if settings.enforcement == "disabled":
        return
    seen: dict[int, _Seen] = {}

    def judge(args: pulumi.ResourceTransformationArgs) -> None:
        parent = None if args.opts.parent is None else seen.get(id(args.opts.parent))
        declared = Declared(
            args.type_,
            args.name,
            _inputs(args.props),
            parents=() if parent is None else (*parent.declared.parents, parent.declared.type),
            refers={_pulumi_name(key): _origins(value, seen) for key, value in args.props.items()},
        )
        seen[id(args.resource)] = _Seen(args.resource, declared)
        wrong = () if declared.name in settings.exempt else violations(declared)
        if wrong and settings.enforcement == "mandatory":
            raise InputError("; ".join(wrong))
        for each in wrong:
            pulumi.log.warn(each)

    pulumi.runtime.register_stack_transformation(judge)


@dataclass(frozen=True)
class _Seen:
    """A resource, kept so that its `id()` stays its own, and what was declared of it."""

    resource: pulumi.Resource
    declared: Declared


def _origins(value: object, seen: Mapping[int, _Seen]) -> tuple[Declared, ...]:
    """The resource whose ID this output is, if it is handed on just as it is."""
    if not isinstance(value, pulumi.Output):
        return ()
    referred = (each for each in seen.values() if each.declared.type in REFERRED)
    return tuple(each.declared for each in referred if each.resource.__dict__.get("id") is value)


def _inputs(props: Mapping[str, object]) -> dict[str, object]:
    return {_pulumi_name(key): _value(value) for key, value in props.items() if value is not None}


def _value(value: object) -> object:
    """What the engine will get, as far as it is known: typed arguments and dictionaries alike, with Pulumi's names."""
    if isinstance(value, pulumi.Output):
        return UNKNOWN
    if _types.is_input_type(type(value)):
        value = _types.input_type_to_dict(value)
    if isinstance(value, Mapping):
        return {_key(str(key)): _value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(each) for each in value]
    return value


def _key(name: str) -> str:
    """A key of a tag stays as it is."""
    return _pulumi_name(name) if re.fullmatch(r"[a-z0-9_]+", name) else name


def _pulumi_name(name: str) -> str:
    """`http_tokens` as `httpTokens`."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
