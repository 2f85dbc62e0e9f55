"""Roles, their policies, and instance profiles: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.check import document_failures
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_list, tag_map
from engine.aws_plugin.kind import Call, Kind, OperationError, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props, Value


def _document(policy: Value) -> str:
    if isinstance(policy, str):
        return urllib.parse.unquote(policy) if policy.startswith("%") else policy
    return json.dumps(policy)


def _update_tags(operations: tuple[Any, Any], key: dict[str, str], old: Props, new: Props) -> None:
    tag, untag = operations
    before, after = old.get("tagsAll") or {}, new.get("tagsAll") or {}
    if removed := [name for name in before if name not in after]:
        untag(**key, TagKeys=removed)
    if changed := {name: value for name, value in after.items() if before.get(name) != value}:
        tag(**key, Tags=tag_list(changed))


class Role(Kind):
    """A role (`aws_iam_role`)."""

    type_name = "aws:iam/role:Role"
    noun = "IAM Role"
    supported = frozenset(
        {"assumeRolePolicy", "description", "forceDetachPolicies", "maxSessionDuration", "name", "namePrefix", "path"}
        | {"permissionsBoundary", "tags"}
    )
    replace = frozenset({"name", "namePrefix", "path"})
    defaults: ClassVar[Props] = {"forceDetachPolicies": False, "maxSessionDuration": 3600, "path": "/"}
    computed = frozenset({"arn", "createDate", "uniqueId", "name", "namePrefix", "managedPolicyArns", "inlinePolicies"})
    rules = Rules(json=frozenset({"assumeRolePolicy"}))
    name_length = 64

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The trust policy."""
        yield from document_failures(props, "assumeRolePolicy")

    def create(self, call: Call, props: Props) -> str:
        """Make it."""
        names = {"description": "Description", "permissionsBoundary": "PermissionsBoundary"}
        arguments = {api: props[name] for name, api in names.items() if props.get(name)}
        if props.get("tagsAll"):
            arguments["Tags"] = tag_list(props["tagsAll"])
        answer = call.client("iam").create_role(
            RoleName=unique_name(props, self.name_length),
            AssumeRolePolicyDocument=props["assumeRolePolicy"],
            Path=props["path"],
            MaxSessionDuration=props["maxSessionDuration"],
            **arguments,
        )
        call.made = str(answer["Role"]["RoleName"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The role with its inline and managed policies."""
        iam = call.client("iam")
        try:
            role = iam.get_role(RoleName=resource_id)["Role"]
            names = iam.list_role_policies(RoleName=resource_id)["PolicyNames"]
            inline = [iam.get_role_policy(RoleName=resource_id, PolicyName=name) for name in names]
            managed = iam.list_attached_role_policies(RoleName=resource_id)["AttachedPolicies"]
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {
            "name": role["RoleName"],
            "arn": role["Arn"],
            "path": role.get("Path"),
            "description": role.get("Description"),
            "maxSessionDuration": role.get("MaxSessionDuration"),
            "permissionsBoundary": (role.get("PermissionsBoundary") or {}).get("PermissionsBoundaryArn"),
            "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
            "createDate": role["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uniqueId": role["RoleId"],
            "inlinePolicies": [
                {"name": item["PolicyName"], "policy": _document(item["PolicyDocument"])} for item in inline
            ],
            "managedPolicyArns": sorted(item["PolicyArn"] for item in managed),
            "tagsAll": tag_map(role.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Everything but name and path."""
        iam = call.client("iam")
        if "assumeRolePolicy" in changed:
            iam.update_assume_role_policy(RoleName=resource_id, PolicyDocument=new["assumeRolePolicy"])
        if changed & {"description", "maxSessionDuration"}:
            iam.update_role(
                RoleName=resource_id,
                Description=new.get("description") or "",
                MaxSessionDuration=new["maxSessionDuration"],
            )
        if "permissionsBoundary" in changed:
            if new.get("permissionsBoundary"):
                iam.put_role_permissions_boundary(RoleName=resource_id, PermissionsBoundary=new["permissionsBoundary"])
            else:
                iam.delete_role_permissions_boundary(RoleName=resource_id)
        _update_tags((iam.tag_role, iam.untag_role), {"RoleName": resource_id}, old, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Out of its instance profiles (with `forceDetachPolicies`: its policies off it), then delete it."""
        iam = call.client("iam")

        def take_apart() -> None:
            for profile in iam.list_instance_profiles_for_role(RoleName=resource_id)["InstanceProfiles"]:
                iam.remove_role_from_instance_profile(
                    InstanceProfileName=profile["InstanceProfileName"], RoleName=resource_id
                )
            if known.get("forceDetachPolicies"):
                for policy in iam.list_attached_role_policies(RoleName=resource_id)["AttachedPolicies"]:
                    iam.detach_role_policy(RoleName=resource_id, PolicyArn=policy["PolicyArn"])
                for name in iam.list_role_policies(RoleName=resource_id)["PolicyNames"]:
                    iam.delete_role_policy(RoleName=resource_id, PolicyName=name)
            iam.delete_role(RoleName=resource_id)

        forget_missing(take_apart)


class RolePolicy(Kind):
    """An inline policy of a role (`aws_iam_role_policy`)."""

    type_name = "aws:iam/rolePolicy:RolePolicy"
    noun = "IAM Role Policy"
    supported = frozenset({"name", "namePrefix", "policy", "role"})
    replace = frozenset({"name", "namePrefix", "role"})
    computed = frozenset({"name", "namePrefix"})
    rules = Rules(json=frozenset({"policy"}))
    name_length = 128

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The policy."""
        yield from document_failures(props, "policy")

    def create(self, call: Call, props: Props) -> str:
        """Put it."""
        name = unique_name(props, self.name_length)
        call.client("iam").put_role_policy(RoleName=props["role"], PolicyName=name, PolicyDocument=props["policy"])
        call.made = f"{props['role']}:{name}"
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The policy; the id is `ROLE:NAME`."""
        role, name = _two(resource_id, ":", "an inline policy", "ROLE:NAME")
        try:
            answer = call.client("iam").get_role_policy(RoleName=role, PolicyName=name)
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {"name": name, "role": role, "policy": _document(answer["PolicyDocument"])}

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Put it again."""
        role, name = _two(resource_id, ":", "an inline policy", "ROLE:NAME")
        call.client("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=new["policy"])

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it."""
        role, name = _two(resource_id, ":", "an inline policy", "ROLE:NAME")
        forget_missing(lambda: call.client("iam").delete_role_policy(RoleName=role, PolicyName=name))


def _two(resource_id: str, separator: str, what: str, form: str) -> tuple[str, str]:
    first, _, second = resource_id.partition(separator)
    if not first or not second:
        message = f"the id of {what} is {form}, not {resource_id}"
        raise OperationError(message)
    return first, second


class RolePolicyAttachment(Kind):
    """A managed policy on a role (`aws_iam_role_policy_attachment`)."""

    type_name = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    noun = "IAM Role Policy Attachment"
    supported = frozenset({"policyArn", "role"})
    replace = frozenset({"policyArn", "role"})
    delete_before_replace = True  # pulumi-aws: attaching the same policy again and then detaching it would detach it

    def create(self, call: Call, props: Props) -> str:
        """Attach."""
        call.client("iam").attach_role_policy(RoleName=props["role"], PolicyArn=props["policyArn"])
        call.made = f"{props['role']}/{props['policyArn']}"
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The attachment; the id is `ROLE/POLICY_ARN`."""
        role, policy = _two(resource_id, "/", "a policy attachment", "ROLE/POLICY_ARN")
        try:
            pages = call.client("iam").get_paginator("list_attached_role_policies").paginate(RoleName=role)
            attached = {item["PolicyArn"] for page in pages for item in page["AttachedPolicies"]}
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {"role": role, "policyArn": policy} if policy in attached else None

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Detach."""
        role, policy = _two(resource_id, "/", "a policy attachment", "ROLE/POLICY_ARN")
        forget_missing(lambda: call.client("iam").detach_role_policy(RoleName=role, PolicyArn=policy))


class InstanceProfile(Kind):
    """An instance profile (`aws_iam_instance_profile`)."""

    type_name = "aws:iam/instanceProfile:InstanceProfile"
    noun = "IAM Instance Profile"
    supported = frozenset({"name", "namePrefix", "path", "role", "tags"})
    replace = frozenset({"name", "namePrefix", "path"})
    defaults: ClassVar[Props] = {"path": "/"}
    computed = frozenset({"arn", "createDate", "uniqueId", "name", "namePrefix"})
    name_length = 128

    def create(self, call: Call, props: Props) -> str:
        """Make it and put the role in."""
        iam = call.client("iam")
        tags = {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {}
        name = unique_name(props, self.name_length)
        iam.create_instance_profile(InstanceProfileName=name, Path=props["path"], **tags)
        call.made = name
        if props.get("role"):
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=props["role"])
        return name

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The profile and its role."""
        try:
            profile = call.client("iam").get_instance_profile(InstanceProfileName=resource_id)["InstanceProfile"]
        except ClientError as error:
            if gone(error):
                return None
            raise
        roles = profile.get("Roles") or []
        return {
            "name": profile["InstanceProfileName"],
            "arn": profile["Arn"],
            "path": profile.get("Path"),
            "role": roles[0]["RoleName"] if roles else None,
            "createDate": profile["CreateDate"].strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uniqueId": profile["InstanceProfileId"],
            "tagsAll": tag_map(profile.get("Tags")),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Another role (a profile holds one, so the old goes first); tags."""
        iam = call.client("iam")
        if "role" in changed:
            if old.get("role"):
                self._take_out(call, resource_id, old["role"])
            if new.get("role"):
                iam.add_role_to_instance_profile(InstanceProfileName=resource_id, RoleName=new["role"])
        key = {"InstanceProfileName": resource_id}
        _update_tags((iam.tag_instance_profile, iam.untag_instance_profile), key, old, new)

    @staticmethod
    def _take_out(call: Call, profile: str, role: str) -> None:
        forget_missing(
            lambda: call.client("iam").remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
        )

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Take the role out, then delete it."""
        if known.get("role"):
            self._take_out(call, resource_id, known["role"])
        forget_missing(lambda: call.client("iam").delete_instance_profile(InstanceProfileName=resource_id))
