"""Fleetswap for Pulumi programs: components, and thin dynamic providers that call `fleetswap`.

Import from its modules: `from fleetswap_pulumi.network import Network, NetworkArgs`.

Importing it tunes the garbage collector of the process, a program or the host of its dynamic providers. They live for
one update and keep nearly all that they make until its end, most of all the classes of the AWS SDKs: to look for
garbage among those took a third of the CPU time of an unchanged preview, half of it when the processes ended.
"""

import atexit
import gc

GARBAGE = 50_000
"""New objects after which the collector looks, some tens of MiB; Python's own threshold is 700."""

if 0 < gc.get_threshold()[0] < GARBAGE:
    gc.set_threshold(GARBAGE)
# What is frozen is not searched. All of it goes back to the kernel now.
atexit.register(gc.freeze)
