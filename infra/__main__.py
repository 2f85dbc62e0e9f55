"""The Pulumi program: reads the settings, deploys the stack, and shows an error as one line."""

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
