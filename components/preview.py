"""The preview rule of a release: see `fleetswap_pulumi.preview`."""

from fleetswap_pulumi.preview import PreviewGuard, PreviewGuardProvider, PreviewRule, PreviewRuleProvider

__all__ = ["PreviewGuard", "PreviewGuardProvider", "PreviewRule", "PreviewRuleProvider"]
