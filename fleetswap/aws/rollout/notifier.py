"""Notifies people of the end of a rollout, through an SNS topic: from there it goes to email, chat and pagers.

It decides only the form of the message. Implements `fleetswap.workflows.rollout.ports.Notifier`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from fleetswap.aws.errors import explained
from fleetswap.domain.rollout.notices import SUBJECT_CHARS

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

    from fleetswap.domain.rollout.notices import Notice

MESSAGE_BYTES = 256 * 1024
"""Greatest message (SNS Publish); a longer one is cut, because a refused one would tell nothing."""


FIFO = ".fifo"
"""How the name of a topic ends that keeps messages in order (CreateTopic, FifoTopic)."""


def region_of(arn: str) -> str:
    """The region of a topic: only there is it known."""
    return arn.split(":")[3]


class Topic:
    """One SNS topic. Safe to share between threads, as the client is."""

    def __init__(self, client: SNSClient, arn: str) -> None:
        """`arn` is the topic's. Publishing to one that is encrypted also needs kms:GenerateDataKey and kms:Decrypt."""
        self._client = client
        self._arn = arn

    def tell(self, notice: Notice) -> None:
        """Publish one message. Raises `TryAgain` or `CloudError`. Repeating it tells people twice.

        Its attributes `service`, `ending` and `release` are for subscription filters, such as one that pages only for
        what has not succeeded.
        """
        attributes = {"service": notice.service, "ending": str(notice.ending), "release": notice.release}
        # A FIFO topic wants both (Publish). With an id of its own a call that botocore repeats is told once, and two
        # ends that read alike are told twice.
        order: Any = {"MessageGroupId": notice.service, "MessageDeduplicationId": uuid.uuid4().hex}
        with explained("sns:Publish", self._arn):
            self._client.publish(
                TopicArn=self._arn,
                Subject=_subject(notice.subject),
                Message=notice.text.encode()[:MESSAGE_BYTES].decode(errors="ignore"),
                MessageAttributes={key: _attribute(value) for key, value in attributes.items() if value},
                **(order if self._arn.endswith(FIFO) else {}),
            )


def _subject(text: str) -> str:
    """Printable ASCII without line breaks, fewer than 100 characters (Publish, Subject)."""
    printable = "".join(char if " " <= char <= "~" else " " for char in text)
    return " ".join(printable.split())[: SUBJECT_CHARS - 1] or "Fleetswap"


def _attribute(value: str) -> MessageAttributeValueTypeDef:
    return {"DataType": "String", "StringValue": value}
