"""Keys of KMS, their replicas in other regions, and their aliases: facts and API calls of each type.

KMS is eventually consistent: as the official plugin does, whatever was changed is read until it is seen several times
in a row, at the stand-in's own pace.
"""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.check import document_failures, range_failures
from engine.aws_plugin.compare import Rules, in_order, same_document
from engine.aws_plugin.convert import tag_changes
from engine.aws_plugin.kind import Boto, Call, Kind, OperationError, code, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props

_MALFORMED = "MalformedPolicyDocumentException"
_GONE = frozenset({"PendingDeletion", "PendingReplicaDeletion"})  # to the provider such a key is deleted
_TIMES = 5  # how often in a row a change is to be seen; of the state:
_TIMES_STATE = 15
_MINUTES_10, _MINUTES_20, _PROPAGATION = 600.0, 1200.0, 180.0


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


def _metadata(kms: Boto, key_id: str) -> dict[str, Any] | None:
    """What KMS says of a key; None if it is gone, or about to be deleted."""
    try:
        found: dict[str, Any] = kms.describe_key(KeyId=key_id)["KeyMetadata"]
    except ClientError as error:
        if gone(error):
            return None
        raise
    return None if found["KeyState"] in _GONE else found


def _tags_of(kms: Boto, key_id: str) -> dict[str, str]:
    pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key_id)
    return {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}


def _steady(call: Call, what: str, seen: Callable[[], bool], seconds: float, times: int = _TIMES) -> None:
    """Wait until a change is seen so often in a row; a key that is not found yet is not seen."""
    row = 0

    def steady() -> bool:
        nonlocal row
        try:
            row = row + 1 if seen() else 0
        except ClientError as error:
            if not gone(error):
                raise
            row = 0
        return row >= times

    call.wait(what, steady, seconds=seconds)


class _Key(Kind):
    """What keys and replicas have in common."""

    enabled: ClassVar[str]
    """The name of the property that switches the key off."""

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The policy, and what has a range."""
        yield from document_failures(props, "policy")
        yield from range_failures(props, "deletionWindowInDays", 7, 30)
        yield from range_failures(props, "rotationPeriodInDays", 90, 2560)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The key, its policy, rotation and tags. One that was just made may not be found at once."""
        if call.made is None:
            return self._read(call, resource_id)
        found: Props | None = None

        def seen() -> bool:
            nonlocal found
            found = self._read(call, resource_id)
            return found is not None

        call.wait(f"reading {self.noun} {resource_id}", seen, seconds=_PROPAGATION)
        return found

    def _read(self, call: Call, resource_id: str) -> Props | None:
        kms = call.client("kms")
        metadata = _metadata(kms, resource_id)
        if metadata is None:
            return None
        try:
            policy = kms.get_key_policy(KeyId=resource_id, PolicyName="default")["Policy"]
            rotation = kms.get_key_rotation_status(KeyId=resource_id) if metadata["Origin"] == "AWS_KMS" else {}
            tags = _tags_of(kms, resource_id)
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {
            "arn": metadata["Arn"],
            "keyId": metadata["KeyId"],
            "description": metadata.get("Description"),
            "keyUsage": metadata["KeyUsage"],
            "policy": in_order(policy),
            self.enabled: metadata["Enabled"],
            "tagsAll": tags,
            **self._own(metadata, rotation),
        }

    def _own(self, metadata: dict[str, Any], rotation: dict[str, Any]) -> Props:
        """The properties that only this type has."""
        raise NotImplementedError

    def settle(self, call: Call, key_id: str, props: Props) -> None:
        """What comes after either is made: switched off if that is wanted; its policy and tags are seen."""
        if not props[self.enabled]:
            self.switch(call, key_id, on=False)
        if props.get("policy"):
            self.see_policy(call, key_id, props["policy"])
        if props.get("tagsAll"):
            self.see_tags(call, key_id, props["tagsAll"])

    def switch(self, call: Call, key_id: str, *, on: bool) -> None:
        """Enable or disable."""
        kms = call.client("kms")
        call.retry({"NotFoundException"}, lambda: (kms.enable_key if on else kms.disable_key)(KeyId=key_id))
        what = f"{self.noun} {key_id} being {'enabled' if on else 'disabled'}"

        def seen() -> bool:
            metadata = _metadata(kms, key_id)
            return metadata is not None and metadata["Enabled"] == on

        _steady(call, what, seen, _MINUTES_20, _TIMES_STATE)

    def see_policy(self, call: Call, key_id: str, policy: str) -> None:
        """Wait for a policy."""
        kms = call.client("kms")

        def seen() -> bool:
            return same_document(kms.get_key_policy(KeyId=key_id, PolicyName="default")["Policy"], policy)

        _steady(call, f"the policy of {self.noun} {key_id}", seen, _MINUTES_10)

    def see_tags(self, call: Call, key_id: str, tags: dict[str, str]) -> None:
        """Wait for tags."""
        kms, ignored, prefixes = call.client("kms"), call.clients.ignored_tags, call.clients.ignored_prefixes

        def seen() -> bool:
            found = _tags_of(kms, key_id)
            return tags == {
                key: value
                for key, value in found.items()
                if key not in ignored and not (prefixes and key.startswith(prefixes))
            }

        _steady(call, f"the tags of {self.noun} {key_id}", seen, _MINUTES_10)

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Enabled before anything else is changed, and disabled after it: a disabled key cannot be changed."""
        kms = call.client("kms")
        if self.enabled in changed and new[self.enabled]:
            self.switch(call, resource_id, on=True)
        self.change(call, resource_id, new, changed)
        if "description" in changed:
            wanted = new.get("description") or ""
            kms.update_key_description(KeyId=resource_id, Description=wanted)

            def described() -> bool:
                metadata = _metadata(kms, resource_id)
                return metadata is not None and metadata.get("Description", "") == wanted

            _steady(call, f"the description of {self.noun} {resource_id}", described, _MINUTES_10)
        if "policy" in changed and new.get("policy"):
            call.retry(
                {"NotFoundException", _MALFORMED},
                lambda: kms.put_key_policy(
                    KeyId=resource_id,
                    PolicyName="default",
                    Policy=in_order(new["policy"]),
                    BypassPolicyLockoutSafetyCheck=bool(new.get("bypassPolicyLockoutSafetyCheck")),
                ),
            )
            self.see_policy(call, resource_id, new["policy"])
        if self.enabled in changed and not new[self.enabled]:
            self.switch(call, resource_id, on=False)
        removed, added = tag_changes(old, new)
        if removed:
            kms.untag_resource(KeyId=resource_id, TagKeys=removed)
        if added:
            kms.tag_resource(KeyId=resource_id, Tags=_tags(added))
        if removed or added:
            self.see_tags(call, resource_id, new.get("tagsAll") or {})

    def change(self, call: Call, key_id: str, new: Props, changed: frozenset[str]) -> None:
        """Change what only this type has."""

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Schedule its deletion, and wait until it is pending."""
        kms = call.client("kms")
        window = {"PendingWindowInDays": known["deletionWindowInDays"]} if known.get("deletionWindowInDays") else {}
        try:
            kms.schedule_key_deletion(KeyId=resource_id, **window)
        except ClientError as error:
            pending = code(error) == "KMSInvalidStateException" and "is pending deletion" in str(error)
            if not pending and not gone(error):
                raise
            return

        def deleted() -> bool:
            metadata = _metadata(kms, resource_id)
            if metadata is not None and metadata["KeyState"] not in {"Enabled", "Disabled"}:
                message = f"{resource_id} is in the unexpected state {metadata['KeyState']}"
                raise OperationError(message)
            return metadata is None

        call.wait(f"deleting {self.noun} {resource_id}", deleted, seconds=_MINUTES_20)


class Key(_Key):
    """A key (`aws_kms_key`)."""

    type_name = "aws:kms/key:Key"
    noun = "KMS Key"
    supported = frozenset(
        {"bypassPolicyLockoutSafetyCheck", "customerMasterKeySpec", "deletionWindowInDays", "description"}
        | {"enableKeyRotation", "isEnabled", "keyUsage", "multiRegion", "policy", "region", "rotationPeriodInDays"}
        | {"tags"}
    )
    replace = frozenset({"customerMasterKeySpec", "keyUsage", "multiRegion"})
    defaults: ClassVar[Props] = {
        "bypassPolicyLockoutSafetyCheck": False,
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "enableKeyRotation": False,
        "isEnabled": True,
        "keyUsage": "ENCRYPT_DECRYPT",
    }
    computed = frozenset({"arn", "description", "keyId", "multiRegion", "policy", "rotationPeriodInDays"})
    rules = Rules(json=frozenset({"policy"}))
    timeout = 120.0
    enabled = "isEnabled"

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """As every key; a period of a rotation that is not on says nothing."""
        yield from super().validate(props)
        if "rotationPeriodInDays" in props and "enableKeyRotation" not in props:
            yield "rotationPeriodInDays", "it needs enableKeyRotation"

    def create(self, call: Call, props: Props) -> str:
        """Make it, once its policy's principals are known everywhere; then wait for each part of it."""
        given: Props = {
            "BypassPolicyLockoutSafetyCheck": props["bypassPolicyLockoutSafetyCheck"],
            "KeySpec": props["customerMasterKeySpec"],
            "KeyUsage": props["keyUsage"],
        }
        if props.get("description"):
            given["Description"] = props["description"]
        if props.get("multiRegion"):
            given["MultiRegion"] = True
        if props.get("policy"):
            given["Policy"] = in_order(props["policy"])
        if props.get("tagsAll"):
            given["Tags"] = _tags(props["tagsAll"])

        def create() -> None:
            call.made = str(call.client("kms").create_key(**given)["KeyMetadata"]["KeyId"])

        call.retry({_MALFORMED}, create)
        key_id = str(call.made)
        if props["enableKeyRotation"]:
            self._rotate(call, key_id, props)
        self.settle(call, key_id, props)
        return key_id

    def _rotate(self, call: Call, key_id: str, props: Props) -> None:
        kms, on, period = call.client("kms"), props["enableKeyRotation"], props.get("rotationPeriodInDays")
        given = {"RotationPeriodInDays": period} if on and period else {}
        turn = kms.enable_key_rotation if on else kms.disable_key_rotation
        call.retry({"NotFoundException", "DisabledException"}, lambda: turn(KeyId=key_id, **given))

        def seen() -> bool:
            found = kms.get_key_rotation_status(KeyId=key_id)
            same = not period or found.get("RotationPeriodInDays") in {None, period}
            return bool(found["KeyRotationEnabled"]) == on and same

        _steady(call, f"the rotation of {self.noun} {key_id}", seen, _MINUTES_10)

    def _own(self, metadata: dict[str, Any], rotation: dict[str, Any]) -> Props:
        configuration = metadata.get("MultiRegionConfiguration") or {}
        if metadata["MultiRegion"] and configuration["MultiRegionKeyType"] != "PRIMARY":
            message = f"KMS Key ({metadata['KeyId']}) is not a multi-Region primary key"
            raise OperationError(message)
        return {
            "customerMasterKeySpec": metadata["KeySpec"],
            "multiRegion": metadata["MultiRegion"],
            "enableKeyRotation": rotation.get("KeyRotationEnabled", False),
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
        }

    def change(self, call: Call, key_id: str, new: Props, changed: frozenset[str]) -> None:
        """The rotation."""
        if "enableKeyRotation" in changed or (new["enableKeyRotation"] and "rotationPeriodInDays" in changed):
            self._rotate(call, key_id, new)


class ReplicaKey(_Key):
    """A key of several regions, in another region than its primary (`aws_kms_replica_key`)."""

    type_name = "aws:kms/replicaKey:ReplicaKey"
    noun = "KMS Replica Key"
    supported = frozenset(
        {"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays", "description", "enabled", "policy"}
        | {"primaryKeyArn", "region", "tags"}
    )
    replace = frozenset({"primaryKeyArn"})
    defaults: ClassVar[Props] = {"bypassPolicyLockoutSafetyCheck": False, "deletionWindowInDays": 30, "enabled": True}
    computed = frozenset({"arn", "keyId", "keyRotationEnabled", "keySpec", "keyUsage", "policy"})
    rules = Rules(json=frozenset({"policy"}))
    timeout = 120.0
    enabled = "enabled"

    def create(self, call: Call, props: Props) -> str:
        """Ask for it in the primary's region, and wait for it in its own."""
        primary = str(props["primaryKeyArn"]).split(":", 5)
        if len(primary) != 6:  # the parts of an ARN
            message = f"primaryKeyArn is no ARN: {props['primaryKeyArn']}"
            raise OperationError(message)
        given: Props = {"KeyId": primary[5].removeprefix("key/"), "ReplicaRegion": call.region}
        if props["bypassPolicyLockoutSafetyCheck"]:
            given["BypassPolicyLockoutSafetyCheck"] = True
        if props.get("description"):
            given["Description"] = props["description"]
        if props.get("policy"):
            given["Policy"] = props["policy"]
        if props.get("tagsAll"):
            given["Tags"] = _tags(props["tagsAll"])

        def create() -> None:
            replicate = call.clients.client("kms", primary[3]).replicate_key
            call.made = str(replicate(**given)["ReplicaKeyMetadata"]["KeyId"])

        call.retry({_MALFORMED}, create)
        key_id = str(call.made)

        def enabled() -> bool:
            metadata = _metadata(call.client("kms"), key_id)
            return metadata is not None and metadata["KeyState"] == "Enabled"

        call.wait(f"creating {self.noun} {key_id}", enabled, seconds=120.0)
        self.settle(call, key_id, props)
        return key_id

    def _own(self, metadata: dict[str, Any], rotation: dict[str, Any]) -> Props:
        configuration = metadata.get("MultiRegionConfiguration") or {}
        if configuration.get("MultiRegionKeyType") != "REPLICA":
            message = f"KMS Replica Key ({metadata['KeyId']}) is not a multi-Region replica key"
            raise OperationError(message)
        return {
            "keySpec": metadata["KeySpec"],
            "keyRotationEnabled": rotation.get("KeyRotationEnabled", False),
            "primaryKeyArn": configuration["PrimaryKey"]["Arn"],
        }


class Alias(Kind):
    """A name for a key (`aws_kms_alias`)."""

    type_name = "aws:kms/alias:Alias"
    noun = "KMS Alias"
    supported = frozenset({"name", "namePrefix", "region", "targetKeyId"})
    replace = frozenset({"name", "namePrefix"})
    computed = frozenset({"arn", "name", "namePrefix", "targetKeyArn"})
    rules = Rules(keys=frozenset({"targetKeyId"}))
    timeout = 600.0

    def moves(self, changed: frozenset[str]) -> frozenset[str]:
        """The ARN of the key that it stands for."""
        return frozenset({"targetKeyArn"}) if "targetKeyId" in changed else frozenset()

    def create(self, call: Call, props: Props) -> str:
        """Make it; the key may not be known everywhere yet."""
        name = unique_name({"namePrefix": "alias/", **props}, None)
        kms = call.client("kms")
        call.retry({"NotFoundException"}, lambda: kms.create_alias(AliasName=name, TargetKeyId=props["targetKeyId"]))
        call.made = name
        return name

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The alias; one that was just made may not be listed at once."""
        found = self._find(call, resource_id)

        def seen() -> bool:
            nonlocal found
            found = found or self._find(call, resource_id)
            return found is not None

        if call.made is not None:
            call.wait(f"reading {self.noun} {resource_id}", seen, seconds=_PROPAGATION)
        if found is None:
            return None
        start = found["AliasArn"].removesuffix(f":{found['AliasName']}")
        return {
            "arn": found["AliasArn"],
            "name": found["AliasName"],
            "targetKeyId": found["TargetKeyId"],
            "targetKeyArn": f"{start}:key/{found['TargetKeyId']}",
        }

    @staticmethod
    def _find(call: Call, name: str) -> dict[str, Any] | None:
        pages = call.client("kms").get_paginator("list_aliases").paginate()
        return next((one for page in pages for one in page["Aliases"] if one["AliasName"] == name), None)

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Let it stand for another key."""
        call.client("kms").update_alias(AliasName=resource_id, TargetKeyId=new["targetKeyId"])

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        forget_missing(lambda: call.client("kms").delete_alias(AliasName=resource_id))
