"""Where a load balancer writes its access logs: the check of the bucket when they are switched on.

Decides whether the bucket's policy lets Elastic Load Balancing write, and writes the test object that AWS writes. The
log objects themselves are not written here: who reads them reads AWS's. Moto takes any bucket, or none. Source: user
guide for Application Load Balancers, "Enable access logs for your Application Load Balancer".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.elbv2.exceptions import ELBClientError

from localcloud.authorization.policies import Named, Policy, Question
from localcloud.moto_state import ACCOUNT_ID, backend
from localcloud.regions import KNOWN, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE: Final = "logdelivery.elasticloadbalancing.amazonaws.com"
ELB_ACCOUNT: Final = KNOWN[REGION].logs
TEST_OBJECT: Final = "ELBAccessLogTestFile"


def check(balancer_arn: str, attributes: Mapping[str, str]) -> None:
    """Refuse what AWS refuses of the attributes that a load balancer is to have, all of them."""
    for kind in ("access", "connection", "health_check"):
        if attributes.get(f"{kind}_logs.s3.enabled") == "true":
            _check(
                balancer_arn, attributes.get(f"{kind}_logs.s3.bucket", ""), attributes.get(f"{kind}_logs.s3.prefix", "")
            )


def _check(balancer_arn: str, bucket: str, prefix: str) -> None:
    if not bucket:
        raise ELBClientError(
            "InvalidConfigurationRequest", "The access logs S3 bucket name must be specified if access logs are enabled"
        )
    if "AWSLogs" in prefix or prefix.startswith("/") or prefix.endswith("/"):
        raise ELBClientError(
            "InvalidConfigurationRequest",
            f"Access logs prefix '{prefix}' must not have AWSLogs, nor begin or end with /",
        )
    found: Any = backend("s3").buckets.get(bucket)
    if found is None:
        raise ELBClientError("InvalidConfigurationRequest", f"S3Bucket: {bucket} could not be located.")
    name = f"{prefix}/AWSLogs/{ACCOUNT_ID}/{TEST_OBJECT}" if prefix else f"AWSLogs/{ACCOUNT_ID}/{TEST_OBJECT}"
    policy = Policy.parse((found.policy or b"{}").decode())
    resource = f"arn:aws:s3:::{bucket}/{name}"
    keys = {"aws:sourcearn": (balancer_arn,), "aws:sourceaccount": (ACCOUNT_ID,)}
    question = Question("s3:PutObject", resource, keys)
    writers = (Named(service=SERVICE), *((Named((), ELB_ACCOUNT),) if ELB_ACCOUNT is not None else ()))
    if not any(
        policy.allows(question, keys, writer) and not policy.denies(question, keys, writer) for writer in writers
    ):
        raise ELBClientError(
            "InvalidConfigurationRequest", f"Access Denied for bucket: {bucket}. Please check S3bucket permission"
        )
    if found.region_name != backend("elbv2").region_name:
        raise ELBClientError(
            "InvalidConfigurationRequest", f"The bucket {bucket} is not in the region of the load balancer"
        )
    backend("s3").put_object(bucket, name, b"Enable AccessLog for ELB")
