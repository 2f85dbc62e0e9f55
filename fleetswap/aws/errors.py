"""What an AWS error means and what to do about it: one meaning and one remedy for each, in every part of Fleetswap.

Every call goes through here: boto3's (`explained`, `explaining`) and PutSnapshotBlock, which has our own client
(`refusal`). This module judges the error alone. It makes no call, and it never waits or retries: botocore has done that
(`fleetswap.aws.session`), or the workflow will. The message is one line: what was being done, with its IDs, what is
wrong, the remedy, and AWS's own words in brackets.

Sources of the codes: "Common error types" of each API reference (Auto Scaling, CloudWatch, EBS direct, Elastic Load
Balancing, Scheduler, SNS, STS), "Error codes for the Amazon EC2 API", the errors of each action, botocore's models of
the services, and its list of throttles (`botocore.retries.standard`). Where a code means more than its description
says, the entry explains it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from botocore.exceptions import (
    BotoCoreError,
    CapacityNotAvailableError,
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    InvalidConfigError,
    LoginError,
    LoginInsufficientPermissions,
    MetadataRetrievalError,
    NoAuthTokenError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    RefreshWithMFAUnsupportedError,
    SSOError,
    TokenRetrievalError,
    UnknownCredentialError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError

from fleetswap.domain.errors import CloudError, Invalid, NotFound, Throttled, TryAgain
from fleetswap.domain.text import one_line

LONGEST = 600
"""Characters of AWS's or botocore's own words. A denial has about 400; botocore repeats the page of a proxy whole."""


class Meaning(Enum):
    """What an error means: the class that is raised, what is said, and the remedy."""

    THROTTLED = Throttled, "AWS throttles the requests", "try again later"
    UNAVAILABLE = TryAgain, "AWS cannot answer right now", "try again later"
    BUSY = TryAgain, "another change is in progress", "try again when it has ended"
    UNREADABLE = TryAgain, "the response of AWS cannot be read", "try again later"
    NO_ANSWER = TryAgain, "no answer from AWS", "check the network and the endpoint, then try again"
    NOT_RENEWED = TryAgain, "the AWS credentials cannot be renewed", "check where the profile takes them from"
    NOT_FOUND = NotFound, "not found", "check the ID and the region; it may have been deleted"
    INVALID = Invalid, "AWS refused the request", ""
    DENIED = CloudError, "access denied", "allow {allow}"
    KEY_DENIED = CloudError, "KMS denies access", "allow {allow} on the key, in your IAM policy and in the key's"
    EXPIRED = CloudError, "the AWS credentials have expired", "log in again, for example with `aws sso login`"
    EXPIRED_OR_SKEWED = (
        CloudError,
        "the AWS credentials have expired, or the clock of this computer is wrong",
        "log in again, for example with `aws sso login`, or set the clock",
    )
    SKEWED = CloudError, "the clock of this computer is wrong", "set it, and try again"
    NO_CREDENTIALS = CloudError, "no AWS credentials", "set AWS_PROFILE, or log in with `aws sso login`"
    NOT_ACCEPTED = (
        CloudError,
        "AWS does not accept the credentials",
        "correct the profile or the AWS_* variables, enable the region in the account, or set this computer's clock",
    )
    NOT_ENABLED = (
        CloudError,
        "the account cannot use this service or region",
        "enable it in the account's settings, or ask AWS Support",
    )
    QUOTA = CloudError, "a quota of the account is used up", "delete what is not needed, or raise it in Service Quotas"
    SETTINGS = CloudError, "the AWS configuration is not valid", "correct the profile or the AWS_* variables"
    NOT_SENT = CloudError, "the request could not be sent", ""
    OTHER = CloudError, "AWS refused the request", ""

    def __init__(self, error: type[CloudError], what: str, remedy: str) -> None:
        self.error = error
        self.what = what
        self.remedy = remedy

    @property
    def may_be_expiry(self) -> bool:
        """Whether newer credentials may help."""
        return self in (Meaning.EXPIRED, Meaning.EXPIRED_OR_SKEWED)

    @property
    def may_be_skew(self) -> bool:
        """Whether the right time may help: the answer's `Date` header has it."""
        return self in (Meaning.SKEWED, Meaning.EXPIRED_OR_SKEWED)


_CODES = {
    Meaning.THROTTLED: (
        # EBS direct: the first is the snapshot's quota, the second the account's (PutSnapshotBlock).
        *("RequestThrottledException", "ThrottlingException"),
        "RequestLimitExceeded",  # EC2
        *("Throttling", "ThrottledException", "RequestThrottled", "TooManyRequestsException"),
        "Throttled",  # SNS
        *("BandwidthLimitExceeded", "EC2ThrottledException", "SlowDown"),
    ),
    Meaning.UNAVAILABLE: (
        # Of status 400: the request came too slowly. What has a status of 500 or more needs no name.
        *("RequestTimeout", "RequestTimeoutException", "RequestAbortedException"),
        "IDPCommunicationError",  # STS
    ),
    Meaning.BUSY: (
        *("ResourceContention", "ScalingActivityInProgress", "IdempotentCallInProgress"),  # Auto Scaling
        "PriorRequestNotComplete",  # ELBv2
        *("ConcurrentAccess", "ConcurrentModificationException"),  # SNS, CloudWatch
    ),
    Meaning.DENIED: (
        *("AccessDenied", "AccessDeniedException", "NotAuthorized"),
        "Forbidden",  # CloudWatch, the StatusCode of a result of GetMetricData
        "UnauthorizedOperation",  # EC2
        "AuthorizationError",  # SNS
        "ForbiddenException",  # IAM Identity Center, GetRoleCredentials
    ),
    Meaning.KEY_DENIED: ("KMSAccessDenied", "KmsAccessDeniedException"),
    Meaning.EXPIRED: ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"),
    # By its description only the clock is wrong; EC2 says it of session tokens as well (aws-sdk-go pull request 253).
    Meaning.EXPIRED_OR_SKEWED: ("RequestExpired",),
    Meaning.SKEWED: ("RequestTimeTooSkewed", "RequestInTheFuture"),
    Meaning.NOT_ACCEPTED: (
        *("InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "MissingAuthenticationToken"),
        *("IncompleteSignature", "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSecurity"),
    ),
    Meaning.NOT_ENABLED: (
        *("OptInRequired", "SubscriptionRequiredException"),
        *("Blocked", "PendingVerification"),  # EC2
        "RegionDisabledException",  # STS
    ),
    Meaning.QUOTA: ("ServiceQuotaExceededException", "TargetGroupAssociationLimit"),
    Meaning.INVALID: ("ValidationException", "ValidationError"),
    Meaning.NOT_FOUND: ("ResourceNotFoundException",),
}
_MEANINGS = {code: meaning for meaning, codes in _CODES.items() for code in codes}

_WHAT = {"ConcurrentLimitExceededException": "too many snapshots are pending in the account (100 by default)"}
"""What is wrong, where a code says more than its meaning (EBS direct, StartSnapshot)."""

_QUOTA = re.compile(r"(?!Request|Bandwidth)\w*LimitExceeded(Exception)?|TooMany(?!Requests)\w+")
"""How AWS names the error of a used-up quota (ELBv2: TooManyRules; EC2: SnapshotLimitExceeded; EBS direct:
ConcurrentLimitExceededException, the pending snapshots; Auto Scaling, CloudWatch: LimitExceeded)."""

_NOT_FOUND = re.compile(r"(?!KMS|Kms|InvalidKms)(\w+\.?)?NotFound(Exception)?|NoSuchEntity")
"""How AWS names the error of a missing resource (EC2: InvalidSnapshot.NotFound; ELBv2: RuleNotFound; SNS: NotFound)."""

_NO_GROUP = re.compile(r"\bname not found\b", re.IGNORECASE)
"""Of a ValidationError: Auto Scaling has no code for a group that does not exist (terraform-provider-aws compares the
same words)."""

_NOT_FOUND_REASONS = frozenset({None, "", "SNAPSHOT_NOT_FOUND"})
"""A ResourceNotFoundException of EBS direct may also be about a key or a grant, which does not pass."""

_PASSING_REASONS = frozenset({"CONFLICTING_BLOCK_UPDATE", "WRITE_REQUEST_TIMEOUT"})
"""Reasons of a ValidationException that the request itself is innocent of: an earlier attempt at the same block, whose
answer was lost, is still being written; or the write took too long (EBS direct, ValidationException)."""

DEPENDENCY = "DEPENDENCY_ACCESS_DENIED"
"""The reason of an AccessDeniedException that is KMS's: no right of EBS is missing (EBS direct, the exception)."""

_SKEW = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)
"""A wrong signature may be one of a wrong time or of a wrong secret: only the message tells."""

_KEYS_OF_EC2 = re.compile(r"validate the provided (access )?credentials", re.IGNORECASE)
"""Of an AuthFailure: EC2 says it also of what belongs to another account. The region may be one that is not enabled
(AWS re:Post, "AWS was not able to validate the provided access credentials")."""

_TOLD = re.compile(r"not authorized to perform: ([\w-]+:[\w*]+)(?: on resource: (\S+))?")
_EXPLICIT = re.compile(r"with an explicit deny in (an? [\w -]*?(?:policy|boundary))")
_LIMIT = re.compile(r"because no ((?!identity-based)[\w -]*?(?:policy|boundary)) allows")
"""What AWS says of a denial (IAM user guide, "Troubleshoot access denied error messages")."""

_ENCODED = re.compile(r"\s*Encoded authorization failure message: \S+")
"""Hundreds of characters that only `aws sts decode-authorization-message` can read."""

_KEY_RIGHTS = {
    "sns": "kms:GenerateDataKey* and kms:Decrypt",
    "ebs": "kms:CreateGrant, kms:Decrypt, kms:DescribeKey, kms:GenerateDataKeyWithoutPlaintext and kms:ReEncrypt*",
}
"""What a service needs on a customer managed key (SNS developer guide, "Key management"; EBS user guide, "Requirements
for Amazon EBS encryption")."""

_EXCEPTIONS: tuple[tuple[type[Exception], Meaning], ...] = (
    (NoCredentialsError, Meaning.NO_CREDENTIALS),
    (PartialCredentialsError, Meaning.NO_CREDENTIALS),
    (NoAuthTokenError, Meaning.NO_CREDENTIALS),
    (LoginInsufficientPermissions, Meaning.NOT_SENT),
    (LoginError, Meaning.EXPIRED),
    (SSOError, Meaning.EXPIRED),
    (TokenRetrievalError, Meaning.EXPIRED),
    (RefreshWithMFAUnsupportedError, Meaning.EXPIRED),
    (CredentialRetrievalError, Meaning.NOT_RENEWED),
    (MetadataRetrievalError, Meaning.NOT_RENEWED),
    (ProfileNotFound, Meaning.SETTINGS),
    (ConfigNotFound, Meaning.SETTINGS),
    (ConfigParseError, Meaning.SETTINGS),
    (InvalidConfigError, Meaning.SETTINGS),
    (UnknownCredentialError, Meaning.SETTINGS),
    (NoRegionError, Meaning.SETTINGS),
    (HTTPClientError, Meaning.NO_ANSWER),
    (NoConnectionError, Meaning.NO_ANSWER),
    (IncompleteReadError, Meaning.NO_ANSWER),
    (CapacityNotAvailableError, Meaning.NO_ANSWER),
    (ResponseParserError, Meaning.UNREADABLE),
    (UnicodeDecodeError, Meaning.UNREADABLE),
    (BotoCoreError, Meaning.NOT_SENT),
)
"""What botocore itself raises; the first that fits. The services' errors are ClientError, by code."""

_OF_CREDENTIALS = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "CreateOAuth2Token", "CreateToken", "GetRoleCredentials"}
)
"""What botocore calls by itself, inside of another call, to get credentials (botocore.credentials, tokens). What these
do not find is a role or an account of the profile, and not what the other call is about."""

_UNREADABLE = (EOFError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
"""What botocore lets through when credentials cannot be had: a question for an MFA code that nobody is there to answer,
a token file that is not there. Its own connections never raise these."""

ERRORS = (ClientError, BotoCoreError, ResponseParserError, UnicodeDecodeError, *_UNREADABLE)
"""What `meant` understands."""


@contextmanager
def explained(permission: str, thing: str) -> Iterator[None]:
    """Turn the errors of one call into `CloudError` and its kinds.

    `permission` is the IAM action that the call needs, `thing` the id that it is about.
    """
    with explaining(f"{permission} on {thing}", permission):
        yield


@contextmanager
def explaining(doing: str, *permissions: str) -> Iterator[None]:
    """The same in words: what is being done, with its ids, and the IAM actions that it needs."""
    try:
        yield
    except ERRORS as error:
        raise meant(error, doing, permissions) from error


def meant(error: Exception, doing: str, permissions: tuple[str, ...] = ()) -> CloudError:
    """What one of `ERRORS` means."""
    if isinstance(error, ClientError):
        told = error.response.get("Error", {})
        reason = error.response.get("Reason")  # botocore puts the members of a modelled error beside "Error"
        is_own = error.operation_name not in _OF_CREDENTIALS
        refused = refusal(
            doing,
            permissions if is_own else (),
            code=code(error),
            message=told.get("Message", ""),
            reason=reason if isinstance(reason, str) else None,
            status=error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0),
        )
        if is_own or not isinstance(refused, NotFound | Invalid):
            return refused
        return CloudError(_line(doing, Meaning.SETTINGS.what, Meaning.SETTINGS.remedy, one_line(error)))
    if isinstance(error, EOFError):
        return CloudError(_line(doing, "the profile asks for an MFA code, and there is no terminal", "log in first"))
    if isinstance(error, _UNREADABLE):
        return CloudError(_line(doing, "the AWS credentials cannot be read", Meaning.SETTINGS.remedy, one_line(error)))
    if (lasting := _lasting(error)) is not None:
        return CloudError(_line(doing, lasting))
    means = next(meaning for kind, meaning in _EXCEPTIONS if isinstance(error, kind))
    return means.error(_line(doing, means.what, means.remedy, _words(error)))


def refusal(
    doing: str,
    permissions: tuple[str, ...],
    *,
    code: str,
    message: str = "",
    reason: str | None = None,
    status: int = 0,
) -> CloudError:
    """What an error answer means. `reason` is the member of that name that EBS direct's exceptions have.

    `status` is HTTP's, 0 if unknown.
    """
    message = one_line(message)
    means = meaning(code, message, reason=reason, status=status)
    what, remedy = _WHAT.get(code, means.what), means.remedy
    if means is Meaning.DENIED:
        remedy = _allow(permissions, message)
    elif means is Meaning.KEY_DENIED:
        service = permissions[0].partition(":")[0] if permissions else ""
        remedy = remedy.format(allow=_KEY_RIGHTS.get(service, _KEY_RIGHTS["ebs"]))
    told = ": ".join(part for part in (code or f"status {status}", _ENCODED.sub("", message)) if part)
    text = _line(doing, what, remedy, told)
    return Invalid(text, reason) if means is Meaning.INVALID else means.error(text)


def meaning(code: str, message: str = "", *, reason: str | None = None, status: int = 0) -> Meaning:  # noqa: PLR0911 - a table
    """The meaning of an error code, whose service, reason, message or status may decide where it is ambiguous."""
    found = _MEANINGS.get(code)
    match found:
        case Meaning.DENIED if reason == DEPENDENCY:
            return Meaning.KEY_DENIED
        case Meaning.NOT_ACCEPTED if _SKEW.search(message):
            return Meaning.SKEWED
        case Meaning.NOT_FOUND if reason not in _NOT_FOUND_REASONS:
            return Meaning.OTHER
        case Meaning.INVALID if reason in _PASSING_REASONS:
            return Meaning.UNAVAILABLE
        case Meaning.INVALID if code == "ValidationError" and _NO_GROUP.search(message):
            return Meaning.NOT_FOUND
        case None:
            return _by_name(code, message, status)
    return found


def _by_name(code: str, message: str, status: int) -> Meaning:
    if _QUOTA.fullmatch(code):
        return Meaning.QUOTA
    if _NOT_FOUND.fullmatch(code):
        return Meaning.NOT_FOUND
    if code == "AuthFailure" and _KEYS_OF_EC2.search(message):
        return Meaning.NOT_ACCEPTED
    if status == 429:
        return Meaning.THROTTLED
    return Meaning.UNAVAILABLE if status == 408 or status >= 500 else Meaning.OTHER


def code(error: ClientError) -> str:
    """The error code, without the suffix that some services add."""
    return str(error.response.get("Error", {}).get("Code", "")).removesuffix("Fault")


def _allow(permissions: tuple[str, ...], message: str) -> str:
    """Which permission is missing. AWS often says which action it was, e.g. iam:PassRole of another call."""
    told = _TOLD.search(message)
    if told is not None:
        missing = told[1] + (f" on {told[2]}" if told[2] else "")
    elif "use launch template" in message:
        # What a group launches is checked when the group is made or changed (Auto Scaling user guide, "Control Amazon
        # EC2 launch template usage"); AWS names neither the action nor the resource.
        missing = "ec2:RunInstances, ec2:CreateTags and iam:PassRole"
    else:
        missing = " and ".join(permissions)
    if (deny := _EXPLICIT.search(message)) is not None:
        return f"{deny[1]} denies {missing}: change that policy"
    limit = _LIMIT.search(message)
    return (
        Meaning.DENIED.remedy.format(allow=f"{missing} in {f'the {limit[1]}' if limit else 'your IAM policy'}")
        if missing
        else "ask an administrator for access"
    )


def _lasting(error: Exception) -> str | None:
    """What to say, with the remedy, of a connection that fails however often it is tried; None if it may pass.

    botocore has no error of its own for these, so its words are looked at.
    """
    told = one_line(error)
    cause = one_line(getattr(error, "kwargs", {}).get("error", ""))  # which botocore's words about a proxy leave out
    if "CERTIFICATE_VERIFY_FAILED" in told:
        return f"{untrusted()} ({told})"
    if re.search(r"\b407\b", cause):
        return PROXY_PASSWORD
    if "Invalid header value" in told:  # the value itself is not repeated: it is made of credentials
        return "the AWS credentials hold a line break, or a character that no header may have: correct them"
    return None


def untrusted(host: str = "the endpoint") -> str:
    """What to say of a certificate that no known authority has signed."""
    return f"the certificate of {host} is not trusted: name the right authorities with AWS_CA_BUNDLE"


PROXY_PASSWORD = "the proxy needs another password: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"  # noqa: S105 - a placeholder
"""What to say of a proxy's status 407."""


def _words(error: Exception) -> str:
    """Botocore's own words, where they say more than the meaning."""
    return "" if isinstance(error, NoCredentialsError) else one_line(error)


def _line(doing: str, what: str, remedy: str = "", told: str = "") -> str:
    if len(told) > LONGEST:
        told = f"{told[: LONGEST - 1]}…"
    return ": ".join(part for part in (doing, what, remedy) if part) + (f" ({told})" if told else "")


NO_CREDENTIALS = _line("", Meaning.NO_CREDENTIALS.what, Meaning.NO_CREDENTIALS.remedy)
"""What to say where no call is made yet."""
