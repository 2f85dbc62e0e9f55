"""Where every request of the local cloud passes before its service sees it: who is it, and may they?

Decides whether a request goes on. The root of the account may do all but what the policy of a role or of a key does not
let it, and what it asked for is recorded as everything is. What AWS does at this point besides is done here:
service-linked roles appear, and a dry run ends.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from localcloud.authorization import actions, asked, callers, checks, owners, questions, resources, signature, words
from localcloud.authorization.policies import Verdict, decide
from localcloud.faults import calls
from localcloud.moto_state import LOCK, REGION

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from localcloud.authorization.asked import Asked
    from localcloud.authorization.callers import Caller
    from localcloud.authorization.checks import Check
    from localcloud.authorization.record import Record
    from localcloud.authorization.signature import Signed

WRONG_SIGNATURE, OLD_SIGNATURE, MALFORMED = "wrong-signature", "old-signature", "malformed"
_UNSIGNED: Final = frozenset({"AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"})
"""What AWS takes without a signature: another proof is in the request (STS API reference)."""
VPC_ENDPOINT: Final = "localcloud.vpc_endpoint"
"""In the WSGI environment of a request that came through a VPC endpoint: its id."""
JUDGED: Final = "localcloud.judged"
"""In the WSGI environment of a request that was read: its caller, and what it asks for."""
OF_MACHINE: Final = "localcloud.of_machine"
"""In the WSGI environment of every request of a machine. A machine has no key but those that it was given."""


class Gate:
    """The WSGI application `inner`, for those who may. Decisions go into `record`."""

    def __init__(self, inner: WSGIApplication, record: Record) -> None:
        self._inner = inner
        self._record = record

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let a request through, or answer it with AWS's refusal."""
        signed = signature.read(environ)
        if signed is None and calls.service(environ) != "ebs":  # which has words of its own for it
            call = calls.identify(environ)
            if call.operation in _UNSIGNED and not asked.contradicts(environ, call):
                return self._inner(environ, start_response)
            return _answer(calls.refusal(call, "no-token"), environ, start_response, call)
        try:
            caller = _caller(signed, environ)
            region = signed.region if signed is not None else REGION
            request = asked.read(environ, region=region, account=caller.account)
            if not caller.root and asked.contradicts(environ, request.call):
                raise callers.Rejected(MALFORMED)
        except callers.Rejected as rejected:
            return _answer(calls.refusal(calls.identify(environ), rejected.fault), environ, start_response)
        environ[JUDGED] = (caller, request)
        with LOCK:
            refused = self._judge(caller, request, environ)
        if refused is not None:
            return _answer(refused, environ, start_response, request.call)
        return self._inner(environ, start_response)

    def _judge(self, caller: Caller, request: Asked, environ: WSGIEnvironment) -> calls.Refusal | None:
        listed = actions.listed(request.service, request.operation) is not None
        operation = f"{request.service}:{request.operation}"
        for check in questions.of(request):
            verdict = answer(caller, request, check, _keys(caller, request, environ))
            self._record.add(caller.arn, check.question, verdict, operation=operation, listed=listed)
            if not verdict.allowed:
                return words.denial(request.call, caller, check, verdict)
            if check.about == checks.LINKED:
                _make_linked_role(request, check)
        if request.service == "ec2" and request.parameters.get("DryRun") is True:
            return words.DRY_RUN
        return None


def _caller(signed: Signed | None, environ: WSGIEnvironment) -> Caller:
    """Who signed the request. Raises `Rejected`, also if it was not they, not this request or not now."""
    if signed is not None and signed.presigned:
        if environ.get("HTTP_AUTHORIZATION"):
            raise callers.Rejected(MALFORMED)
        environ["HTTP_AUTHORIZATION"] = signed.header  # by which moto finds the service and the account
    with LOCK:
        caller = callers.of(signed)
    if signed is not None and caller.root and environ.get(OF_MACHINE):
        raise callers.Rejected(callers.INVALID)
    # The body is read without the lock: a slow client must hold up nobody else.
    if signed is not None and caller.secret and not signature.genuine(signed, caller.secret, environ):
        raise callers.Rejected(WRONG_SIGNATURE)
    if signed is not None and caller.secret and not signature.timely(signed, datetime.now(UTC)):
        raise callers.Rejected(OLD_SIGNATURE)
    return caller


def answer(caller: Caller, request: Asked, check: Check, keys: dict[str, tuple[str, ...]]) -> Verdict:
    """The verdict on one question. `keys` are the condition keys of every request.

    The root, too, may not assume a role that does not trust its account, nor use a key whose policy does not let the
    account (KMS developer guide, "Key policies in AWS KMS": "No AWS principal, including the account root user").
    """
    action = check.question.action
    judged = action == "sts:AssumeRole" or action.startswith("kms:")
    if action in actions.FREE or (caller.root and not judged):
        return Verdict(allowed=True)
    policy, alone = owners.policy(request, action, check.question.resource)
    account = check.question.resource.split(":")[4] if alone else ""
    policies = replace(caller.policies, resource=policy, resource_account=account, only_resource=alone)
    return decide(check.question, {**keys, **check.question.context}, policies, caller.named)


def _keys(caller: Caller, request: Asked, environ: WSGIEnvironment) -> dict[str, tuple[str, ...]]:
    """The condition keys of every request (IAM user guide, "AWS global condition context keys").

    The local cloud speaks HTTP, and stands for HTTPS.
    """
    now = datetime.now(UTC)
    # Through an endpoint a request has no source address (VPC user guide, "Endpoint policies").
    endpoint = environ.get(VPC_ENDPOINT)
    source = ("aws:sourcevpce", endpoint) if endpoint else ("aws:sourceip", environ.get("REMOTE_ADDR", "127.0.0.1"))
    return {
        **caller.keys,
        "aws:requestedregion": (request.region,),
        source[0]: (source[1],),
        "aws:currenttime": (now.strftime("%Y-%m-%dT%H:%M:%SZ"),),
        "aws:epochtime": (str(int(now.timestamp())),),
        "aws:securetransport": ("true",),
        "aws:viaawsservice": ("false",),
        "aws:useragent": (environ.get("HTTP_USER_AGENT", ""),),
        "ec2:region": (request.region,),
    }


def _make_linked_role(request: Asked, check: Check) -> None:
    service = check.question.context["iam:awsservicename"][0]
    resources.moto(request, "iam").create_service_linked_role(service, "", "")


def _answer(
    refused: calls.Refusal, environ: WSGIEnvironment, start_response: StartResponse, call: calls.Call | None = None
) -> list[bytes]:
    headers, body = calls.answer(call or calls.identify(environ), refused)
    start_response(f"{refused.status} {HTTPStatus(refused.status).phrase}", headers)
    return [body]
