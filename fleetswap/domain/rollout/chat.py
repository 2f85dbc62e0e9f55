"""The notification as a message of a chat. It decides the text and its length; it sends nothing."""

from __future__ import annotations

import re

from fleetswap.domain.rollout.notices import Notice
from fleetswap.domain.text import paragraph

MOST_CHARS = 1_900
"""Of a message. Discord takes 2,000 characters, Mattermost 16,383 and Slack 40,000."""

CUT = "… (cut: the log of the deploy has the rest)"

FENCE = "```"


def chat_text(notice: Notice) -> str:
    """The subject, then the whole text as a code block, in the form that Slack calls mrkdwn.

    What stands there comes from AWS, from machines and from settings. In a code block no `@channel` notifies anybody,
    no link is one, and Slack's own commands (`<!here>`) are escaped as Slack asks for it.
    """
    start, end = f"{_escaped(notice.subject)}\n{FENCE}\n", f"\n{FENCE}"
    body = _escaped("\n".join(line.replace(FENCE, "'''") for line in paragraph(notice.text)))
    room = MOST_CHARS - len(start) - len(end)
    if len(body) > room:
        kept = re.sub(r"&\w*$", "", body[: room - len(CUT) - 1])  # not in the middle of what is escaped
        body = f"{kept.rstrip()}\n{CUT}"
    return start + body + end


def _escaped(text: str) -> str:
    """As Slack asks for it ("Formatting text for app surfaces", Escaping text): these three and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
