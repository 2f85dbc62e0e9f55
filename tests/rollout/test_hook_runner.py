"""Hooks as they run: real commands and processes, a real HTTP server, and Lambda at the client's boundary."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from fleetswap.aws.rollout.hooks import HookRunner, last_words
from fleetswap.domain.errors import CloudError, TryAgain
from fleetswap.domain.rollout.moments import Hook, HookCall, HookResult, Moment

NAMED: dict[str, Any] = {"token_env": "HOOK_TOKEN"}
SECRET = "new.5up3r5ecret"


def call(at: Moment = Moment.BEFORE_TRAFFIC, **hook: Any) -> HookCall:
    return HookCall(
        0, Hook(at, **{"timeout": 10.0} | hook), "run1", "web", "new", "live", 0, 1, "http://web.example.com"
    )


def python(code: str, at: Moment = Moment.BEFORE_TRAFFIC, **hook: Any) -> HookCall:
    return call(at, command=(sys.executable, "-c", code), **hook)


def runner(**known: Any) -> HookRunner:
    usual: dict[str, Any] = {"stack": "p/prod", "preview": lambda _: SECRET, "function": lambda *_: None}
    return HookRunner(**(usual | known))


def ends(running: HookRunner, what: HookCall) -> HookResult:
    for _ in range(40):
        result = running.run(what, 1.0)
        if result is not None:
            return result
    raise AssertionError("it does not end")


def is_gone(pid: int) -> bool:
    """Whether a process that was killed ends: a busy kernel takes its time."""
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def wait_for(path: Path) -> int:
    for _ in range(400):
        if path.exists() and path.read_text().strip():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} is not written")


def test_a_command_gets_the_document_and_no_secret_in_its_environment(tmp_path: Path) -> None:
    """A smoke test could not reach the candidate, or everything that it starts would know the secret."""
    got = tmp_path / "got"
    code = f"import json,os,sys; open({str(got)!r},'w').write(json.dumps([json.load(sys.stdin), dict(os.environ)]))"
    assert ends(runner(), python(code)) == HookResult(ok=True)
    document, environment = json.loads(got.read_text())
    assert document["preview"] == {"url": "http://web.example.com", "header": "X-Fleetswap-Release", "value": SECRET}
    assert (document["release"], document["previous"], document["stack"]) == ("new", "live", "p/prod")
    assert (environment["FLEETSWAP_MOMENT"], environment["FLEETSWAP_WEIGHT"]) == ("before-traffic", "0")
    assert not any("5up3r5ecret" in value for value in environment.values())
    assert ends(runner(), python(code, Moment.AFTER_STEP)).ok
    assert "preview" not in json.loads(got.read_text())[0], "nobody needs it then"


def test_a_failure_is_one_clean_line_without_the_secret() -> None:
    """A terminal would obey what a hook writes, or the log of CI show how to reach the candidate."""
    code = (
        "import json,sys; v=json.load(sys.stdin)['preview']['value']; print('x\\n'*9999);"
        "print('asked with', v); print('\\x1b[31mbad\\x07 \\x9b2J', v.split('.')[1]); sys.exit(3)"
    )
    result = ends(runner(), python(code))
    assert (result.ok, result.late) == (False, False)
    assert result.words == "exit status 3: x; asked with ***; bad 2J ***"
    assert last_words(b"\xff" + b"a" * 900, []).startswith("\N{HORIZONTAL ELLIPSIS}aaa")
    assert len(last_words(b"a" * 900, [])) == 401


def test_a_late_command_is_killed_with_all_that_it_has_started(tmp_path: Path) -> None:
    """A hook would go on working on what the rollout has restored."""
    pid = tmp_path / "pid"
    code = (
        f"import subprocess,time; p=subprocess.Popen(['sleep','300']); open({str(pid)!r},'w').write(str(p.pid));"
        "time.sleep(300)"
    )
    running, what = runner(), python(code, timeout=5)
    result = ends(running, what)
    assert (result.ok, result.late) == (False, True)
    assert is_gone(wait_for(pid))


def test_a_command_that_is_stopped_takes_its_group_with_it(tmp_path: Path) -> None:
    """After Ctrl-C or `fleetswap abort`, a hook would go on."""
    pid = tmp_path / "pid"
    code = f"import os,time; open({str(pid)!r},'w').write(str(os.getpid())); time.sleep(300)"
    running = runner()
    assert running.run(python(code), 0.1) is None
    number = wait_for(pid)
    running.stop()
    running.stop()
    for _ in range(200):
        if is_gone(number):
            return
        time.sleep(0.05)
    raise AssertionError("it lives")


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    """A forgotten child would hold the pipe, and a hook that has passed be late."""
    pid = tmp_path / "pid"
    code = f"import subprocess; p=subprocess.Popen(['sleep','300']); open({str(pid)!r},'w').write(str(p.pid))"
    assert ends(runner(), python(code)).ok
    assert is_gone(wait_for(pid))


def test_an_interruption_ends_the_wait() -> None:
    """Ctrl-C would be noticed when the hook is late."""
    running = runner(interrupted=lambda: True)
    began = threading.Event()
    assert running.run(python("import time; time.sleep(300)"), 300) is None
    running.stop()
    assert not began.is_set()


def test_a_command_that_cannot_start_says_why() -> None:
    """A spelling mistake would be a traceback."""
    result = ends(runner(), call(command=("./no-such-program",)))
    assert result == HookResult(ok=False, words="./no-such-program cannot be started: No such file or directory")


def test_each_call_is_started_once_and_its_result_stays() -> None:
    """Every poll would start the hook again."""
    running, what = runner(), python("import sys; sys.exit(1)")
    assert ends(running, what).words == "exit status 1"
    assert running.run(what, 0.0) == HookResult(ok=False, words="exit status 1")
    assert ends(running, replace(what, attempt=2, hook=Hook(Moment.END, ("true",)))).ok


def test_without_a_preview_rule_no_hook_starts() -> None:
    """A smoke test would try something else, and pass."""

    def throttled(_: str) -> str:
        raise TryAgain("throttled")

    def refused(_: str) -> str:
        raise CloudError("refused")

    with pytest.raises(TryAgain):
        runner(preview=throttled).run(python(""), 1.0)
    assert ends(runner(preview=refused), python("")).words == "refused"
    assert ends(runner(preview=lambda _: None), python("")).words == "the listener has no preview rule of new"


class Heard(BaseHTTPRequestHandler):
    """What a URL gets."""

    seen: list[tuple[str, dict[str, str], Any]] = []  # noqa: RUF012 - of the one server of a test

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((self.path, dict(self.headers), body))
        if self.path == "/slow":
            time.sleep(2)
        status = int(self.path[1:]) if self.path[1:].isdigit() else 204
        self.send_response(status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "10" if status != 204 else "0")
        self.end_headers()
        if status != 204:
            self.wfile.write(b"\x1b[1mno way\n")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Heard.seen = []
    with HTTPServer(("127.0.0.1", 0), Heard) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_a_url_gets_the_document_and_the_token_of_the_environment(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver could not know that it is us; or a redirect would take the token to someone else."""
    monkeypatch.setenv("HOOK_TOKEN", "t0ken")
    assert ends(runner(), call(url=f"{server}/in", **NAMED)).ok
    ((path, headers, body),) = Heard.seen
    assert (path, headers["Authorization"], headers["Content-Type"]) == ("/in", "Bearer t0ken", "application/json")
    assert body["preview"]["value"] == SECRET
    assert ends(runner(), call(Moment.END, url=f"{server}/500")).words == "status 500: no way"
    assert ends(runner(), call(url=f"{server}/302", **NAMED)).words == "status 302: no way"
    assert [path for path, *_ in Heard.seen] == ["/in", "/500", "/302"], "nothing is followed, nothing is repeated"
    monkeypatch.delenv("HOOK_TOKEN")
    missing = ends(runner(), call(url=f"{server}/in", **NAMED))
    assert missing.words == "the deployer has no environment variable HOOK_TOKEN"


@pytest.mark.parametrize("token", ["s3cret\nX-Other: 1", "s3cret\r", "s3cr\u20act", "s3cret\x00"])
def test_a_token_that_is_none_is_not_in_the_error(server: str, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A secret of two lines would be printed, recorded and sent to everyone who is notified."""
    monkeypatch.setattr(os, "environ", {**os.environ, "HOOK_TOKEN": token + "x"})
    refused = ends(runner(), call(url=f"{server}/in", **NAMED))
    assert refused.words == "the value of HOOK_TOKEN has characters that no token can have"


def test_a_url_that_does_not_respond_is_late_or_failed(server: str) -> None:
    """A rollout would wait for it for ever, or believe that it has passed."""
    assert ends(runner(), call(url=f"{server}/slow", timeout=0.5)) == HookResult(ok=False, late=True)
    closed = ends(runner(), call(url="http://127.0.0.1:1/"))
    assert (closed.ok, closed.late) == (False, False)
    assert "refused" in closed.words


class Lambda:
    """A stand-in for Lambda's client."""

    def __init__(self, payload: bytes = b"null", **response: Any) -> None:
        self.asked: list[dict[str, Any]] = []
        self._payload, self._response = payload, response

    def invoke(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if "raises" in self._response:
            raise self._response["raises"]
        return {"StatusCode": 200, "Payload": io.BytesIO(self._payload), **self._response}


def test_a_function_is_invoked_and_waited_for() -> None:
    """What the function finds would reach nobody."""
    client, made = Lambda(), list[tuple[str, float]]()

    def function(name: str, timeout: float) -> Lambda:
        made.append((name, timeout))
        return client

    assert ends(runner(function=function), call(function="smoke:live", timeout=7.0)).ok
    assert made == [("smoke:live", 7.0)]
    (asked,) = client.asked
    assert (asked["FunctionName"], asked["InvocationType"]) == ("smoke:live", "RequestResponse")
    assert json.loads(asked["Payload"])["preview"]["value"] == SECRET


DENIED = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "User: x is not authorized"}}, "Invoke")


@pytest.mark.parametrize(
    ("client", "words"),
    [
        (Lambda(b'{"errorMessage": "no\\nway", "errorType": "E"}', FunctionError="Unhandled"), "Unhandled: E no; way"),
        (Lambda(f"it says {SECRET}".encode(), FunctionError="Handled"), "Handled: it says ***"),
        (Lambda(b"[1]", FunctionError="Handled"), "Handled: [1]"),
        (Lambda(StatusCode=500), "status 500"),
        (Lambda(raises=DENIED), "allow lambda:InvokeFunction"),
    ],
)
def test_an_error_of_a_function_is_a_failure(client: Lambda, words: str) -> None:
    """Lambda returns 200 for a function that has raised: it would pass."""
    result = ends(runner(function=lambda *_: client), call(function="smoke"))
    assert not result.ok
    assert words in result.words


def test_a_function_that_is_late_is_not_waited_for() -> None:
    """Its own limit may be longer than the hook's."""

    class Slow(Lambda):
        def invoke(self, **_: Any) -> dict[str, Any]:
            time.sleep(3)
            return {}

    assert ends(runner(function=lambda *_: Slow()), call(function="f", timeout=0.3)) == HookResult(ok=False, late=True)


def test_a_defect_is_a_failure_too() -> None:
    """A thread would die in silence, and the hook be late for no reason."""
    assert ends(runner(function=lambda *_: 5), call(function="f")).words.startswith("AttributeError")


def test_what_is_said_of_a_defect_is_one_line() -> None:
    """An error's text could rewrite the terminal, or begin lines of its own in the log and the notification."""

    def broken(*_: object) -> None:
        raise RuntimeError("first\n\x1b[2Ksecond")

    def refused(_: str) -> None:
        raise CloudError("first\n\x1b[2Ksecond")

    for running in (runner(function=broken), runner(preview=refused)):
        words = ends(running, call(function="f")).words
        assert words.isprintable()
        assert "first" in words
