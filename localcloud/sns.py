"""SNS Publish as strict as AWS: what a message and its subject may be, and what a FIFO topic needs.

Decides nothing else: topics and what was published to them are moto's, and never leave this machine's memory unless
somebody subscribes. Moto answers 500 to a long subject, and takes any other. Source: SNS API reference (Publish).
"""

from __future__ import annotations

import re
from inspect import signature
from typing import TYPE_CHECKING, Any

from moto.sns.exceptions import InvalidParameterValue
from moto.sns.models import SNSBackend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

MAX_SUBJECT = 100  # the reference says "less than 100"; 100 itself is taken (getmoto/moto issue 1503)
MAX_MESSAGE = 262_144  # bytes

_SUBJECT = re.compile(r"[!-~][ -~]*")  # ASCII, begins with a letter, a number or a punctuation mark, no line breaks

_publish = SNSBackend.publish


def patch(patches: Patches) -> None:
    """Make Publish strict."""
    patches.methods(SNSBackend, publish)


def publish(self: Moto, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - moto's own arguments
    """See the module's docstring."""
    asked = signature(_publish).bind(self, *args, **kwargs).arguments
    subject, message = asked.get("subject"), asked.get("message") or ""
    if subject is not None and (len(subject) > MAX_SUBJECT or not _SUBJECT.fullmatch(subject)):
        raise InvalidParameterValue("Invalid parameter: Subject")
    if not message:
        raise InvalidParameterValue("Invalid parameter: Empty message")
    if len(message.encode()) > MAX_MESSAGE:
        raise InvalidParameterValue("Invalid parameter: Message too long")
    topic = self.topics.get(asked.get("arn"))
    if topic is not None and topic.arn.endswith(".fifo"):
        _check_ordered(topic, asked)
    return _publish(self, *args, **kwargs)


def _check_ordered(topic: Moto, asked: dict[str, Any]) -> None:
    """A FIFO topic needs to know what is in order with what, and what is the same message sent again."""
    if not asked.get("group_id"):
        raise InvalidParameterValue("Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
    if not asked.get("deduplication_id") and str(topic.content_based_deduplication).lower() != "true":
        raise InvalidParameterValue(
            "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or"
            " MessageDeduplicationId provided explicitly"
        )
