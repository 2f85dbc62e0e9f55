"""A sealed file has nothing in plaintext, and nobody else can open it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.secrets.sealed_file import METADATA, is_sealed, problems

KEY = "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab"
REPLICA = KEY.replace("eu-central-1", "eu-west-1")
FOREIGN = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
CONTEXT = {"Environment": "shop/prod"}
SECRET = "hunter2-very-secret"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sealed(data: bytes = b"data", kind: str = "str") -> str:
    return f"ENC[AES256_GCM,data:{b64(data)},iv:{b64(b'i' * 32)},tag:{b64(b't' * 16)},type:{kind}]"


def entry(arn: str = KEY, **changed: object) -> dict[str, Any]:
    """An entry for KMS as sops writes it: with an empty profile."""
    made = {"arn": arn, "context": CONTEXT, "created_at": "2026-11-26T18:00:00Z", "enc": b64(b"key"), "aws_profile": ""}
    return {**made, **changed}


def document(**values: object) -> dict[str, Any]:
    return {
        **values,
        METADATA: {
            "kms": [entry()],
            "lastmodified": "2026-11-26T18:00:00Z",
            "mac": sealed(),
            "unencrypted_suffix": "_unencrypted",
            "version": "3.11.0",
        },
    }


names = st.text(min_size=1, max_size=8).filter(lambda name: name != METADATA and not name.endswith("_unencrypted"))
closed = st.builds(sealed, st.binary(min_size=1, max_size=20), st.sampled_from(["str", "int", "bool", "float", "time"]))
trees = st.recursive(
    closed | st.none() | st.just(""),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
plain = st.one_of(
    st.text(min_size=1).filter(lambda text: not is_sealed(text)),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.dates(),
)


@given(values=st.dictionaries(names, trees, max_size=4))
def test_what_sops_seals_has_no_problem(values: dict[str, Any]) -> None:
    """CI would refuse a file that is sealed."""
    assert problems(document(**values), [KEY], CONTEXT) == []


@given(values=st.dictionaries(names, trees, max_size=4), path=st.lists(names | st.just(0), min_size=1), leaf=plain)
def test_one_plaintext_value_is_found_wherever_it_is(
    values: dict[str, Any], path: list[str | int], leaf: object
) -> None:
    """A secret would be committed, because it lies deep or in a list, or is not text."""
    planted: Any = leaf
    for step in reversed(path[1:]):
        planted = [planted] if step == 0 else {step: planted}
    values[str(path[0])] = planted
    (found,) = problems(document(**values), [KEY], CONTEXT)
    assert found.endswith(" is in plaintext")


@given(text=st.text(alphabet=st.characters(), min_size=1))
def test_only_the_whole_form_of_sops_counts_as_sealed(text: str) -> None:
    """Plaintext before or after a sealed value, which sops ignores, would pass."""
    assert not is_sealed(sealed() + text)
    assert not is_sealed(text + sealed())


@pytest.mark.parametrize(
    "value",
    [
        "ENC[hunter2]",
        "ENC[AES256_GCM,data:hunter2!,iv:x,tag:y,type:str]",
        sealed().replace("tag:" + b64(b"t" * 16), "tag:" + b64(b"t")),
        sealed().replace("iv:" + b64(b"i" * 32), "iv:" + b64(b"i")),
        sealed().replace("data:ZGF0YQ==", "data:ZGF0Y==="),
        sealed().replace("type:str", "type:secret"),
        b"bytes",
        None,
    ],
)
def test_what_only_looks_sealed_is_not(value: object) -> None:
    """A value could be disguised: whoever can decrypt nothing would not notice."""
    assert not is_sealed(value)


WRONG: dict[str, tuple[Callable[[dict[Any, Any]], object], str]] = {
    "text": (lambda made: made.update(db={"users": [{"password": SECRET}]}), "db.users[0].password is in plaintext"),
    "number": (lambda made: made.update(pin=1234), "pin is in plaintext"),
    "odd name": (lambda made: made.update({"a b": SECRET}), '["a b"] is in plaintext'),
    "name that is none": (lambda made: made.update({7: sealed()}), "[7] is not a name: sops takes only text"),
    "suffix": (
        lambda made: made.update(note_unencrypted={"deep": SECRET}),
        "note_unencrypted.deep is not sealed, because a name on its path ends in _unencrypted: rename it",
    ),
    "sealed below the suffix": (
        lambda made: made.update(note_unencrypted=sealed()),
        "note_unencrypted is not sealed, because a name on its path ends in _unencrypted: rename it",
    ),
    "encrypted_regex": (
        lambda made: made[METADATA].update(encrypted_regex="^password$"),
        "the metadata has encrypted_regex, with which sops leaves values in plaintext",
    ),
    "unencrypted_comment_regex": (
        lambda made: made[METADATA].update(unencrypted_comment_regex="plain"),
        "the metadata has unencrypted_comment_regex, with which sops leaves values in plaintext",
    ),
    "another suffix": (
        lambda made: made[METADATA].update(unencrypted_suffix="d"),
        "the metadata has an unencrypted_suffix of its own, with which sops leaves values in plaintext",
    ),
    "no mac": (
        lambda made: made[METADATA].update(mac=""),
        "the metadata has no mac: a change of the file would not be noticed",
    ),
    "not a mac": (
        lambda made: made[METADATA].update(mac=SECRET),
        "the mac in the metadata is not one that sops writes",
    ),
    "threshold": (
        lambda made: made[METADATA].update(shamir_threshold=2),
        "the data key is split between key groups, which machines cannot join: use one group",
    ),
    "age": (
        lambda made: made[METADATA].update(age=[{"recipient": "age1", "enc": "x"}], pgp=[]),
        "the metadata has entries for age: only KMS keys of the environment may open the file",
    ),
    "another account's key": (
        lambda made: made[METADATA]["kms"].append(entry(FOREIGN)),
        f"{FOREIGN} can open the file, and is not a key of the environment",
    ),
    "another context": (
        lambda made: made[METADATA].update(kms=[entry(context={"Environment": "shop/staging"})]),
        f"the data key for {KEY} has the encryption context Environment=shop/staging, not Environment=shop/prod",
    ),
    "no context": (
        lambda made: made[METADATA].update(kms=[entry(context=None)]),
        f"the data key for {KEY} has the encryption context (none), not Environment=shop/prod",
    ),
    "profile": (
        lambda made: made[METADATA].update(kms=[entry(aws_profile="ops")]),
        f"the data key for {KEY} names an aws_profile, which no machine has: remove it, and set AWS_PROFILE",
    ),
    "role": (
        lambda made: made[METADATA].update(kms=[entry(role="arn:aws:iam::111122223333:role/ops")]),
        f"the data key for {KEY} names a role to assume, and machines use their own: remove it",
    ),
    "no data key": (
        lambda made: made[METADATA].update(kms=[entry(enc="not base64")]),
        f"the data key for {KEY} is missing",
    ),
    "no key": (
        lambda made: made[METADATA].update(kms=[]),
        f"the file has no data key for {KEY}, which cannot open it",
    ),
    "no arn": (
        lambda made: made[METADATA]["kms"].append({"enc": "eA=="}),
        "an entry for KMS in the metadata has no ARN",
    ),
    "in the metadata": (
        lambda made: made[METADATA].update(password=SECRET),
        "sops.password is not of sops, and in plaintext: move it to the top level, and seal it",
    ),
    "below a name of the metadata": (
        lambda made: made[METADATA].update(version={"password": SECRET}),
        "sops.version is not of sops, and in plaintext: move it to the top level, and seal it",
    ),
    "instead of keys": (
        lambda made: made[METADATA].update(age=SECRET),
        "sops.age is not of sops, and in plaintext: move it to the top level, and seal it",
    ),
    "in an entry": (
        lambda made: made[METADATA].update(kms=[entry(password=SECRET)]),
        "sops.kms[0].password is not of sops, and in plaintext: remove it",
    ),
    "an entry that is none": (
        lambda made: made[METADATA]["kms"].append(SECRET),
        "an entry for KMS in the metadata has no ARN",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_each_problem_is_named_without_a_value(case: str) -> None:
    """A file that others can open, or that is half sealed, would pass; or the report of it would print the secret."""
    change, expected = WRONG[case]
    made = deepcopy(document(password=sealed()))
    change(made)
    assert problems(made, [KEY], CONTEXT) == [expected]
    assert SECRET not in expected


def test_every_problem_is_told_at_once() -> None:
    """Whoever repairs a file would meet them one by one, each after another run of CI."""
    made = document(one=SECRET, two=[SECRET])
    made[METADATA] |= {"kms": [entry(FOREIGN)], "mac": "", "key_groups": [{}]}
    assert [line.split()[0] for line in problems(made, [KEY], CONTEXT)] == [
        "one",
        "two[0]",
        "the",
        "the",
        FOREIGN,
        "the",
    ]


def test_each_replica_has_its_data_key() -> None:
    """The machines of the other Region could not open the file: its key is another ARN (KMS, multi-Region keys)."""
    made = document(password=sealed())
    assert problems(made, [KEY, REPLICA], CONTEXT) == [f"the file has no data key for {REPLICA}, which cannot open it"]
    made[METADATA]["kms"].append(entry(REPLICA))
    assert problems(made, [KEY, REPLICA], CONTEXT) == []


def test_a_key_that_is_not_known_yet_is_not_asked_for() -> None:
    """The first update of a stack, which makes the key, would be refused; or would take a file without any."""
    made = document(password=sealed())
    assert problems(made, None, None) == []
    made[METADATA]["kms"] = []
    assert problems(made, None, None) == ["no KMS key can open the file"]
    made[METADATA]["kms"] = "none"
    assert problems(made, None, None)[1:] == ["no KMS key can open the file"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", "is not sealed: it has no metadata of sops"),
        (json.dumps({"password": SECRET}), "is not sealed: it has no metadata of sops"),
        (json.dumps({"sops": SECRET}), "is not sealed: it has no metadata of sops"),
        ("null", "is not sealed: it is not a mapping of names to values"),
        (json.dumps([SECRET]), "is not sealed: it is not a mapping of names to values"),
    ],
)
def test_what_is_no_sops_file_is_one_problem(text: str, expected: str) -> None:
    """A plaintext file would be refused with a line for each of its values, or not at all."""
    assert problems(json.loads(text), [KEY], CONTEXT) == [expected]


def test_what_the_file_says_cannot_paint_the_terminal() -> None:
    """The log of CI would show what whoever wrote the file wants it to show."""
    made = document()
    made[METADATA]["kms"] = [entry(context={"\x1b[2J": "gone"}), entry(f"{FOREIGN}\n\x1b[2J")]
    assert all(line.isprintable() for line in problems(made, [KEY], CONTEXT))
    made["\x1b[2J"] = SECRET
    assert problems(made, [KEY], CONTEXT)[0] == '["\\u001b[2J"] is in plaintext'
