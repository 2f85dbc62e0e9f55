"""EBS direct: the wire protocol, and the store of blocks behind it."""
