"""What joins a web ACL to a load balancer: facts and API calls of the type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from botocore.exceptions import ClientError

from engine.aws_plugin.kind import Call, Kind, OperationError, code
from engine.aws_plugin.wire import Props

_GONE = "WAFNonexistentItemException"


class WebAclAssociation(Kind):
    """A web ACL in front of a load balancer (`aws_wafv2_web_acl_association`)."""

    type_name = "aws:wafv2/webAclAssociation:WebAclAssociation"
    noun = "WAFv2 Web ACL Association"
    supported = frozenset({"resourceArn", "webAclArn", "region"})
    replace = frozenset({"resourceArn", "webAclArn"})
    timeout = 600.0

    def create(self, call: Call, props: Props) -> str:
        """Associate; a web ACL that was just made is not everywhere at once."""
        associate = call.client("wafv2").associate_web_acl
        call.retry(
            {"WAFUnavailableEntityException"},
            lambda: associate(ResourceArn=props["resourceArn"], WebACLArn=props["webAclArn"]),
        )
        call.made = f"{props['webAclArn']},{props['resourceArn']}"
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The web ACL that the resource has; the id is `WEB_ACL_ARN,RESOURCE_ARN`."""
        resource = _resource(resource_id)
        try:
            answer = call.client("wafv2").get_web_acl_for_resource(ResourceArn=resource)
        except ClientError as error:
            if code(error) == _GONE:
                return None
            raise
        acl = answer.get("WebACL")
        return {"resourceArn": resource, "webAclArn": acl["ARN"]} if acl else None

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Dissociate."""
        try:
            call.client("wafv2").disassociate_web_acl(ResourceArn=_resource(resource_id))
        except ClientError as error:
            if code(error) != _GONE:
                raise


def _resource(resource_id: str) -> str:
    acl, _, resource = resource_id.partition(",")
    if not acl or not resource:
        message = f"the id of a web ACL association is WEB_ACL_ARN,RESOURCE_ARN, not {resource_id}"
        raise OperationError(message)
    return resource
