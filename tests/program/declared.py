"""Runs the program against Pulumi's mocks and records what it declares: inputs and options, never the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi.runtime.mocks import MockCallArgs, MockResourceArgs, Mocks, set_mocks
from pulumi.runtime.mocks import test as with_pulumi
from pulumi.runtime.stack import Stack

from infra import settings, stack

PROJECT, STACK = "fleetswap", "local"


@dataclass(frozen=True)
class Declared:
    """A resource that was registered, with the options that it was given."""

    type: str
    name: str
    inputs: dict[str, Any]
    options: pulumi.ResourceOptions
    custom: bool


@dataclass(frozen=True)
class Program:
    """All that one run of the program declared, and the outputs that it exported."""

    resources: tuple[Declared, ...]
    outputs: dict[str, Any]

    def of(self, kind: str) -> list[Declared]:
        """The resources whose type ends in `:kind`."""
        return [resource for resource in self.resources if resource.type.endswith(f":{kind}")]

    def one(self, kind: str, name: str | None = None) -> Declared:
        """The only resource of a kind (and name)."""
        found = [resource for resource in self.of(kind) if name in {None, resource.name}]
        assert len(found) == 1, [resource.name for resource in found]
        return found[0]


class _Recorder(Mocks):
    def __init__(self, ledger: dict[str, Any] | None) -> None:
        self.inputs: dict[tuple[str, str], dict[str, Any]] = {}
        self._outputs = {} if ledger is None else {"ledger": ledger}

    def call(self, args: MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        assert args.token == "pulumi:pulumi:readStackOutputs", args.token
        assert args.args["name"] == f"organization/{PROJECT}/{STACK}", args.args
        return {"outputs": self._outputs}, []

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.inputs[args.typ, args.name] = args.inputs
        computed = {"arn": f"arn:{args.name}", "dnsName": "front.example", "latestVersion": 1, "seconds": {"gate": 1.0}}
        return f"{args.name}-id", {**computed, **args.inputs}


def declare(values: dict[str, str], *, ledger: dict[str, Any] | None = None) -> Program:
    """Run the program with these settings; `ledger` is what the stack's last update left."""
    recorder = _Recorder(ledger)
    set_mocks(recorder, project=PROJECT, stack=STACK, preview=False, organization="organization")
    options: dict[tuple[str, str], tuple[pulumi.ResourceOptions, bool]] = {}
    outputs: dict[str, Any] = {}

    def remember(args: pulumi.ResourceTransformationArgs) -> None:
        options[args.type_, args.name] = (args.opts, isinstance(args.resource, pulumi.CustomResource))

    @with_pulumi  # type: ignore[untyped-decorator] # Pulumi's mocks ship no types for it
    def program() -> pulumi.Output[Any]:
        pulumi.runtime.register_stack_transformation(remember)
        stack.deploy(settings.parse(values, region="us-east-1"))
        root = pulumi.runtime.get_root_resource()
        assert isinstance(root, Stack)
        exported = root.outputs
        return pulumi.Output.from_input(exported).apply(outputs.update)

    program()
    resources = (Declared(kind, name, inputs, *options[kind, name]) for (kind, name), inputs in recorder.inputs.items())
    return Program(tuple(resources), outputs)
