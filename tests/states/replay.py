"""Stand-in for AWS that replays recorded answers, and refuses every request that was not recorded.

It has no state: a request is answered the same each time, and one that would change something is not recorded.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
"""Where a signature names the service that a request is for (SigV4, the credential scope)."""


class Replay(ThreadingHTTPServer):
    """Answers at `endpoint`. `refused` holds the requests that have no answer, as they would stand in the recording."""

    daemon_threads = True

    def __init__(self, answers: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refused: list[str] = []
        self._answers = {_key(answer): answer for answer in answers}

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """The recorded answer; of an unknown request a refusal that no client tries again."""
        found = self._answers.get(_key(asked))
        if found is not None:
            return found
        told = json.dumps(asked)
        self.refused.append(told)
        if " " in asked["action"]:  # a method and a path: a service that speaks JSON
            headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": "NotRecorded"}
            return {"status": 400, "headers": headers, "body": json.dumps({"message": told})}
        code = f"<Code>NotRecorded</Code><Message>{escape(told)}</Message>"
        # EC2 has another envelope than the other services with the query protocol.
        body = f"<ErrorResponse><Error>{code}</Error></ErrorResponse>"
        if asked["service"] == "ec2":
            body = f"<Response><Errors><Error>{code}</Error></Errors></Response>"
        return {"status": 400, "headers": {"Content-Type": "text/xml"}, "body": body}


@contextmanager
def replay(answers: Sequence[Mapping[str, Any]]) -> Iterator[Replay]:
    """Answer requests until the end; whoever asks must look whether something was refused."""
    with Replay(answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _key(asked: Mapping[str, Any]) -> str:
    return json.dumps([asked["service"], asked["action"], asked["params"]], sort_keys=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        answer = cast("Replay", self.server).answer(self._asked(body))
        self.send_response_only(answer["status"])
        for name, value in answer["headers"].items():
            self.send_header(name, value)
        said = answer["body"].encode()
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _respond  # noqa: N815 - named by the base class

    def _asked(self, body: str) -> dict[str, Any]:
        """The request without what is another each time: signature, date, and the ids of tries.

        Services with the query protocol have the action in the form; the others in the method and the path.
        """
        scope = SCOPE.search(self.headers.get("Authorization", ""))
        service = scope[1] if scope else "nothing signed"
        form = dict(parse_qsl(body, keep_blank_values=True))
        if "Action" in form:
            form.pop("Version", None)
            return {"service": service, "action": form.pop("Action"), "params": form}
        url = urlsplit(self.path)
        params = dict(parse_qsl(url.query, keep_blank_values=True)) | ({"body": body} if body else {})
        return {"service": service, "action": f"{self.command} {url.path}", "params": params}

    def log_message(self, *_: object) -> None:
        """Say nothing."""
