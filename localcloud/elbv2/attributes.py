"""The attributes of load balancers, target groups and listeners: which there are, and what they may be.

Decides what Describe…Attributes tells of something that nobody has changed, and which values Modify…Attributes refuses.
Moto tells a few, some of them another kind's, and takes nearly anything.

Names, defaults and ranges come from the Elastic Load Balancing API reference (LoadBalancerAttribute,
TargetGroupAttribute, ListenerAttribute), for application load balancers and targets that are instances.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from moto.elbv2.exceptions import ELBClientError, TooManyTagsError
from moto.elbv2.models import ELBv2Backend

from localcloud.elbv2 import access_logs
from localcloud.parameters import MAX_TAGS

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

DELAY: Final = "deregistration_delay.timeout_seconds"

_FLAG = "true|false"
_TEXT = ".*"
_COUNT = "[1-9][0-9]*"
_PERCENT = "off|[1-9][0-9]?|100"

Table = dict[str, tuple[str, str | range]]
"""Of each attribute: what it is at first, and what it may be (a pattern or a range of whole numbers)."""

BALANCER: Final[Table] = {
    "access_logs.s3.enabled": ("false", _FLAG),
    "access_logs.s3.bucket": ("", _TEXT),
    "access_logs.s3.prefix": ("", _TEXT),
    "client_keep_alive.seconds": ("3600", range(60, 604_801)),
    "connection_logs.s3.enabled": ("false", _FLAG),
    "connection_logs.s3.bucket": ("", _TEXT),
    "connection_logs.s3.prefix": ("", _TEXT),
    "deletion_protection.enabled": ("false", _FLAG),
    "health_check_logs.s3.enabled": ("false", _FLAG),
    "health_check_logs.s3.bucket": ("", _TEXT),
    "health_check_logs.s3.prefix": ("", _TEXT),
    "idle_timeout.timeout_seconds": ("60", range(1, 4_001)),
    "load_balancing.cross_zone.enabled": ("true", "true"),
    "routing.http.desync_mitigation_mode": ("defensive", "monitor|defensive|strictest"),
    "routing.http.drop_invalid_header_fields.enabled": ("false", _FLAG),
    "routing.http.preserve_host_header.enabled": ("false", _FLAG),
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": ("false", _FLAG),
    "routing.http.xff_client_port.enabled": ("false", _FLAG),
    "routing.http.xff_header_processing.mode": ("append", "append|preserve|remove"),
    "routing.http2.enabled": ("true", _FLAG),
    "waf.fail_open.enabled": ("false", _FLAG),
    "zonal_shift.config.enabled": ("false", _FLAG),
}

GROUP: Final[Table] = {
    DELAY: ("300", range(3_601)),
    "load_balancing.algorithm.anomaly_mitigation": ("off", "on|off"),
    "load_balancing.algorithm.type": ("round_robin", "round_robin|least_outstanding_requests|weighted_random"),
    "load_balancing.cross_zone.enabled": (
        "use_load_balancer_configuration",
        f"{_FLAG}|use_load_balancer_configuration",
    ),
    "slow_start.duration_seconds": ("0", "0|[3-9][0-9]|[1-8][0-9][0-9]|900"),
    "stickiness.app_cookie.cookie_name": ("", "(?!AWSALB).*"),
    "stickiness.app_cookie.duration_seconds": ("86400", range(1, 604_801)),
    "stickiness.enabled": ("false", _FLAG),
    "stickiness.lb_cookie.duration_seconds": ("86400", range(1, 604_801)),
    "stickiness.type": ("lb_cookie", "lb_cookie|app_cookie"),
    "target_group_health.dns_failover.minimum_healthy_targets.count": ("1", f"off|{_COUNT}"),
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": ("off", _PERCENT),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": ("1", _COUNT),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": ("off", _PERCENT),
}

_ANSWERED = (
    "access_control_allow_credentials",
    "access_control_allow_headers",
    "access_control_allow_methods",
    "access_control_allow_origin",
    "access_control_expose_headers",
    "access_control_max_age",
    "content_security_policy",
    "strict_transport_security",
    "x_content_type_options",
    "x_frame_options",
)
_ASKED = {
    "x_amzn_mtls_clientcert": "X-Amzn-Mtls-Clientcert",
    "x_amzn_mtls_clientcert_issuer": "X-Amzn-Mtls-Clientcert-Issuer",
    "x_amzn_mtls_clientcert_leaf": "X-Amzn-Mtls-Clientcert-Leaf",
    "x_amzn_mtls_clientcert_serial_number": "X-Amzn-Mtls-Clientcert-Serial-Number",
    "x_amzn_mtls_clientcert_subject": "X-Amzn-Mtls-Clientcert-Subject",
    "x_amzn_mtls_clientcert_validity": "X-Amzn-Mtls-Clientcert-Validity",
    "x_amzn_tls_cipher_suite": "X-Amzn-Tls-Cipher-Suite",
    "x_amzn_tls_version": "X-Amzn-Tls-Version",
}

PLAIN: Final[Table] = {
    "routing.http.response.server.enabled": ("true", _FLAG),
    **{f"routing.http.response.{name}.header_value": ("", _TEXT) for name in _ANSWERED},
}
"""Of a listener that speaks HTTP."""

SECURE: Final[Table] = {
    **PLAIN,
    **{f"routing.http.request.{key}.header_name": (name, _TEXT) for key, name in _ASKED.items()},
}
"""Of a listener that speaks HTTPS."""

MAX_ARNS: Final = 20
"""Of one DescribeTags (API reference)."""

_describe_tags = ELBv2Backend.describe_tags
_modify_balancer = ELBv2Backend.modify_load_balancer_attributes
_modify_group = ELBv2Backend.modify_target_group_attributes
_modify_listener = ELBv2Backend.modify_listener_attributes


def patch(patches: Patches) -> None:
    """Make the attributes strict. What they are at first is set where their owners are created."""
    patches.methods(ELBv2Backend, modify_load_balancer_attributes, modify_target_group_attributes)
    patches.methods(ELBv2Backend, modify_listener_attributes, add_tags, describe_tags)


def first(table: Table) -> dict[str, str]:
    """The attributes of something new."""
    return {key: value for key, (value, _) in table.items()}


def listener(protocol: str) -> Table:
    """The attributes of a listener."""
    return SECURE if protocol == "HTTPS" else PLAIN


def _check(what: str, table: Table, asked: dict[str, str]) -> None:
    for key, value in asked.items():
        if key not in table:
            raise ELBClientError("ValidationError", f"{what} attribute key '{key}' is not recognized")
        allowed = table[key][1]
        good = (
            bool(re.fullmatch(allowed, value))
            if isinstance(allowed, str)
            else value.isdigit() and int(value) in allowed
        )
        if not good:
            words = f"{allowed[0]}-{allowed[-1]}" if isinstance(allowed, range) else allowed.replace("|", ", ")
            raise ELBClientError("ValidationError", f"'{key}' value '{value}' must be one of: {words}")


def modify_load_balancer_attributes(self: Moto, arn: str, attrs: dict[str, str]) -> Moto:
    """AWS checks names and values, and the bucket of logs; moto the names, of every kind of load balancer."""
    if arn in self.load_balancers:
        _check("Load balancer", BALANCER, attrs)
        if any("_logs.s3." in key for key in attrs):
            access_logs.check(arn, {**self.load_balancers[arn].attrs, **attrs})
    return _modify_balancer(self, arn, attrs)


def modify_target_group_attributes(self: Moto, target_group_arn: str, attributes: dict[str, str]) -> None:
    """AWS checks names and values; moto a few, and refuses a deregistration delay of 3600 s, which AWS takes."""
    group = self.target_groups.get(target_group_arn)
    if group is not None:
        _check("Target group", GROUP, attributes)
    delay = {DELAY: attributes[DELAY]} if DELAY in attributes else {}
    _modify_group(self, target_group_arn, {key: value for key, value in attributes.items() if key != DELAY})
    group.attributes.update(delay)


def modify_listener_attributes(self: Moto, listener_arn: str, attrs: list[dict[str, str]]) -> Moto:
    """AWS checks names and values; moto neither."""
    found = self.describe_listeners(None, [listener_arn])[0]
    _check("Listener", listener(found.protocol), {item["Key"]: item["Value"] for item in attrs})
    return _modify_listener(self, listener_arn, attrs)


def add_tags(self: Moto, resource_arns: list[str], tags: list[dict[str, str]]) -> None:
    """AWS takes 50 tags; moto 10."""
    for arn in resource_arns:
        self._get_resource_by_arn(arn)
        before = self.tagging_service.get_tag_dict_for_resource(arn)
        if len(before.keys() | {tag["Key"] for tag in tags}) > MAX_TAGS:
            raise TooManyTagsError
    for arn in resource_arns:
        self.tagging_service.tag_resource(arn, tags)


def describe_tags(self: Moto, resource_arns: list[str]) -> Moto:
    """AWS takes 20 resources in one call, and refuses one that it does not know; moto neither."""
    if len(resource_arns) > MAX_ARNS:
        raise ELBClientError("ValidationError", f"At most {MAX_ARNS} resources can be described in one call")
    for arn in resource_arns:
        self._get_resource_by_arn(arn)
    return _describe_tags(self, resource_arns)
