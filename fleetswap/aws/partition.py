"""The partition of a region, from the data of the AWS SDK: no list of our own. Makes no call."""

from __future__ import annotations

import re
from functools import lru_cache

from botocore.loaders import Loader

from fleetswap.domain.partition import Partition


@lru_cache(maxsize=64)
def partition_of(region: str) -> Partition:
    """The partition of a region, by how its name is made. Of a name that the SDK does not know, AWS's own."""
    for each in Loader().load_data("partitions")["partitions"]:
        if re.match(each["regionRegex"], region):
            return Partition(each["id"], each["outputs"]["dnsSuffix"])
    return Partition()
