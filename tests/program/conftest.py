"""The local cloud's control plane, for the dynamic providers."""

from __future__ import annotations

import pytest

from tests.localcloud.conftest import clients, clock, cloud

__all__ = ["clients", "clock", "cloud"]


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that no AWS account has, and none of the person who runs the tests."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
