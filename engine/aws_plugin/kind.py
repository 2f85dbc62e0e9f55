"""What a resource type is to the plugin: a table of facts (`Kind`) with its API operations, and the context of a call.

The kinds themselves live in one module for each AWS service. Everything that is the same for all of them (checks,
names, diffs, previews, the state) is decided elsewhere from these tables.
"""

# ruff: noqa: ARG002 - the base class has the full signature of the operations
from __future__ import annotations

import re
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from engine.aws_plugin import compare, schema
from engine.aws_plugin.wire import Props

POLL_SECONDS = 0.2
DEFAULT_TIMEOUT_SECONDS = 300.0


Boto: TypeAlias = Any
"""A boto3 client or an answer of one: boto3 makes them at run time."""


class Clients(Protocol):
    """Where a call gets its API clients."""

    region: str
    default_tags: dict[str, str]
    ignored_tags: frozenset[str]
    """Keys of tags that others write, and that are never seen (`ignoreTags`)."""
    ignored_prefixes: tuple[str, ...]
    """How the keys of others that are never seen begin."""

    def client(self, service: str, region: str | None = None) -> Boto:
        """The boto3 client of a service."""


class OperationError(Exception):
    """An operation failed; the message is the one line that the user sees."""


@lru_cache(maxsize=8)
def _partition(region: str) -> tuple[str, str]:
    """Name and DNS suffix of a region's partition, as the AWS SDK knows them; of an unknown region, AWS's own."""
    from botocore.loaders import Loader  # noqa: PLC0415 - not for a preview

    for each in Loader().load_data("partitions")["partitions"]:
        if re.match(each["regionRegex"], region):
            return str(each["id"]), str(each["outputs"]["dnsSuffix"])
    return "aws", "amazonaws.com"


@dataclass
class Call:
    """One operation on one resource: its clients, how long it may take, and what it has made so far."""

    clients: Clients
    region: str
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    made: str | None = None
    """The id of what this create has made, so that a failure after it can be cleaned up."""
    started: float = field(default_factory=time.monotonic)

    def client(self, service: str) -> Boto:
        """The boto3 client of a service in the resource's region."""
        return self.clients.client(service, self.region)

    def account(self) -> str:
        """The number of the account, asked once."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @property
    def partition(self) -> str:
        """The partition of the region."""
        return _partition(self.region)[0]

    @property
    def dns_suffix(self) -> str:
        """How the names of the partition's hosts end."""
        return _partition(self.region)[1]

    def arn(self, service: str, resource: str) -> str:
        """An ARN in this region and account, for resources whose API does not tell theirs."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account()}:{resource}"

    def wait(self, what: str, done: Callable[[], bool], *, seconds: float | None = None) -> None:
        """Poll until `done` says so; raises OperationError when the time is up."""
        limit = self.timeout if seconds is None else seconds
        started = time.monotonic()
        while not done():
            if time.monotonic() - started > limit:
                message = f"{what} took longer than {limit:.0f} s"
                raise OperationError(message)
            time.sleep(POLL_SECONDS)

    def retry(self, codes: Collection[str], action: Callable[[], object]) -> None:
        """Do `action` again while it answers with one of these error codes; when time is up the last one is raised."""
        while True:
            try:
                action()
            except ClientError as error:
                if code(error) not in codes or time.monotonic() - self.started > self.timeout:
                    raise
                time.sleep(POLL_SECONDS)
            else:
                return


class Kind(ABC):
    """A resource type. The class attributes are facts of the Terraform AWS provider that the official plugin wraps."""

    type_name: ClassVar[str]
    """The type token, such as `aws:ec2/vpc:Vpc`."""
    noun: ClassVar[str]
    """What error messages call it, as Terraform does."""
    supported: ClassVar[frozenset[str]]
    """The inputs that are implemented; any other input that the SDK knows is refused."""
    replace: ClassVar[frozenset[str]] = frozenset()
    """Inputs whose change makes a new resource (ForceNew)."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """What an input is if it is not given; dotted names reach into nested objects that are given."""
    computed: ClassVar[frozenset[str]] = frozenset()
    """Outputs that AWS decides (Computed, and Optional + Computed where not given): unknown until they are read."""
    moving: ClassVar[frozenset[str]] = frozenset()
    """Computed outputs that an update changes."""
    rules: ClassVar[compare.Rules] = compare.Rules()
    renames: ClassVar[Mapping[str, str]] = {}
    name_length: ClassVar[int | None] = None
    """How long `name` may be, for types that get an automatic one."""
    delete_before_replace: ClassVar[bool] = False
    timeout: ClassVar[float] = DEFAULT_TIMEOUT_SECONDS
    """Seconds that an operation may take if the program sets no custom timeout."""

    @property
    def schema(self) -> schema.ResourceSchema:
        """The type's properties as the installed SDK has them."""
        return schema.resource(self.type_name)

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """Conditions between properties that are broken: property and reason."""
        yield from ()

    def replaces(self, name: str, old: Props, new: Props) -> bool:
        """Whether the change of this property makes a new resource."""
        return name in self.replace

    def moves(self, changed: frozenset[str]) -> frozenset[str]:
        """The computed outputs that an update of these inputs changes."""
        return self.moving if changed - {"tags", "tagsAll"} else frozenset()

    @abstractmethod
    def create(self, call: Call, props: Props) -> str:
        """Make it and return its id; `call.made` is set the moment that there is something to clean up."""

    @abstractmethod
    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """What AWS says now; None if it is gone. `known` is the last state, empty on import.

        A property that is missing in the answer cannot be seen through the API; one that is None is not set.
        """

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Change what is in `changed` (names of inputs) in place."""
        message = f"cannot change {', '.join(sorted(changed))} of {resource_id} in place"
        raise OperationError(message)

    @abstractmethod
    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Take it away; a repeat does nothing."""


def code(error: ClientError) -> str:
    """The API's error code."""
    return str(error.response.get("Error", {}).get("Code", "Unknown"))


def gone(error: ClientError) -> bool:
    """Whether an error says that the resource does not exist."""
    return gone_code(code(error))


def gone_code(name: str) -> bool:
    """Whether an error code says that the resource does not exist."""
    return name.endswith((".NotFound", "NotFound", "NotFoundException")) or name in {
        "NoSuchEntity",
        "InvalidAMIID.Unavailable",
        "InvalidLaunchTemplateId.NotFoundException",
        "InvalidGroup.NotFound",
    }


def forget_missing(action: Callable[[], object]) -> None:
    """Do a delete whose object may be gone already, which is what was wanted."""
    try:
        action()
    except ClientError as error:
        if not gone(error):
            raise


def one_line(error: BaseException) -> str:
    """An error as one line: operation, code and message of an API error."""
    if isinstance(error, ClientError):
        message = error.response.get("Error", {}).get("Message", "")
        return " ".join(f"{error.operation_name}, {code(error)}: {message}".split())
    if isinstance(error, EndpointConnectionError | ConnectTimeoutError):
        return f"{error} Is the local cloud running? `python -m localcloud start` starts it."
    if isinstance(error, BotoCoreError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    return " ".join(str(error).split()) or type(error).__name__


def unique_name(props: Props, longest: int | None) -> str:
    """The name to create with: the given one, or `namePrefix` with a unique suffix as Terraform makes it."""
    name = props.get("name")
    if name:
        return str(name)
    prefix = str(props.get("namePrefix") or "terraform-")
    stamp = time.strftime("%Y%m%d%H%M%S", time.gmtime()) + uuid.uuid4().hex[:12]
    return (prefix + stamp)[: longest or 255]


def pick(source: Mapping[str, Any], *names: str) -> Props:
    """Some of an API answer's fields as properties: `VpcId` becomes `vpcId`; what is missing is None."""
    return {name[0].lower() + name[1:]: source.get(name) for name in names}
