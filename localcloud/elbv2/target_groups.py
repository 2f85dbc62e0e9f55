"""Target groups as strict as ELBv2: their protocol, version and health check, and what AWS fills in.

Decides which health checks are refused. Their targets are `targets`', their attributes `attributes`'.

Limits and defaults come from the Elastic Load Balancing API reference (CreateTargetGroup, ModifyTargetGroup, Matcher)
and the user guide for Application Load Balancers ("Target groups", "Quotas").
"""

from __future__ import annotations

import re
from inspect import signature
from typing import TYPE_CHECKING, Any, Final

from moto.elbv2.exceptions import ELBClientError, ValidationError
from moto.elbv2.models import ELBv2Backend
from moto.elbv2.responses import ELBV2Response

from localcloud.elbv2 import attributes

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_GROUPS: Final = 3_000
HTTP_CODES: Final = range(200, 500)
GRPC_CODES: Final = range(100)
VERSIONS: Final = ("HTTP1", "HTTP2", "GRPC")
_LIMITS: Final = {
    "healthcheck_interval_seconds": range(5, 301),
    "healthcheck_timeout_seconds": range(2, 121),
    "healthy_threshold_count": range(2, 11),
    "unhealthy_threshold_count": range(2, 11),
}
_HTTP_DEFAULTS: Final = {"healthcheck_protocol": "HTTP", "healthcheck_path": "/"}
_GRPC_DEFAULTS: Final = {"healthcheck_protocol": "HTTP", "healthcheck_path": "/AWS.ALB/healthcheck"}
_GRPC_CODE: Final = "12"  # unimplemented: what a server answers that does not know that path

_create_target_group = ELBv2Backend.create_target_group
_modify_target_group = ELBv2Backend.modify_target_group
_answer_modify = ELBV2Response.modify_target_group


def patch(patches: Patches) -> None:
    """Make target groups strict."""
    patches.methods(ELBv2Backend, create_target_group, modify_target_group)
    patches.set(ELBV2Response, "modify_target_group", _modify_with_grpc_codes)


def create_target_group(self: Moto, name: str, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """AWS checks version, health check and codes, and checks health over HTTP unless asked; moto does not."""
    if len(self.target_groups) >= MAX_GROUPS:
        raise ELBClientError("TooManyTargetGroups", f"An account has at most {MAX_GROUPS} target groups a region")
    version = kwargs.get("protocol_version")
    if kwargs.get("protocol") in {"HTTP", "HTTPS"}:
        version = kwargs["protocol_version"] = version or "HTTP1"
        if version not in VERSIONS:
            raise ValidationError(f"Protocol version '{version}' must be one of: {', '.join(VERSIONS)}")
        defaults = _GRPC_DEFAULTS if version == "GRPC" else _HTTP_DEFAULTS
        kwargs |= {key: value for key, value in defaults.items() if not kwargs.get(key)}
    elif version:
        raise ValidationError("A protocol version can be specified only for the protocols HTTP and HTTPS")
    matcher = kwargs.get("matcher") or {}
    _check_matcher(version, matcher)
    _check_health_check(kwargs)
    group = _create_target_group(self, name, **kwargs)
    if group.protocol in {"HTTP", "HTTPS"}:
        group.attributes = attributes.first(attributes.GROUP)
        group.matcher = matcher or ({"GrpcCode": _GRPC_CODE} if version == "GRPC" else {"HttpCode": "200"})
    return group


def modify_target_group(self: Moto, *args: Any, **kwargs: Any) -> Moto:  # noqa: ANN401 - moto's own arguments
    """As `create_target_group`."""
    asked = signature(_modify_target_group).bind(self, *args, **kwargs).arguments
    group = self.target_groups.get(asked["arn"])
    renamed = {
        "healthcheck_interval_seconds": asked.get("health_check_interval"),
        "healthcheck_timeout_seconds": asked.get("health_check_timeout"),
        "healthcheck_path": asked.get("health_check_path"),
    }
    if group is not None and asked.get("http_codes") is not None:
        _check_matcher(group.protocol_version, {"HttpCode": asked["http_codes"]})
    _check_health_check({**asked, **renamed})
    if group is not None:
        interval = renamed["healthcheck_interval_seconds"] or group.health_check_interval_seconds
        timeout = renamed["healthcheck_timeout_seconds"] or group.health_check_timeout_seconds
        if int(timeout) >= int(interval):
            raise ValidationError(f"Health check timeout '{timeout}' must be smaller than the interval '{interval}'")
    return _modify_target_group(self, *args, **kwargs)


def _modify_with_grpc_codes(self: Moto) -> Moto:
    """AWS changes the codes of gRPC as well; moto reads those of HTTP only."""
    codes, arn = self._get_param("Matcher.GrpcCode"), self._get_param("TargetGroupArn")
    group = self.elbv2_backend.target_groups.get(arn)
    if group is not None and codes is not None:
        _check_matcher(group.protocol_version, {"GrpcCode": codes})
    answer = _answer_modify(self)
    if group is not None and codes is not None:
        group.matcher = {"GrpcCode": codes}
    return answer


def _check_matcher(version: str | None, matcher: dict[str, str]) -> None:
    grpc = version == "GRPC"
    kind, other, codes = ("GrpcCode", "HttpCode", GRPC_CODES) if grpc else ("HttpCode", "GrpcCode", HTTP_CODES)
    if matcher.get(other) is not None:
        raise ValidationError(f"Matcher {other} cannot be specified for a target group with protocol version {version}")
    asked = matcher.get(kind)
    if asked is None:
        return
    ranges = [part.partition("-") for part in asked.split(",")]
    if not re.fullmatch(r"\d{1,3}(-\d{1,3})?(,\d{1,3}(-\d{1,3})?)*", asked) or not all(
        int(first) in codes and int(last or first) in codes and int(first) <= int(last or first)
        for first, _, last in ranges
    ):
        name = "gRPC" if grpc else "HTTP"
        raise ValidationError(
            f"Health check matcher {name} code '{asked}' must be within '{codes[0]}-{codes[-1]}' inclusive"
        )


def _check_health_check(asked: dict[str, Any]) -> None:
    path = asked.get("healthcheck_path")
    if path is not None and not path.startswith("/"):
        raise ValidationError(f"Health check path '{path}' must begin with a '/'")
    for name, limits in _LIMITS.items():
        value = asked.get(name)
        if value is not None and int(value) not in limits:
            words = name.replace("healthcheck", "health check").replace("_", " ")
            raise ValidationError(f"The {words} '{value}' must be between {limits[0]} and {limits[-1]}")
