"""What a check is, and the checks that more than one operation has.

Decides nothing about a request. With `LOCK` held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.authorization import resources
from localcloud.authorization.policies import Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localcloud.authorization.asked import Asked

    Keys = dict[str, tuple[str, ...]]

OWN, LAUNCH, LINKED, PASS, KEY = "own", "launch", "linked", "pass", "key"
"""What a question is about, for the words of its denial (`words`)."""


@dataclass(frozen=True)
class Check:
    """A question, and what it is about."""

    question: Question
    about: str = OWN
    template: str = ""  # of LAUNCH: the launch template's id


def keys_of(tags: Iterable[Mapping[str, Any]]) -> Keys:
    """The condition keys of tags that a request gives."""
    found = {str(tag.get("Key", tag.get("TagKey", ""))): tag.get("Value", tag.get("TagValue")) for tag in tags}
    keys: Keys = {f"aws:requesttag/{key.lower()}": (str(value or ""),) for key, value in found.items()}
    return keys | ({"aws:tagkeys": tuple(found)} if found else {})


def created_tags(
    asked: Asked, specifications: Iterable[Mapping[str, Any]], operation: str, about: str = OWN
) -> list[Check]:
    """CreateTags, once a type of resource that is tagged as it is made (member TagSpecifications)."""
    checks = []
    for spec in specifications:
        if spec.get("Tags") and spec.get("ResourceType"):
            kind = spec["ResourceType"]
            account = kind not in {"image", "snapshot"}
            keys = {**keys_of(spec["Tags"]), "ec2:createaction": (operation,)}
            arn = resources.arn(asked, "ec2", f"{kind}/*", account=account)
            checks.append(Check(Question("ec2:CreateTags", arn, keys), about))
    return checks


def pass_role(role: str, service: str, about: str) -> Check:
    """The right to give a role to a service."""
    return Check(
        Question("iam:PassRole", role if role.startswith("arn:") else "*", {"iam:passedtoservice": (service,)}), about
    )
