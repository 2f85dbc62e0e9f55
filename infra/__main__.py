"""The Pulumi program: read the settings, deploy the stack, and tell an error in one line."""

import sys

import pulumi

from components.fleet import deploy
from fleetswap.domain.errors import FleetswapError
from infra import config

BAIL = 32
"""Exit status that says "what is wrong has been told" (pulumi-language-python, ErrorBail): no traceback, no echo."""

try:
    deploy(config.read())
except FleetswapError as error:
    pulumi.log.error(str(error))
    sys.exit(BAIL)
