"""Signature Version 4 for the one request that boto3 does not make, and what keeps its signatures valid.

It decides which credentials and which time a request is signed with. It never sends a request, and never decides
whether to retry one. It follows "Create a signed AWS API request" (IAM user guide); the tests compare it with
botocore's signer.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from fleetswap.aws.errors import ERRORS, NO_CREDENTIALS, meant
from fleetswap.domain.errors import CloudError

if TYPE_CHECKING:
    from botocore.credentials import Credentials

UNSIGNED = "UNSIGNED-PAYLOAD"
"""Stands for the body's hash where the body is not signed; EBS checks the block against its checksum anyway."""

SKEW_SECONDS = 30.0
"""A clock that is corrected by less than this was right already: AWS allows 5 minutes."""

LOOK_SECONDS = 10.0
"""Least time between two looks at credentials that are there. In their last ten minutes botocore renews them at each
look, while everybody waits (botocore.credentials, RefreshableCredentials), and a `credential_process` may never hand
out any that last longer: then each block would cost a process."""


class Stamp(NamedTuple):
    """What a request was signed with."""

    keys: tuple[str, str, str | None]
    offset: float


@dataclass(frozen=True)
class Request:
    """What is signed of a request for a block, besides its time. `path` is as it is sent; `host` as in the header."""

    host: str
    path: str
    checksum: str
    length: int
    payload: str
    """The SHA-256 of the body in hexadecimal, or `UNSIGNED`."""


class Signer:
    """Signs for one region with what the SDK's chain of credentials finds. Safe to use from several threads."""

    def __init__(
        self,
        region: str,
        credentials: Callable[[], Credentials | None],
        *,
        service: str = "ebs",
        now: Callable[[], float] = time.time,
    ) -> None:
        """`credentials` goes through the chain anew at each call. `now` is in seconds since 1970."""
        self._region = region
        self._service = service
        self._find = credentials
        self._now = now
        self._credentials: Credentials | None = None
        self._keys: tuple[str, str, str | None] | None = None
        self._looked = 0.0
        self._looking = threading.Lock()  # of the three above
        self._offset = 0.0  # the service's clock minus ours
        self._key: tuple[tuple[str, str], bytes] | None = None
        self._lock = threading.Lock()

    def sign(self, request: Request) -> tuple[dict[str, str], Stamp]:
        """The headers to send, in this order, and what they were signed with.

        Raises `CloudError` without credentials, `TryAgain` if they cannot be renewed just now.
        """
        stamp = self._stamp()
        access_key, secret, token = stamp.keys
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._now() + stamp.offset))
        headers = {
            "host": request.host,
            "x-amz-checksum": request.checksum,
            "x-amz-checksum-algorithm": "SHA256",
            "x-amz-content-sha256": request.payload,
            "x-amz-data-length": str(request.length),
            "x-amz-date": moment,
        }
        if token:
            headers["x-amz-security-token"] = token
        names = ";".join(headers)  # they are sorted already, as the canonical form wants them
        fields = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"PUT\n{request.path}\n\n{fields}\n{names}\n{request.payload}"
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.new(self._signing_key(secret, moment[:8]), text.encode(), "sha256").hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers, stamp

    def renew(self, used: Stamp) -> bool:
        """The service says that the credentials of `used` have expired: whether there are others now."""
        with self._looking:
            if self._keys == used.keys:
                keys = self._frozen()
                if keys == used.keys:
                    self._credentials = None
                    keys = self._frozen()
                self._keys, self._looked = keys, self._now()
            return self._keys != used.keys

    def set_clock(self, used: Stamp, date: str | None) -> bool:
        """The service says that the time of `used` was wrong and gives its own: whether that makes a difference."""
        with self._lock:
            if used.offset == self._offset and date is not None:
                try:
                    offset = parsedate_to_datetime(date).timestamp() - self._now()
                except ValueError:
                    return False
                if abs(offset - used.offset) >= SKEW_SECONDS:
                    self._offset = offset
            return used.offset != self._offset

    def _stamp(self) -> Stamp:
        keys = self._keys
        if keys is None or not 0 <= self._now() - self._looked < LOOK_SECONDS:
            keys = self._look(keys)
        return Stamp(keys, self._offset)

    def _look(self, kept: tuple[str, str, str | None] | None) -> tuple[str, str, str | None]:
        """The credentials as they are now. One thread looks; the others sign on with what is kept, if anything is."""
        if not self._looking.acquire(blocking=kept is None) and kept is not None:
            return kept
        try:
            if self._keys is None or self._keys is kept:
                try:
                    self._keys = self._frozen()
                except CloudError:
                    if self._keys is None:
                        raise
                    # They hold until the service says that they have expired: then `renew` raises.
                self._looked = self._now()
            return self._keys
        finally:
            self._looking.release()

    def _frozen(self) -> tuple[str, str, str | None]:
        """The credentials, renewed by botocore when they are about to expire: a role of a profile is assumed then."""
        try:
            if self._credentials is None:
                self._credentials = self._find()
            if self._credentials is None:
                raise CloudError(NO_CREDENTIALS)
            frozen = self._credentials.get_frozen_credentials()
        except ERRORS as error:
            raise meant(error, "") from error
        if not frozen.access_key or not frozen.secret_key:
            raise CloudError(NO_CREDENTIALS)
        return frozen.access_key, frozen.secret_key, frozen.token

    def _signing_key(self, secret: str, day: str) -> bytes:
        """The key of a day; it is kept, because to derive it costs four times as much as to use it."""
        kept = self._key
        if kept is not None and kept[0] == (secret, day):
            return kept[1]
        key = f"AWS4{secret}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        self._key = ((secret, day), key)
        return key
