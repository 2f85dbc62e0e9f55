"""Requests that could be read in two ways, and signatures that are not of this request or not of now."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import botocore.auth
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.authorization.signature import CLOCKS
from tests.localcloud.authorization.conftest import Key, People, allow
from tests.localcloud.clients import refusal

if TYPE_CHECKING:
    from localcloud.server import LocalCloud
    from tests.localcloud.clients import Clients

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=b"}
VERSION = "Version=2016-11-15"
ALLOWED, FORBIDDEN = f"Action=DescribeVpcs&{VERSION}", f"Action=CreateVpc&{VERSION}&CidrBlock=10.0.0.0/16"
IN_PARTS = "\r\n".join(
    f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}'
    for name, value in urllib.parse.parse_qsl(FORBIDDEN)
)


def send(cloud: LocalCloud, key: Key, service: str, **asked: Any) -> tuple[int, str]:
    """Status and body of a request that its sender signs as it is."""
    path, body = asked.get("path", "/"), asked.get("body", "").encode() or None
    request = AWSRequest(asked.get("method", "POST"), f"{cloud.endpoint}{path}", asked.get("headers"), body)
    SigV4Auth(Credentials(key.id, key.secret), service, "us-east-1").add_auth(request)
    return answered(str(request.url), str(request.method), body, dict(request.headers.items()))


def answered(url: str, method: str = "GET", body: bytes | None = None, headers: Any = None) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers or {}, method=method)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    "asked",
    [
        {"body": FORBIDDEN, "headers": {**FORM, "X-Amz-Target": "AmazonEC2.DescribeVpcs"}},
        {"path": f"/?{FORBIDDEN}", "headers": {"X-Amz-Target": "AmazonEC2.DescribeVpcs"}},
        {"path": f"/?{ALLOWED}", "body": FORBIDDEN, "headers": FORM},
        {"path": f"/?{FORBIDDEN}", "body": ALLOWED, "headers": FORM},
        {"path": f"/?{ALLOWED}", "body": FORBIDDEN, "headers": {"Content-Type": FORM["Content-Type"].upper()}},
        {"path": f"/?{ALLOWED}", "body": f"{IN_PARTS}\r\n--b--\r\n", "headers": MULTIPART},
        {"body": f"{FORBIDDEN}&Action=DescribeVpcs", "headers": FORM},
        {"body": f"Action=DescribeVpcs&{FORBIDDEN}", "headers": FORM},
        {"body": FORBIDDEN, "headers": {"Content-Type": "text/plain"}},
    ],
    ids=str,
)
def test_what_is_judged_is_what_is_done(cloud: LocalCloud, people: People, clients: Clients, asked: Any) -> None:
    """Whoever may look at VPCs could make one, by asking for both at once."""
    before = len(clients.ec2.describe_vpcs()["Vpcs"])
    status, _ = send(cloud, people.user(allow("ec2:DescribeVpcs")), "ec2", **asked)
    assert 400 <= status < 500
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == before


def test_one_clear_request_is_answered(cloud: LocalCloud, people: People) -> None:
    """The test before this one would pass for signatures that are never taken."""
    key = people.user(allow("ec2:DescribeVpcs"))
    assert send(cloud, key, "ec2", body=ALLOWED, headers=FORM)[0] == 200
    assert send(cloud, key, "ec2", method="GET", path=f"/?{ALLOWED}")[0] == 200


def test_a_parameter_that_is_given_twice_names_nothing_else(
    cloud: LocalCloud, people: People, clients: Clients
) -> None:
    """A policy for one resource would be a policy for all."""
    mine, theirs = (clients.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"] for _ in range(2))
    key = people.user(allow("ec2:DeleteVpc", resource=f"arn:aws:ec2:us-east-1:123456789012:vpc/{mine}"))
    action = f"Action=DeleteVpc&{VERSION}"
    for asked in (
        {"body": f"{action}&VpcId={theirs}&VpcId={mine}"},
        {"body": f"{action}&VpcId={mine}&VpcId={theirs}"},
        {"body": f"{action}&VpcId={mine}", "path": f"/?VpcId={theirs}"},
    ):
        assert send(cloud, key, "ec2", headers=FORM, **asked)[0] == 400
    assert {mine, theirs} <= {one["VpcId"] for one in clients.ec2.describe_vpcs()["Vpcs"]}


@pytest.mark.parametrize("way", ["query", "header", "form", "json"])
def test_an_operation_of_a_path_is_that_of_the_path(cloud: LocalCloud, people: People, way: str) -> None:
    """Whoever may read a schedule could delete it: the dead man's switch would be gone."""
    root, key = people.client("scheduler", None), people.user(allow("scheduler:GetSchedule"))
    target = {
        "Arn": "arn:aws:scheduler:::aws-sdk:elasticloadbalancingv2:modifyRule",
        "RoleArn": "arn:aws:iam::123456789012:role/any",
    }
    people.client("iam", None).create_role(
        RoleName="any",
        AssumeRolePolicyDocument='{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole",'
        '"Principal":{"Service":"scheduler.amazonaws.com"}}}',
    )
    root.create_schedule(
        Name="one", FlexibleTimeWindow={"Mode": "OFF"}, ScheduleExpression="rate(1 day)", Target=target
    )
    ways: dict[str, dict[str, Any]] = {
        "query": {"path": "/schedules/one?Action=DeleteSchedule"},
        "header": {"headers": {"X-Amz-Target": "Scheduler.DeleteSchedule"}},
        "form": {"headers": FORM, "body": "Action=DeleteSchedule&Name=one"},
        "json": {"body": '{"a":"&Action=DeleteSchedule&"}'},
    }
    status, _ = send(cloud, key, "scheduler", **{"method": "GET", "path": "/schedules/one", **ways[way]})
    assert status == 400
    assert root.get_schedule(Name="one")["Name"] == "one"
    assert send(cloud, key, "scheduler", method="GET", path="/schedules/one")[0] == 200


def test_json_is_not_a_form(cloud: LocalCloud, people: People) -> None:
    """Whoever may list keys could make one."""
    kms, key = people.client("kms", None), people.user(allow("kms:ListKeys"))
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.ListKeys"}
    before = len(kms.list_keys()["Keys"])
    for asked in ({"body": '{"a":"&Action=CreateKey&"}'}, {"body": "{}", "path": "/?Action=CreateKey"}):
        assert send(cloud, key, "kms", headers=headers, **asked)[0] == 400
    assert len(kms.list_keys()["Keys"]) == before
    assert send(cloud, key, "kms", headers=headers, body="{}")[0] == 200


def test_without_a_signature_only_a_token_s_exchange_is_taken(cloud: LocalCloud, clients: Clients) -> None:
    """A request without any credentials would do whatever its second half says."""
    before = len(clients.ec2.describe_vpcs()["Vpcs"])
    for path, headers in (
        ("/", {**FORM, "X-Amz-Target": "x.AssumeRoleWithWebIdentity"}),
        ("/?Action=AssumeRoleWithWebIdentity", FORM),
    ):
        status, _ = answered(f"{cloud.endpoint}{path}", "POST", FORBIDDEN.encode(), headers)
        assert status in {400, 403}
    assert len(clients.ec2.describe_vpcs()["Vpcs"]) == before


def test_a_presigned_request_is_as_good_as_its_signature(people: People, cloud: LocalCloud) -> None:
    """Whoever knows a key's ID could do what its owner may, or change a URL that was given to them."""
    key = people.user(allow("ec2:DescribeVpcs", "s3:ListAllMyBuckets"))
    for service, operation in (("ec2", "describe_vpcs"), ("s3", "list_buckets")):
        client = people.client(service, key, signature_version="s3v4" if service == "s3" else "v4")
        url = client.generate_presigned_url(operation, HttpMethod="GET")
        assert answered(url)[0] == 200, service
        assert answered(f"{url[:-4]}0000")[0] in {401, 403}
        assert answered(url.replace("?", "?More=1&"))[0] in {401, 403}
        other = people.client(service, Key(key.id, "guessed"), signature_version="s3v4" if service == "s3" else "v4")
        assert answered(other.generate_presigned_url(operation, HttpMethod="GET"))[0] in {401, 403}
    assert send(cloud, key, "ec2", path=f"/?X-Amz-Credential=local/20260101/us-east-1/ec2/aws4_request&{FORBIDDEN}")[
        0
    ] in {400, 401}


@pytest.mark.parametrize(("service", "code"), [("ec2", "RequestExpired"), ("elbv2", "SignatureDoesNotMatch")])
def test_a_signature_is_of_now(people: People, monkeypatch: pytest.MonkeyPatch, service: str, code: str) -> None:
    """A request that was overheard could be sent again for ever; and a wrong clock would be found on AWS only."""
    client = people.client(service, people.user(allow("*")))
    call = client.describe_vpcs if service == "ec2" else client.describe_load_balancers
    call()
    for by in (-CLOCKS - 60, CLOCKS + 60):
        then = datetime.now(UTC) + timedelta(seconds=by)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda then=then: then)
        assert refusal(call) == code
