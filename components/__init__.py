"""The building blocks of this program: those of `fleetswap_pulumi`, under the names that `infra` imports.

A team that changes one wraps or replaces it here. States of version 0.1.0 name the providers in these modules (a
dynamic provider is stored in the state as a pickle), so they must remain importable from here. This package is not part
of the wheel: a program that uses the library imports `fleetswap_pulumi`, and may have `components` of its own. See
docs/decisions/0018-the-library.md.
"""
