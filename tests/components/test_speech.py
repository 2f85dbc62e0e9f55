"""What a dynamic provider says: in which row, how often, and what it makes of silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import pytest
from pulumi.runtime.proto import engine_pb2

from components import speech
from components.speech import Speech

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
    monkeypatch.setattr("components.speech.time.monotonic", lambda: now[0])

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
