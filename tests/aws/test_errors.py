"""Each error of AWS has one meaning and one remedy, whichever service says it, in whichever protocol, to whomever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions as boto
import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from fleetswap.aws import session
from fleetswap.aws.account import Account
from fleetswap.aws.errors import DEPENDENCY, LONGEST, NO_CREDENTIALS, Meaning, explained, explaining
from fleetswap.aws.image.block_writer import BlockConnection, BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.aws.image.signing import Signer
from fleetswap.aws.rollout.balancer import Balancer
from fleetswap.aws.rollout.fleet import Fleet
from fleetswap.aws.rollout.metrics import Metrics
from fleetswap.aws.rollout.notifier import Topic
from fleetswap.aws.rollout.switch import Switch
from fleetswap.aws.session import Cloud
from fleetswap.domain.errors import CloudError, Invalid, NotFound, Throttled, TryAgain
from fleetswap.domain.image.blocks import BLOCK_SIZE, digest
from fleetswap.domain.rollout.notices import Ending, Notice
from tests.fakes.wire import Wire

ELB = "arn:aws:elasticloadbalancing:us-east-1:1:"
LISTENER = f"{ELB}listener/app/web/1/2"
RULE = f"{ELB}listener-rule/app/web/1/2/3"
BLOCK = bytes(BLOCK_SIZE)

THROTTLED = (Throttled, "AWS throttles the requests: try again later")
UNAVAILABLE = (TryAgain, "AWS cannot answer right now: try again later")
BUSY = (TryAgain, "another change is in progress: try again when it has ended")
NOT_FOUND = (NotFound, "not found: check the ID and the region; it may have been deleted")
INVALID = (Invalid, "AWS refused the request")
DENIED = (CloudError, "access denied: allow ")
EXPIRED = (CloudError, "the AWS credentials have expired: log in again, for example with `aws sso login`")
EITHER = (
    CloudError,
    "the AWS credentials have expired, or the clock of this computer is wrong: log in again, for example with"
    " `aws sso login`, or set the clock",
)
SKEWED = (CloudError, "the clock of this computer is wrong: set it, and try again")
NOT_ACCEPTED = (
    CloudError,
    "AWS does not accept the credentials: correct the profile or the AWS_* variables, enable the region in the"
    " account, or set this computer's clock",
)
NOT_ENABLED = (
    CloudError,
    "the account cannot use this service or region: enable it in the account's settings, or ask AWS Support",
)
QUOTA = (CloudError, "a quota of the account is used up: delete what is not needed, or raise it in Service Quotas")
OTHER = (CloudError, "AWS refused the request")

OLD = "Signature expired: 20261124T100000Z is now earlier than 20261124T105500Z (20261124T110000Z - 5 min.)"
EARLY = "Signature not yet current: 20261124T110000Z is still later than 20261124T105500Z"
SECRET = "The request signature we calculated does not match the signature you provided."
KEYS = "AWS was not able to validate the provided access credentials"
TOKEN = "The security token included in the request is"

TABLE: list[tuple[str, str, int, str, tuple[type[CloudError], str]]] = [
    # what is asked, code, status, message, meaning
    ("ec2:GetConsoleOutput", "RequestLimitExceeded", 503, "Request limit exceeded.", THROTTLED),
    ("elasticloadbalancing:ModifyRule", "Throttling", 400, "Rate exceeded", THROTTLED),
    ("autoscaling:UpdateAutoScalingGroup", "Throttling", 400, "Rate exceeded", THROTTLED),
    ("ebs:PutSnapshotBlock", "RequestThrottledException", 400, "Rate exceeded", THROTTLED),
    ("ebs:PutSnapshotBlock", "ThrottlingException", 400, "Rate exceeded", THROTTLED),
    ("scheduler:GetSchedule", "ThrottlingException", 429, "Rate exceeded", THROTTLED),
    ("cloudwatch:GetMetricData", "Throttling", 400, "Rate exceeded", THROTTLED),
    ("sns:Publish", "Throttled", 429, "Rate exceeded", THROTTLED),
    ("sts:GetCallerIdentity", "Throttling", 400, "Rate exceeded", THROTTLED),
    ("sts:GetCallerIdentity", "TooManyRequestsException", 429, "", THROTTLED),
    ("sns:Publish", "", 429, "", THROTTLED),
    ("ec2:GetConsoleOutput", "Unavailable", 503, "", UNAVAILABLE),
    ("ec2:GetConsoleOutput", "InternalError", 500, "", UNAVAILABLE),
    ("elasticloadbalancing:DescribeTargetHealth", "HealthUnavailable", 500, "", UNAVAILABLE),
    ("cloudwatch:GetMetricData", "InternalServiceError", 500, "", UNAVAILABLE),
    ("autoscaling:UpdateAutoScalingGroup", "ServiceLinkedRoleFailure", 500, "", UNAVAILABLE),
    ("ebs:PutSnapshotBlock", "InternalServerException", 500, "", UNAVAILABLE),
    ("ebs:PutSnapshotBlock", "RequestTimeout", 400, "", UNAVAILABLE),
    ("ebs:PutSnapshotBlock", "", 408, "", UNAVAILABLE),
    ("ebs:PutSnapshotBlock", "", 502, "", UNAVAILABLE),
    ("autoscaling:UpdateAutoScalingGroup", "ResourceContention", 500, "", BUSY),
    ("autoscaling:UpdateAutoScalingGroup", "ScalingActivityInProgress", 400, "", BUSY),
    ("elasticloadbalancing:ModifyRule", "PriorRequestNotComplete", 429, "", BUSY),
    ("sns:Publish", "ConcurrentAccess", 400, "", BUSY),
    ("ec2:GetConsoleOutput", "InvalidInstanceID.NotFound", 400, "", NOT_FOUND),
    ("ec2:DescribeSnapshots", "InvalidSnapshot.NotFound", 400, "", NOT_FOUND),
    ("elasticloadbalancing:ModifyRule", "RuleNotFound", 400, "", NOT_FOUND),
    ("elasticloadbalancing:ModifyRule", "TargetGroupNotFound", 400, "", NOT_FOUND),
    ("autoscaling:UpdateAutoScalingGroup", "ValidationError", 400, "AutoScalingGroup name not found - null", NOT_FOUND),
    ("ebs:PutSnapshotBlock", "ResourceNotFoundException", 404, "", NOT_FOUND),
    ("scheduler:GetSchedule", "ResourceNotFoundException", 404, "", NOT_FOUND),
    ("cloudwatch:DescribeAlarms", "ResourceNotFound", 404, "", NOT_FOUND),
    ("sns:Publish", "NotFound", 404, "Topic does not exist", NOT_FOUND),
    ("sns:Publish", "KMSNotFound", 400, "", OTHER),
    ("autoscaling:UpdateAutoScalingGroup", "ValidationError", 400, "Desired capacity:9 must be between", INVALID),
    ("ebs:PutSnapshotBlock", "ValidationException", 400, "", INVALID),
    ("scheduler:CreateSchedule", "ValidationException", 400, "", INVALID),
    ("ebs:StartSnapshot", "ConflictException", 409, "", OTHER),
    ("ec2:DeleteSnapshot", "InvalidSnapshot.InUse", 400, "", OTHER),
    ("ec2:GetConsoleOutput", "UnauthorizedOperation", 403, "You are not authorized to perform this.", DENIED),
    ("elasticloadbalancing:ModifyRule", "AccessDenied", 403, "", DENIED),
    ("autoscaling:UpdateAutoScalingGroup", "AccessDenied", 403, "", DENIED),
    ("ebs:PutSnapshotBlock", "AccessDeniedException", 403, "", DENIED),
    ("scheduler:CreateSchedule", "AccessDeniedException", 403, "", DENIED),
    ("cloudwatch:GetMetricData", "AccessDenied", 403, "", DENIED),
    ("cloudwatch:GetMetricData", "Forbidden", 0, "", DENIED),
    ("sns:Publish", "AuthorizationError", 403, "", DENIED),
    ("sts:AssumeRole", "AccessDenied", 403, "", DENIED),
    ("ebs:PutSnapshotBlock", "ExpiredTokenException", 403, f"{TOKEN} expired", EXPIRED),
    ("elasticloadbalancing:ModifyRule", "ExpiredToken", 403, f"{TOKEN} expired", EXPIRED),
    ("sts:GetCallerIdentity", "ExpiredToken", 403, f"{TOKEN} expired", EXPIRED),
    ("ec2:GetConsoleOutput", "RequestExpired", 400, "Request has expired.", EITHER),
    ("ebs:PutSnapshotBlock", "InvalidSignatureException", 403, OLD, SKEWED),
    ("ebs:PutSnapshotBlock", "RequestTimeTooSkewed", 403, "", SKEWED),
    ("autoscaling:UpdateAutoScalingGroup", "SignatureDoesNotMatch", 403, EARLY, SKEWED),
    ("sts:GetCallerIdentity", "SignatureDoesNotMatch", 403, SECRET, NOT_ACCEPTED),
    ("sts:GetCallerIdentity", "InvalidClientTokenId", 403, f"{TOKEN} invalid.", NOT_ACCEPTED),
    ("ebs:PutSnapshotBlock", "UnrecognizedClientException", 403, f"{TOKEN} invalid.", NOT_ACCEPTED),
    ("ec2:GetConsoleOutput", "AuthFailure", 401, KEYS, NOT_ACCEPTED),
    ("ec2:GetConsoleOutput", "AuthFailure", 403, "Not authorized for images: [ami-1]", OTHER),
    ("ec2:GetConsoleOutput", "OptInRequired", 401, "", NOT_ENABLED),
    ("sts:AssumeRole", "RegionDisabledException", 403, "STS is not activated in this region", NOT_ENABLED),
    ("elasticloadbalancing:CreateRule", "TooManyRules", 400, "", QUOTA),
    ("autoscaling:PutScheduledUpdateGroupAction", "LimitExceeded", 400, "", QUOTA),
    ("cloudwatch:PutMetricAlarm", "LimitExceeded", 400, "", QUOTA),
    ("ebs:StartSnapshot", "ServiceQuotaExceededException", 402, "", QUOTA),
    ("ec2:CreateTags", "TagLimitExceeded", 400, "", QUOTA),
]


class Teller:
    """What each way of asking AWS makes of the same answer."""

    def __init__(self, wire: Wire, connection: BlockConnection) -> None:
        self._wire = wire
        self._connection = connection

    def boto3(self, permission: str, error: Exception) -> CloudError:
        """As rollouts call it."""
        with pytest.raises(CloudError) as caught, explained(permission, "a-1"):
            raise error
        return caught.value

    def in_words(self, permission: str, error: Exception) -> CloudError:
        """As images call it."""
        with pytest.raises(CloudError) as caught, explaining("doing this to a-1", permission):
            raise error
        return caught.value

    def put(self, status: int, code: str, message: str) -> CloudError:
        """As it is sent by hand."""
        body = json.dumps({"Message": message}).encode()
        self._wire.answers.put(http(status, {"x-amzn-ErrorType": code, "Content-Type": "application/json"}, body))
        with pytest.raises(CloudError) as caught:
            self._connection.put("snap-1", 7, BLOCK, digest(BLOCK), lambda: None)
        return caught.value


def http(status: int, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Content-Length": str(len(body)), **headers}.items()]
    return "\r\n".join([f"HTTP/1.1 {status} x", *lines, "", ""]).encode() + body


@pytest.fixture(scope="module")
def teller() -> Iterator[Teller]:
    with Wire() as wire:
        keys = Credentials("AKIDEXAMPLE", "secret")
        connection = BlockPuts(wire.url, Signer("us-east-1", lambda: keys), no_context).connect()
        yield Teller(wire, connection)
        connection.close()


def no_context() -> Any:
    raise AssertionError("no TLS was asked for")


def refused(code: str, status: int = 400, message: str = "") -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Whatever")


@pytest.mark.parametrize(("permission", "code", "status", "message", "meaning"), TABLE)
def test_an_error_means_the_same_to_everyone(
    teller: Teller, permission: str, code: str, status: int, message: str, meaning: tuple[type[CloudError], str]
) -> None:
    """Half of the program would give up where the other waits, or tell the user to do something else."""
    kind, words = meaning
    error = refused(code, status, message)
    told = {
        f"{permission} on a-1: ": teller.boto3(permission, error),
        "doing this to a-1: ": teller.in_words(permission, error),
    }
    if status:
        told["writing block 7 of snapshot snap-1: "] = teller.put(status, code, message)
    for doing, raised in told.items():
        assert type(raised) is kind
        assert str(raised).startswith(f"{doing}{words}"), str(raised)
        assert "\n" not in str(raised)
        assert str(raised).endswith(f"({code or f'status {status}'}{': ' if message else ''}{message})")
    if kind is CloudError and words == DENIED[1]:
        assert f"allow {permission} in your IAM policy" in str(told[f"{permission} on a-1: "])
        assert f"allow {permission} in your IAM policy" in str(told["doing this to a-1: "])


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (boto.NoCredentialsError(), CloudError, NO_CREDENTIALS),
        (boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), CloudError, NO_CREDENTIALS),
        (boto.UnauthorizedSSOTokenError(), CloudError, EXPIRED[1]),
        (boto.SSOTokenLoadError(error_msg="Token for dev does not exist"), CloudError, EXPIRED[1]),
        (boto.TokenRetrievalError(provider="sso", error_msg="Token has expired"), CloudError, EXPIRED[1]),
        (boto.LoginRefreshRequired(), CloudError, EXPIRED[1]),
        (boto.LoginInsufficientPermissions(), CloudError, "the request could not be sent"),
        (boto.RefreshWithMFAUnsupportedError(), CloudError, EXPIRED[1]),
        (boto.CredentialRetrievalError(provider="custom-process", error_msg="exit 1"), TryAgain, "the AWS credentials"),
        (boto.MetadataRetrievalError(error_msg="timed out"), TryAgain, "the AWS credentials cannot be renewed: check"),
        (boto.ProfileNotFound(profile="dev"), CloudError, "the AWS configuration is not valid: correct the profile"),
        (boto.NoRegionError(), CloudError, "the AWS configuration is not valid: correct the profile"),
        (boto.InvalidConfigError(error_msg="no role_arn"), CloudError, "the AWS configuration is not valid: correct"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), TryAgain, "no answer from AWS: check the network"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), TryAgain, "no answer from AWS: check the network"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), TryAgain, "no answer from AWS: check the network"),
        (boto.ConnectionClosedError(endpoint_url="http://x"), TryAgain, "no answer from AWS: check the network"),
        (boto.ParamValidationError(report="Invalid length"), CloudError, "the request could not be sent"),
    ],
    ids=repr,
)
def test_what_botocore_raises_means_the_same_to_everyone(
    teller: Teller, error: Exception, kind: type[CloudError], words: str
) -> None:
    """A user whose login has expired would be told so by an upload, and read botocore's own words in a rollout."""
    for doing, raised in (
        ("ec2:DeleteSnapshot on a-1: ", teller.boto3("ec2:DeleteSnapshot", error)),
        ("doing this to a-1: ", teller.in_words("ec2:DeleteSnapshot", error)),
        ("", signed(error)),
    ):
        assert type(raised) is kind
        assert str(raised).startswith(f"{doing}{words}"), str(raised)
        assert "\n" not in str(raised)


@pytest.mark.parametrize(
    ("operation", "code", "kind", "words"),
    [
        ("GetRoleCredentials", "ResourceNotFoundException", CloudError, "the AWS configuration is not valid: correct"),
        ("AssumeRole", "ValidationError", CloudError, "the AWS configuration is not valid: correct the profile"),
        ("GetRoleCredentials", "ForbiddenException", CloudError, "access denied: ask an administrator"),
        ("AssumeRole", "ExpiredToken", *EXPIRED),
        ("GetRoleCredentials", "TooManyRequestsException", *THROTTLED),
    ],
)
def test_an_error_of_the_credentials_is_none_of_the_call(
    teller: Teller, operation: str, code: str, kind: type[CloudError], words: str
) -> None:
    """A role that the profile names wrongly would be told as a snapshot that is gone, and another be started."""
    answer: Any = {"Error": {"Code": code, "Message": "because"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    error = ClientError(answer, operation)
    for doing, raised in (
        ("ec2:DescribeSnapshots on a-1: ", teller.boto3("ec2:DescribeSnapshots", error)),
        ("doing this to a-1: ", teller.in_words("ec2:DescribeSnapshots", error)),
        ("", signed(error)),
    ):
        assert type(raised) is kind
        assert str(raised).startswith(f"{doing}{words}"), str(raised)


def signed(error: Exception) -> CloudError:
    """What the signer of the put that is sent by hand makes of an error of the chain of credentials."""

    def find() -> None:
        raise error

    with pytest.raises(CloudError) as caught:
        Signer("us-east-1", find)._frozen()
    return caught.value


USER = "User: arn:aws:sts::1:assumed-role/ci/x is not authorized to perform: "


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            f"{USER}iam:PassRole on resource: arn:aws:iam::1:role/s because no",
            "allow iam:PassRole on arn:aws:iam::1:role/s",
        ),
        (f"{USER}kms:Decrypt", "allow kms:Decrypt in your IAM policy"),
        (
            "You are not authorized to use launch template: lt-1",
            "allow ec2:RunInstances, ec2:CreateTags and iam:Pass",
        ),
        (
            f"{USER}ebs:PutSnapshotBlock on resource: arn:x with an explicit deny in a service control policy",
            "access denied: a service control policy denies ebs:PutSnapshotBlock on arn:x: change that policy",
        ),
        (
            f"{USER}ec2:CreateTags on resource: r. Encoded authorization failure message: {'x' * 900}",
            "on resource: r.)",
        ),
        ("", "allow ebs:StartSnapshot and ec2:CreateTags in your IAM policy"),
    ],
    ids=["another action", "no resource", "launch template", "explicit deny", "encoded", "nothing told"],
)
def test_a_denial_names_what_to_allow(message: str, words: str) -> None:
    """An administrator would allow what is allowed already, add a permission that a policy forbids, or see a blob."""
    with pytest.raises(CloudError) as caught, explaining("doing this", "ebs:StartSnapshot", "ec2:CreateTags"):
        raise refused("AccessDenied", 403, message)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("permission", "code", "reason", "right"),
    [
        ("ebs:StartSnapshot", "AccessDeniedException", DEPENDENCY, "allow kms:CreateGrant, kms:Decrypt"),
        ("sns:Publish", "KMSAccessDenied", "", "allow kms:GenerateDataKey* and kms:Decrypt on the key"),
    ],
)
def test_a_denial_of_the_key_names_its_rights(permission: str, code: str, reason: str, right: str) -> None:
    """The permission of the service would be given once more, and the next run be refused again."""
    error = refused(code, 403)
    error.response["Reason"] = reason  # type: ignore[typeddict-unknown-key] # as botocore does with modelled members
    with pytest.raises(CloudError, match="KMS denies access") as caught, explained(permission, "a-1"):
        raise error
    assert right in str(caught.value)


def test_an_answer_in_no_known_encoding_may_pass() -> None:
    """A page of a proxy where JSON is expected would end a rollout with a traceback: botocore does not catch it."""
    with pytest.raises(TryAgain, match="the response of AWS cannot be read"), explained("ec2:X", "a-1"):
        b"\xa2".decode()


def test_the_words_of_others_are_bounded() -> None:
    """The page of a proxy, which botocore repeats whole, would bury the error."""
    with pytest.raises(CloudError) as caught, explained("ec2:X", "a-1"):
        raise refused("Odd", 400, "y" * 10_000)
    assert str(caught.value).endswith("y…)")
    assert len(str(caught.value)) < LONGEST + 100


def ec2(code: str, message: str) -> tuple[dict[str, str], bytes]:
    inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return {"Content-Type": "text/xml"}, f"<Response>{inner}<RequestID>1</RequestID></Response>".encode()


def query(code: str, message: str) -> tuple[dict[str, str], bytes]:
    inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return {"Content-Type": "text/xml"}, f"<ErrorResponse>{inner}<RequestId>1</RequestId></ErrorResponse>".encode()


def rest(code: str, message: str) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/json", "x-amzn-ErrorType": code}, json.dumps({"Message": message}).encode()


def json_of_query(code: str, message: str) -> tuple[dict[str, str], bytes]:
    """AWS JSON of a service that spoke query before: a header has the code of that time, in the body it is another."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-query-error": f"{code};Sender"}
    return headers, json.dumps({"__type": f"com.amazonaws.cloudwatch#{code}Exception", "message": message}).encode()


def fleet(cloud: Cloud) -> Fleet:
    return Fleet(cloud.autoscaling(), cloud.ec2)


Ask = Callable[[Cloud], Any]
SERVICES: dict[str, tuple[Ask, str, Callable[[str, str], tuple[dict[str, str], bytes]]]] = {
    "ec2": (lambda cloud: fleet(cloud).console("i-1"), "ec2:GetConsoleOutput on i-1", ec2),
    "ebs": (
        lambda cloud: DirectSnapshots(*cloud.ebs_and_ec2(1)).list_blocks("snap-1", 0, None),
        "listing the blocks of snapshot snap-1",
        rest,
    ),
    "elbv2": (
        lambda cloud: Balancer(cloud.elbv2(), tags={}).rule(LISTENER),
        f"elasticloadbalancing:DescribeRules on {LISTENER}",
        query,
    ),
    "autoscaling": (
        lambda cloud: fleet(cloud).group("web-a"),
        "autoscaling:DescribeAutoScalingGroups on web-a",
        query,
    ),
    "cloudwatch": (
        lambda cloud: Metrics(cloud.cloudwatch(), listener=LISTENER).alarms(["slow"]),
        "cloudwatch:DescribeAlarms on slow",
        json_of_query,
    ),
    "scheduler": (
        lambda cloud: Switch(cloud.scheduler(), service="web", stack="p/s", listener=LISTENER).armed(),
        "scheduler:GetSchedule on fleetswap-web-",
        rest,
    ),
    "sns": (
        lambda cloud: Topic(cloud.sns(), "arn:aws:sns:us-east-1:1:ops").tell(
            Notice(Ending.FAILED, "web", "web-b", None, "reason", "nothing")
        ),
        "sns:Publish on arn:aws:sns:us-east-1:1:ops",
        query,
    ),
    "sts": (lambda cloud: Account(cloud).id(), "sts:GetCallerIdentity on us-east-1", query),
}
SPOKEN = {
    "ec2": ("RequestLimitExceeded", "Unavailable", "UnauthorizedOperation", "RequestExpired"),
    "ebs": ("RequestThrottledException", "ServiceUnavailable", "AccessDeniedException", "ExpiredTokenException"),
    "cloudwatch": ("Throttling", "InternalServiceError", "AccessDenied", "ExpiredToken"),
    "scheduler": ("ThrottlingException", "InternalServerException", "AccessDeniedException", "ExpiredTokenException"),
    "sns": ("Throttled", "InternalError", "AuthorizationError", "ExpiredToken"),
}
QUERY = ("Throttling", "ServiceUnavailable", "AccessDenied", "ExpiredToken")


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_is_understood_in_its_own_protocol(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table would be right, and botocore hand over something else: a code without its name, or with another."""
    monkeypatch.setattr(session, "CONTROL_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    ask, doing, body = SERVICES[service]
    expired = EITHER if service == "ec2" else EXPIRED
    expected = ((400, THROTTLED), (503, UNAVAILABLE), (403, DENIED), (403, expired))
    with Wire() as wire:
        cloud = Cloud("us-east-1", wire.url)
        for code, (status, (kind, words)) in zip(SPOKEN.get(service, QUERY), expected, strict=True):
            headers, content = body(code, "because")
            wire.answers.put(http(status, headers, content))
            with pytest.raises(CloudError) as caught:
                ask(cloud)
            told = str(caught.value)
            assert type(caught.value) is kind, told
            assert told.startswith(doing), told
            assert f": {words}" in told, told
            assert told.endswith(f"({code}: because)"), told


def test_the_page_has_each_meaning_and_its_remedy() -> None:
    """A user who looks an error up would not find it, or read another remedy than the line tells."""
    page = (Path(__file__).parents[2] / "docs" / "reference" / "exit-status.md").read_text()
    rows = {row[0]: row[1:] for row in re.findall(r"^\| (.+?) \| (.*?) ?\| (\w.*) \|$", page, re.MULTILINE)}
    for meaning in Meaning:
        remedy, does = rows[meaning.what]
        assert "{" in meaning.remedy or _short(meaning.remedy) == remedy, meaning
        assert (meaning.error in (TryAgain, Throttled)) == does.startswith("retries"), meaning


def _short(remedy: str) -> str:
    """The page names the example of a command once."""
    return remedy.replace(", for example with `aws sso login`, or", ", or")
