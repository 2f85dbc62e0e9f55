"""Stand-in for `pulumi-resource-aws`: `python -m engine.aws_plugin ENGINE_ADDRESS` serves it."""

import sys

from engine.aws_plugin.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
