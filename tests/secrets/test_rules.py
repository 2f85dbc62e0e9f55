"""The rules of sops: which one is a file's, and that one is added without touching the others."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.errors import InputError
from fleetswap.sops.rules import Rules, find, load, parse, with_rule
from tests.secrets.test_sealed_file import CONTEXT, FOREIGN, KEY, REPLICA

ROOT = Path("/project")
FILE = ROOT / "secrets/prod.yaml"
OWN = rf"""  - path_regex: ^secrets/prod\.yaml$
    key_groups:
      - kms:
          - arn: {KEY}
            context:
              Environment: shop/prod
"""
OTHERS = """# The rules of the company.
creation_rules:
  # staging is everybody's
  - path_regex: ^secrets/staging\\.yaml$ # with a comment
    age: age1
  # the rest
  - path_regex: \\.yaml$
    pgp: ABCD
# behind them

stores:
  yaml: {indent: 2} # narrow
"""


def rules(text: str) -> Rules:
    return parse(text, ROOT / ".sops.yaml")


def added(text: str, keys: tuple[str, ...] = (KEY,), file: Path = FILE) -> str:
    return with_rule(rules(text), file, keys, CONTEXT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f"creation_rules:\n{OWN}"),
        ("# ours\n", f"# ours\ncreation_rules:\n{OWN}"),
        ("stores:\n  yaml: {indent: 2}", f"stores:\n  yaml: {{indent: 2}}\ncreation_rules:\n{OWN}"),
        # Before the rule that would be taken in its place, with that rule's comment left where it is.
        (OTHERS, OTHERS.replace("  # the rest\n", f"{OWN}  # the rest\n")),
        # Behind all others, if none is for the file.
        (
            "creation_rules:\n  - path_regex: ^a$\n    age: b\n",
            f"creation_rules:\n  - path_regex: ^a$\n    age: b\n{OWN}",
        ),
        ("creation_rules:\n  - path_regex: ^a$ # c", f"creation_rules:\n  - path_regex: ^a$ # c\n{OWN}"),
        (f"creation_rules:\n{OWN}", f"creation_rules:\n{OWN}"),
        # In place of what was for another key.
        (
            f"creation_rules:\n{OWN.replace(KEY, FOREIGN)}  # more\n  - path_regex: x\n",
            f"creation_rules:\n{OWN}  # more\n  - path_regex: x\n",
        ),
        # Not behind one of the same file that is never reached.
        (
            f"creation_rules:\n  - pgp: x\n{OWN}",
            f"creation_rules:\n{OWN}  - pgp: x\n{OWN}",
        ),
        (
            "creation_rules:\n- path_regex: ^a$\n  age: b\n",
            "creation_rules:\n- path_regex: ^a$\n  age: b\n" + OWN.replace("\n  ", "\n")[2:],
        ),
    ],
)
def test_a_rule_is_added_and_all_else_stays(before: str, after: str) -> None:
    """A company's other rules, or its comments, would be gone; or the file would be sealed for other keys."""
    text = added(before)
    assert text == after
    rule = rules(text).of(FILE)
    assert rule is not None
    assert (rule.arns, rule.context, rule.is_simple) == ((KEY,), CONTEXT, True)
    assert added(text) == text, "a repeat changes nothing"


def test_line_ends_stay_as_they_are() -> None:
    """A diff of the whole file would hide what was added."""
    text = added(OTHERS.replace("\n", "\r\n"))
    assert "\n" not in text.replace("\r\n", "")


def test_each_replica_is_in_the_rule() -> None:
    """The machines of the other Region could not open what is sealed."""
    rule = rules(added("", (KEY, REPLICA))).of(FILE)
    assert rule is not None
    assert rule.arns == (KEY, REPLICA)


@pytest.mark.parametrize(
    "text",
    [
        "{creation_rules: [{path_regex: a}]}",
        "creation_rules: [{path_regex: a}]\n",
        "{stores: {}}",
        "creation_rules: []\n",
    ],
)
def test_what_cannot_be_edited_is_left_alone(text: str) -> None:
    """A file in another style would be destroyed, or the user not know what to write."""
    with pytest.raises(
        InputError, match=r"cannot be edited automatically: add this .*\"path_regex\": \"\^secrets/prod"
    ):
        added(text)


@given(
    name=st.text(
        alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="/"), min_size=1, max_size=12
    )
)
def test_a_rule_is_for_its_file_alone(name: str) -> None:
    """A file with signs of a regular expression or of YAML in its name would have no rule, or another would, too."""
    file = ROOT / "secrets" / f"{name}.yaml"
    text = added("", file=file)
    assert yaml.safe_load(text)["creation_rules"][0]["key_groups"][0]["kms"][0]["arn"] == KEY
    assert rules(text).of(file) is not None
    assert rules(text).of(ROOT / "secrets" / f"{name}_yaml") is None
    assert rules(text).of(ROOT / "more/secrets" / f"{name}.yaml") is None


@pytest.mark.parametrize(
    ("rule", "arns", "context", "is_simple"),
    [
        (f"kms: '{KEY}, {REPLICA}+arn:aws:iam::1:role/x'", (KEY, REPLICA), {}, True),
        (f"kms: [{KEY}]", (KEY,), {}, True),
        (f"kms: {KEY}\n    age: age1", (KEY,), {}, False),
        (f"key_groups: [{{kms: [{{arn: {KEY}, context: {{a: b}}}}]}}]", (KEY,), {"a": "b"}, True),
        (f"key_groups: [{{kms: [{{arn: {KEY}}}], pgp: [x]}}]", (KEY,), {}, False),
        (f"key_groups: [{{kms: [{{arn: {KEY}}}]}}, {{age: [x]}}]", (KEY,), {}, False),
        (f"key_groups: [{{kms: [{{arn: {KEY}, context: {{a: b}}}}, {{arn: {REPLICA}}}]}}]", (KEY, REPLICA), None, True),
        ("age: age1", (), None, False),
    ],
)
def test_a_rule_is_read_as_sops_reads_it(
    rule: str, arns: tuple[str, ...], context: dict[str, str] | None, *, is_simple: bool
) -> None:
    """A check would expect other keys than sops seals for."""
    found = rules(f"creation_rules:\n  - path_regex: prod\n    {rule}\n").of(FILE)
    assert found is not None
    assert (found.arns, found.context, found.is_simple) == (arns, context, is_simple)


def test_the_first_rule_that_fits_is_the_one() -> None:
    """A check would look at a rule that sops does not take."""
    found = rules(OTHERS)
    assert [
        found.of(ROOT / name) is rule
        for name, rule in zip(("secrets/staging.yaml", "a.yaml"), found.rules, strict=True)
    ] == [True, True]
    assert found.of(ROOT / "README.md") is None
    assert found.of(Path("/elsewhere/a.yaml")) is found.rules[1], "as with sops: the whole path counts there"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("creation_rules: x", "creation_rules is not a list of rules"),
        ("- a", "expected a mapping with creation_rules"),
        ("a: [", "is not YAML"),
        ("creation_rules: [{path_regex: '['}]", "is not one that Python reads as Go does"),
    ],
)
def test_invalid_rules_are_refused(text: str, reason: str) -> None:
    """A file would count as one of no rule, and not be checked."""
    with pytest.raises(InputError, match=reason):
        rules(text)


def test_the_nearest_rules_are_found(tmp_path: Path) -> None:
    """Rules of the company above the project would be shadowed by a new file, or those of another project be taken."""
    inner = tmp_path / "project" / "infra"
    inner.mkdir(parents=True)
    above = tmp_path / ".sops.yaml"
    above.write_text(OTHERS)
    assert find(inner) == above
    own = tmp_path / "project" / ".sops.yaml"
    own.write_text("")
    assert find(inner) == own
    assert load(above).rules
    above.write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot be read"):
        load(above)


def test_the_ends_of_lines_stay(tmp_path: Path) -> None:
    """Every line of a file from Windows would be in the diff, and in a conflict with each change of somebody else."""
    path = tmp_path / ".sops.yaml"
    path.write_bytes(OTHERS.replace("\n", "\r\n").encode())
    text = with_rule(load(path), tmp_path / "secrets/prod.yaml", (KEY,), CONTEXT)
    assert text == added(OTHERS).replace("\n", "\r\n")
