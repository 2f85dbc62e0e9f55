"""AWS Certificate Manager: when a certificate is issued, who uses it, and that one in use is not deleted.

Decides when a requested certificate counts as issued: when the record that proves each of its domains is in a public
hosted zone of Route 53. Moto issues it after a minute, whatever is there, tells a time of issue of one that is not
issued, notes users that have long gone, and deletes a certificate that a listener presents. Source: ACM user guide
("DNS validation"), API reference (CertificateDetail, DeleteCertificate).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.acm.exceptions import AWSError
from moto.acm.models import AWSCertificateManagerBackend, CertBundle

from localcloud.moto_state import backend

if TYPE_CHECKING:
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

_PENDING, _ISSUED = "PENDING_VALIDATION", "ISSUED"

_check, _describe = CertBundle.check, CertBundle.describe
_delete_certificate = AWSCertificateManagerBackend.delete_certificate


def patch(patches: Patches) -> None:
    """Make certificates strict."""
    patches.methods(CertBundle, check, describe)
    patches.methods(AWSCertificateManagerBackend, delete_certificate)


class InUse(AWSError):  # type: ignore[misc] # moto ships no types
    """A certificate that a load balancer uses."""

    TYPE = "ResourceInUseException"


def check(self: Moto) -> None:
    """AWS issues a certificate once it finds the records that prove its domains; moto after a minute."""
    pending = self.type == "AMAZON_ISSUED" and self.status == _PENDING
    _check(self)
    if pending and self.status in {_PENDING, _ISSUED}:
        self.status = _ISSUED if _proved(self) else _PENDING


def _proved(bundle: Moto) -> bool:
    told: dict[str, Any] = _describe(bundle)["Certificate"]
    wanted = {
        (record["Name"].lower(), record["Value"].rstrip(".").lower())
        for option in told.get("DomainValidationOptions", [])
        if (record := option.get("ResourceRecord"))
    }
    found = {
        (record.name.lower(), str(value).strip('"').rstrip(".").lower())
        for zone in backend("route53").zones.values()
        if not zone.private_zone
        for record in zone.rrsets
        if record.type == "CNAME"
        for value in record.records or []
    }
    return bool(wanted) and wanted <= found


def describe(self: Moto) -> dict[str, Any]:
    """AWS tells who uses it now, and when it was issued only once it is; moto keeps old users, and always tells."""
    told: dict[str, Any] = _describe(self)
    certificate = told["Certificate"]
    certificate["InUseBy"] = users(self.arn)
    if self.status != _ISSUED:
        certificate.pop("IssuedAt", None)
    return told


def delete_certificate(self: Moto, arn: str) -> None:
    """AWS keeps a certificate that something uses; moto deletes it."""
    if arn in self._certificates and users(arn):
        raise InUse(f"Certificate {arn} is in use.")
    _delete_certificate(self, arn)


def users(arn: str) -> list[str]:
    """The ARNs of the load balancers that use a certificate."""
    return [
        balancer.arn
        for balancer in backend("elbv2").load_balancers.values()
        if any(arn in listener.certificates for listener in balancer.listeners.values())
    ]
