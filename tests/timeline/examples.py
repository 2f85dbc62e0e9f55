"""Deploys as tests need them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleetswap.domain.timeline.model import Deploy, Span

SPANS = (
    Span("commit", "2026-11-27T08:58:00.000+00:00", 0.0),
    Span("evaluation", "2026-11-27T09:00:00.000+00:00", 1.5),
    Span("build", "2026-11-27T09:00:04.000+00:00", 20.0, budget=15.0),
    Span("upload", "2026-11-27T09:00:24.000+00:00", 6.0, budget=60.0),
    Span("registration", "2026-11-27T09:00:30.000+00:00", 10.0),
    Span("launch", "2026-11-27T09:00:40.000+00:00", 30.0),
    Span("first healthy", "2026-11-27T09:01:10.000+00:00", 0.0),
    Span("gate", "2026-11-27T09:01:10.000+00:00", 5.0),
    Span("step 25 %", "2026-11-27T09:01:15.000+00:00", 60.0, budget=90.0),
    Span("step 100 %", "2026-11-27T09:02:15.000+00:00", 3.0, budget=90.0),
    Span("live", "2026-11-27T09:02:16.000+00:00", 0.0),
    Span("bake", "2026-11-27T09:02:18.000+00:00", 100.0),
)

DEPLOY = Deploy(
    release="web-7f3a1b2c",
    previous="web-91bc0d3e",
    service="web",
    stack="shop/prod",
    region="eu-central-1",
    kind="deploy",
    outcome="succeeded",
    run="0f" * 16,
    started="2026-11-27T09:00:00.000+00:00",
    ended="2026-11-27T09:04:00.000+00:00",
    spans=SPANS,
    commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    commit_time="2026-11-27T08:58:00.000+00:00",
    subject="Sell more",
    budgets={"start to live": 120.0, "commit to live": 300.0},
)


def deploy(**other: Any) -> Deploy:
    """The example with other values."""
    return replace(DEPLOY, **other)
