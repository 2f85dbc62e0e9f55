"""Stand-in for `pulumi-resource-aws`: `python -m localcloud.plugin ENGINE_ADDRESS` serves it."""

import sys

from localcloud.plugin.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
