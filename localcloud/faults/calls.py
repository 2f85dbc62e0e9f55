"""Which operation of which AWS service a request asks for, and how that service words a refusal.

Decides from the signature's scope, the path and the body, as botocore's models describe them (ec2, query, json and
rest-json protocols). Never answers a request and never verifies a signature.
"""

from __future__ import annotations

import functools
import json
import re
import secrets
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.session import get_session

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

FORM: Final = "application/x-www-form-urlencoded"
_BY_SIGNING_NAME: Final = {
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
}
_PREFIXES: Final = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}
"""How IAM calls a service, where it is not as botocore does (Service Authorization Reference)."""


@dataclass(frozen=True)
class Call:
    """A request's service and operation, in botocore's names; empty if it cannot be told."""

    service: str
    operation: str
    protocol: str  # ec2, query, json, rest-json or rest-xml
    form: str = ""  # the body, unless it is a block's

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, by its name."""
        return self.operation.startswith(("Describe", "Get", "List"))


@dataclass(frozen=True)
class Refusal:
    """An error in a service's words. `reason` is EBS direct's."""

    status: int
    code: str
    message: str
    reason: str = ""


def service(environ: WSGIEnvironment) -> str:
    """The service of a request: that of its signature, and of an unsigned one EBS direct if it has such a path."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    presigned = parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential")
    if presigned or "Credential=" in authorization:
        credential = presigned[0] if presigned else authorization.split("Credential=", 1)[1].split(",", 1)[0]
        scope = credential.split("/")
        name = scope[3] if len(scope) == 5 else ""
        return _BY_SIGNING_NAME.get(name, name)
    return "ebs" if environ["PATH_INFO"].split("/")[1:2] == ["snapshots"] else ""


def identify(environ: WSGIEnvironment) -> Call:
    """What a request asks for. A body that says it is read, and put back for whoever reads it next."""
    name = service(environ)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target or environ.get("CONTENT_TYPE", "").lower().startswith(FORM):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = BytesIO(body)
        form = body.decode("utf-8", errors="replace")
        if target:
            return Call(name, target.rpartition(".")[2], "json", form)
        action = parse_qs(form).get("Action", [""])[0]
        return Call(name, action, "ec2" if name == "ec2" else "query", form)
    for method, pattern, operation in _paths(name):
        if method == environ["REQUEST_METHOD"] and pattern.fullmatch(environ["PATH_INFO"]):
            return Call(name, operation, "rest-json")
    return Call(name, parse_qs(environ.get("QUERY_STRING", "")).get("Action", [""])[0], "query")


@functools.cache
def _paths(name: str) -> tuple[tuple[str, re.Pattern[str], str], ...]:
    """(method, path, operation) of a service of the rest-json protocol; none of any other."""
    try:
        model = get_session().get_service_model(name) if name else None
    except UnknownServiceError:
        return ()
    if model is None or model.protocol != "rest-json":
        return ()
    found = []
    for operation in model.operation_names:
        http = model.operation_model(operation).http
        literal = re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(http["requestUri"].partition("?")[0]))
        found.append((http["method"], re.compile(literal), operation))
    return tuple(found)


_NOT_YOU: Final = "You are not authorized to perform this operation."
_DENIED: Final = (
    "User: arn:aws:iam::123456789012:user/local is not authorized to perform: {action}"
    " because no identity-based policy allows the {action} action"
)
"""IAM user guide, "Access denied error message examples"."""

_INVALID: Final = "The security token included in the request is invalid"
_UNSIGNED: Final = "Request is missing Authentication Token"
_OF_EC2: Final = "AWS was not able to validate the provided access credentials"
_WRONG: Final = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details."
)
_OLD: Final = "Signature expired"
_MALFORMED: Final = "The request says twice what it asks for"

_WORDS: Final[dict[str, dict[str, Refusal]]] = {
    # EC2 API reference, "Common client error codes".
    "ec2": {
        "throttle": Refusal(503, "RequestLimitExceeded", "Request limit exceeded."),
        "error-500": Refusal(500, "InternalError", "An internal error has occurred"),
        "error-503": Refusal(503, "Unavailable", "The server is overloaded and can't handle the request."),
        "access-denied": Refusal(403, "UnauthorizedOperation", f"{_NOT_YOU} {_DENIED}"),
        "expired-token": Refusal(400, "RequestExpired", "Request has expired."),
        "invalid-token": Refusal(401, "AuthFailure", _OF_EC2),
        "wrong-signature": Refusal(401, "AuthFailure", _OF_EC2),
        "old-signature": Refusal(400, "RequestExpired", "Request has expired."),
        "malformed": Refusal(400, "InvalidQueryParameter", _MALFORMED),
    },
    # EBS direct API reference, "Common errors"; the reasons are botocore's enumerations.
    "ebs": {
        "throttle": Refusal(400, "RequestThrottledException", "Rate exceeded.", "ACCOUNT_THROTTLED"),
        "error-500": Refusal(500, "InternalServerException", "An internal error has occurred."),
        "error-503": Refusal(503, "ServiceUnavailable", "The service is unavailable."),
        "access-denied": Refusal(403, "AccessDeniedException", _DENIED),
        "expired-token": Refusal(403, "ExpiredTokenException", "The security token included in the request is expired"),
        "invalid-token": Refusal(403, "UnrecognizedClientException", _INVALID),
        "wrong-signature": Refusal(403, "InvalidSignatureException", _WRONG),
        "old-signature": Refusal(403, "InvalidSignatureException", _OLD),
        "malformed": Refusal(400, "ValidationException", _MALFORMED),
        "not-found": Refusal(404, "ResourceNotFoundException", "The snapshot does not exist.", "SNAPSHOT_NOT_FOUND"),
    },
    # Common errors of the query APIs (Auto Scaling, Elastic Load Balancing, IAM, STS).
    "query": {
        "throttle": Refusal(400, "Throttling", "Rate exceeded"),
        "error-500": Refusal(500, "InternalFailure", "The request processing has failed because of an unknown error."),
        "error-503": Refusal(503, "ServiceUnavailable", "The request has failed due to a temporary failure."),
        "access-denied": Refusal(403, "AccessDenied", _DENIED),
        "expired-token": Refusal(403, "ExpiredToken", "The security token included in the request is expired"),
        "invalid-token": Refusal(403, "InvalidClientTokenId", _INVALID),
        "wrong-signature": Refusal(403, "SignatureDoesNotMatch", _WRONG),
        "old-signature": Refusal(403, "SignatureDoesNotMatch", _OLD),
        "malformed": Refusal(400, "MalformedQueryString", _MALFORMED),
        "no-token": Refusal(403, "MissingAuthenticationToken", _UNSIGNED),
    },
    # SNS API reference, Publish.
    "sns": {
        "throttle": Refusal(429, "Throttled", "Rate exceeded"),
        "error-500": Refusal(500, "InternalError", "Internal error"),
        "error-503": Refusal(503, "ServiceUnavailable", "The request has failed due to a temporary failure."),
        "access-denied": Refusal(403, "AuthorizationError", _DENIED),
        "expired-token": Refusal(403, "ExpiredToken", "The security token included in the request is expired"),
        "invalid-token": Refusal(403, "InvalidClientTokenId", _INVALID),
        "wrong-signature": Refusal(403, "SignatureDoesNotMatch", _WRONG),
        "old-signature": Refusal(403, "SignatureDoesNotMatch", _OLD),
        "malformed": Refusal(400, "MalformedQueryString", _MALFORMED),
        "no-token": Refusal(403, "MissingAuthenticationToken", _UNSIGNED),
    },
    "json": {
        "throttle": Refusal(400, "ThrottlingException", "Rate exceeded"),
        "error-500": Refusal(500, "InternalServerException", "An internal error has occurred."),
        "error-503": Refusal(503, "ServiceUnavailableException", "The service is unavailable."),
        "access-denied": Refusal(400, "AccessDeniedException", _DENIED),
        "expired-token": Refusal(400, "ExpiredTokenException", "The security token included in the request is expired"),
        "invalid-token": Refusal(400, "UnrecognizedClientException", _INVALID),
        "wrong-signature": Refusal(400, "InvalidSignatureException", _WRONG),
        "old-signature": Refusal(400, "InvalidSignatureException", _OLD),
        "malformed": Refusal(400, "SerializationException", _MALFORMED),
        "no-token": Refusal(400, "MissingAuthenticationTokenException", _UNSIGNED),
    },
}
_WORDS["rest-json"] = {
    **_WORDS["json"],
    "throttle": Refusal(429, "ThrottlingException", "Rate exceeded"),
    "access-denied": Refusal(403, "AccessDeniedException", _DENIED),
    "invalid-token": Refusal(403, "UnrecognizedClientException", _INVALID),
    "wrong-signature": Refusal(403, "InvalidSignatureException", _WRONG),
    "old-signature": Refusal(403, "InvalidSignatureException", _OLD),
}
# KMS API reference, the errors of Decrypt; developer guide, "Throttling AWS KMS requests".
_WORDS["kms"] = {
    **_WORDS["json"],
    "throttle": Refusal(
        400,
        "ThrottlingException",
        "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
    ),
    "error-500": Refusal(500, "KMSInternalException", "An internal exception occurred. The request can be retried."),
    "error-503": Refusal(
        503, "DependencyTimeoutException", "The system timed out while trying to fulfill the request."
    ),
}
_WORDS["rest-xml"] = _WORDS["query"]  # Route 53's
_WORDS["s3"] = {
    **_WORDS["query"],
    "old-signature": Refusal(
        403, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
    ),
    "invalid-token": Refusal(
        403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."
    ),
}

# What is not found, by a word of the operation's name; the first that fits.
_MISSING: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "ec2": {
        "Snapshot": (400, "InvalidSnapshot.NotFound"),
        "Image": (400, "InvalidAMIID.NotFound"),
        "LaunchTemplate": (400, "InvalidLaunchTemplateId.NotFound"),
        "SecurityGroup": (400, "InvalidGroup.NotFound"),
        "Subnet": (400, "InvalidSubnetID.NotFound"),
        "Volume": (400, "InvalidVolume.NotFound"),
        "Vpc": (400, "InvalidVpcID.NotFound"),
        "": (400, "InvalidInstanceID.NotFound"),
    },
    "elbv2": {
        "Rule": (400, "RuleNotFound"),
        "Listener": (400, "ListenerNotFound"),
        "Target": (400, "TargetGroupNotFound"),
        "": (400, "LoadBalancerNotFound"),
    },
    "autoscaling": {"": (400, "ValidationError")},
    "iam": {"": (404, "NoSuchEntity")},
    "kms": {"": (400, "NotFoundException")},
    "sns": {"": (404, "NotFound")},
    "": {"": (404, "ResourceNotFoundException")},
}


_NO_GROUP: Final = "AutoScalingGroup name not found - null"
"""Auto Scaling has no code for it; the words are as users met them (terraform-provider-aws compares them)."""


def refusal(call: Call, fault: str) -> Refusal:
    """How the service of a call words a fault such as `throttle` (see `faults.REFUSALS`)."""
    if fault == "launch-denied":  # words as users met them: terraform-aws-modules/terraform-aws-eks issue 822
        template = re.search(r"LaunchTemplateId=(lt-\w+)", call.form)
        named = template[1] if template else ""
        return Refusal(403, "AccessDenied", f"You are not authorized to use launch template: {named}")
    words = _WORDS.get(call.service) or _WORDS[call.protocol]
    if fault in words:
        found = words[fault]
        action = f"{_PREFIXES.get(call.service, call.service)}:{call.operation}"
        message = found.message.format(action=action)
        return Refusal(found.status, found.code, message, found.reason)
    missing = _MISSING.get(call.service) or _MISSING[""]
    status, code = next(found for word, found in missing.items() if word in call.operation)
    message = _NO_GROUP if call.service == "autoscaling" else "What the request names does not exist"
    return Refusal(status, code, message)


def answer(call: Call, refused: Refusal) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of a refusal, as the call's protocol has them."""
    request_id = secrets.token_hex(16)
    code, message = escape(refused.code), escape(refused.message)
    if call.protocol == "ec2":
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        return [("Content-Type", "text/xml;charset=UTF-8")], body.encode()
    if call.service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        return [("Content-Type", "application/xml"), ("x-amz-request-id", request_id)], body.encode()
    if call.protocol in {"query", "rest-xml"}:
        side = "Sender" if refused.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return [("Content-Type", "text/xml"), ("x-amzn-RequestId", request_id)], body.encode()
    shown = {"__type": refused.code, "message": refused.message, "Message": refused.message}
    if refused.reason:
        shown["Reason"] = refused.reason
    headers = [
        ("Content-Type", "application/x-amz-json-1.0" if call.protocol == "json" else "application/json"),
        ("x-amzn-ErrorType", refused.code),
        ("x-amzn-RequestId", request_id),
    ]
    return headers, json.dumps(shown).encode()
