"""The page of a report: one file of HTML without a script, whose plots are pictures drawn before it is written.

It decides how a report looks, never what it says: that is `fleetswap.domain.report`. Its packages (Jinja2, VlConvert)
are the extra `report`; nothing else imports them.
"""

from __future__ import annotations

import hashlib


def mark(stack: str) -> str:
    """By this, in its first bytes, a file is known to be such a page of a stack, which a newer one may replace.

    The releases of two stacks may have one name, and so their pages.
    """
    return f'<meta name="generator" content="Fleetswap report {hashlib.sha256(stack.encode()).hexdigest()[:16]}">'


FIRST = 1000
"""Bytes in which the mark is."""
