"""Web ACLs of AWS WAF, as far as a load balancer has one. Their rules are never applied here.

Decides what may be associated. Moto takes any resource and any web ACL, lets a resource have several, and deletes a web
ACL that is in use. Source: AWS WAF API reference, version 2 (AssociateWebACL, DeleteWebACL).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moto.wafv2.exceptions import WAFNonexistentItemException, WAFv2ClientError
from moto.wafv2.models import WAFV2Backend

from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_associate, _disassociate = WAFV2Backend.associate_web_acl, WAFV2Backend.disassociate_web_acl
_delete_web_acl = WAFV2Backend.delete_web_acl
_get_for_resource = WAFV2Backend.get_web_acl_for_resource

_LOAD_BALANCER = ":loadbalancer/app/"


def patch(patches: Patches) -> None:
    """Make associations strict."""
    patches.methods(WAFV2Backend, associate_web_acl, disassociate_web_acl, get_web_acl_for_resource, delete_web_acl)


def _check_resource(arn: str) -> None:
    if _LOAD_BALANCER in arn and arn not in backend("elbv2").load_balancers:
        raise WAFNonexistentItemException


def associate_web_acl(self: Moto, web_acl_arn: str, resource_arn: str) -> None:
    """AWS wants a regional web ACL and a resource that there is, which then has this one only; moto takes any."""
    if ":regional/webacl/" not in web_acl_arn:
        raise WAFv2ClientError(
            "WAFInvalidParameterException",
            "Error reason: The ARN isn't valid. A valid ARN begins with arn: and includes other information separated"
            f" by colons or slashes., field: RESOURCE_ARN, parameter: {web_acl_arn}",
        )
    if web_acl_arn not in self.wacls:
        raise WAFNonexistentItemException
    _check_resource(resource_arn)
    _disassociate(self, resource_arn)
    _associate(self, web_acl_arn, resource_arn)


def disassociate_web_acl(self: Moto, resource_arn: str) -> None:
    """AWS refuses a resource that there is not; moto takes it."""
    _check_resource(resource_arn)
    _disassociate(self, resource_arn)


def get_web_acl_for_resource(self: Moto, resource_arn: str) -> Moto:
    """AWS refuses a resource that there is not; moto has no web ACL for it, or the one that it had."""
    _check_resource(resource_arn)
    return _get_for_resource(self, resource_arn)


def delete_web_acl(self: Moto, name: str, scope: str, _id: str, lock_token: str) -> None:
    """AWS keeps a web ACL that a resource uses; moto deletes it."""
    for web_acl in self.wacls.values():
        here = [arn for arn in web_acl.associated_resources if arn in backend("elbv2").load_balancers]
        if web_acl.id == _id and here:
            raise WAFv2ClientError(
                "WAFAssociatedItemException",
                "AWS WAF couldn't perform the operation because your resource is being used by another resource or it's"
                " associated with another resource.",
            )
    _delete_web_acl(self, name, scope, _id, lock_token)
