"""A machine learns who it is, and its credentials, exactly as it would on EC2."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from localcloud.compute.metadata import MetadataServer, Refused, Tokens, find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


@given(st.one_of(st.none(), st.text(max_size=6), st.integers(-10, 30_000).map(str)))
def test_a_token_lives_as_long_as_was_asked_for(ttl: str | None) -> None:
    """A token would outlive its time, or be given for a time that EC2 refuses."""
    tokens = Tokens()
    if ttl is None or not ttl.isdecimal() or not 1 <= int(ttl) <= 21_600:
        with pytest.raises(Refused) as refused:
            tokens.issue(ttl, 0.0)
        assert refused.value.status == 400
        return
    token, seconds = tokens.issue(ttl, 1000.0)
    tokens.check(token, required=True, now=1000.0 + seconds - 1)
    with pytest.raises(Refused):
        tokens.check(token, required=False, now=1000.0 + seconds)


def test_lists_end_in_slashes_where_there_is_more_below() -> None:
    """Clients that walk the tree, as cloud-init does, would not find their way."""
    tree = {"meta-data/a": "1", "meta-data/b/c": "2", "meta-data/b/d/e": "3"}
    assert find(tree, "") == "meta-data/"
    assert find(tree, "meta-data/") == "a\nb/"
    assert find(tree, "meta-data/b") == "c\nd/"
    assert find(tree, "meta-data/a") == "1"
    with pytest.raises(Refused):
        find(tree, "meta-data/x")


class Guest:
    """What a process in the machine can ask."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, str]:
        request = Request(self._url + path, headers=headers or {}, method=method)
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def token(self) -> dict[str, str]:
        return {TOKEN: self.ask("/latest/api/token", {TTL: "60"}, "PUT")[1]}

    def get(self, path: str) -> str:
        status, text = self.ask(path, self.token())
        assert status == 200, path
        return text


@pytest.fixture
def shown(clients: Clients) -> dict[str, Any]:
    """An instance of a launch template with a role, user data and tags in the metadata, as EC2 shows it."""
    clients.iam.create_role(RoleName="web", AssumeRolePolicyDocument=POLICY)
    clients.iam.create_instance_profile(InstanceProfileName="web")
    clients.iam.add_role_to_instance_profile(InstanceProfileName="web", RoleName="web")
    network = clients.network()
    template = clients.template(
        clients.image(),
        IamInstanceProfile={"Name": "web"},
        SecurityGroupIds=[network.group],
        MetadataOptions={"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
        UserData=base64.b64encode(b"#!/bin/sh\n").decode(),
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "color", "Value": "blue"}]}],
    )
    clients.group(template, network, DesiredCapacity=1)
    found: dict[str, Any] = clients.instances()[0]
    return found


@pytest.fixture
def guest(shown: dict[str, Any]) -> Iterator[Guest]:
    """The machine of `shown`."""
    server = MetadataServer(shown["InstanceId"])
    try:
        yield Guest(server.port)
    finally:
        server.close()


def test_nothing_is_told_without_a_token_where_one_is_required(guest: Guest) -> None:
    """A server-side request forgery would give the role's credentials away, as IMDSv1 does."""
    for headers in ({}, {TOKEN: "made up"}):
        assert guest.ask("/latest/meta-data/instance-id", headers) == (401, "")
        assert guest.ask("/latest/user-data", headers) == (401, "")
    assert guest.ask("/latest/api/token", {}, "PUT")[0] == 400
    assert guest.ask("/latest/api/token", {TTL: "60", "X-Forwarded-For": "192.0.2.1"}, "PUT")[0] == 403
    assert guest.ask("/latest/meta-data/instance-id", guest.token())[0] == 200


def test_without_the_requirement_a_token_is_optional(guest: Guest, shown: dict[str, Any], clients: Clients) -> None:
    """An image that still speaks IMDSv1 would fail here and work in AWS."""
    clients.ec2.modify_instance_metadata_options(InstanceId=shown["InstanceId"], HttpTokens="optional")
    assert guest.ask("/latest/meta-data/instance-id") == (200, shown["InstanceId"])
    assert guest.ask("/latest/meta-data/instance-id", {TOKEN: "made up"})[0] == 401


def test_a_machine_learns_what_ec2_shows(guest: Guest, shown: dict[str, Any]) -> None:
    """A machine would take itself for another one."""
    for path, value in {
        "instance-id": shown["InstanceId"],
        "ami-id": shown["ImageId"],
        "instance-type": shown["InstanceType"],
        "local-ipv4": shown["PrivateIpAddress"],
        "placement/availability-zone": shown["Placement"]["AvailabilityZone"],
        "placement/region": "us-east-1",
        "security-groups": "web",
        f"network/interfaces/macs/{guest.get('/latest/meta-data/mac')}/subnet-id": shown["SubnetId"],
        "network/interfaces/macs/": f"{shown['NetworkInterfaces'][0]['MacAddress']}/",
        "tags/instance/color": "blue",
    }.items():
        assert guest.get(f"/latest/meta-data/{path}") == value
    assert guest.get("/latest/user-data") == "#!/bin/sh\n"
    assert guest.get("/2021-07-15/meta-data/instance-id") == shown["InstanceId"]
    document = json.loads(guest.get("/latest/dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"]) == (shown["InstanceId"], "us-east-1")
    for path in ("/latest/meta-data/spot/instance-action", "/latest/nothing", "/nothing/meta-data/instance-id"):
        assert guest.ask(path, guest.token())[0] == 404


def test_the_credentials_are_those_of_the_role(guest: Guest, shown: dict[str, Any], cloud: LocalCloud) -> None:
    """A machine could not reach KMS, or could as somebody else."""
    assert guest.get("/latest/meta-data/iam/security-credentials/") == "web"
    found = json.loads(guest.get("/latest/meta-data/iam/security-credentials/web"))
    assert json.loads(guest.get("/latest/meta-data/iam/security-credentials/web")) == found
    sts = boto3.client(
        "sts",
        endpoint_url=cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found["Token"],
    )
    try:
        assert sts.get_caller_identity()["Arn"].endswith(f":assumed-role/web/{shown['InstanceId']}")
    finally:
        sts.close()
    assert guest.ask("/latest/meta-data/iam/security-credentials/other", guest.token())[0] == 404


def test_credentials_expire_and_the_service_has_new_ones_before(
    guest: Guest, cloud: LocalCloud, clients: Clients
) -> None:
    """A machine that keeps its credentials would work forever here, and on EC2 until they expire."""
    request = Request(f"{cloud.endpoint}/_localcloud/credentials", b'{"seconds": 1.5}', method="POST")
    with urlopen(request) as answer:
        assert json.load(answer) == {"seconds": 1.5}
    clients.iam.put_role_policy(
        RoleName="web",
        PolicyName="keys",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*"}],
            }
        ),
    )
    path = "/latest/meta-data/iam/security-credentials/web"
    first = json.loads(guest.get(path))
    call(cloud, first, "kms", "list_keys")
    deadline = time.monotonic() + 60
    while (second := json.loads(guest.get(path))) == first:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    call(cloud, second, "kms", "list_keys")
    while not (code := call(cloud, first, "kms", "list_keys")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert code == "ExpiredTokenException"
    assert call(cloud, first, "sts", "get_caller_identity") == "ExpiredToken"
    assert call(cloud, first, "ec2", "describe_vpcs") == "RequestExpired"


def test_credentials_end_with_their_role(guest: Guest, cloud: LocalCloud, clients: Clients) -> None:
    """Whoever makes a role with the name of a deleted one would have its machines' sessions."""
    found = json.loads(guest.get("/latest/meta-data/iam/security-credentials/web"))
    assert call(cloud, found, "sts", "get_caller_identity") == ""
    clients.iam.remove_role_from_instance_profile(InstanceProfileName="web", RoleName="web")
    clients.iam.delete_role(RoleName="web")
    assert call(cloud, found, "sts", "get_caller_identity") == "InvalidClientTokenId"
    clients.iam.create_role(RoleName="web", AssumeRolePolicyDocument=POLICY)
    assert call(cloud, found, "sts", "get_caller_identity") == "InvalidClientTokenId"
    assert call(cloud, found, "kms", "list_keys") == "UnrecognizedClientException"


def test_a_terminated_instance_gets_no_credentials(guest: Guest, shown: dict[str, Any], clients: Clients) -> None:
    """A machine that is going down would go on to get new ones."""
    clients.ec2.terminate_instances(InstanceIds=[shown["InstanceId"]])
    assert guest.ask("/latest/meta-data/iam/security-credentials/web", guest.token())[0] == 403


def call(cloud: LocalCloud, credentials: dict[str, str], service: str, operation: str) -> str:
    """The code of the error of a call with such credentials; empty if it is answered."""
    make: Any = boto3.client  # the stubs know literal service names only
    client = make(
        service,
        endpoint_url=cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    try:
        getattr(client, operation)()
    except ClientError as error:
        return error.response["Error"]["Code"]
    finally:
        client.close()
    return ""
