"""The one place that makes boto3 clients: it decides region, endpoint, time-outs, connections and who retries.

It never reads settings or credentials itself (the AWS SDK's default chain finds those) and never makes a call.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client

CONNECT_SECONDS = 5
"""A healthy endpoint accepts in milliseconds; a dead address should cost a retry, not botocore's default minute."""

READ_SECONDS = 30
"""Longest silence of an answer. The slowest call we make (a PutSnapshotBlock under load) answers within seconds."""

CONTROL_ATTEMPTS = 6
"""Attempts of a control-plane call in botocore's standard mode: about 20 s of back-off, enough for its throttles."""


USER_AGENT = "fleetswap"
"""Added to the user agent, so that CloudTrail tells these calls from a person's."""


class Cloud:
    """An AWS region, or the local cloud that stands in for it at `endpoint`. Safe to use from several threads."""

    def __init__(self, region: str, endpoint: str | None = None) -> None:
        """`endpoint` is one URL for every service (the local cloud); None means AWS."""
        self.region = region
        self.endpoint = endpoint
        self._session = boto3.session.Session(region_name=region)
        # Clients are thread-safe, making one out of a session is not (boto3 guide, "Multithreading").
        self._lock = threading.Lock()

    def autoscaling(self) -> AutoScalingClient:
        """Auto Scaling; botocore retries."""
        with self._lock:
            return self._session.client("autoscaling", endpoint_url=self.endpoint, config=control())

    def ec2(self) -> EC2Client:
        """EC2; botocore retries."""
        with self._lock:
            return self._session.client("ec2", endpoint_url=self.endpoint, config=control())

    def elbv2(self) -> ElasticLoadBalancingv2Client:
        """Elastic Load Balancing v2; botocore retries."""
        with self._lock:
            return self._session.client("elbv2", endpoint_url=self.endpoint, config=control())

    def ebs_and_ec2(self, connections: int) -> tuple[EBSClient, EC2Client]:
        """The two clients of an upload, for `connections` threads. Nothing is retried here: the upload does that."""
        config = once(connections)
        with self._lock:
            ebs = self._session.client("ebs", endpoint_url=self.endpoint, config=config)
            ec2 = self._session.client("ec2", endpoint_url=self.endpoint, config=config)
        return ebs, ec2


def control() -> Config:
    """For calls whose only retries are botocore's: throttles, 5xx and connection errors, `CONTROL_ATTEMPTS` times."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": CONTROL_ATTEMPTS},
        user_agent_extra=USER_AGENT,
    )


def once(connections: int) -> Config:
    """For callers that retry by themselves: one attempt, and a pool that never makes `connections` threads wait."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        user_agent_extra=USER_AGENT,
    )
