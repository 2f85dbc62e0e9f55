"""The state of a KMS key, before a deploy begins: what refuses it, what only warns, and what is said."""

from __future__ import annotations

import pytest

from fleetswap.domain.secrets.key_state import DENIED, MISSING, UNANSWERED, KeyState, Need, Use, at_start, judge

KEY = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
OF_KEY = f"--key-id {KEY} --region eu-central-1"
SECRETS = Need(KEY, Use.SECRETS, "web-new")
VOLUMES = Need(KEY, Use.VOLUMES, "web-new")

BROKEN = [
    (KeyState(KEY, "Disabled"), f"is Disabled, and * enable it with `aws kms enable-key {OF_KEY}`"),
    (
        KeyState(KEY, "PendingDeletion", deletion="2026-12-26"),
        "is PendingDeletion: KMS deletes it on 2026-12-26, and until then it can be restored, and *"
        f" restore it with `aws kms cancel-key-deletion {OF_KEY}` and `aws kms enable-key {OF_KEY}`",
    ),
    (KeyState(KEY, "PendingDeletion"), "is PendingDeletion: KMS deletes it, and until then it can be restored, and *"),
    (KeyState(KEY, "PendingReplicaDeletion"), "KMS deletes it after its replicas, and * restore it with"),
    (KeyState(KEY, "PendingImport"), "is PendingImport: its key material has expired or was deleted, and * import the"),
    (KeyState(KEY, "Unavailable"), "is Unavailable: its custom key store is not connected, and * connect its custom"),
    (KeyState(KEY, "Creating"), "is Creating, and * try again when it is Enabled"),
    (KeyState(KEY, "Lost"), "is Lost, and * see it in the KMS console"),
    (KeyState(KEY, MISSING), "does not exist, and * correct its ARN, or use another key"),
    (KeyState(KEY, "Enabled", spec="RSA_2048"), "is not symmetric (KeySpec RSA_2048), and * use a symmetric"),
]
UNKNOWN = [
    (KeyState(KEY, DENIED, told="AccessDeniedException: no"), "is unknown, and * allow kms:DescribeKey on it"),
    (KeyState(KEY, UNANSWERED, told="late"), "is unknown, and * try again later (late)"),
]


@pytest.mark.parametrize("state", ["Enabled", "Updating"])
def test_a_key_that_works_is_not_spoken_of(state: str) -> None:
    """Every deploy of a stack with a healthy key would be refused, or begin with a warning that says nothing."""
    found = judge([SECRETS], {KEY: KeyState(KEY, state)}, "web-new", launches=True)
    assert (found.refused, found.warnings) == ((), ())
    started = at_start([KeyState(KEY, state)], "web-new", launches=True)
    assert (started.refused, started.warnings) == ((), ())


@pytest.mark.parametrize(("state", "words"), BROKEN + UNKNOWN)
def test_a_candidate_whose_secrets_cannot_be_opened_is_refused(state: KeyState, words: str) -> None:
    """The image would be uploaded and its machines started, only to fail one by one at the gate."""
    found = judge([SECRETS], {KEY: state}, "web-new", launches=True)
    assert not found.warnings
    (line,) = found.refused
    assert KEY in line
    what, remedy = words.split("*")
    assert what in line
    assert f"new machines of web-new need it to open secrets:{remedy}" in line


@pytest.mark.parametrize("state", [state for state, _ in BROKEN + UNKNOWN])
def test_a_rollback_to_machines_that_run_is_never_refused(state: KeyState) -> None:
    """A key that someone disabled would keep the traffic on a broken release, next to machines that work."""
    found = judge([SECRETS, VOLUMES], {KEY: state}, "web-new", launches=False)
    assert not found.refused
    assert len(found.warnings) == 1
    started = at_start([state], "web-new", launches=False)
    assert not started.refused
    assert len(started.warnings) == 1


def test_a_deploy_away_from_a_broken_key_passes() -> None:
    """Who names another key in the settings, because the old one is broken, could not deploy that."""
    needs = [Need(OTHER, Use.SECRETS, "web-new"), Need(KEY, Use.SECRETS, "web-old"), Need(KEY, Use.VOLUMES, "web-old")]
    found = judge(needs, {KEY: KeyState(KEY, "Disabled"), OTHER: KeyState(OTHER, "Enabled")}, "web-new", launches=True)
    assert not found.refused
    (line,) = found.warnings
    assert "new machines of web-old need it to open secrets and create volumes: enable" in line


def test_all_that_need_a_key_are_named_in_one_line() -> None:
    """A person who restores a key must know what depends on it, and reads one line a key, not one a release."""
    needs = [SECRETS, Need(KEY, Use.SECRETS, "web-old"), VOLUMES, Need(KEY, Use.SNAPSHOTS, "web-new")]
    (line,) = judge(needs, {KEY: KeyState(KEY, "Disabled")}, "web-new", launches=True).refused
    assert "new machines of web-new, web-old need it to open secrets" in line
    assert "and new machines of web-new need it to create volumes and read the snapshot:" in line


@pytest.mark.parametrize("state", [state for state, _ in UNKNOWN])
def test_of_a_key_of_volumes_nothing_known_is_no_refusal(state: KeyState) -> None:
    """A stack with `machine.kms_key` whose policies are of an earlier version could no longer be previewed."""
    found = judge([VOLUMES], {KEY: state}, "web-new", launches=True)
    assert not found.refused
    assert len(found.warnings) == 1


@pytest.mark.parametrize("state", [state for state, _ in BROKEN])
def test_a_rollout_is_refused_at_its_start(state: KeyState) -> None:
    """A key that is disabled between the preview and the rollout would be noticed minutes later, machine by machine."""
    started = at_start([KeyState(OTHER, "Enabled"), state], "web-new", launches=True)
    assert not started.warnings
    assert f"{KEY} " in started.refused[0]
    assert "new machines of web-new need it: " in started.refused[0]


@pytest.mark.parametrize("state", [state for state, _ in UNKNOWN])
def test_a_rollout_starts_if_nothing_is_known_of_a_key(state: KeyState) -> None:
    """KMS that throttles one question would fail a deploy that has everything it needs."""
    started = at_start([state], "web-new", launches=True)
    assert not started.refused
    assert len(started.warnings) == 1
