"""The Pulumi program: read the settings, deploy the stack, and tell an error in one line."""

import pulumi

from fleetswap.domain.errors import FleetswapError
from infra import settings, stack

try:
    stack.deploy(settings.read())
except FleetswapError as error:
    # Without a traceback: the message names the setting and the remedy.
    raise pulumi.RunError(str(error)) from None
