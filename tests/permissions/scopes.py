"""Stacks of every kind, for tests of their policies."""

from __future__ import annotations

from fleetswap.domain.permissions.scope import Scope
from fleetswap.domain.share import Share

ACCOUNT, REGION = "111122223333", "eu-central-1"
LISTENER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/shared/50dc6c495c0c9188/f2f7dc8efc522ab2"

PLAIN = Scope(account=ACCOUNT, region=REGION, stack="fleetswap/prod", service="web")

EVERYTHING = Scope(
    account=ACCOUNT,
    region=REGION,
    stack="fleetswap/prod",
    service="web",
    path="/fleetswap/",
    boundary=f"arn:aws:iam::{ACCOUNT}:policy/boundary",
    machine_policies=("arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy",),
    trusted_stacks=("fleetswap/staging",),
    trusted_accounts=("444455556666",),
    share=Share(
        ("777788889999",),
        (f"arn:aws:organizations::{ACCOUNT}:organization/o-a1b2c3d4e5",),
        (f"arn:aws:organizations::{ACCOUNT}:ou/o-a1b2c3d4e5/ou-a1b2-c3d4e5f6",),
    ),
    nat=True,
    endpoints=True,
    ipv6=True,
    prefix_lists=("pl-1",),
    certificates=True,
    domain="shop.example.com",
    web_acl=f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/web/1",
    alerts=f"arn:aws:sns:{REGION}:{ACCOUNT}:deploys",
    functions=("check-orders", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:smoke"),
    alarms=True,
    watched=True,
    own_topic=True,
    dashboard="fleetswap-prod-web-eu-central-1",
    keys=(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1", f"arn:aws:kms:{REGION}:{ACCOUNT}:key/2"),
    volume_key=True,
    secrets=True,
    secrets_stack_key=True,
    replica_regions=("eu-west-1",),
)

GUEST = Scope(
    account=ACCOUNT,
    region=REGION,
    stack="fleetswap/prod",
    service="web",
    vpc="vpc-1",
    endpoints=True,
    ipv6=True,
    listener=LISTENER,
    domain="shop.example.com",
    zone_id="Z1",
    secrets=True,
    secrets_key=f"arn:aws:kms:{REGION}:{ACCOUNT}:key/3",
)
"""In an existing VPC, behind an existing listener."""

SCOPES = {"plain": PLAIN, "everything": EVERYTHING, "guest": GUEST}
