"""The page of a report: one file of HTML without a script, whose plots are pictures drawn before it is written.

It decides how a report looks, never what it says: that is `fleetswap.domain.report`. Its packages (Jinja2, VlConvert)
are the extra `report`; nothing else imports them.
"""

MARK = '<meta name="generator" content="Fleetswap report">'
"""By this, in its first bytes, a file is known to be such a page, which a newer one may replace."""

FIRST = 1000
"""Bytes in which the mark is."""
