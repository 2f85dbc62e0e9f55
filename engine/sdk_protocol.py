"""The messages of Pulumi's language protocol, taken from the installed SDK without loading the rest of the SDK.

The engine starts the language host twice for each `up`, and importing all of `pulumi` takes a second each time, of
which the host uses a tenth. This is only for the stand-in `language_host.py`. It leaves nothing behind in
`sys.modules` but the protocol's own modules, so that a later `import pulumi` gets the real thing.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_PARENTS = {"pulumi": "", "pulumi.runtime": "runtime", "pulumi.runtime.proto": "runtime/proto"}


def _place_parents() -> list[str]:
    """Put bare packages in place of those whose `__init__` is slow; return the names that must be taken away again."""
    if "pulumi" in sys.modules:
        return []
    spec = find_spec("pulumi")
    if spec is None or spec.origin is None:
        return []  # the import below says what is missing
    home = Path(spec.origin).parent
    for name, below in _PARENTS.items():
        package = ModuleType(name)
        package.__path__ = [str(home / below)]
        sys.modules[name] = package
    return list(_PARENTS)


_placed = _place_parents()
try:
    from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2
finally:
    for _name in _placed:
        del sys.modules[_name]

__all__ = ["language_pb2", "language_pb2_grpc", "plugin_pb2"]
