"""What no resource of a stack may be: the policies that the program and the policy pack share.

They judge what is declared, whoever declares it: the components of Fleetswap, or the program of a user that adds
resources of its own. What is not yet known (an output of a resource that does not exist) is judged when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetswap.domain import tags


class Unknown:
    """A value that only the update will know."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = Unknown()

ANYWHERE = ("0.0.0.0/0", "::/0")

IDENTITIES = ("/", "sha256:")
"""What the identity of an image begins with: its path in the store, wherever that is, or the digest of a file."""

NETWORK = "fleetswap:components:Network"
"""The component whose security groups are the front's and the machines'."""


@dataclass(frozen=True)
class Declared:
    """A resource as it is declared. `inputs` have Pulumi's names, `httpTokens`, at every depth.

    `parents` are the types of the components around it, the outermost first. `refers` are the resources that an input
    is an output of, as far as that can be told.
    """

    type: str
    name: str
    inputs: Mapping[str, object]
    parents: tuple[str, ...] = ()
    refers: Mapping[str, tuple[Declared, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Policy:
    """`description` says what is wanted. `check` yields what is wrong with one resource.

    `needs_others`: it looks at what the resource refers to, which a policy pack knows of a whole stack only.
    """

    description: str
    check: Callable[[Declared], Iterator[str]]
    needs_others: bool = False


def violations(resource: Declared) -> tuple[str, ...]:
    """What is wrong with the resource: one sentence each, with the name of the policy."""
    return tuple(
        f"{resource.name} ({resource.type}): {wrong} (policy {name})"
        for name, policy in POLICIES.items()
        for wrong in policy.check(resource)
    )


TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
CONFIGURATION = "aws:ec2/launchConfiguration:LaunchConfiguration"
INSTANCES = ("aws:ec2/instance:Instance", "aws:ec2/spotInstanceRequest:SpotInstanceRequest")
AMI = "aws:ec2/ami:Ami"
COPIED_AMIS = ("aws:ec2/amiCopy:AmiCopy", "aws:ec2/amiFromInstance:AmiFromInstance")
VOLUMES = ("aws:ebs/volume:Volume", "aws:ebs/snapshotCopy:SnapshotCopy", "aws:ec2/amiCopy:AmiCopy")
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INLINE_GROUPS = (GROUP, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
OLD_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"


def _imdsv2(resource: Declared) -> Iterator[str]:
    if resource.type not in (TEMPLATE, CONFIGURATION, *INSTANCES):
        return
    options = resource.inputs.get("metadataOptions")
    if options is UNKNOWN or (options is None and resource.inputs.get("launchTemplate") is not None):
        return
    options = options if isinstance(options, Mapping) else {}
    if options.get("httpEndpoint") == "disabled" or options.get("httpTokens") is UNKNOWN:
        return
    # Without a word the account's default decides, which is IMDSv1 as well unless somebody changed it (EC2 user guide,
    # "Configure the Instance Metadata Service options").
    if options.get("httpTokens") != "required":
        yield "its machines allow IMDSv1: set metadataOptions.httpTokens to `required`"


def _encrypted(resource: Declared) -> Iterator[str]:
    inputs = resource.inputs
    if resource.type in VOLUMES:
        yield from _is_encrypted(inputs.get("encrypted"), "it")
    elif resource.type == TEMPLATE:
        for mapping in _blocks(inputs.get("blockDeviceMappings")):
            ebs = mapping.get("ebs")
            if isinstance(ebs, Mapping):
                yield from _is_encrypted(ebs.get("encrypted"), f"the volume {mapping.get('deviceName', '')}".strip())
    elif resource.type in (CONFIGURATION, *INSTANCES):
        roots = _blocks(inputs.get("rootBlockDevice"))
        if not roots and inputs.get("rootBlockDevice") is not UNKNOWN and inputs.get("launchTemplate") is None:
            roots = ({},)
        for root in roots:
            yield from _is_encrypted(root.get("encrypted"), "the root volume")
        for block in _blocks(inputs.get("ebsBlockDevices")):
            yield from _is_encrypted(block.get("encrypted"), f"the volume {block.get('deviceName', '')}".strip())


def _is_encrypted(value: object, what: str) -> Iterator[str]:
    # A launch template has it as a string (aws_launch_template, "encrypted").
    if value is not UNKNOWN and value is not True and value != "true":
        yield f"{what} is not encrypted: set `encrypted`"


def _ingress(resource: Declared) -> Iterator[str]:
    inputs = resource.inputs
    if resource.type in INLINE_GROUPS:
        for rule in _blocks(inputs.get("ingress")):
            yield from _from_anywhere((*_list(rule.get("cidrBlocks")), *_list(rule.get("ipv6CidrBlocks"))))
        return
    if resource.type == OLD_RULE and inputs.get("type") == "ingress":
        sources = (*_list(inputs.get("cidrBlocks")), *_list(inputs.get("ipv6CidrBlocks")))
        source = "sourceSecurityGroupId"
    elif resource.type == INGRESS_RULE:
        sources = (inputs.get("cidrIpv4"), inputs.get("cidrIpv6"))
        source = "referencedSecurityGroupId"
    else:
        return
    groups = {_role(group) for group in resource.refers.get("securityGroupId", ())}
    if "front" in groups:
        return
    if "machines" in groups:
        from_front = {_role(group) for group in resource.refers.get(source, ())} == {"front"}
        # The groups of an existing load balancer are not resources of the stack; the network names them itself.
        from_balancer = NETWORK in resource.parents and inputs.get(source) is not None
        if not (from_front or from_balancer):
            yield "it lets others than the front reach the machines: only the load balancer's group may"
        return
    yield from _from_anywhere(sources)


def _from_anywhere(sources: Sequence[object]) -> Iterator[str]:
    for source in sources:
        if source in ANYWHERE:
            yield f"it lets {source} in: only the front may be open to anyone, name the networks that need it"


def _role(group: Declared) -> str | None:
    """What a security group is for, if it is one of the network's own."""
    if group.type != GROUP or NETWORK not in group.parents:
        return None
    return next((role for role in ("front", "machines") if group.name.endswith(f"-{role}")), None)


def _provenance(resource: Declared) -> Iterator[str]:
    if resource.type == AMI:
        said = resource.inputs.get("tags")
        if said is UNKNOWN:
            return
        said = said if isinstance(said, Mapping) else {}
        image = said.get(tags.IMAGE)
        if image is not UNKNOWN and not str(image or "").startswith(IDENTITIES):
            yield f"the AMI does not say which image it was made of: tag {tags.IMAGE} is a store path or a digest"
        if not said.get(tags.RELEASE):
            yield f"the AMI does not say which release it belongs to: tag {tags.RELEASE} is missing"
        return
    if resource.type in COPIED_AMIS:
        yield "what a copied AMI contains is not known: make it from an image"
        return
    if resource.type not in (TEMPLATE, CONFIGURATION, *INSTANCES):
        return
    key = "ami" if resource.type in INSTANCES else "imageId"
    image = resource.inputs.get(key)
    if image is None or image is UNKNOWN or any(each.type == AMI for each in resource.refers.get(key, ())):
        return
    yield f"what {image} contains is not known: launch an AMI that this stack makes from an image"


def _blocks(value: object) -> tuple[Mapping[str, object], ...]:
    """Blocks of a resource: there may be one, or a list."""
    return tuple(each for each in _list(value) if isinstance(each, Mapping))


def _list(value: object) -> tuple[object, ...]:
    if value is None or value is UNKNOWN:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (value,)


POLICIES: Mapping[str, Policy] = {
    "imdsv2-only": Policy("Machines allow IMDSv2 only.", _imdsv2),
    "encrypted-volumes": Policy("Volumes are encrypted.", _encrypted),
    "ingress-by-the-front": Policy(
        "Only the front is open to anyone, and only the front reaches the machines.", _ingress, needs_others=True
    ),
    "ami-provenance": Policy("Every AMI says which image it was made of.", _provenance, needs_others=True),
}
"""By the names that a policy pack reports."""
