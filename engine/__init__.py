"""The Pulumi engine for machines that lack it, and stand-ins for the parts of its distribution that Python needs.

The official ones are in Go, and end at once. Python would search all classes of the AWS SDK for garbage first, while
the engine waits: frozen objects are not searched.
"""

import atexit
import gc

atexit.register(gc.freeze)
