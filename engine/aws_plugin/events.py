"""Rules of EventBridge and their targets, on the default event bus: facts and API calls of each type."""

# ruff: noqa: ARG002 - every kind has the full signature of the operations
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from botocore.exceptions import ClientError

from engine.aws_plugin.check import document_failures
from engine.aws_plugin.compare import Rules
from engine.aws_plugin.convert import tag_changes, tag_list, tag_map
from engine.aws_plugin.kind import Call, Kind, OperationError, forget_missing, gone, unique_name
from engine.aws_plugin.wire import Props


class EventRule(Kind):
    """A rule with a pattern of events (`aws_cloudwatch_event_rule`)."""

    type_name = "aws:cloudwatch/eventRule:EventRule"
    noun = "EventBridge Rule"
    supported = frozenset({"description", "eventPattern", "name", "namePrefix", "region", "state", "tags"})
    replace = frozenset({"name", "namePrefix"})
    defaults: ClassVar[Props] = {"eventBusName": "default", "forceDestroy": False, "state": "ENABLED"}
    computed = frozenset({"arn", "name", "namePrefix", "isEnabled"})
    rules = Rules(json=frozenset({"eventPattern"}))
    name_length = 64

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The pattern."""
        if not props.get("eventPattern"):
            yield "eventPattern", "the stand-in for the AWS plugin has no rules without it; the official plugin does"
        yield from document_failures(props, "eventPattern")

    def create(self, call: Call, props: Props) -> str:
        """Put it, with its tags."""
        name = unique_name(props, self.name_length)
        self._put(call, name, props, {"Tags": tag_list(props["tagsAll"])} if props.get("tagsAll") else {})
        call.made = name
        return name

    @staticmethod
    def _put(call: Call, name: str, props: Props, tags: dict[str, Any]) -> None:
        call.client("events").put_rule(
            Name=name,
            EventPattern=props["eventPattern"],
            State=props["state"],
            Description=props.get("description") or "",
            **tags,
        )

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The rule and its tags."""
        api = call.client("events")
        try:
            rule = api.describe_rule(Name=resource_id)
            tags = api.list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
        except ClientError as error:
            if gone(error):
                return None
            raise
        return {
            "name": rule["Name"],
            "arn": rule["Arn"],
            "description": rule.get("Description"),
            "eventBusName": rule.get("EventBusName") or "default",
            "eventPattern": rule.get("EventPattern"),
            "state": rule["State"],
            "isEnabled": rule["State"] == "ENABLED",
            "tagsAll": tag_map(tags),
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Put it again: PutRule ignores the tags of a rule that exists."""
        if changed - {"tags", "tagsAll"}:
            self._put(call, resource_id, new, {})
        api, arn = call.client("events"), old["arn"]
        removed, set_now = tag_changes(old, new)
        if removed:
            api.untag_resource(ResourceARN=arn, TagKeys=removed)
        if set_now:
            api.tag_resource(ResourceARN=arn, Tags=tag_list(set_now))

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Delete it; one that still has targets is refused, as in AWS."""
        forget_missing(lambda: call.client("events").delete_rule(Name=resource_id))


class EventTarget(Kind):
    """What a rule sends its events to (`aws_cloudwatch_event_target`)."""

    type_name = "aws:cloudwatch/eventTarget:EventTarget"
    noun = "EventBridge Target"
    supported = frozenset({"arn", "inputTransformer", "region", "rule", "targetId"})
    replace = frozenset({"rule", "targetId"})
    defaults: ClassVar[Props] = {"eventBusName": "default", "forceDestroy": False}
    computed = frozenset({"targetId"})

    def validate(self, props: Props) -> Iterator[tuple[str, str]]:
        """The ID."""
        if not props.get("targetId"):
            yield "targetId", "the stand-in for the AWS plugin makes no IDs of targets; the official plugin does"

    def create(self, call: Call, props: Props) -> str:
        """Put it."""
        self._put(call, props)
        call.made = f"{props['rule']}-{props['targetId']}"
        return call.made

    @staticmethod
    def _put(call: Call, props: Props) -> None:
        target: dict[str, Any] = {"Id": props["targetId"], "Arn": props["arn"]}
        if transformer := props.get("inputTransformer"):
            target["InputTransformer"] = {
                "InputPathsMap": transformer.get("inputPaths") or {},
                "InputTemplate": transformer["inputTemplate"],
            }
        answer = call.client("events").put_targets(Rule=props["rule"], Targets=[target])
        if answer.get("FailedEntryCount"):
            message = f"{props['targetId']}: {answer['FailedEntries'][0].get('ErrorMessage')}"
            raise OperationError(message)

    def read(self, call: Call, resource_id: str, known: Props) -> Props | None:
        """The target; an import id is `RULE/TARGET`."""
        rule, name = known.get("rule"), known.get("targetId")
        if not rule or not name:
            rule, _, name = resource_id.partition("/")
        try:
            targets = call.client("events").list_targets_by_rule(Rule=rule)["Targets"]
        except ClientError as error:
            if gone(error):
                return None
            raise
        found = next((target for target in targets if target["Id"] == name), None)
        if found is None:
            return None
        transformer = found.get("InputTransformer")
        return {
            "id": f"{rule}-{name}",
            "rule": rule,
            "targetId": name,
            "arn": found["Arn"],
            "eventBusName": "default",
            "inputTransformer": transformer
            and {
                "inputPaths": transformer.get("InputPathsMap") or {},
                "inputTemplate": transformer["InputTemplate"],
            },
        }

    def update(self, call: Call, resource_id: str, old: Props, new: Props, changed: frozenset[str]) -> None:
        """Put it again: PutTargets replaces the target with that ID."""
        self._put(call, new)

    def delete(self, call: Call, resource_id: str, known: Props) -> None:
        """Remove it; with its rule gone it is gone."""
        api = call.client("events")
        forget_missing(lambda: api.remove_targets(Rule=known["rule"], Ids=[known["targetId"]]))
