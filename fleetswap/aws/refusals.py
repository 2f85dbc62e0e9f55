"""What an error answer of EBS direct or EC2 means: a throttle, a failure that may pass, absence, or a refusal.

It decides from code, reason, status and message alone, whichever client read them, and says it in one line that names
what was being done and, where one is missing, the permission. It makes no call, waits for nothing and tries nothing
again. The codes are those of the API references (EBS direct: "Errors" of each action, and the exceptions of botocore's
model; EC2: "Error codes").
"""

from __future__ import annotations

import re

from fleetswap.domain.errors import CloudError, Invalid, NotFound, Throttled, TryAgain

THROTTLES = frozenset(
    {
        # EBS direct: the first is the snapshot's limit, the second the account's (API reference, PutSnapshotBlock).
        "RequestThrottledException",
        "ThrottlingException",
        # EC2 (API reference, "Error codes"); the others are what a proxy or an older front end says.
        "RequestLimitExceeded",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
    }
)

PASSING = frozenset({"RequestTimeout", "RequestTimeoutException"})
"""Codes of a 400 that pass by themselves: the request came too slowly ("Common errors" of every AWS API)."""

PASSING_REASONS = frozenset({"CONFLICTING_BLOCK_UPDATE", "WRITE_REQUEST_TIMEOUT"})
"""Reasons of a ValidationException that the request itself is innocent of: an earlier attempt at the same block, whose
answer was lost, is still being written; or the write took too long (API reference, ValidationException)."""

DENIALS = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"})

DEPENDENCY = "DEPENDENCY_ACCESS_DENIED"
"""The reason of an AccessDeniedException that is KMS's: no right of EBS is missing (API reference, the exception)."""

ON_THE_KEY = "kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt*"
"""What EBS encryption needs on the key (EBS user guide, "Requirements for Amazon EBS encryption")."""

CREDENTIALS = (EOFError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What botocore lets through when credentials cannot be had: a question for an MFA code that nobody is there to answer,
a token file that is not there. Its own connections never raise these."""

QUOTAS = {
    "ServiceQuotaExceededException": "a quota of the account is used up",
    "ConcurrentLimitExceededException": "the account has as many pending snapshots as it may have (100 by default)",
}

ABSENT = frozenset({"ResourceNotFoundException", "InvalidSnapshot.NotFound"})

ABSENT_REASONS = frozenset({None, "", "SNAPSHOT_NOT_FOUND"})
"""A ResourceNotFoundException may also be about a key or a grant; that does not pass (ResourceNotFoundException)."""

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
"""The session token is too old. Newer credentials help; the same ones never will ("Common errors")."""

SKEWED = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
"""The time that the request was signed at is too far from the service's own ("Common errors")."""

SIGNATURES = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch"})
"""Codes that may mean the same, or a wrong secret: then only the message tells."""


def expired(code: str) -> bool:
    """Whether newer credentials would help."""
    return code in EXPIRED


def skewed(code: str, message: str) -> bool:
    """Whether the service found the time of signing wrong: the answer's `Date` header then says the right one."""
    if code in SKEWED:
        return True
    return code in SIGNATURES and re.search(r"signature (expired|not yet current)", message, re.IGNORECASE) is not None


def refusal(
    doing: str,
    permissions: tuple[str, ...],
    *,
    code: str,
    message: str = "",
    reason: str | None = None,
    status: int = 0,
) -> CloudError:
    """The error to raise for an error answer to what was being done.

    `permissions` are the IAM actions that it needs. `reason` is the member of that name that EBS direct's exceptions
    have; `status` is HTTP's, 0 if unknown. The message is one line and begins with `doing`.
    """
    message = one_line(message) or "no reason given"
    text = f"{doing}: {code or f'status {status}'}: {message}"
    if code in ABSENT and reason in ABSENT_REASONS:
        return NotFound(text)
    if code in THROTTLES or status == 429:
        return Throttled(text)
    passing = code in PASSING or (code == "ValidationException" and reason in PASSING_REASONS)
    if passing or status == 408 or status >= 500:
        return TryAgain(text)
    if code == "ValidationException":
        return Invalid(text, reason)
    return CloudError(_final(doing, permissions, code, message, reason, text))


def no_credentials(error: BaseException) -> str:
    """What to say of one of `CREDENTIALS`."""
    if isinstance(error, EOFError):
        return "the AWS profile asks for an MFA code, and there is no terminal: log in first, and hand over the session"
    return f"the AWS credentials cannot be read ({one_line(error)}): correct the profile or the AWS_* variables"


def lasting(error: BaseException) -> str | None:
    """What to say, with the remedy, of a connection that will fail however often it is tried; None if it may pass.

    botocore has no error of its own for these, so its words are looked at.
    """
    told = one_line(error)
    cause = one_line(getattr(error, "kwargs", {}).get("error", ""))  # which botocore's words about a proxy leave out
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return f"{told}: name the right authorities with AWS_CA_BUNDLE"
    if re.search(r"\b407\b", cause):
        return "the proxy wants another password: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    if "Invalid header value" in told:  # the value itself is not repeated: it is made of credentials
        return "the AWS credentials hold a line break, or a character that no header may have: correct them"
    return None


def _final(doing: str, permissions: tuple[str, ...], code: str, message: str, reason: str | None, text: str) -> str:
    if code in DENIALS and reason == DEPENDENCY:
        return f"{doing}: KMS denies access: allow {ON_THE_KEY} on the key, here and in its policy ({message})"
    if code in DENIALS:
        # AWS often says which action it was, e.g. one on the KMS key; then it knows better.
        told = re.search(r"not authorized to perform: ([\w-]+:\w+)", message)
        missing = told.group(1) if told else " and ".join(permissions)
        return f"{doing}: access denied: allow {missing} ({message})"
    if code in QUOTAS:
        return f"{doing}: {QUOTAS[code]}: wait, clean up, or ask for more in Service Quotas ({message})"
    if expired(code):
        return f"{text}: the credentials have expired: log in again, and run again"
    if skewed(code, message):
        return f"{text}: the clock of this machine is wrong: set it, and run again"
    return text


def one_line(text: object) -> str:
    """`text` without line breaks and runs of spaces."""
    return " ".join(str(text).split())
