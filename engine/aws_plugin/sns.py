"""SNS topics and their policies: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.check import document_failures
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_changes, tag_list, tag_map
from engine.aws_plugin.kind import Call, Kind, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props

_DEFAULT_ID = "__default_policy_ID"
_DEFAULT_ACTIONS = (
    "AddPermission",
    "DeleteTopic",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "Publish",
    "RemovePermission",
    "SetTopicAttributes",
    "Subscribe",
)


def _attributes(call: Call, arn: str) -> dict[str, str] | None:
    try:
        found: dict[str, str] = call.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    except ClientError as error:
        if gone(error):
            return None
        raise
    return found


class Topic(Kind):
    """A standard topic (`aws_sns_topic`)."""

    type_name = "aws:sns/topic:Topic"
    noun = "SNS Topic"
    supported = frozenset({"displayName", "name", "namePrefix", "region", "tags"})
    replace = frozenset({"name", "namePrefix"})
    defaults: ClassVar[Props] = {"contentBasedDeduplication": False, "fifoTopic": False}
    computed = frozenset(
        {"arn", "beginningArchiveTime", "fifoThroughputScope", "maximumMessageSize", "name", "namePrefix", "owner"}
        | {"policy", "signatureVersion", "tracingConfig"}
    )
    name_length = 256

    def create(self, call: Call, props: Props) -> str:
        """Make it."""
        arguments: dict[str, Any] = {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {}
        if props.get("displayName"):
            arguments["Attributes"] = {"DisplayName": props["displayName"]}
        answer = call.client("sns").create_topic(Name=unique_name(props, self.name_length), **arguments)
        call.made = str(answer["TopicArn"])
        return call.made

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The topic and its tags."""
        found = _attributes(call, resource_id)
        if found is None:
            return None
        tags = call.client("sns").list_tags_for_resource(ResourceArn=resource_id)["Tags"]
        return {
            "arn": resource_id,
            "name": resource_id.rpartition(":")[2],
            "displayName": found.get("DisplayName") or None,
            "owner": found["Owner"],
            "policy": found.get("Policy"),
            "fifoTopic": found.get("FifoTopic") == "true",
            "contentBasedDeduplication": found.get("ContentBasedDeduplication") == "true",
            "tagsAll": tag_map(tags),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Its name for people, and its tags."""
        api = call.client("sns")
        if "displayName" in changed:
            api.set_topic_attributes(
                TopicArn=resource_id, AttributeName="DisplayName", AttributeValue=new.get("displayName") or ""
            )
        removed, set_now = tag_changes(old, new)
        if removed:
            api.untag_resource(ResourceArn=resource_id, TagKeys=removed)
        if set_now:
            api.tag_resource(ResourceArn=resource_id, Tags=tag_list(set_now))

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it with its subscriptions."""
        forget_missing(lambda: call.client("sns").delete_topic(TopicArn=resource_id))


class TopicPolicy(Kind):
    """The policy of a topic (`aws_sns_topic_policy`)."""

    type_name = "aws:sns/topicPolicy:TopicPolicy"
    noun = "SNS Topic Policy"
    supported = frozenset({"arn", "policy", "region"})
    replace = frozenset({"arn"})
    computed = frozenset({"owner"})
    rules = Rules(json=frozenset({"policy"}))

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The policy."""
        yield from document_failures(props, "policy")

    def create(self, call: Call, props: Props) -> str:
        """Set it."""
        self._set(call, props["arn"], props["policy"])
        call.made = str(props["arn"])
        return call.made

    @staticmethod
    def _set(call: Call, arn: str, policy: str) -> None:
        call.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The policy of the topic; what a new topic has is none."""
        found = _attributes(call, resource_id)
        if found is None or not found.get("Policy") or json.loads(found["Policy"]).get("Id") == _DEFAULT_ID:
            return None
        return {"arn": resource_id, "owner": found["Owner"], "policy": found["Policy"]}

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Set it again."""
        self._set(call, resource_id, new["policy"])

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """As Terraform: the policy is what a new topic has (`topic_policy.go`)."""
        policy = {
            "Version": "2008-10-17",
            "Id": _DEFAULT_ID,
            "Statement": [
                {
                    "Sid": "__default_statement_ID",
                    "Effect": "Allow",
                    "Principal": {"AWS": "*"},
                    "Action": [f"SNS:{action}" for action in _DEFAULT_ACTIONS],
                    "Resource": resource_id,
                    "Condition": {"StringEquals": {"AWS:SourceOwner": call.account()}},
                }
            ],
        }
        forget_missing(lambda: self._set(call, resource_id, json.dumps(policy)))
