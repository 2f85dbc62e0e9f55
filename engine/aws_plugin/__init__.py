"""Stand-in for `pulumi-resource-aws`, the AWS plugin of Pulumi, used only where the official plugin is not installed.

It speaks the Pulumi provider protocol for the resource types that Fleetswap's program uses, learns their properties
from the installed `pulumi_aws`, refuses what that does not have, and does real API calls for the rest. It talks to a
local cloud on a loopback address only: it is no replacement for the official plugin against AWS, and refuses to be
one. The program is the same with either.

The protocol is served by the generated gRPC servicer and not by `pulumi.provider.experimental`, which runs every
request in one event loop (boto3 blocks), drops the old inputs and the auto-naming wishes of a request, cannot answer
DiffConfig, and turns an error into a traceback instead of one line.
"""

VERSION = "7.51.1"
"""The version that the stand-in reports: the `pulumi_aws` release it was written against."""
