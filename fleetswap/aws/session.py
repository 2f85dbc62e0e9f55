"""The one place that creates boto3 clients. It decides region, endpoint, timeouts, connections and who retries.

It never reads settings itself: an `Access` says whose credentials and which endpoints, and without one the AWS SDK's
default chain finds them. It never makes a call.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from botocore.config import Config
from botocore.httpsession import get_cert_path
from botocore.loaders import Loader, instance_cache

from fleetswap.aws import credentials
from fleetswap.domain.access import Access
from fleetswap.domain.errors import InputError

if TYPE_CHECKING:
    import boto3.session
    import botocore.session
    from botocore.credentials import Credentials
    from mypy_boto3_autoscaling import AutoScalingClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ebs import EBSClient
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sts import STSClient

CONNECT_SECONDS = 5
"""A healthy endpoint accepts in milliseconds; a dead address should cost a retry, not botocore's default minute."""

READ_SECONDS = 30
"""Longest silence of an answer. The slowest call we make (a PutSnapshotBlock under load) answers within seconds."""

CONTROL_ATTEMPTS = 6
"""Attempts of a control-plane call in botocore's standard mode: about 20 s of back-off, enough for its throttles."""


MODELS = Path(__file__).parent / "models"
"""What is looked for here before it is among botocore's own data: a small EC2, see `tools/trim_models.py`."""

USER_AGENT = "fleetswap"
"""Added to the user agent, so that CloudTrail tells these calls from a person's."""


class _Models(Loader):
    """Finds models, without botocore's look into the folders of all its 400 services to see whether there is the one
    that is asked for. That takes 15 ms, each time that a client is made in a new process.
    """

    @instance_cache
    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 (of every type: each has its own look)
        """The names of all services that may have models."""
        return sorted({each.name for path in map(Path, self.search_paths) if path.is_dir() for each in path.iterdir()})


class Cloud:
    """An AWS region, or the local cloud that stands in for it at `endpoint`. Safe to use from several threads."""

    def __init__(self, region: str, endpoint: str | None = None, access: Access | None = None) -> None:
        """`endpoint` is one URL for every service that `access` names none for (the local cloud); None means AWS."""
        self.region = region
        self.endpoint = endpoint
        self.access = access or Access()
        # Clients are thread-safe, making one out of a session is not (boto3 guide, "Multithreading").
        self._lock = threading.Lock()

    @property
    def user_agent(self) -> str:
        """What each of our calls calls itself."""
        return " ".join((USER_AGENT, *self.access.user_agents))

    @cached_property
    def _session(self) -> boto3.session.Session:
        import boto3.session  # noqa: PLC0415 (3 MiB that an upload does without)

        made = credentials.session(self.region, self.endpoint, self.access)
        return boto3.session.Session(region_name=self.region, botocore_session=made)

    @cached_property
    def _small_session(self) -> botocore.session.Session:
        """Finds the models in `MODELS` before botocore's own."""
        session = credentials.session(self.region, self.endpoint, self.access)
        # As botocore's own loader is made: AWS_DATA_PATH, or the profile's data_path.
        paths = os.path.expandvars(session.get_config_variable("data_path") or "").split(os.pathsep)
        own = [str(Path(each).expanduser()) for each in paths if each]
        session.register_component("data_loader", _Models([str(MODELS), *own]))
        return session

    def _to(self, service: str, config: Config) -> dict[str, Any]:
        """The endpoint and the configuration of a client."""
        return credentials.client_options(service, self.endpoint, self.access, config)

    def autoscaling(self) -> AutoScalingClient:
        """Auto Scaling; botocore retries."""
        with self._lock:
            return self._session.client("autoscaling", **self._to("autoscaling", control(self)))

    def ec2(self) -> EC2Client:
        """EC2; botocore retries."""
        with self._lock:
            return self._session.client("ec2", **self._to("ec2", control(self)))

    def elbv2(self) -> ElasticLoadBalancingv2Client:
        """Elastic Load Balancing v2; botocore retries."""
        with self._lock:
            return self._session.client("elbv2", **self._to("elbv2", control(self)))

    def cloudwatch(self) -> CloudWatchClient:
        """CloudWatch; botocore retries."""
        with self._lock:
            return self._session.client("cloudwatch", **self._to("cloudwatch", control(self)))

    def route53(self) -> Any:  # noqa: ANN401 - its stubs are not installed for two calls
        """Route 53; botocore retries."""
        with self._lock:
            return self._session.client("route53", **self._to("route53", control(self)))

    def iam(self) -> Any:  # noqa: ANN401 - its stubs are not installed for a few calls
        """IAM; botocore retries."""
        with self._lock:
            return self._session.client("iam", **self._to("iam", control(self)))

    def service_quotas(self) -> Any:  # noqa: ANN401 - its stubs are not installed for one call
        """Service Quotas; botocore retries."""
        with self._lock:
            return self._session.client("service-quotas", **self._to("service-quotas", control(self)))

    def scheduler(self) -> EventBridgeSchedulerClient:
        """EventBridge Scheduler; botocore retries."""
        with self._lock:
            return self._session.client("scheduler", **self._to("scheduler", control(self)))

    def sns(self, region: str | None = None) -> SNSClient:
        """SNS, in another region if one is named; botocore retries."""
        with self._lock:
            return self._session.client("sns", region_name=region, **self._to("sns", control(self)))

    def function(self, name: str, timeout: float) -> Any:  # noqa: ANN401 - its stubs are not installed for one call
        """Lambda in the region of a function, for one call that may take so long and is never made again."""
        region = name.split(":")[3] if name.startswith("arn:") else None
        # NAT forgets a connection after 350 s of silence (VPC user guide): the answer of a longer one would never come.
        config = control(self).merge(
            Config(read_timeout=timeout, retries={"mode": "standard", "total_max_attempts": 1}, tcp_keepalive=True)
        )
        with self._lock:
            return self._session.client("lambda", region_name=region, **self._to("lambda", config))

    def sts(self, attempts: int | None = None) -> STSClient:
        """The Security Token Service; botocore retries. From the small session: every preview asks it."""
        with self._lock:
            make = self._small_session.create_client
            region = self.access.sts_region or self.region
            client = make("sts", region_name=region, **self._to("sts", control(self, attempts)))
        return cast("STSClient", client)

    def kms(self, region: str) -> KMSClient:
        """KMS in the region of a key; botocore retries. From the small session: a preview asks it."""
        with self._lock:
            make = self._small_session.create_client
            client = make("kms", region_name=region, **self._to("kms", control(self)))
        return cast("KMSClient", client)

    def small_ec2(self) -> EC2Client:
        """EC2 with the few calls that `tools/trim_models.py` names; botocore retries."""
        with self._lock:
            make = self._small_session.create_client
            client = make("ec2", region_name=self.region, **self._to("ec2", control(self)))
        return cast("EC2Client", client)

    def ebs_and_ec2(self, connections: int) -> tuple[EBSClient, EC2Client]:
        """The two clients of an upload, for `connections` threads. Nothing is retried here: the upload does that.

        EC2's knows only the calls that `tools/trim_models.py` names.
        """
        config = once(self, connections)
        with self._lock:
            make = partial(self._small_session.create_client, region_name=self.region)
            ebs, ec2 = (make(service, **self._to(service, config)) for service in ("ebs", "ec2"))
            # botocore's types know nothing of the services; boto3's do, and make the same clients.
            return cast("EBSClient", ebs), cast("EC2Client", ec2)

    def credentials(self) -> Callable[[], Credentials | None]:
        """What goes through the chain of credentials anew at each call."""
        known = [self._small_session]

        def find() -> Credentials | None:
            # A session remembers what it has found: to look again takes a new one.
            session = known.pop() if known else credentials.session(self.region, self.endpoint, self.access, anew=True)
            return session.get_credentials()

        return find

    def trust(self) -> ssl.SSLContext:
        """Whom TLS trusts: the authorities that botocore would, which is AWS_CA_BUNDLE or what it ships.

        Raises `InputError` if their file cannot be read.
        """
        told = self._small_session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        path = Path(str(told or get_cert_path(True)))  # noqa: FBT003 (botocore's way to ask for what it ships)
        if path.is_dir():
            raise InputError(
                f"the certificate authorities {path} are a folder, and the AWS SDK reads one file: name it"
            )
        try:
            context = ssl.create_default_context(cafile=path)
        except OSError as error:  # ssl.SSLError is one
            raise InputError(
                f"the certificate authorities {path} cannot be read ({error.strerror or error}): correct AWS_CA_BUNDLE"
            ) from error
        # Python 3.13 is stricter than botocore, and some companies' authorities do not pass (cpython#107361).
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context


def control(cloud: Cloud, attempts: int | None = None) -> Config:
    """For calls whose only retries are botocore's: throttles, 5xx and connection errors, `CONTROL_ATTEMPTS` times
    unless `attempts` says otherwise; what the user's own AWS configuration says goes before both.
    """
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={
            "mode": "adaptive" if cloud.access.retry_mode == "adaptive" else "standard",
            "total_max_attempts": cloud.access.max_retries or attempts or CONTROL_ATTEMPTS,
        },
        user_agent_extra=cloud.user_agent,
    )


def once(cloud: Cloud, connections: int) -> Config:
    """For callers that retry by themselves: one attempt, and a pool that never makes `connections` threads wait."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=connections,
        user_agent_extra=cloud.user_agent,
    )
