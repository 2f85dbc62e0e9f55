"""HTTPS listeners, certificates, conditions, redirects, protocol versions, schemes and logs: what AWS refuses."""

from __future__ import annotations

import json
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Any

import pytest

from localcloud.elbv2.access_logs import ELB_ACCOUNT, SERVICE
from localcloud.moto_state import LOCK, backend
from tests.localcloud.clients import Clients, Network, refusal
from tests.localcloud.elbv2.test_listeners import ANY_PATH, FIXED, balancer, forward, listener

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"


def secure(clients: Clients, network: Network, *certificates: str, **asked: Any) -> str:
    """A listener that speaks TLS, on a load balancer of its own."""
    if "LoadBalancerArn" not in asked:
        asked["LoadBalancerArn"] = balancer(clients, network)["LoadBalancerArn"]
    made = clients.elbv2.create_listener(
        **{
            "Protocol": "HTTPS",
            "Port": 18_443,
            "SslPolicy": POLICY,
            "Certificates": [{"CertificateArn": arn} for arn in certificates],
            "DefaultActions": [FIXED],
            **asked,
        }
    )
    return made["Listeners"][0]["ListenerArn"]


def group(clients: Clients, network: Network, name: str = "tg", **asked: Any) -> Any:
    made: Any = clients.elbv2.create_target_group
    return made(**{"Name": name, "Protocol": "HTTP", "Port": 8080, "VpcId": network.vpc, **asked})["TargetGroups"][0]


def told(clients: Clients, arn: str) -> Any:
    return clients.elbv2.describe_listeners(ListenerArns=[arn])["Listeners"][0]


def test_a_certificate_must_be_issued(clients: Clients) -> None:
    """A listener would be made with a certificate that nobody has validated yet, and that AWS refuses."""
    network, acm = clients.network(), clients.client("acm")
    pending = acm.request_certificate(DomainName="shop.test", ValidationMethod="DNS")["CertificateArn"]
    assert refusal(lambda: secure(clients, network, pending)) == "UnsupportedCertificate"
    gone = pending.rpartition("/")[0] + "/00000000-0000-0000-0000-000000000000"
    arn = clients.elbv2.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    assert refusal(lambda: secure(clients, network, gone, LoadBalancerArn=arn)) == "CertificateNotFound"
    option = acm.describe_certificate(CertificateArn=pending)["Certificate"]["DomainValidationOptions"][0]
    route53 = clients.client("route53")
    zone = route53.create_hosted_zone(Name="shop.test", CallerReference="1")["HostedZone"]["Id"]
    record = {
        "Name": option["ResourceRecord"]["Name"],
        "Type": "CNAME",
        "TTL": 60,
        "ResourceRecords": [{"Value": option["ResourceRecord"]["Value"]}],
    }
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    assert acm.describe_certificate(CertificateArn=pending)["Certificate"]["Status"] == "ISSUED"
    made = secure(clients, network, pending, LoadBalancerArn=arn)
    assert refusal(lambda: acm.delete_certificate(CertificateArn=pending)) == "ResourceInUseException"
    assert acm.describe_certificate(CertificateArn=pending)["Certificate"]["InUseBy"] == [arn]
    clients.elbv2.delete_listener(ListenerArn=made)
    acm.delete_certificate(CertificateArn=pending)


def test_a_listener_has_a_default_certificate_and_others(clients: Clients) -> None:
    """A second domain's certificate would replace the first one's, or be lost when that one changes."""
    network, elbv2 = clients.network(), clients.elbv2
    first, second, third = (clients.certificate(f"{name}.test") for name in ("one", "two", "three"))
    arn = secure(clients, network, first)

    def add(*certificates: str) -> Any:
        return elbv2.add_listener_certificates(
            ListenerArn=arn, Certificates=[{"CertificateArn": certificate} for certificate in certificates]
        )["Certificates"]

    def shown() -> list[tuple[str, bool]]:
        found = elbv2.describe_listener_certificates(ListenerArn=arn)["Certificates"]
        return [(each["CertificateArn"], each["IsDefault"]) for each in found]

    add(second)
    add(second, third)
    assert shown() == [(first, True), (second, False), (third, False)]
    assert told(clients, arn)["Certificates"] == [{"CertificateArn": first}]
    assert (
        refusal(lambda: elbv2.remove_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": first}]))
        == "OperationNotPermitted"
    )
    elbv2.remove_listener_certificates(ListenerArn=arn, Certificates=[{"CertificateArn": second}])
    new = clients.certificate("new.test")
    elbv2.modify_listener(ListenerArn=arn, Certificates=[{"CertificateArn": new}])
    assert shown() == [(new, True), (third, False)]
    two: Any = [{"CertificateArn": first}, {"CertificateArn": second}]
    assert refusal(lambda: elbv2.modify_listener(ListenerArn=arn, Certificates=two)) == "ValidationError"
    assert refusal(lambda: add("arn:aws:acm:us-east-1:123456789012:certificate/x")) == "CertificateNotFound"
    many = [clients.certificate(f"{n}.many.test") for n in range(24)]
    add(*many)
    assert refusal(lambda: add(first)) == "TooManyCertificates"


def test_a_listener_changes_its_protocol_with_all_that_belongs_to_it(clients: Clients) -> None:
    """A listener would speak TLS without a certificate, or keep one that it has no use for."""
    network, elbv2 = clients.network(), clients.elbv2
    arn, certificate = listener(clients, network), clients.certificate("shop.test")
    assert refusal(lambda: elbv2.modify_listener(ListenerArn=arn, Protocol="HTTPS")) == "ValidationError"
    assert (
        refusal(lambda: elbv2.modify_listener(ListenerArn=arn, Certificates=[{"CertificateArn": certificate}]))
        == "ValidationError"
    )
    elbv2.modify_listener(
        ListenerArn=arn, Protocol="HTTPS", SslPolicy=POLICY, Certificates=[{"CertificateArn": certificate}]
    )
    shown = told(clients, arn)
    assert (shown["SslPolicy"], shown["MutualAuthentication"]["Mode"]) == (POLICY, "off")
    keys = {item["Key"] for item in elbv2.describe_listener_attributes(ListenerArn=arn)["Attributes"]}
    assert "routing.http.request.x_amzn_tls_version.header_name" in keys
    assert refusal(lambda: elbv2.modify_listener(ListenerArn=arn, SslPolicy="none")) == "SSLPolicyNotFound"
    elbv2.modify_listener(ListenerArn=arn, Protocol="HTTP")
    shown = told(clients, arn)
    assert "SslPolicy" not in shown
    assert not shown.get("Certificates")


def host(*values: str) -> Any:
    return {"Field": "host-header", "HostHeaderConfig": {"Values": list(values)}}


def query(*values: str) -> Any:
    return {"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": value} for value in values]}}


def source(*values: str) -> Any:
    return {"Field": "source-ip", "SourceIpConfig": {"Values": list(values)}}


def header(name: str, *values: str) -> Any:
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values)}}


def path(*values: str) -> Any:
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values)}}


@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        ([host("localhost")], [host("*.shop.example.com")]),
        ([host("shop.example.c0m")], [host("shop.example.com")]),
        ([host("shop_1.example.com")], [host("shop-?.example.com")]),
        ([host("a" * 125 + ".com")], [host("a" * 124 + ".com")]),
        ([host("a.b", "c.d"), path("/1", "/2", "/3", "/4")], [host("a.b", "c.d"), path("/1", "/2", "/3")]),
        ([path("/*/*/*/*/*/*/*")], [path("/*/*/*/*/*/*")]),
        ([path("/a b")], [path("/a_b-c.d$~\"'@:+&?")]),
        ([path("/a"), path("/b")], [header("X-A", "b"), header("X-A", "c")]),
        ([header("Host", "a.b")], [header("Hosts", "a.b")]),
        ([header("X A", "b")], [header("x" * 40, "b")]),
        ([source("10.0.0.1")], [source("10.0.0.1/32", "2001:db8::/32")]),
        ([source("10.0.0.1/8")], [source("10.0.0.0/8")]),
        ([query("x" * 129)], [query("x" * 128)]),
        (
            [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["Get"]}}],
            [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET"]}}],
        ),
        ([host()], [host("a.b")]),
    ],
)
def test_conditions_are_as_in_aws(clients: Clients, refused: Any, taken: Any) -> None:
    """A host or a path of the settings that AWS refuses would be found out in production."""
    arn = listener(clients, clients.network())

    def create(conditions: Any) -> Any:
        return clients.elbv2.create_rule(ListenerArn=arn, Priority=1, Conditions=conditions, Actions=[FIXED])

    assert refusal(lambda: create(refused)) == "ValidationError"
    rule = create(taken)["Rules"][0]["RuleArn"]
    modify = clients.elbv2.modify_rule
    assert refusal(lambda: modify(RuleArn=rule, Conditions=refused)) == "ValidationError"
    modify(RuleArn=rule, Conditions=taken)


def redirect(**config: str) -> Any:
    return {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", **config}}


@pytest.mark.parametrize(
    ("actions", "code"),
    [
        ([redirect()], "InvalidLoadBalancerAction"),
        ([redirect(Host="#{host}", Path="/#{path}")], "InvalidLoadBalancerAction"),
        ([redirect(Path="new")], "ValidationError"),
        ([redirect(Port="70000")], "ValidationError"),
        ([redirect(Host="#{name}")], "ValidationError"),
        ([{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_307", "Port": "443"}}], "ValidationError"),
        ([FIXED, FIXED], "InvalidLoadBalancerAction"),
        ([FIXED] * 6, "TooManyActions"),
    ],
)
def test_actions_are_as_in_aws(clients: Clients, actions: Any, code: str) -> None:
    """A redirect that goes round in circles would be made."""
    arn = listener(clients, clients.network())
    for order, action in enumerate(actions, 1):
        action["Order"] = order
    create = clients.elbv2.create_rule
    assert refusal(lambda: create(ListenerArn=arn, Priority=1, Conditions=ANY_PATH, Actions=actions)) == code
    assert refusal(lambda: clients.elbv2.modify_listener(ListenerArn=arn, DefaultActions=actions)) == code
    made = create(ListenerArn=arn, Priority=1, Conditions=ANY_PATH, Actions=[redirect(Protocol="HTTPS", Port="443")])
    assert made["Rules"][0]["Actions"][0]["RedirectConfig"] == {
        "StatusCode": "HTTP_301",
        "Protocol": "HTTPS",
        "Port": "443",
        "Host": "#{host}",
        "Path": "/#{path}",
        "Query": "#{query}",
    }


def test_there_are_as_many_rules_and_target_groups_as_in_aws(clients: Clients) -> None:
    """Several services on one load balancer would go beyond what AWS has room for."""
    network, elbv2 = clients.network(), clients.elbv2
    arn = listener(clients, network)
    groups = [group(clients, network, f"tg-{n}")["TargetGroupArn"] for n in range(101)]

    def create(priority: int, *forwarded: str) -> Any:
        action = forward(*((each, 1) for each in forwarded)) if forwarded else FIXED
        return elbv2.create_rule(ListenerArn=arn, Priority=priority, Conditions=ANY_PATH, Actions=[action])

    for n in range(0, 100, 5):
        create(n + 1, *groups[n : n + 5])
    assert refusal(lambda: create(1000, groups[100])) == "TooManyUniqueTargetGroupsPerLoadBalancer"
    for n in range(80):
        create(2000 + n, groups[0])
    assert refusal(lambda: create(3000)) == "TooManyRules"
    rules = elbv2.describe_rules(ListenerArn=arn, PageSize=400)["Rules"]
    swapped: Any = [
        {"RuleArn": rules[0]["RuleArn"], "Priority": 6},
        {"RuleArn": rules[1]["RuleArn"], "Priority": 1},
    ]
    elbv2.set_rule_priorities(RulePriorities=swapped)
    taken: Any = [{"RuleArn": rules[0]["RuleArn"], "Priority": 11}]
    assert refusal(lambda: elbv2.set_rule_priorities(RulePriorities=taken)) == "PriorityInUse"
    default = next(rule["RuleArn"] for rule in rules if rule["IsDefault"])
    assert refusal(lambda: elbv2.delete_rule(RuleArn=default)) == "OperationNotPermitted"
    elbv2.delete_rule(RuleArn=rules[0]["RuleArn"])
    assert refusal(lambda: elbv2.delete_rule(RuleArn=rules[0]["RuleArn"])) == "RuleNotFound"
    other = balancer(clients, network, "other")["LoadBalancerArn"]
    assert (
        refusal(
            lambda: elbv2.create_listener(
                LoadBalancerArn=other, Protocol="HTTP", Port=81, DefaultActions=[forward((groups[5], 1))]
            )
        )
        == "TargetGroupAssociationLimit"
    )
    limits = {each["Name"]: each["Max"] for each in elbv2.describe_account_limits()["Limits"]}
    assert (limits["rules-per-application-load-balancer"], limits["target-groups-per-application-load-balancer"]) == (
        "100",
        "100",
    )


def test_a_version_of_http_needs_a_listener_that_speaks_it(clients: Clients) -> None:
    """A gRPC service behind port 80 would deploy here, and be refused by AWS."""
    network, elbv2 = clients.network(), clients.elbv2
    plain = listener(clients, network)
    arn = group(clients, network, ProtocolVersion="GRPC")["TargetGroupArn"]
    create = elbv2.create_rule
    asked: Any = {"Priority": 1, "Conditions": ANY_PATH, "Actions": [forward((arn, 1))]}
    assert refusal(lambda: create(ListenerArn=plain, **asked)) == "InvalidLoadBalancerAction"
    elbv2.modify_listener(
        ListenerArn=plain,
        Protocol="HTTPS",
        SslPolicy=POLICY,
        Certificates=[{"CertificateArn": clients.certificate("shop.test")}],
    )
    create(ListenerArn=plain, **asked)
    assert refusal(lambda: elbv2.modify_listener(ListenerArn=plain, Protocol="HTTP")) == "InvalidLoadBalancerAction"


def test_a_target_group_of_grpc_is_checked_by_its_own_codes(clients: Clients) -> None:
    """A gRPC service's health check would be one that AWS refuses, or be told as another."""
    network, elbv2 = clients.network(), clients.elbv2
    plain = group(clients, network, "plain", Protocol="HTTPS")
    assert (plain["ProtocolVersion"], plain["HealthCheckProtocol"], plain["Matcher"]) == (
        "HTTP1",
        "HTTP",
        {"HttpCode": "200"},
    )
    grpc = group(clients, network, "grpc", ProtocolVersion="GRPC")
    assert (grpc["HealthCheckPath"], grpc["Matcher"]) == ("/AWS.ALB/healthcheck", {"GrpcCode": "12"})
    for name, asked in {
        "a": {"ProtocolVersion": "GRPC", "Matcher": {"HttpCode": "200"}},
        "b": {"ProtocolVersion": "GRPC", "Matcher": {"GrpcCode": "100"}},
        "c": {"Matcher": {"GrpcCode": "0"}},
        "d": {"ProtocolVersion": "HTTP3"},
    }.items():
        assert refusal(lambda name=name, asked=asked: group(clients, network, name, **asked)) == "ValidationError"  # type: ignore[misc] # bound now
    modify: Any = elbv2.modify_target_group
    arn = grpc["TargetGroupArn"]
    changed = modify(TargetGroupArn=arn, Matcher={"GrpcCode": "0-5,12"}, HealthCheckPath="/web.Health/Check")
    assert changed["TargetGroups"][0]["Matcher"] == {"GrpcCode": "0-5,12"}
    assert refusal(lambda: modify(TargetGroupArn=arn, Matcher={"HttpCode": "200"})) == "ValidationError"
    assert refusal(lambda: modify(TargetGroupArn=arn, HealthCheckTimeoutSeconds=30)) == "ValidationError"


def test_an_internal_balancer_needs_no_gateway_and_ipv6_needs_subnets_with_it(clients: Clients) -> None:
    """A load balancer for a private network would be refused, or dual-stack be taken without addresses."""
    ec2, elbv2 = clients.ec2, clients.elbv2
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]
    blocks = IPv6Network(vpc["Ipv6CidrBlockAssociationSet"][0]["Ipv6CidrBlock"]).subnets(new_prefix=64)

    def subnet(n: int, zone: str, size: int = 24, **more: Any) -> str:
        return ec2.create_subnet(
            VpcId=vpc["VpcId"], CidrBlock=f"10.8.{n}.0/{size}", AvailabilityZone=f"us-east-1{zone}", **more
        )["Subnet"]["SubnetId"]

    old = [subnet(0, "a"), subnet(1, "b")]
    assert refusal(lambda: elbv2.create_load_balancer(Name="web", Subnets=old)) == "InvalidSubnet"
    made = elbv2.create_load_balancer(Name="web", Subnets=old, Scheme="internal")["LoadBalancers"][0]
    arn = made["LoadBalancerArn"]
    assert (made["Scheme"], made["CanonicalHostedZoneId"]) == ("internal", "Z35SXDOTRQ7X7K")
    assert len(made["SecurityGroups"]) == 1  # the VPC's default one
    assert refusal(lambda: elbv2.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="dualstack")) == (
        "ValidationError"
    )
    new = [subnet(n, zone, Ipv6CidrBlock=str(next(blocks))) for n, zone in ((2, "a"), (3, "b"))]
    assert refusal(lambda: subnet(5, "a", Ipv6CidrBlock="2400:6500:6d27:ac002::/64")) == "InvalidParameterValue"
    elbv2.set_subnets(LoadBalancerArn=arn, Subnets=new)
    elbv2.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="dualstack")
    shown = elbv2.describe_load_balancers(LoadBalancerArns=[arn])["LoadBalancers"][0]
    assert (shown["IpAddressType"], [zone["SubnetId"] for zone in shown["AvailabilityZones"]]) == ("dualstack", new)
    small = [subnet(4, "a", 28), new[1]]
    elbv2.set_ip_address_type(LoadBalancerArn=arn, IpAddressType="ipv4")
    elbv2.set_subnets(LoadBalancerArn=arn, Subnets=small)
    other = clients.network()
    for code, call in _refused(elbv2, arn, new, other).items():
        assert refusal(call) == code.partition(" ")[0]


def _refused(elbv2: Any, arn: str, new: list[str], other: Network) -> dict[str, Callable[[], object]]:
    return {
        "ValidationError one zone": lambda: elbv2.set_subnets(LoadBalancerArn=arn, Subnets=new[:1]),
        "InvalidConfigurationRequest VPC": lambda: elbv2.set_subnets(LoadBalancerArn=arn, Subnets=other.subnets),
        "InvalidConfigurationRequest group": lambda: elbv2.set_security_groups(
            LoadBalancerArn=arn, SecurityGroups=[other.group]
        ),
        "InvalidSecurityGroup": lambda: elbv2.set_security_groups(LoadBalancerArn=arn, SecurityGroups=["sg-12345678"]),
        "LoadBalancerNotFound": lambda: elbv2.set_subnets(LoadBalancerArn=arn + "x", Subnets=new),
    }


def test_logs_need_a_bucket_that_lets_them_in(clients: Clients) -> None:
    """A bucket without the right policy would be found out in production, when the load balancer is half made."""
    network, elbv2, s3 = clients.network(), clients.elbv2, clients.client("s3")
    arn = balancer(clients, network)["LoadBalancerArn"]

    def switch_on(bucket: str, prefix: str = "web") -> object:
        wanted = {"enabled": "true", "bucket": bucket, "prefix": prefix}
        return elbv2.modify_load_balancer_attributes(
            LoadBalancerArn=arn,
            Attributes=[{"Key": f"access_logs.s3.{key}", "Value": value} for key, value in wanted.items()],
        )

    def policy(resource: str, **principal: str) -> None:
        statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": resource}
        s3.put_bucket_policy(Bucket="logs", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    assert refusal(lambda: switch_on("logs")) == "InvalidConfigurationRequest"
    s3.create_bucket(Bucket="logs")
    assert refusal(lambda: switch_on("logs")) == "InvalidConfigurationRequest"
    policy("arn:aws:s3:::logs/other/AWSLogs/123456789012/*", Service=SERVICE)
    assert refusal(lambda: switch_on("logs")) == "InvalidConfigurationRequest"
    policy("arn:aws:s3:::logs/web/AWSLogs/123456789012/*", Service=SERVICE)
    switch_on("logs")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="logs")["Contents"]] == [
        "web/AWSLogs/123456789012/ELBAccessLogTestFile"
    ]
    policy("arn:aws:s3:::logs/*", AWS=f"arn:aws:iam::{ELB_ACCOUNT}:root")
    switch_on("logs", "")
    assert refusal(lambda: switch_on("logs", "AWSLogs")) == "InvalidConfigurationRequest"


def test_only_instances_of_the_same_vpc_are_registered_and_not_too_many(clients: Clients) -> None:
    """A target that AWS refuses would wait to become healthy for ever."""
    network, elbv2 = clients.network(), clients.elbv2
    arn = group(clients, network)["TargetGroupArn"]
    register: Any = elbv2.register_targets
    assert refusal(lambda: register(TargetGroupArn=arn, Targets=[{"Id": "i-12345678"}])) == "InvalidTarget"
    with LOCK:
        full = backend("elbv2").target_groups[arn]
        full.targets.update({f"i-{n}": {"Id": f"i-{n}", "Port": 80} for n in range(1000)})
    assert refusal(lambda: register(TargetGroupArn=arn, Targets=[{"Id": "i-12345678"}])) == "TooManyTargets"
