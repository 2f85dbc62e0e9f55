"""What each operation asks of IAM: its action and the types of its resources, service by service.

Decides nothing: data, from AWS's Service Authorization Reference (`test_actions.py` compares them). An operation is
named as its action unless `NAMES` says otherwise. The resources are a row of words:

- `subnet`: those that the request names in the type's own members (`resources.MEMBERS`);
- `subnet:SubnetIds`: those that it names there; a dot goes into a structure or into each member of a list;
- `+subnet`: one that the operation makes, whose id nobody knows yet: `subnet/*`;
- nothing: the action knows no resource, and is asked of `*`.

An operation that stands nowhere here is asked of `*`, and recorded as unlisted.
"""

from __future__ import annotations

from typing import Final


def _each(row: str, *operations: str) -> dict[str, str]:
    return {name: row for names in operations for name in names.split()}


EC2: Final = {
    "AllocateAddress": "+elastic-ip",
    "AssociateAddress": "elastic-ip instance network-interface",
    "AssociateRouteTable": "route-table subnet internet-gateway:GatewayId",
    "AssociateSubnetCidrBlock": "subnet",
    "AssociateVpcCidrBlock": "vpc",
    "AttachInternetGateway": "internet-gateway vpc",
    "AuthorizeSecurityGroupEgress": "security-group",
    "AuthorizeSecurityGroupIngress": "security-group",
    "CopyImage": "+image +snapshot",
    "CopySnapshot": "+snapshot snapshot:SourceSnapshotId",
    "CreateEgressOnlyInternetGateway": "+egress-only-internet-gateway vpc",
    "CreateImage": "+image instance +snapshot",
    "CreateInternetGateway": "+internet-gateway",
    "CreateKeyPair": "+key-pair",
    "CreateLaunchTemplate": "+launch-template",
    "CreateLaunchTemplateVersion": "launch-template",
    "CreateManagedPrefixList": "+prefix-list",
    "CreateNatGateway": "+natgateway elastic-ip:AllocationId,SecondaryAllocationIds subnet vpc",
    "CreateNetworkInterface": "+network-interface subnet security-group:Groups",
    "CreateRoute": "route-table",
    "CreateRouteTable": "+route-table vpc",
    "CreateSecurityGroup": "+security-group vpc",
    "CreateSnapshot": "+snapshot volume",
    "CreateSubnet": "+subnet vpc",
    "CreateTags": "any:Resources",
    "CreateVolume": "+volume snapshot",
    "CreateVpc": "+vpc",
    "CreateVpcEndpoint": "vpc +vpc-endpoint route-table:RouteTableIds security-group:SecurityGroupIds subnet:SubnetIds",
    "DeleteEgressOnlyInternetGateway": "egress-only-internet-gateway",
    "DeleteInternetGateway": "internet-gateway",
    "DeleteKeyPair": "key-pair",
    "DeleteLaunchTemplate": "launch-template",
    "DeleteLaunchTemplateVersions": "launch-template",
    "DeleteManagedPrefixList": "prefix-list",
    "DeleteNatGateway": "natgateway",
    "DeleteNetworkInterface": "network-interface",
    "DeleteRoute": "route-table",
    "DeleteRouteTable": "route-table",
    "DeleteSecurityGroup": "security-group",
    "DeleteSnapshot": "snapshot",
    "DeleteSubnet": "subnet",
    "DeleteTags": "any:Resources",
    "DeleteVolume": "volume",
    "DeleteVpc": "vpc",
    "DeleteVpcEndpoints": "vpc-endpoint",
    "DeregisterImage": "image",
    "DescribeImageAttribute": "image",
    "DescribeInstanceAttribute": "instance",
    "DescribeSnapshotAttribute": "snapshot",
    "DescribeVolumeAttribute": "volume",
    "DescribeVpcAttribute": "vpc",
    "DetachInternetGateway": "internet-gateway vpc",
    "DetachNetworkInterface": "instance network-interface",
    "DisableEbsEncryptionByDefault": "",
    "DisableImageDeprecation": "image",
    "DisableImageDeregistrationProtection": "image",
    "DisassociateAddress": "elastic-ip network-interface",
    "DisassociateRouteTable": "route-table subnet",
    "DisassociateSubnetCidrBlock": "subnet",
    "DisassociateVpcCidrBlock": "vpc",
    "EnableEbsEncryptionByDefault": "",
    "EnableImageDeprecation": "image",
    "EnableImageDeregistrationProtection": "image",
    "GetConsoleOutput": "instance",
    "GetEbsDefaultKmsKeyId": "",
    "GetEbsEncryptionByDefault": "",
    "GetInstanceTypesFromInstanceRequirements": "",
    "GetManagedPrefixListEntries": "prefix-list",
    "ImportKeyPair": "+key-pair",
    "ModifyEbsDefaultKmsKeyId": "",
    "ModifyImageAttribute": "image",
    "ModifyInstanceAttribute": "instance",
    "ModifyInstanceMetadataOptions": "instance",
    "ModifyLaunchTemplate": "launch-template",
    "ModifyManagedPrefixList": "prefix-list",
    "ModifyNetworkInterfaceAttribute": "network-interface security-group:Groups",
    "ModifySecurityGroupRules": "security-group security-group-rule",
    "ModifySnapshotAttribute": "snapshot",
    "ModifySubnetAttribute": "subnet",
    "ModifyVpcAttribute": "vpc",
    "ModifyVpcEndpoint": (
        "vpc-endpoint route-table:AddRouteTableIds,RemoveRouteTableIds"
        " security-group:AddSecurityGroupIds,RemoveSecurityGroupIds subnet:AddSubnetIds,RemoveSubnetIds"
    ),
    "RebootInstances": "instance",
    "RegisterImage": "+image snapshot:BlockDeviceMappings.Ebs.SnapshotId",
    "ReleaseAddress": "elastic-ip",
    "ReplaceRoute": "route-table",
    "ReplaceRouteTableAssociation": "route-table subnet",
    "ResetEbsDefaultKmsKeyId": "",
    "RevokeSecurityGroupEgress": "security-group",
    "RevokeSecurityGroupIngress": "security-group",
    "RunInstances": (
        "image +instance +network-interface +volume security-group:SecurityGroupIds,NetworkInterfaces.Groups"
        " subnet:SubnetId,NetworkInterfaces.SubnetId launch-template:LaunchTemplate.LaunchTemplateId key-pair:KeyName"
    ),
    "StartInstances": "instance",
    "StopInstances": "instance",
    "TerminateInstances": "instance",
    "UpdateSecurityGroupRuleDescriptionsEgress": "security-group",
    "UpdateSecurityGroupRuleDescriptionsIngress": "security-group",
}

ELASTIC_LOAD_BALANCING: Final = {
    "AddListenerCertificates": "listener",
    "AddTags": "any:ResourceArns",
    "CreateListener": "loadbalancer",
    "CreateLoadBalancer": "+loadbalancer",
    "CreateRule": "listener",
    "CreateTargetGroup": "+targetgroup",
    "DeleteListener": "listener",
    "DeleteLoadBalancer": "loadbalancer",
    "DeleteRule": "listener-rule",
    "DeleteTargetGroup": "targetgroup",
    "DeregisterTargets": "targetgroup",
    "ModifyListener": "listener",
    "ModifyListenerAttributes": "listener",
    "ModifyLoadBalancerAttributes": "loadbalancer",
    "ModifyRule": "listener-rule",
    "ModifyTargetGroup": "targetgroup",
    "ModifyTargetGroupAttributes": "targetgroup",
    "RegisterTargets": "targetgroup",
    "RemoveListenerCertificates": "listener",
    "RemoveTags": "any:ResourceArns",
    "SetIpAddressType": "loadbalancer",
    "SetRulePriorities": "listener-rule:RulePriorities.RuleArn",
    "SetSecurityGroups": "loadbalancer",
    "SetSubnets": "loadbalancer",
}

AUTO_SCALING: Final = {
    **_each(
        "autoScalingGroup",
        "AttachInstances AttachLoadBalancerTargetGroups AttachTrafficSources BatchDeleteScheduledAction",
        "BatchPutScheduledUpdateGroupAction CancelInstanceRefresh CompleteLifecycleAction DeleteAutoScalingGroup",
        "DeleteLifecycleHook DeletePolicy DeleteScheduledAction DetachInstances DetachLoadBalancerTargetGroups",
        "DetachTrafficSources DisableMetricsCollection EnableMetricsCollection EnterStandby ExecutePolicy ExitStandby",
        "PutLifecycleHook PutScalingPolicy PutScheduledUpdateGroupAction ResumeProcesses SetDesiredCapacity",
        "SetInstanceHealth SetInstanceProtection StartInstanceRefresh SuspendProcesses",
        "TerminateInstanceInAutoScalingGroup UpdateAutoScalingGroup",
    ),
    "CreateAutoScalingGroup": "autoScalingGroup",  # its name is known, and its id is a *
    "CreateOrUpdateTags": "autoScalingGroup:Tags.ResourceId",
    "DeleteTags": "autoScalingGroup:Tags.ResourceId",
}

IAM: Final = {
    **_each(
        "role",
        "AttachRolePolicy CreateRole DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy DetachRolePolicy",
        "GetRole GetRolePolicy ListAttachedRolePolicies ListInstanceProfilesForRole ListRolePolicies ListRoleTags",
        "PutRolePermissionsBoundary PutRolePolicy TagRole UntagRole UpdateAssumeRolePolicy UpdateRole",
        "UpdateRoleDescription",
    ),
    **_each(
        "instance-profile",
        "AddRoleToInstanceProfile CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile",
        "ListInstanceProfileTags RemoveRoleFromInstanceProfile TagInstanceProfile UntagInstanceProfile",
    ),
    **_each(
        "user",
        "AttachUserPolicy CreateAccessKey CreateUser DeleteAccessKey DeleteUser DeleteUserPolicy DetachUserPolicy",
        "GetUser GetUserPolicy ListAccessKeys ListAttachedUserPolicies ListGroupsForUser ListUserPolicies",
        "ListUserTags PutUserPermissionsBoundary PutUserPolicy TagUser UntagUser UpdateAccessKey UpdateUser",
    ),
    **_each(
        "policy",
        "CreatePolicy CreatePolicyVersion DeletePolicy DeletePolicyVersion GetPolicy GetPolicyVersion",
        "ListEntitiesForPolicy ListPolicyTags ListPolicyVersions SetDefaultPolicyVersion TagPolicy UntagPolicy",
    ),
    "CreateServiceLinkedRole": "+service-linked-role",
    "DeleteServiceLinkedRole": "role",
    "ListAccountAliases": "",
    "ListInstanceProfiles": "",
    "ListPolicies": "",
    "ListRoles": "",
    "ListUsers": "",
    "SimulatePrincipalPolicy": "any:PolicySourceArn",
}

KMS: Final = {
    **_each(
        "key",
        "CancelKeyDeletion CreateGrant Decrypt DeriveSharedSecret DescribeKey DisableKey DisableKeyRotation EnableKey",
        "EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext",
        "GenerateDataKeyWithoutPlaintext GenerateMac GetKeyPolicy GetKeyRotationStatus GetPublicKey ListGrants",
        "ListKeyPolicies ListKeyRotations ListResourceTags PutKeyPolicy ReplicateKey RetireGrant RevokeGrant",
        "RotateKeyOnDemand ScheduleKeyDeletion Sign TagResource UntagResource UpdateKeyDescription",
        "UpdatePrimaryRegion Verify VerifyMac",
    ),
    "CreateAlias": "alias key:TargetKeyId",
    "CreateKey": "",
    "DeleteAlias": "alias key:AliasName",
    "GenerateRandom": "",
    "ListAliases": "",
    "ListKeys": "",
    "ListRetirableGrants": "",
    "ReEncrypt": "",  # two actions: see `keys`
    "UpdateAlias": "alias key:AliasName,TargetKeyId",
}

SCHEDULER: Final = {
    "CreateSchedule": "schedule",
    "CreateScheduleGroup": "schedule-group",
    "DeleteSchedule": "schedule",
    "DeleteScheduleGroup": "schedule-group",
    "GetSchedule": "schedule",
    "GetScheduleGroup": "schedule-group",
    "ListScheduleGroups": "",
    "ListSchedules": "",
    "ListTagsForResource": "any:ResourceArn",
    "TagResource": "any:ResourceArn",
    "UntagResource": "any:ResourceArn",
    "UpdateSchedule": "schedule",
}

SNS: Final = {
    **_each(
        "topic",
        "AddPermission DeleteTopic GetDataProtectionPolicy GetTopicAttributes ListSubscriptionsByTopic Publish",
        "PublishBatch RemovePermission SetTopicAttributes Subscribe",
    ),
    "CreateTopic": "+topic",
    "GetSubscriptionAttributes": "",
    "ListSubscriptions": "",
    "ListTagsForResource": "any:ResourceArn",
    "ListTopics": "",
    "TagResource": "any:ResourceArn",
    "Unsubscribe": "",
    "UntagResource": "any:ResourceArn",
}

S3: Final = {
    **_each(
        "bucket",
        "CreateBucket DeleteBucket DeleteBucketEncryption DeleteBucketLifecycle DeleteBucketPolicy",
        "DeleteBucketTagging DeletePublicAccessBlock GetBucketAccelerateConfiguration GetBucketAcl GetBucketCors",
        "GetBucketEncryption GetBucketLifecycleConfiguration GetBucketLocation GetBucketLogging",
        "GetBucketNotificationConfiguration GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus",
        "GetBucketReplication GetBucketRequestPayment GetBucketTagging GetBucketVersioning GetBucketWebsite",
        "GetObjectLockConfiguration GetPublicAccessBlock HeadBucket ListMultipartUploads ListObjectVersions",
        "ListObjects ListObjectsV2 PutBucketAcl PutBucketEncryption PutBucketLifecycleConfiguration",
        "PutBucketOwnershipControls PutBucketPolicy PutBucketTagging PutBucketVersioning PutPublicAccessBlock",
    ),
    **_each(
        "object",
        "AbortMultipartUpload CompleteMultipartUpload CreateMultipartUpload DeleteObject DeleteObjects GetObject",
        "GetObjectAttributes GetObjectTagging HeadObject ListParts PutObject PutObjectTagging UploadPart",
    ),
    "ListBuckets": "",
}

ROUTE_53: Final = {
    "ChangeResourceRecordSets": "hostedzone",
    "ChangeTagsForResource": "hostedzone:ResourceId",
    "CreateHostedZone": "",
    "DeleteHostedZone": "hostedzone",
    "GetChange": "change",
    "GetHostedZone": "hostedzone",
    "ListHostedZones": "",
    "ListHostedZonesByName": "",
    "ListResourceRecordSets": "hostedzone",
    "ListTagsForResource": "hostedzone:ResourceId",
    "UpdateHostedZoneComment": "hostedzone",
}

ACM: Final = {
    **_each(
        "certificate",
        "AddTagsToCertificate DeleteCertificate DescribeCertificate ExportCertificate GetCertificate",
        "ListTagsForCertificate RemoveTagsFromCertificate RenewCertificate UpdateCertificateOptions",
    ),
    "ImportCertificate": "certificate",
    "ListCertificates": "",
    "RequestCertificate": "",
}

WAF: Final = {
    "AssociateWebACL": "any:WebACLArn,ResourceArn",
    "CreateWebACL": "+webacl",
    "DeleteWebACL": "webacl",
    "DisassociateWebACL": "any:ResourceArn",
    "GetWebACL": "webacl",
    "GetWebACLForResource": "any:ResourceArn",
    "ListTagsForResource": "any:ResourceARN",
    "ListWebACLs": "",
    "UpdateWebACL": "webacl",
}

CLOUDWATCH: Final = {
    "DeleteAlarms": "alarm:AlarmNames",
    "DeleteDashboards": "dashboard:DashboardNames",
    "DescribeAlarms": "alarm:AlarmNames",
    "DescribeAlarmsForMetric": "",
    "GetDashboard": "dashboard:DashboardName",
    "GetMetricData": "",
    "GetMetricStatistics": "",
    "ListMetrics": "",
    "ListTagsForResource": "any:ResourceARN",
    "PutCompositeAlarm": "alarm:AlarmName",
    "PutDashboard": "dashboard:DashboardName",
    "PutMetricAlarm": "alarm:AlarmName",
    "PutMetricData": "",
    "SetAlarmState": "alarm:AlarmName",
    "TagResource": "any:ResourceARN",
    "UntagResource": "any:ResourceARN",
}

EVENTS: Final = {
    "DeleteRule": "rule-on-default-event-bus:Name",
    "DescribeRule": "rule-on-default-event-bus:Name",
    "DisableRule": "rule-on-default-event-bus:Name",
    "EnableRule": "rule-on-default-event-bus:Name",
    "ListRules": "",
    "ListTagsForResource": "any:ResourceARN",
    "ListTargetsByRule": "rule-on-default-event-bus:Rule",
    "PutRule": "rule-on-default-event-bus:Name",
    "PutTargets": "rule-on-default-event-bus:Rule",
    "RemoveTargets": "rule-on-default-event-bus:Rule",
    "TagResource": "any:ResourceARN",
    "UntagResource": "any:ResourceARN",
}

EBS: Final = {
    "CompleteSnapshot": "snapshot",
    "GetSnapshotBlock": "snapshot",
    "ListChangedBlocks": "snapshot:SecondSnapshotId",
    "ListSnapshotBlocks": "snapshot",
    "PutSnapshotBlock": "snapshot",
    "StartSnapshot": "+snapshot",
}

STS: Final = {
    "AssumeRole": "role:RoleArn",
    "AssumeRoleWithSAML": "role:RoleArn",
    "AssumeRoleWithWebIdentity": "role:RoleArn",
    "DecodeAuthorizationMessage": "",
    "GetAccessKeyInfo": "",
    "GetCallerIdentity": "",
    "GetSessionToken": "",
}

TABLE: Final[dict[str, dict[str, str]]] = {
    "acm": ACM,
    "autoscaling": AUTO_SCALING,
    "cloudwatch": CLOUDWATCH,
    "ebs": EBS,
    "ec2": EC2,
    "elbv2": ELASTIC_LOAD_BALANCING,
    "events": EVENTS,
    "iam": IAM,
    "kms": KMS,
    "route53": ROUTE_53,
    "s3": S3,
    "scheduler": SCHEDULER,
    "service-quotas": {"GetServiceQuota": "quota:QuotaCode"},
    "sns": SNS,
    "sts": STS,
    "wafv2": WAF,
}
"""By botocore's name of the service."""

LISTED_BY: Final = {"ec2": "Describe", "elbv2": "Describe", "autoscaling": "Describe"}
"""Where an operation that begins so, and has no row, knows no resource."""

PREFIXES: Final = {"elbv2": "elasticloadbalancing", "service-quotas": "servicequotas"}
"""How IAM calls a service, where it is not as botocore does."""

NAMES: Final = {
    "s3": {
        "CompleteMultipartUpload": "PutObject",
        "CreateMultipartUpload": "PutObject",
        "DeleteBucketEncryption": "PutEncryptionConfiguration",
        "DeleteBucketLifecycle": "PutLifecycleConfiguration",
        "DeleteBucketTagging": "PutBucketTagging",
        "DeleteObjects": "DeleteObject",
        "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
        "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
        "GetBucketCors": "GetBucketCORS",
        "GetBucketEncryption": "GetEncryptionConfiguration",
        "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
        "GetBucketNotificationConfiguration": "GetBucketNotification",
        "GetBucketReplication": "GetReplicationConfiguration",
        "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
        "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
        "HeadBucket": "ListBucket",
        "HeadObject": "GetObject",
        "ListBuckets": "ListAllMyBuckets",
        "ListMultipartUploads": "ListBucketMultipartUploads",
        "ListObjectVersions": "ListBucketVersions",
        "ListObjects": "ListBucket",
        "ListObjectsV2": "ListBucket",
        "ListParts": "ListMultipartUploadParts",
        "PutBucketEncryption": "PutEncryptionConfiguration",
        "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
        "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
        "UploadPart": "PutObject",
    },
    "sns": {"PublishBatch": "Publish"},
}
"""Operations whose action has another name."""

FREE: Final = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
"""What needs no permission, and no policy can deny (STS API reference)."""


_KNOW_A_RESOURCE: Final = frozenset(
    {
        "DescribeCapacityBlockExtensionOfferings",
        "DescribeCapacityReservationDateChangeQuotes",
        "DescribeClientVpnAuthorizationRules",
        "DescribeClientVpnConnections",
        "DescribeClientVpnRoutes",
        "DescribeClientVpnTargetNetworks",
        "DescribeFleetHistory",
        "DescribeFleetInstances",
        "DescribeFpgaImageAttribute",
        "DescribeSecurityGroupReferences",
        "DescribeSpotFleetInstances",
        "DescribeSpotFleetRequestHistory",
        "DescribeVpcEndpointServicePermissions",
    }
)
"""Of EC2's: they have no row, because nobody here has a use for them."""


def listed(service: str, operation: str) -> str | None:
    """The resources of an operation, as a row of words; None if it is not listed."""
    found = TABLE.get(service, {}).get(operation)
    if found is None and operation.startswith(LISTED_BY.get(service, "\0")) and operation not in _KNOW_A_RESOURCE:
        return ""
    return found


def action(service: str, operation: str) -> str:
    """The IAM action of an operation."""
    name = NAMES.get(service, {}).get(operation, operation)
    return f"{PREFIXES.get(service, service)}:{name}"
