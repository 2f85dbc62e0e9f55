"""What a dynamic provider says: in which row, how often, and what it makes of silence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import pytest
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from fleetswap_pulumi import speech
from fleetswap_pulumi.speech import Speech

URN = "urn:pulumi:local::fleetswap::pulumi-python:dynamic/fleetswap:Rollout::web"


@dataclass
class Engine:
    """Stands for the engine's log."""

    heard: list[engine_pb2.LogRequest] = field(default_factory=list)
    gone: bool = False

    def Log(self, request: engine_pb2.LogRequest, timeout: float) -> None:  # noqa: N802 - the protocol's name
        assert timeout
        if self.gone:
            raise grpc.RpcError
        self.heard.append(request)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(speech, "connect", lambda _address: made)
    return made


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass."""
    now = [100.0]
    monkeypatch.setattr("fleetswap_pulumi.speech.time.monotonic", lambda: now[0])

    def pass_(seconds: float) -> None:
        now[0] += seconds

    return pass_


def shown(engine: Engine) -> list[str]:
    return [request.message for request in engine.heard if request.severity == engine_pb2.INFO]


def test_it_speaks_in_the_row_of_its_resource(engine: Engine) -> None:
    """Progress would hang on the row of the stack, where nobody looks and the terminal cuts it off."""
    Speech(URN).line("for good")
    Speech(URN).status("just now")
    Speech(URN).warn("look")
    assert [(one.urn, one.message, one.ephemeral) for one in engine.heard] == [
        (URN, "for good", False),
        (URN, "just now", True),
        (URN, "look", False),
    ]
    assert engine.heard[-1].severity == engine_pb2.WARNING


def test_lines_of_a_region_say_which(engine: Engine) -> None:
    """The rows of all regions have the same name: nobody could tell whose rollout went back."""
    ours = Speech(URN, where="eu-west-1")
    ours.line("for good")
    ours.warn("look")
    ours.status("just now")
    assert [one.message for one in engine.heard] == ["eu-west-1: for good", "eu-west-1: look", "just now"]


@pytest.mark.parametrize(("every", "least", "most"), [(speech.STATUS_SECONDS, 58, 61), (speech.LOG_SECONDS, 4, 5)])
def test_a_log_is_not_flooded_by_what_a_terminal_overwrites(
    engine: Engine,
    passes: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    every: float,
    least: int,
    most: int,
) -> None:
    """In CI every figure would be a line; in a terminal nothing would move."""
    monkeypatch.setattr(speech, "_seconds_between", lambda: every)
    ours = Speech(URN)
    for quarter in range(240):
        ours.status(f"{quarter}")
        passes(0.25)
    assert least <= len(shown(engine)) <= most


def test_an_engine_that_is_gone_is_noticed_once_and_fails_nothing(
    engine: Engine, passes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill of the engine a rollout would go on for nobody; or one lost message would end it."""
    monkeypatch.setattr(speech, "_seconds_between", lambda: speech.LOG_SECONDS)
    told = list[str]()
    ours = Speech(URN, gone=lambda: told.append("gone"))
    engine.gone = True
    ours.line("lost")
    engine.gone = False
    ours.line("heard")
    assert told == []
    engine.gone = True
    for second in range(5):
        ours.status(f"{second}")
        passes(1)
    assert told == ["gone"]


def test_an_engine_that_is_late_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z, or a busy machine, would end a good rollout because "pulumi was killed"; or each word would cost 5 s."""

    class Stopped(engine_pb2_grpc.EngineServicer):
        """Takes messages, and does not answer."""

        def Log(self, _request: object, context: grpc.ServicerContext) -> None:  # noqa: N802 - the protocol's name
            heard.append(context.time_remaining())
            going_on.wait()
            context.abort(grpc.StatusCode.CANCELLED, "over")

    heard, going_on, told = list[float](), threading.Event(), list[str]()
    monkeypatch.setattr(speech, "LOG_TIMEOUT", 0.4)
    monkeypatch.setattr(speech, "LATE_TIMEOUT", 0.1)
    server = grpc.server(ThreadPoolExecutor(8))
    engine_pb2_grpc.add_EngineServicer_to_server(Stopped(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    monkeypatch.setattr("sys.argv", ["pulumi.dynamic", address])
    ours = Speech(URN, gone=lambda: told.append("gone"))
    for word in ("one", "two", "three", "four"):
        ours.line(word)
    assert told == []
    assert all(asked < 0.3 for asked in heard[1:]), "the first is given 0.4 s, the others 0.1 s"
    going_on.set()
    server.stop(None).wait()
    for number in range(50):  # the first of them may find a connection that is being closed
        ours.line(f"{number}")
    assert told == ["gone"], "this one is killed"


def test_what_was_left_out_is_shown_later_and_what_is_shown_is_not_said_again(
    engine: Engine, passes: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row would go on telling what was true a minute ago, or a log repeat itself."""
    monkeypatch.setattr(speech, "_seconds_between", lambda: speech.LOG_SECONDS)
    ours = Speech(URN)
    ours.status("target registration")
    for _ in range(60):
        passes(1)
        ours.status("initial health checks")
    assert shown(engine) == ["target registration", "initial health checks"]
