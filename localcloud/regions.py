"""The region that this process stands for, and what AWS has another of in each region.

Decides nothing. Sources: AWS General Reference, "Elastic Load Balancing endpoints and quotas" (hosted zones); user
guide for Application Load Balancers, "Enable access logs" (accounts; newer regions have none, and write as a service);
DescribeVpcEndpoints (hosted zones of the names of endpoints).
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple
from zlib import crc32

REGION: Final = os.environ.get("LOCALCLOUD_REGION", "us-east-1")
"""AWS has an endpoint a region."""


class Regional(NamedTuple):
    """What is another in each region. `logs` is the account that writes access logs."""

    balancers: str
    endpoints: str
    logs: str | None = None


KNOWN: Final = {
    "af-south-1": Regional("Z268VQBMOI5EKX", "Z09302161J80N9A7UTP7U", "098369216593"),
    "ap-east-1": Regional("Z3DQVH9N71FHZ0", "Z2LIHJ7PKBEMWN", "754344448648"),
    "ap-northeast-1": Regional("Z14GRHDCWA56QT", "Z2E726K9Y6RL4W", "582318560864"),
    "ap-northeast-2": Regional("ZWKZPGTI48KDX", "Z27UANNT0PRK1T", "600734575887"),
    "ap-northeast-3": Regional("Z5LXEXXYW11ES", "Z376B5OMM2JZL2", "383597477331"),
    "ap-south-1": Regional("ZP97RAFLXTNZK", "Z2KVTB3ZLFM7JR", "718504428378"),
    "ap-south-2": Regional("Z0173938T07WNTVAEPZN", "Z0952991RWSF5AHIQDIY"),
    "ap-southeast-1": Regional("Z1LMS91P8CMLE5", "Z18LLCSTV4NVNL", "114774131450"),
    "ap-southeast-2": Regional("Z1GM3OXH4ZPM65", "ZDK2GCRPAFKGO", "783225319266"),
    "ap-southeast-3": Regional("Z08888821HLRG5A9ZRTER", "Z03881013RZ9BYYZO8N5W", "589379963580"),
    "ap-southeast-4": Regional("Z09517862IB2WZLPXG76F", "Z07508191CO1RNBX3X3AU"),
    "ca-central-1": Regional("ZQSVJUPU6J1EY", "ZRCXCF510Y6P9", "985666609251"),
    "eu-central-1": Regional("Z215JYRZR1TBD5", "Z273ZU8SZ5RJPC", "054676820928"),
    "eu-central-2": Regional("Z06391101F2ZOEP8P5EB3", "Z045369019J4FUQ4S272E"),
    "eu-north-1": Regional("Z23TAZ6LKFMNIO", "Z3OWWK6JFDEDGC", "897822967062"),
    "eu-south-1": Regional("Z3ULH7SSC9OV64", "Z2A5FDNRLY7KZG", "635631232127"),
    "eu-south-2": Regional("Z0956581394HF5D5LXGAP", "Z014396544HENR57XQCJ"),
    "eu-west-1": Regional("Z32O12XQLNTSW2", "Z38GZ743OKFT7T", "156460612806"),
    "eu-west-2": Regional("ZHURV8PSTC4K8", "Z7K1066E3PUKB", "652711504416"),
    "eu-west-3": Regional("Z3Q77PNBQS71R4", "Z1DWHTMFP0WECP", "009996457667"),
    "me-central-1": Regional("Z08230872XQRWHG2XF6I", "Z07122992YCEUCB9A9570"),
    "me-south-1": Regional("ZS929ML54UICD", "Z3B95P3VBGEQGY", "076674570225"),
    "sa-east-1": Regional("Z2P70J7HTTTPLU", "Z2LXUWEVLCVZIB", "507241528517"),
    "us-east-1": Regional("Z35SXDOTRQ7X7K", "Z7HUB22UULQXV", "127311923021"),
    "us-east-2": Regional("Z3AADJGX6KTTL2", "ZC8PG0KIFKBRI", "033677994240"),
    "us-west-1": Regional("Z368ELLRRE2KJ0", "Z12I86A8N7VCZO", "027434742980"),
    "us-west-2": Regional("Z1H1FL5HABSF5", "Z1YSA3EXCYUU9Z", "797873946194"),
}


def addresses(region: str) -> str:
    """The first three numbers of the addresses of a region's load balancers: load balancer n has this and n.

    The local clouds of all regions share one loopback, so no two regions have the same. `tools.local.config` has the
    same arithmetic.
    """
    return f"127.66.{0 if region == 'us-east-1' else 1 + crc32(region.encode()) % 250}."
