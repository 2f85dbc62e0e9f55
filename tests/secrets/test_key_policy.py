"""Who may do what with the stack's key, judged by the evaluator of the local cloud."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetswap.domain.secrets import key_policy
from fleetswap.domain.secrets.key_policy import ADMINISTER, OPEN, Machines, in_context, measured, of_role, statements
from fleetswap.domain.secrets.sealing import encryption_context
from localcloud.authorization.policies import Named, Policies, Policy, Question, decide

ACCOUNT = "111122223333"
CONTEXT = encryption_context("shop/prod")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/web-machines-1"
OTHER = f"arn:aws:iam::{ACCOUNT}:role/web-machines-2"
OPS = f"arn:aws:iam::{ACCOUNT}:role/ops"
KEY = f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1"
ADMIN = Policy.parse({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
PCRS = {"4": "a" * 96, "12": "b" * 96}
CRYPTOGRAPHIC = ("Decrypt", "ReEncryptFrom", "CreateGrant", "Encrypt", "GenerateDataKey", "Sign", "DeriveSharedSecret")


def keys(context: Mapping[str, str], pcrs: Mapping[str, str] | None = None) -> dict[str, tuple[str, ...]]:
    """The condition keys of a request, as KMS has them: none for what the request does not have."""
    found: dict[str, tuple[str, ...]] = {"kms:calleraccount": (ACCOUNT,)}
    if context:
        found["kms:encryptioncontextkeys"] = tuple(context)
    found |= {f"kms:encryptioncontext:{key.lower()}": (value,) for key, value in context.items()}
    return found | {f"kms:recipientattestation:nitrotpmpcr{n}": (value,) for n, value in (pcrs or {}).items()}


def may(
    who: str,
    action: str,
    context: Mapping[str, str] = CONTEXT,
    *,
    pcrs: Mapping[str, str] | None = None,
    machines: tuple[Machines, ...] = (Machines(ROLE),),
    editors: tuple[str, ...] = (OPS,),
    policies: tuple[Policy, ...] = (ADMIN,),
) -> bool:
    """Whether a role with these policies of its own (all actions) may do it to the key."""
    made = statements(partition="aws", account=ACCOUNT, context=CONTEXT, machines=machines, editors=editors)
    policy = Policy.parse({"Version": "2012-10-17", "Statement": made})
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/{who.rpartition('/')[2]}/i-1"
    of = Policies(identity=policies, resource=policy, resource_account=ACCOUNT, only_resource=True)
    return decide(Question(action, KEY), keys(context, pcrs), of, Named((session, who), ACCOUNT)).allowed


def test_machines_open_in_exactly_the_context() -> None:
    """A machine could open what was sealed for another environment, or for none."""
    assert may(ROLE, OPEN)
    assert not may(ROLE, OPEN, {})
    assert not may(ROLE, OPEN, {"Environment": "shop/staging"})
    assert not may(ROLE, OPEN, {"environment": "shop/prod"}), "a condition key ignores case, the context does not"
    assert not may(ROLE, OPEN, {**CONTEXT, "more": "x"})
    assert not may(OTHER, OPEN), "whatever its own policies say"


PAIRS = (st.sampled_from(["Environment", "environment", "a"]), st.sampled_from(["shop/prod", "b"]))


@given(context=st.dictionaries(*PAIRS))
def test_no_other_context_opens_anything(context: dict[str, str]) -> None:
    """One spelling of a context too many would be enough to open another environment's file."""
    for who in (ROLE, OPS):
        assert may(who, OPEN, context) == (context == CONTEXT)


def test_the_account_seals_and_cannot_open() -> None:
    """The deploying role could read the secrets that it deploys, or could not seal them at all."""
    deployer = f"arn:aws:iam::{ACCOUNT}:role/deploy"
    assert may(deployer, "kms:Encrypt")
    assert may(deployer, "kms:GenerateDataKey")
    assert not may(deployer, "kms:Encrypt", {}), "nothing is sealed without the context"
    for name in ("Decrypt", "ReEncryptFrom", "CreateGrant", "DeriveSharedSecret", "GenerateRandom"):
        assert not may(deployer, f"kms:{name}"), name
    assert not may(deployer, "kms:Encrypt", policies=()), "and only as its own policies allow"


def test_editors_open_as_well() -> None:
    """Nobody could edit the file; or who may edit could do it in any context."""
    for name in ("Encrypt", "Decrypt"):
        assert may(OPS, f"kms:{name}", policies=())
        assert not may(OPS, f"kms:{name}", {}, policies=())
    assert not may(OPS, OPEN, editors=())


def test_the_account_manages_the_key_and_cannot_use_it_so() -> None:
    """The account would be locked out for ever: CreateKey refuses such a policy, and so would an update later."""
    for action in ADMINISTER:
        assert may(f"arn:aws:iam::{ACCOUNT}:user/root-of-all", action, {}), action
    assert "kms:PutKeyPolicy" in ADMINISTER
    assert not {f"kms:{name}" for name in CRYPTOGRAPHIC} & set(ADMINISTER)
    assert not [action for action in ADMINISTER if "*" in action], "a later action of KMS would be among them"


def test_attested_machines_open_with_the_measurements_of_one_image() -> None:
    """An image that nobody deployed could open the secrets with the role of one that was."""
    other = {"4": "c" * 96, "12": "d" * 96}
    machines = (Machines(ROLE, plain=False, measurements={"web-1": PCRS, "web-2": other}),)
    assert may(ROLE, OPEN, pcrs=PCRS, machines=machines)
    assert may(ROLE, OPEN, pcrs={**other, "7": "e"}, machines=machines)
    assert not may(ROLE, OPEN, machines=machines), "without attestation"
    assert not may(ROLE, OPEN, {}, pcrs=PCRS, machines=machines)
    assert not may(ROLE, OPEN, pcrs={"4": PCRS["4"], "12": other["12"]}, machines=machines), "of two images"
    assert not may(OTHER, OPEN, pcrs=PCRS, machines=machines)
    none_yet = (Machines(ROLE, plain=False),)
    assert not may(ROLE, OPEN, pcrs=PCRS, machines=none_yet)


@given(changed=st.sampled_from(["4", "12"]), at=st.integers(0, 95))
def test_one_changed_bit_of_a_measurement_is_refused(changed: str, at: int) -> None:
    """A changed kernel argument would pass."""
    machines = (Machines(ROLE, plain=False, measurements={"web-1": PCRS}),)
    value = PCRS[changed]
    wrong = {**PCRS, changed: f"{value[:at]}0{value[at + 1 :]}"}
    assert not may(ROLE, OPEN, pcrs=wrong, machines=machines)


@pytest.mark.parametrize("pcrs", [{}, {"4": "a"}, {"12": "a"}, {"7": "a"}])
def test_measurements_that_identify_no_image_are_no_condition(pcrs: dict[str, str]) -> None:
    """PCR 4 alone lets any kernel argument in (GHSA-xrv8-2pf5-f3q7), and no PCR lets everything in."""
    with pytest.raises(ValueError, match="do not identify an image"):
        measured(pcrs)


def test_measurements_are_in_lower_case() -> None:
    """KMS compares with lower case, so no machine would open anything."""
    assert measured({"12": "AB", "4": "Cd"}) == {
        "kms:RecipientAttestation:NitroTPMPCR4": "cd",
        "kms:RecipientAttestation:NitroTPMPCR12": "ab",
    }


def test_the_policy_of_the_role_allows_the_same_and_nothing_else() -> None:
    """With an existing key that leaves its use to IAM, the machines could open everything that is encrypted with it."""
    policy = Policy.parse({"Version": "2012-10-17", "Statement": [of_role([KEY], CONTEXT)]})
    assert policy.allows(Question(OPEN, KEY), keys(CONTEXT))
    assert not policy.allows(Question(OPEN, KEY), keys({}))
    assert not policy.allows(Question(OPEN, f"{KEY}2"), keys(CONTEXT))
    assert not policy.allows(Question("kms:Encrypt", KEY), keys(CONTEXT))


def test_the_largest_policy_fits() -> None:
    """KMS takes 32 KiB of key policy (developer guide, "Key policy format"): an update would fail half-way."""
    editors = tuple(f"{OPS}{'x' * 60}{number}" for number in range(50))  # the most that the settings take
    releases = tuple(Machines(ROLE, plain=False, measurements={f"w-{n}": PCRS, f"v-{n}": PCRS}) for n in range(3))
    made = statements(partition="aws", account=ACCOUNT, context=CONTEXT, machines=releases, editors=editors)
    assert len(json.dumps({"Version": "2012-10-17", "Statement": made})) < 32_768


def test_a_condition_on_the_context_is_on_its_pairs_and_on_its_keys() -> None:
    """`ForAllValues` alone is true of a request without any context."""
    assert in_context({"Environment": "a"}) == {
        "StringEquals": {"kms:EncryptionContext:Environment": "a"},
        "ForAllValues:StringEquals": {"kms:EncryptionContextKeys": ["Environment"]},
    }
    assert key_policy.ATTESTED.startswith("kms:")
