"""Records of Route 53 and web ACLs of AWS WAF: what is refused, and what is late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localcloud.elbv2.balancers import HOSTED_ZONE
from tests.localcloud.clients import Clients, refusal
from tests.localcloud.elbv2.test_listeners import balancer

if TYPE_CHECKING:
    from localcloud.server import LocalCloud


class Zone:
    """A hosted zone of `shop.test`, and changes of its records."""

    def __init__(self, clients: Clients) -> None:
        self.route53 = clients.client("route53")
        self.id = self.route53.create_hosted_zone(Name="shop.test", CallerReference="1")["HostedZone"]["Id"]

    def change(self, action: str, **record: Any) -> Any:
        changes = [{"Action": action, "ResourceRecordSet": {"Name": "www.shop.test", "Type": "A", **record}}]
        return self.route53.change_resource_record_sets(HostedZoneId=self.id, ChangeBatch={"Changes": changes})[
            "ChangeInfo"
        ]


@pytest.fixture
def zone(clients: Clients) -> Zone:
    return Zone(clients)


def alias(target: str, zone: str = HOSTED_ZONE) -> dict[str, Any]:
    return {"AliasTarget": {"HostedZoneId": zone, "DNSName": target, "EvaluateTargetHealth": True}}


def test_an_alias_names_a_load_balancer_in_its_own_zone(clients: Clients, zone: Zone) -> None:
    """A domain would point at nothing; or with the wrong zone, which AWS refuses."""
    name = balancer(clients, clients.network())["DNSName"]
    for wrong in (alias(name, zone.id), alias(name, "Z35SXDOTRQ7X7Z"), alias("127.66.0.9"), {**alias(name), "TTL": 60}):
        code = "InvalidInput" if "TTL" in wrong else "InvalidChangeBatch"
        assert refusal(lambda wrong=wrong: zone.change("CREATE", **wrong)) == code  # type: ignore[misc] # bound now
    assert refusal(lambda: zone.change("CREATE", Name="www.myshop.test", **alias(name))) == "InvalidChangeBatch"
    zone.change("CREATE", **alias(f"dualstack.{name}."))
    assert refusal(lambda: zone.change("CREATE", **alias(name))) == "InvalidChangeBatch"
    zone.change("UPSERT", **alias(name))
    zone.change("CREATE", Type="AAAA", **alias(name))
    zone.change("CREATE", Name="shop.test", **alias("www.shop.test", zone.id.removeprefix("/hostedzone/")))
    records = zone.route53.list_resource_record_sets(HostedZoneId=zone.id)["ResourceRecordSets"]
    shown = next(record for record in records if (record["Name"], record["Type"]) == ("www.shop.test.", "A"))
    assert shown == {"Name": "www.shop.test.", "Type": "A", **alias(name)}
    assert refusal(lambda: zone.change("DELETE", **alias("127.66.0.9"))) == "InvalidChangeBatch"
    zone.change("DELETE", **alias(name))
    assert refusal(lambda: zone.change("DELETE", **alias(name))) == "InvalidChangeBatch"


def test_a_change_is_pending_for_a_while(clients: Clients, cloud: LocalCloud, zone: Zone) -> None:
    """Who waits for a change would never see it pending here."""
    name = balancer(clients, clients.network())["DNSName"]
    cloud.lateness.change({"records": [1000, 1000]})
    change = zone.change("CREATE", **alias(name))
    assert (change["Status"], zone.route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"]) == ("PENDING",) * 2
    cloud.lateness.change({"records": [0, 0]})
    assert zone.route53.get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "INSYNC"
    assert refusal(lambda: zone.route53.get_change(Id="C0")) == "NoSuchChange"


def test_a_private_zone_belongs_to_its_vpcs(clients: Clients) -> None:
    """A record for an internal load balancer could not be told from a public one."""
    route53, network = clients.client("route53"), clients.network()
    made = route53.create_hosted_zone(
        Name="shop.test",
        CallerReference="1",
        VPC={"VPCRegion": "us-east-1", "VPCId": network.vpc},
        HostedZoneConfig={"PrivateZone": True},
    )
    route53.create_hosted_zone(Name="shop.test", CallerReference="2")
    shown = route53.get_hosted_zone(Id=made["HostedZone"]["Id"])
    assert shown["HostedZone"]["Config"]["PrivateZone"] is True
    assert shown["VPCs"] == [{"VPCRegion": "us-east-1", "VPCId": network.vpc}]
    named = route53.list_hosted_zones_by_name(DNSName="shop.test")["HostedZones"]
    assert [zone["Config"]["PrivateZone"] for zone in named] == [True, False]


def test_a_load_balancer_has_one_web_acl_of_its_region(clients: Clients) -> None:
    """A web ACL of CloudFront, which AWS refuses, would seem to protect the service; or one be deleted that does."""
    waf = clients.client("wafv2")
    arn = balancer(clients, clients.network())["LoadBalancerArn"]
    seen = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "m"}

    def acl(name: str, scope: str = "REGIONAL") -> Any:
        return waf.create_web_acl(Name=name, Scope=scope, DefaultAction={"Allow": {}}, VisibilityConfig=seen)["Summary"]

    first, second, far = acl("first"), acl("second"), acl("far", "CLOUDFRONT")

    def associate(web_acl: str, resource: str = arn) -> object:
        return waf.associate_web_acl(WebACLArn=web_acl, ResourceArn=resource)

    assert "WebACL" not in waf.get_web_acl_for_resource(ResourceArn=arn)
    assert refusal(lambda: associate(far["ARN"])) == "WAFInvalidParameterException"
    assert refusal(lambda: associate(first["ARN"], arn + "0")) == "WAFNonexistentItemException"
    assert refusal(lambda: associate(first["ARN"] + "0")) == "WAFNonexistentItemException"
    associate(first["ARN"])
    associate(second["ARN"])
    associate(second["ARN"])
    assert waf.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]["ARN"] == second["ARN"]

    def delete(summary: Any) -> object:
        return waf.delete_web_acl(
            Name=summary["Name"], Scope="REGIONAL", Id=summary["Id"], LockToken=summary["LockToken"]
        )

    delete(first)
    assert refusal(lambda: delete(second)) == "WAFAssociatedItemException"
    waf.disassociate_web_acl(ResourceArn=arn)
    delete(second)
