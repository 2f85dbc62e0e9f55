"""Listeners as strict as ELBv2, as far as the control plane goes, and which load balancers use a target group.

Decides which listeners are refused. Never forwards a request: the balancer of the machines reads what is stored here.
Rules and actions are `rules`', certificates `certificates`', load balancers `balancers`', targets `targets`'.

Limits come from the Elastic Load Balancing API reference (CreateListener, ModifyListener) and the user guide for
Application Load Balancers ("Quotas").
"""

from __future__ import annotations

import socket
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from moto.elbv2.exceptions import DuplicateListenerError, ELBClientError
from moto.elbv2.models import ELBv2Backend, FakeAction
from moto.elbv2.responses import ELBV2Response, transform_certificates
from moto.elbv2.ssl_policies import SSL_POLICIES

from localcloud.elbv2 import attributes, balancers, certificates, rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

DEFAULT_POLICY: Final = "ELBSecurityPolicy-2016-08"
MAX_LISTENERS: Final = 50  # of one load balancer

_create_listener, _modify_listener = ELBv2Backend.create_listener, ELBv2Backend.modify_listener
_delete_listener = ELBv2Backend.delete_listener


def patch(patches: Patches) -> None:
    """Make listeners strict."""
    for name, changing in {
        "create_listener": create_listener,
        "modify_listener": modify_listener,
        "delete_listener": _delete_listener,
        "create_rule": rules.create_rule,
        "modify_rule": rules.modify_rule,
        "delete_rule": rules.delete_rule,
        "delete_load_balancer": balancers.delete_load_balancer,
    }.items():
        patches.set(ELBv2Backend, name, _linking(changing))
    told = dict(ELBV2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER)
    told |= {path: _default_certificate for path in told if path.endswith(".Listener.Certificates")}
    patches.set(ELBV2Response, "RESPONSE_KEY_PATH_TO_TRANSFORMER", told)
    rules.patch(patches)
    balancers.patch(patches)
    certificates.patch(patches)


def _default_certificate(arns: list[str]) -> Moto:
    """AWS tells a listener's default certificate with the listener; moto all of them."""
    return transform_certificates(arns[:1])


def _linking(changing: Callable[..., Any]) -> Callable[..., Any]:
    """AWS knows at any time which load balancers use a target group; moto only ever adds to the list."""

    def changed(self: Moto, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - moto's own arguments
        done = changing(self, *args, **kwargs)
        _link(self)
        return done

    return changed


def _link(elbv2: Moto) -> None:
    users: dict[str, list[str]] = {}
    for balancer in elbv2.load_balancers.values():
        for listener in balancer.listeners.values():
            for rule in listener.rules.values():
                for action in rule.actions:
                    for arn in rules.forwarded(action.data):
                        if balancer.arn not in users.setdefault(arn, []):
                            users[arn].append(balancer.arn)
    for group in elbv2.target_groups.values():
        group.load_balancer_arns = users.get(group.arn, [])


def create_listener(self: Moto, load_balancer_arn: str, protocol: str, port: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS refuses a second listener at a port, and a certificate too many or too few; moto compares the port with ARNs.

    A port that another program of this machine has is refused here: whatever listens there would answer in our place.
    """
    asked = signature(_create_listener).bind(self, load_balancer_arn, protocol, port, *args, **kwargs).arguments
    balancer = self.load_balancers.get(load_balancer_arn)
    if balancer is not None:
        if any(str(listener.port) == str(port) for listener in balancer.listeners.values()):
            raise DuplicateListenerError
        if len(balancer.listeners) >= MAX_LISTENERS:
            raise ELBClientError("TooManyListeners", f"A load balancer has at most {MAX_LISTENERS} listeners")
        if balancer.type == "application":
            _check_secure(protocol, asked.get("certificate"), asked.get("ssl_policy"))
        rules.check_some(asked["actions"])
        rules.check_uses(self, balancer, protocol, asked["actions"])
        _refuse_taken(balancer.dns_name, int(port))
    listener = _create_listener(self, load_balancer_arn, protocol, port, *args, **kwargs)
    _told(listener)
    return listener


def _told(listener: Moto) -> None:
    """AWS tells no TLS policy of a listener without TLS; of one with TLS, that it asks clients for no certificate."""
    known = attributes.first(attributes.listener(listener.protocol))
    listener.attributes = known | {key: value for key, value in listener.attributes.items() if key in known}
    listener.alpn_policy = None  # of a network load balancer's
    if listener.protocol == "HTTPS":
        listener.mutual_authentication = {"Mode": "off"}
        listener.ssl_policy = listener.ssl_policy or DEFAULT_POLICY
    else:
        listener.ssl_policy, listener.certificates = None, []
        listener.mutual_authentication = None


def _check_secure(protocol: str, certificate: str | None, policy: str | None) -> None:
    if protocol == "HTTPS" and not certificate:
        raise ELBClientError("ValidationError", "A certificate must be specified for HTTPS listeners")
    if protocol == "HTTPS" and certificate:
        certificates.check(certificate)
    if protocol == "HTTPS" and policy not in SSL_POLICIES:
        raise ELBClientError("SSLPolicyNotFound", f"SSL policy '{policy}' not found")
    if protocol == "HTTP" and certificate:
        raise ELBClientError("ValidationError", "Certificates cannot be specified for HTTP listeners")
    if protocol == "HTTP" and policy not in {None, DEFAULT_POLICY}:  # moto puts the default in before it comes here
        raise ELBClientError("ValidationError", "An SSL policy cannot be specified for HTTP listeners")


def modify_listener(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks all of it as when a listener is created, and replaces the default certificate only; moto does not."""
    asked = signature(_modify_listener).bind(self, *args, **kwargs).arguments
    listener = self.describe_listeners(None, [asked["arn"]])[0]
    balancer = self.load_balancers[listener.load_balancer_arn]
    protocol, port = asked.get("protocol") or listener.protocol, asked.get("port")
    given = certificates.one(asked["certificates"]) if asked.get("certificates") else None
    if balancer.type == "application":
        default = listener.certificates[0] if listener.certificates and protocol == "HTTPS" else None
        policy = asked.get("ssl_policy") or (listener.ssl_policy or DEFAULT_POLICY if protocol == "HTTPS" else None)
        _check_secure(protocol, given or default, policy)
    asked_actions = asked.get("actions") or []
    if asked_actions:
        self._validate_actions([FakeAction(action) for action in asked_actions])
    rules.check_uses(self, balancer, protocol, asked_actions)
    if protocol != listener.protocol:
        for rule in listener.rules.values():
            rules.check_uses(self, balancer, protocol, [action.data for action in rule.actions])
    if port is not None and str(port) != str(listener.port):
        if any(str(other.port) == str(port) for other in balancer.listeners.values()):
            raise DuplicateListenerError
        _refuse_taken(balancer.dns_name, int(port))
    others = listener.certificates[1:]
    done = _modify_listener(self, *args, **kwargs)
    if given is not None:
        done.certificates = [given, *others]
    _told(done)
    return done


def _refuse_taken(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise ELBClientError(
                "ValidationError",
                f"Port {port} of {address} is not free on this machine ({error.strerror}): end what listens there",
            ) from None
