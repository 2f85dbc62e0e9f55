"""Who a request is from, over the wire: the key of its signature, and what becomes of keys that are no more."""

from __future__ import annotations

import json
import socket
import urllib.request
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from botocore import UNSIGNED
from botocore.exceptions import ClientError

from localcloud.authorization.asked import read
from tests.localcloud.authorization.conftest import Key, People, allow, policy, trust
from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

NOT_TAKEN = [
    ("ec2", "describe_vpcs", "AuthFailure", "AuthFailure"),
    ("elbv2", "describe_load_balancers", "InvalidClientTokenId", "SignatureDoesNotMatch"),
    ("kms", "list_keys", "UnrecognizedClientException", "InvalidSignatureException"),
    ("scheduler", "list_schedules", "UnrecognizedClientException", "InvalidSignatureException"),
    ("s3", "list_buckets", "InvalidAccessKeyId", "SignatureDoesNotMatch"),
    ("route53", "list_hosted_zones", "InvalidClientTokenId", "SignatureDoesNotMatch"),
]


def recorded(cloud: LocalCloud, method: str = "GET") -> Any:
    request = urllib.request.Request(f"{cloud.endpoint}/_localcloud/authorizations", method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_a_newcomer_sets_nothing_and_may_do_everything(cloud: LocalCloud, clients: Clients) -> None:
    """`make up` would fail for everybody who has no IAM user in the local cloud."""
    clients.ec2.create_vpc(CidrBlock="10.0.0.0/16")
    [decision] = recorded(cloud)["authorizations"]
    assert decision == {
        "principal": "arn:aws:iam::123456789012:root",
        "operation": "ec2:CreateVpc",
        "action": "ec2:CreateVpc",
        "resource": "arn:aws:ec2:us-east-1:123456789012:vpc/*",
        "context": {},
        "allowed": True,
        "why": "",
        "listed": True,
        "count": 1,
    }


def test_the_record_counts_and_forgets(cloud: LocalCloud, clients: Clients) -> None:
    """The proof of least privilege would see calls of the time before it, or an upload would fill the memory."""
    for _ in range(3):
        clients.ec2.describe_vpcs()
    assert [one["count"] for one in recorded(cloud)["authorizations"]] == [3]
    assert recorded(cloud, "DELETE") == {"forgotten": 1}
    assert recorded(cloud) == {"authorizations": []}


@pytest.mark.parametrize(("service", "operation", "unknown", "wrong"), NOT_TAKEN)
def test_a_key_that_nobody_gave_out_or_that_signs_wrongly_is_refused(
    people: People, service: str, operation: str, unknown: str, wrong: str
) -> None:
    """Real credentials, or a deleted user's, would be the root of the local cloud; and anyone could sign as anyone."""
    stranger = people.client(service, Key("AKIAIOSFODNN7EXAMPLE", "secret"))
    assert refusal(getattr(stranger, operation)) == unknown
    key = people.user(allow("*"))
    getattr(people.client(service, key), operation)()
    assert refusal(getattr(people.client(service, Key(key.id, "not it")), operation)) == wrong


@pytest.mark.parametrize("service", ["ec2", "elbv2", "kms", "ebs", "s3"])
def test_without_a_signature_nothing_is_answered(people: People, service: str) -> None:
    """A machine whose role may do nothing would be root as soon as it leaves the signature away."""
    operation = {"ebs": "list_snapshot_blocks", **{one[0]: one[1] for one in NOT_TAKEN}}[service]
    unsigned = people.client(service, None, signature_version=UNSIGNED)
    asked = {"SnapshotId": "snap-1"} if service == "ebs" else {}
    assert refusal(lambda: getattr(unsigned, operation)(**asked)).startswith("MissingAuthenticationToken")


def test_a_deleted_key_and_an_inactive_one_are_refused(people: People, clients: Clients) -> None:
    """Whoever was shut out would be let in again, as root."""
    key = people.user(allow("*"))
    ec2 = people.client("ec2", key)
    ec2.describe_vpcs()
    clients.iam.update_access_key(UserName="deployer", AccessKeyId=key.id, Status="Inactive")
    assert refusal(ec2.describe_vpcs) == "AuthFailure"
    clients.iam.delete_access_key(UserName="deployer", AccessKeyId=key.id)
    assert refusal(ec2.describe_vpcs) == "AuthFailure"


def test_a_session_has_the_rights_of_its_role_until_its_time_is_over(people: People, clients: Clients) -> None:
    """A machine would keep its rights for ever, or have more than its role."""
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS="123456789012"))
    clients.iam.put_role_policy(RoleName="operator", PolicyName="own", PolicyDocument=policy(allow("ec2:DescribeVpcs")))
    key = people.session()
    ec2, elbv2 = people.client("ec2", key), people.client("elbv2", key)
    ec2.describe_vpcs()
    with pytest.raises(ClientError, match="User: arn:aws:sts::123456789012:assumed-role/operator/tests is not author"):
        ec2.describe_subnets()
    assert refusal(people.client("ec2", Key(key.id, key.secret, "another")).describe_vpcs) == "AuthFailure"
    people.expire()
    assert refusal(ec2.describe_vpcs) == "RequestExpired"
    assert refusal(elbv2.describe_load_balancers) == "ExpiredToken"


def test_what_botocore_does_not_know_has_no_parameters() -> None:
    """A call that is newer than the models would be an error of the local cloud before its service sees it."""
    for service, target in (("ec2", ""), ("nothing", ""), ("", ""), ("kms", "TrentService.Nothing"), ("scheduler", "")):
        scope = f"AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host"
        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/nothing",
            "SERVER_NAME": "x",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
            "QUERY_STRING": "Action=Nothing",
            "HTTP_AUTHORIZATION": f"{scope}, Signature=00",
            **({"HTTP_X_AMZ_TARGET": target} if target else {}),
        }
        assert read(environ, region="us-east-1", account="1").parameters == {}


def test_a_slow_body_holds_up_nobody_else(cloud: LocalCloud, people: People) -> None:
    """One upload over a slow line would stop every call, the load balancers' health checks included."""
    key = people.user(allow("*"))
    scope = f"Credential={key.id}/20260101/us-east-1/ebs/aws4_request, SignedHeaders=host, Signature=00"
    head = f"PUT /snapshots/snap-1/blocks/0 HTTP/1.1\r\nHost: x\r\nAuthorization: AWS4-HMAC-SHA256 {scope}\r\n"
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=10) as slow:
        slow.sendall(f"{head}Content-Length: 524288\r\n\r\n".encode())
        people.client("ec2", None).describe_vpcs()
        slow.sendall(bytes(524288))
        assert slow.recv(100).startswith(b"HTTP/1.1 403")  # whose signature is wrong


def test_a_session_ends_with_its_role(people: People, clients: Clients) -> None:
    """A machine of a deleted release would go on asking KMS."""
    clients.iam.create_role(RoleName="operator", AssumeRolePolicyDocument=trust(AWS="123456789012"))
    kms = people.client("kms", people.session())
    assert refusal(kms.list_keys) == "AccessDeniedException"
    clients.iam.delete_role(RoleName="operator")
    assert refusal(kms.list_keys) == "UnrecognizedClientException"


def test_a_managed_policy_counts_by_its_default_version(people: People, clients: Clients) -> None:
    """A user whose rights are in a managed policy could call nothing, or call by a version that was taken back."""
    iam = clients.iam
    key = people.user()
    made = iam.create_policy(PolicyName="looks", PolicyDocument=policy(allow("ec2:DescribeVpcs")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName="deployer", PolicyArn=made)
    ec2 = people.client("ec2", key)
    ec2.describe_vpcs()
    iam.create_policy_version(PolicyArn=made, PolicyDocument=policy(allow("ec2:DescribeSubnets")), SetAsDefault=True)
    ec2.describe_subnets()
    assert refusal(ec2.describe_vpcs) == "UnauthorizedOperation"
