"""Keys of several regions: one material, and everything else each region's own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.localcloud.balancer.world import until
from tests.localcloud.kms.conftest import CONTEXT, code, put, refused, statement
from tests.localcloud.kms.test_states import DAY, ROLE

if TYPE_CHECKING:
    from tests.localcloud.clients import Clients
    from tests.localcloud.conftest import Clock


def state(kms: Any, key: str) -> str:
    return str(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])


def test_a_replica_opens_what_its_primary_sealed(kms: Any, clients: Clients) -> None:
    """A machine in another region could not open secrets of the same stack."""
    west = clients.client("kms", "us-west-2")
    made = kms.create_key(MultiRegion=True)["KeyMetadata"]
    assert made["KeyId"].startswith("mrk-")
    answer = kms.replicate_key(KeyId=made["KeyId"], ReplicaRegion="us-west-2", Description="west")
    assert answer["ReplicaKeyMetadata"]["KeyState"] == "Creating"
    assert answer["ReplicaKeyMetadata"]["Arn"] == made["Arn"].replace("us-east-1", "us-west-2")
    until(lambda: state(west, made["KeyId"]) == "Enabled", "the key is Enabled")
    told = west.describe_key(KeyId=made["KeyId"])["KeyMetadata"]["MultiRegionConfiguration"]
    assert told["MultiRegionKeyType"] == "REPLICA"
    assert told["PrimaryKey"] == {"Arn": made["Arn"], "Region": "us-east-1"}
    assert [one["Region"] for one in told["ReplicaKeys"]] == ["us-west-2"]
    blob = kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]
    kms.rotate_key_on_demand(KeyId=made["KeyId"])
    for one in (blob, kms.encrypt(KeyId=made["KeyId"], Plaintext=b"x", EncryptionContext=CONTEXT)["CiphertextBlob"]):
        assert west.decrypt(CiphertextBlob=one, EncryptionContext=CONTEXT)["Plaintext"] == b"x"
    put(west, made["KeyId"], statement({"AWS": ROLE}), statement({"AWS": ROLE}, "kms:Encrypt", Sid="west"))
    assert len(json.loads(kms.get_key_policy(KeyId=made["KeyId"])["Policy"])["Statement"]) == 1
    kms.disable_key(KeyId=made["KeyId"])
    assert west.decrypt(CiphertextBlob=blob, EncryptionContext=CONTEXT)["Plaintext"] == b"x"
    kms.enable_key(KeyId=made["KeyId"])
    assert code(lambda: west.enable_key_rotation(KeyId=made["KeyId"])) == "UnsupportedOperationException"
    kms.enable_key_rotation(KeyId=made["KeyId"])
    assert west.get_key_rotation_status(KeyId=made["KeyId"])["KeyRotationEnabled"] is True


def test_what_cannot_be_replicated(kms: Any, key: str, clients: Clients) -> None:
    """A stack's key would be given replicas that AWS refuses."""
    assert code(lambda: kms.replicate_key(KeyId=key, ReplicaRegion="us-west-2")) == "UnsupportedOperationException"
    several = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    assert code(lambda: kms.replicate_key(KeyId=several, ReplicaRegion="us-nowhere-9")) == "ValidationException"
    assert code(lambda: kms.replicate_key(KeyId=several, ReplicaRegion="us-east-1")) == "AlreadyExistsException"
    kms.replicate_key(KeyId=several, ReplicaRegion="us-west-2")
    assert code(lambda: kms.replicate_key(KeyId=several, ReplicaRegion="us-west-2")) == "AlreadyExistsException"
    west = clients.client("kms", "us-west-2")
    until(lambda: state(west, several) == "Enabled", "the key is Enabled")
    assert code(lambda: west.replicate_key(KeyId=several, ReplicaRegion="eu-west-1")) == "UnsupportedOperationException"


def test_a_primary_key_outlives_its_replicas(kms: Any, clients: Clients, clock: Clock) -> None:
    """A primary key would be deleted under its replicas, or its window begin before they are gone."""
    clock.now = 1_800_000_000.0
    west = clients.client("kms", "us-west-2")
    key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    kms.replicate_key(KeyId=key, ReplicaRegion="us-west-2")
    until(lambda: state(west, key) == "Enabled", "the key is Enabled")
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=8)
    assert (answer["KeyState"], "DeletionDate" in answer) == ("PendingReplicaDeletion", False)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["PendingDeletionWindowInDays"] == 8
    assert refused(lambda: kms.encrypt(KeyId=key, Plaintext=b"x"))[1] == "KMSInvalidStateException"
    west.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    clock.now += 7 * DAY + 1
    until(lambda: state(kms, key) == "PendingDeletion", "the key is PendingDeletion")
    told = kms.describe_key(KeyId=key)["KeyMetadata"]["DeletionDate"].timestamp()
    assert told == clock.now + 8 * DAY
    clock.now += 8 * DAY + 1
    until(lambda: not kms.list_keys()["Keys"], "the keys are gone")


def test_another_region_becomes_the_primary(kms: Any, clients: Clients) -> None:
    """A stack that moves to another region could not take its key along."""
    west = clients.client("kms", "us-west-2")
    key = kms.create_key(MultiRegion=True)["KeyMetadata"]["KeyId"]
    kms.replicate_key(KeyId=key, ReplicaRegion="us-west-2")
    until(lambda: state(west, key) == "Enabled", "the key is Enabled")
    kms.update_primary_region(KeyId=key, PrimaryRegion="us-west-2")
    until(lambda: state(west, key) == state(kms, key) == "Enabled", "the key is Enabled")
    kind = kms.describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]["MultiRegionKeyType"]
    assert kind == "REPLICA"
