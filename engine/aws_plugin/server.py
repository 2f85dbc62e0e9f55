"""The gRPC server that the engine talks to: requests to operations and back. It decides nothing about resources."""

# ruff: noqa: N802, D102, ARG002 - the methods are the protocol's: provider.proto names and describes them
from __future__ import annotations

import argparse
import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeAlias

import grpc
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2
from pulumi.runtime import proto
from pulumi.runtime.proto import provider_pb2_grpc, status_pb2

from engine.aws_plugin import VERSION, check, config, operations, registry, schema, wire
from engine.aws_plugin.kind import Call, Kind, OperationError, one_line

Message: TypeAlias = Any
"""A message or a helper of the protocol; the generated classes and grpc ship no types."""

_THREADS = 64
"""Operations that may run at once; the engine's own default is 4 times the cores."""

_MAX_MESSAGE = 400 * 1024 * 1024
"""As the engine's own limit, sdk/go/common/util/rpcutil."""

_KINDS = {"add": "ADD", "delete": "DELETE", "update": "UPDATE"}


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider process; the engine configures it once."""

    def __init__(self) -> None:
        self._clients: config.Clients | None = None
        self.stopped = threading.Event()

    def GetPluginInfo(self, request: Message, context: grpc.ServicerContext) -> Message:
        return proto.PluginInfo(version=VERSION)

    def Attach(self, request: Message, context: grpc.ServicerContext) -> Message:
        return empty_pb2.Empty()

    def Cancel(self, request: Message, context: grpc.ServicerContext) -> Message:
        return empty_pb2.Empty()  # running operations come to their end, as in the official plugin

    def CheckConfig(self, request: Message, context: grpc.ServicerContext) -> Message:
        given = wire.decode(request.news)
        return proto.CheckResponse(
            inputs=wire.encode(config.written(given)), failures=_failures(config.failures(given))
        )

    def DiffConfig(self, request: Message, context: grpc.ServicerContext) -> Message:
        old, new = wire.decode(request.olds), wire.decode(request.news)
        names = sorted({*old, *new} - config.ENGINE_KEYS)
        changed = [name for name in names if not config.same(old.get(name), new.get(name))]
        # Another region is another cloud: what is there must be made anew, as with the official plugin.
        replaces = [name for name in changed if name == "region" and name in old]
        changes = proto.DiffResponse.DIFF_SOME if changed else proto.DiffResponse.DIFF_NONE
        return proto.DiffResponse(changes=changes, diffs=changed, replaces=replaces)

    def Configure(self, request: Message, context: grpc.ServicerContext) -> Message:
        given = wire.decode(request.args)
        if not given:
            given = {key.rpartition(":")[2]: value for key, value in request.variables.items()}
        try:
            self._clients = config.configure(given)
            self._clients.check_account()
        except (ValueError, BotoCoreError, ClientError) as error:
            _abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"configuring the aws provider: {error}")
        return proto.ConfigureResponse(
            acceptSecrets=False,
            acceptResources=False,
            acceptOutputs=False,
            supportsPreview=True,
            supports_autonaming_configuration=True,
        )

    def Invoke(self, request: Message, context: grpc.ServicerContext) -> Message:
        message = f"unknown function {request.tok}: the stand-in for the AWS plugin has none; the official plugin does"
        _abort(context, grpc.StatusCode.NOT_FOUND, message)

    def GetSchema(self, request: Message, context: grpc.ServicerContext) -> Message:
        message = f"the stand-in for the AWS plugin has no schema: {config.REMEDY}"
        _abort(context, grpc.StatusCode.UNIMPLEMENTED, message)

    def Check(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        new = {key: value for key, value in wire.decode(request.news).items() if key != wire.DEFAULTS_KEY}
        old = wire.decode(request.olds)
        proposed = None
        if request.HasField("autonaming"):
            mode = proto.CheckRequest.AutonamingOptions.Mode.Name(request.autonaming.mode).lower()
            proposed = (mode, request.autonaming.proposed_name)
        found = check.resource_failures(kind, new)
        named, more = check.with_name(kind, _name(request.urn), new, old, request.randomSeed, proposed)
        return proto.CheckResponse(inputs=wire.encode(named), failures=_failures([*found, *more]))

    def Diff(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        old, new = wire.decode(request.olds), wire.decode(request.news)
        before = wire.decode(request.old_inputs)
        found = operations.diff(kind, old, new, before, list(request.ignoreChanges), self._clients)
        detailed = {}
        for path, change in found.changes.items():
            name = _KINDS[change.change] + ("_REPLACE" if change.replace else "")
            detailed[path] = proto.PropertyDiff(kind=proto.PropertyDiff.Kind.Value(name))
        changes = proto.DiffResponse.DIFF_SOME if found.changes else proto.DiffResponse.DIFF_NONE
        return proto.DiffResponse(
            changes=changes,
            replaces=found.replaces,
            diffs=sorted(found.names),
            detailedDiff=detailed,
            hasDetailedDiff=True,
            deleteBeforeReplace=found.delete_before_replace,
        )

    def Create(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        inputs = wire.decode(request.properties)
        call = self._call(kind, inputs, request.timeout, context)
        name = _name(request.urn)
        try:
            resource_id, state = operations.create(kind, inputs, call, name, preview=request.preview)
        except operations.PartialError as error:
            _abort_partial(context, error)
        except OperationError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return proto.CreateResponse(id=resource_id, properties=wire.encode(state))

    def Read(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        state, inputs = wire.decode(request.properties), wire.decode(request.inputs)
        call = self._call(kind, state, request.timeout, context)
        try:
            resource_id, new_state, new_inputs = operations.read(kind, request.id, state, inputs, call)
        except OperationError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return proto.ReadResponse(id=resource_id, properties=wire.encode(new_state), inputs=wire.encode(new_inputs))

    def Update(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        old, new = wire.decode(request.olds), wire.decode(request.news)
        before, ignored = wire.decode(request.old_inputs), list(request.ignoreChanges)
        call = self._call(kind, new, request.timeout, context)
        try:
            state = operations.update(kind, request.id, old, new, before, ignored, call, preview=request.preview)
        except OperationError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return proto.UpdateResponse(properties=wire.encode(state))

    def Delete(self, request: Message, context: grpc.ServicerContext) -> Message:
        kind = _kind(request.urn, context)
        state = wire.decode(request.properties)
        call = self._call(kind, state, request.timeout, context)
        try:
            operations.delete(kind, request.id, state, call)
        except OperationError as error:
            _abort(context, grpc.StatusCode.UNKNOWN, str(error))
        return empty_pb2.Empty()

    def _call(self, kind: Kind, props: wire.Props, timeout: float, context: grpc.ServicerContext) -> Call:
        if self._clients is None:
            _abort(context, grpc.StatusCode.FAILED_PRECONDITION, "the aws provider is not configured")
        region = props.get("region")
        return Call(
            self._clients,
            region if isinstance(region, str) and region else self._clients.region,
            timeout or kind.timeout,
        )


def _name(urn: str) -> str:
    """The resource's name: the last part of `urn:pulumi:STACK::PROJECT::TYPE::NAME`."""
    return urn.split("::", 3)[3]


def _kind(urn: str, context: grpc.ServicerContext) -> Kind:
    """The kind of a URN's type, which ends the list of its parents' types."""
    token = urn.split("::", 3)[2].rpartition("$")[2]
    try:
        return registry.find(token)
    except schema.UnknownTypeError as error:
        _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _failures(found: Iterable[check.Failure]) -> list[Message]:
    return [proto.CheckFailure(property=path, reason=reason) for path, reason in found]


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str) -> NoReturn:
    context.abort(code, message)
    raise AssertionError(message)  # abort raises; this tells type checkers


def _abort_partial(context: grpc.ServicerContext, error: operations.PartialError) -> NoReturn:
    """Tell the engine of a resource that is there but not whole, so that it lands in the state and is replaced."""
    detail = proto.ErrorResourceInitFailed(
        id=error.resource_id,
        properties=wire.encode(error.inputs),
        reasons=[str(error)],
        inputs=wire.encode(error.inputs),
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    _abort(context, grpc.StatusCode.UNKNOWN, str(error))


class OneLineErrors(grpc.ServerInterceptor):  # type: ignore[misc] # grpc ships no types
    """An error that nobody expected reaches the user as one line; its traceback goes to the plugin's log (stderr)."""

    def intercept_service(self, continuation: Message, details: Message) -> Message:
        """Wrap each method."""
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:
            return handler
        inner = handler.unary_unary

        def guarded(request: Message, context: grpc.ServicerContext) -> Message:
            try:
                return inner(request, context)
            except Exception as error:
                if context.code() is None:  # not an abort of our own
                    traceback.print_exc(file=sys.stderr)
                    method = details.method.rpartition("/")[2]
                    context.abort(grpc.StatusCode.INTERNAL, f"{method}: {type(error).__name__}: {one_line(error)}")
                raise

        return grpc.unary_unary_rpc_method_handler(
            guarded, request_deserializer=handler.request_deserializer, response_serializer=handler.response_serializer
        )


def serve() -> tuple[grpc.Server, int, Servicer]:
    """A running server on a free loopback port."""
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)]
    server = grpc.server(ThreadPoolExecutor(_THREADS), interceptors=[OneLineErrors()], options=options)
    servicer = Servicer()
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port, servicer


def main(arguments: Sequence[str]) -> int:
    """Serve until the engine ends this process; the first line on standard output is the port, which it waits for."""
    parser = argparse.ArgumentParser(prog="pulumi-resource-aws", description="Stand-in for the AWS plugin of Pulumi.")
    parser.add_argument("engine", nargs="?", default="", help="the engine's address")
    parser.parse_known_args(arguments)  # the engine adds logging and tracing flags that mean nothing here
    server, port, _ = serve()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    try:
        server.wait_for_termination()
    except KeyboardInterrupt:
        # Ctrl-C reaches the whole process group; the engine decides when the plugin ends, so finish what runs.
        server.stop(grace=None).wait()
    return 0
