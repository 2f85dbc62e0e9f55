"""What machines take: launch templates, auto scaling groups, launches, roles, and the dead man's switch."""

from __future__ import annotations

from collections.abc import Iterator

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.permissions.statement import Conditions, Statement

LAUNCHED = ("instance", "network-interface", "volume")
"""What a launch makes; the launch template tags all three."""

CREATING = (
    "AllocateAddress",
    "CreateEgressOnlyInternetGateway",
    "CreateInternetGateway",
    "CreateLaunchTemplate",
    "CreateNatGateway",
    "CreateRouteTable",
    "CreateSecurityGroup",
    "CreateSubnet",
    "CreateVpc",
    "CreateVpcEndpoint",
    "RegisterImage",
)


def templates(scope: Scope) -> Iterator[Statement]:
    """Launch templates."""
    yield Statement(
        "MakeTemplates",
        "launch templates with the tags of the stack",
        ("ec2:CreateLaunchTemplate",),
        scope.ec2("launch-template"),
        scope.made,
    )
    yield Statement(
        "ChangeTemplates",
        "new versions, tags and deletion of the stack's launch templates",
        (
            "ec2:CreateLaunchTemplateVersion",
            "ec2:CreateTags",
            "ec2:DeleteLaunchTemplate",
            "ec2:DeleteTags",
            "ec2:ModifyLaunchTemplate",
        ),
        scope.ec2("launch-template"),
        scope.own,
    )


def tag_on_create(scope: Scope, *actions: str) -> Statement:
    """The tags in requests of EC2 that make something (EC2 user guide, "Grant permission to tag resources")."""
    made = tuple(name for name in CREATING if f"ec2:{name}" in actions)
    return Statement(
        "TagAsItIsMade",
        "tags in the request that makes a resource of EC2",
        ("ec2:CreateTags",),
        (f"arn:{scope.partition}:ec2:{scope.region}:{scope.account}:*/*", *scope.ec2("image")),
        {"StringEquals": {**scope.made["StringEquals"], "ec2:CreateAction": made}},
    )


def tag_anew(scope: Scope) -> Statement:
    """Tags of what AWS does not say is being made: snapshots of EBS direct, and what the AWS provider tags later."""
    return Statement(
        "TagSnapshotsAndRules",
        "tags of new snapshots and of new rules of security groups; never of what has another stack's tag",
        ("ec2:CreateTags",),
        scope.ec2("security-group-rule", "snapshot"),
        scope.made_anew,
    )


def groups(scope: Scope) -> Iterator[Statement]:
    """Auto scaling groups and what they launch."""
    yield Statement(
        "MakeGroups",
        "auto scaling groups with the tags of the stack",
        ("autoscaling:CreateAutoScalingGroup",),
        scope.groups,
        scope.made,
    )
    yield Statement(
        "ChangeGroups",
        "capacity, tags, scaling policies, scheduled scale-in, warm pools and deletion of the stack's groups",
        (
            "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteAutoScalingGroup",
            "autoscaling:DeletePolicy",
            "autoscaling:DeleteScheduledAction",
            "autoscaling:DeleteTags",
            "autoscaling:DeleteWarmPool",
            "autoscaling:PutScalingPolicy",
            "autoscaling:PutScheduledUpdateGroupAction",
            "autoscaling:PutWarmPool",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        scope.groups,
        scope.own,
    )


def launches(scope: Scope) -> Iterator[Statement]:
    """What AWS checks when a group with a launch template is made, or its launch template or instance types change.

    Auto Scaling user guide, "Control Amazon EC2 launch template usage in Auto Scaling groups".
    """
    yield Statement(
        "LaunchOwnImages",
        "launches from the stack's AMIs and launch templates, and no others",
        ("ec2:RunInstances",),
        scope.ec2("image", "launch-template"),
        scope.own,
    )
    (template,) = scope.ec2("launch-template")
    yield Statement(
        "LaunchMachines",
        "all else that a launch makes or uses, only with a launch template",
        ("ec2:RunInstances",),
        scope.ec2(*sorted((*LAUNCHED, "security-group", "subnet"))),
        {"ArnLike": {"ec2:LaunchTemplate": template}},
    )
    yield Statement(
        "TagMachinesAsTheyAreLaunched",
        "the tags of instances, volumes and network interfaces",
        ("ec2:CreateTags",),
        scope.ec2(*LAUNCHED),
        {"StringEquals": {**scope.made["StringEquals"], "ec2:CreateAction": "RunInstances"}},
    )


def linked_roles(scope: Scope) -> Statement:
    """The roles that AWS makes for itself."""
    services = ["autoscaling.amazonaws.com"]
    names = ["AWSServiceRoleForAutoScaling"]
    if scope.listener is None:
        services.append("elasticloadbalancing.amazonaws.com")
        names.append("AWSServiceRoleForElasticLoadBalancing")
    if scope.replica_regions:
        services.append("mrk.kms.amazonaws.com")
        names.append("AWSServiceRoleForKeyManagementServiceMultiRegionKeys")
    return Statement(
        "FirstUseInAccount",
        "service-linked roles; not needed once the account has them. That for Spot Instances is made by Auto Scaling",
        ("iam:CreateServiceLinkedRole",),
        tuple(scope.linked_role(service, name) for service, name in zip(services, names, strict=True)),
        {"StringEquals": {"iam:AWSServiceName": tuple(services)}},
    )


def roles(scope: Scope) -> Iterator[Statement]:
    """Roles of machines and of the dead man's switch. What gives a role rights can be bound to a boundary."""
    bound: Conditions = {"StringEquals": {"iam:PermissionsBoundary": scope.boundary}} if scope.boundary else {}
    but = f", only with {scope.boundary}" if scope.boundary else ""
    also = ("iam:PutRolePermissionsBoundary",) if scope.boundary else ()
    yield Statement("MakeRoles", f"new roles{but}", ("iam:CreateRole", *also), scope.roles(), bound)
    yield Statement(
        "ChangeRoles",
        "tags and deletion of roles, and instance profiles",
        (
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:DeleteRole",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:TagInstanceProfile",
            "iam:TagRole",
            "iam:UntagInstanceProfile",
            "iam:UntagRole",
        ),
        (*scope.roles(), *scope.profiles),
    )
    yield Statement(
        "AllowSwitch",
        f"the inline policy of the dead man's switch{' and of the machines that open secrets' * scope.secrets}{but}",
        ("iam:DeleteRolePolicy", "iam:PutRolePolicy"),
        (*scope.roles("switch-*"), *(scope.roles("machines-*") if scope.secrets else ())),
        bound,
    )
    if scope.machine_policies:
        yield Statement(
            "AllowMachines",
            "the managed policies of machines, those of the settings and no others; an older release may need its own",
            ("iam:AttachRolePolicy",),
            scope.roles(),
            {**bound, "ArnEquals": {"iam:PolicyARN": scope.machine_policies}},
        )
    yield Statement(
        "DetachPolicies",
        "the managed policies of a release that is deleted",
        ("iam:DetachRolePolicy",),
        scope.roles(),
    )


def switch(scope: Scope) -> Iterator[Statement]:
    """The dead man's switch."""
    yield Statement(
        "ArmSwitch",
        "the dead man's switch, which puts the traffic back if the deployer dies",
        ("scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:UpdateSchedule"),
        scope.schedules,
    )


def pass_roles(scope: Scope, *services: str) -> Statement:
    """Giving a role to a service: AWS checks it when a profile, a group or a schedule names one."""
    return Statement(
        "PassRoles",
        "the stack's roles, to the services that use them and no others",
        ("iam:PassRole",),
        scope.roles(),
        {"StringEquals": {"iam:PassedToService": services}},
    )


def disarm(scope: Scope) -> Statement:
    """A switch that would undo a rollback."""
    return Statement(
        "DisarmSwitch",
        "a dead man's switch that would undo the rollback",
        ("scheduler:DeleteSchedule",),
        scope.schedules,
    )


def hooks(scope: Scope) -> Iterator[Statement]:
    """The Lambda functions of hooks, these and no others."""
    if scope.functions:
        own = f"arn:{scope.partition}:lambda:{scope.region}:{scope.account}:function:"
        arns = tuple(each if each.startswith("arn:") else f"{own}{each}" for each in scope.functions)
        yield Statement("RunHooks", "the Lambda functions of hooks", ("lambda:InvokeFunction",), arns)


def alerts(scope: Scope) -> Iterator[Statement]:
    """The notice at the end of a rollout."""
    if scope.alerts is not None:
        yield Statement("Alert", "the notice at the end of a rollout", ("sns:Publish",), (scope.alerts,))
