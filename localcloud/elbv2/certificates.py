"""Certificates of listeners as ELBv2 has them: which it takes, the default one and the others, and who uses them.

Decides which certificate is refused, and what a listener presents. ACM itself is `acm`'s.

Moto takes any certificate that exists, issued or not, and keeps the default certificate and the others in one list.
Sources: Elastic Load Balancing API reference (CreateListener, AddListenerCertificates), user guide for Application Load
Balancers ("SSL certificates", "Quotas").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from moto.acm.models import AWS_ROOT_CA
from moto.core import errors
from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import ELBv2Backend

from localcloud.moto_state import backend

if TYPE_CHECKING:
    from collections.abc import Iterable

    from localcloud.moto_state import Moto
    from localcloud.patches import Patches

UNSUPPORTED: Final = "UnsupportedCertificate"

MAX_CERTIFICATES: Final = 25
"""Of one load balancer, default certificates not counted (user guide, "Quotas"; can be raised there)."""


def patch(patches: Patches) -> None:
    """Make certificates strict."""
    # ELBv2 has a code that its own model does not name, and moto warns of any that it does not know.
    patches.set(errors, "COMMON_ERROR_CODES", [*errors.COMMON_ERROR_CODES, UNSUPPORTED])
    patches.methods(ELBv2Backend, add_listener_certificates, remove_listener_certificates)


def check(arn: str) -> None:
    """AWS takes a certificate of ACM only when it is issued, or one of IAM; moto any that exists."""
    if ":acm:" not in arn:
        if backend("iam").get_certificate_by_arn(arn) is None:
            raise _missing(arn)
        return
    found = backend("acm")._certificates.get(arn)
    if found is None:
        raise _missing(arn)
    found.check()
    if found.status != "ISSUED":
        raise ELBClientError(
            UNSUPPORTED,
            f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, and a supported"
            " key size.",
        )


def _missing(arn: str) -> ELBClientError:
    return ELBClientError("CertificateNotFound", f"Certificate ARN '{arn}' is not found")


def one(asked: list[dict[str, Any]]) -> str:
    """The only certificate of a request about a listener's default one."""
    if len(asked) != 1:
        raise ELBClientError("ValidationError", "You must specify exactly one certificate")
    if asked[0].get("IsDefault") is not None:
        raise ELBClientError("ValidationError", "You cannot specify the IsDefault parameter for a certificate")
    return str(asked[0]["CertificateArn"])


def add_listener_certificates(self: Moto, arn: str, certificates: list[dict[str, Any]]) -> list[str]:
    """AWS checks each certificate, adds one that is there already only once, and tells those that were asked for."""
    listener = self.describe_listeners(None, [arn])[0]
    _refuse_plain(listener)
    asked = [str(certificate["CertificateArn"]) for certificate in certificates]
    for certificate in asked:
        check(certificate)
    balancer = self.load_balancers[listener.load_balancer_arn]
    used = {other for each in balancer.listeners.values() for other in each.certificates[1:]}
    if len(used | set(asked)) > MAX_CERTIFICATES:
        raise ELBClientError(
            "TooManyCertificates", f"A load balancer has at most {MAX_CERTIFICATES} certificates besides default ones"
        )
    # The default certificate may be in the list as well: AWS keeps the two apart.
    listener.certificates += [one for one in dict.fromkeys(asked) if one not in listener.certificates[1:]]
    return asked


def remove_listener_certificates(self: Moto, arn: str, certificates: list[dict[str, Any]]) -> None:
    """AWS refuses to remove the default certificate; moto removes it."""
    listener = self.describe_listeners(None, [arn])[0]
    _refuse_plain(listener)
    asked = {str(certificate["CertificateArn"]) for certificate in certificates}
    default, others = listener.certificates[0], listener.certificates[1:]
    if default in asked - set(others):
        raise ELBClientError(
            "OperationNotPermitted",
            f"Default certificate '{default}' cannot be removed: replace it with ModifyListener",
        )
    listener.certificates = [default, *(other for other in others if other not in asked)]


def _refuse_plain(listener: Moto) -> None:
    if listener.protocol != "HTTPS":
        raise ELBClientError("ValidationError", f"Certificates cannot be specified for {listener.protocol} listeners")


def pems(arns: Iterable[str]) -> tuple[str, ...]:
    """The certificates as a server reads them: certificate, chain, key. Those that are gone are left out."""
    acm, iam = backend("acm"), backend("iam")
    found = []
    for arn in dict.fromkeys(arns):
        if ":acm:" in arn and (bundle := acm._certificates.get(arn)) is not None:
            chain = bundle.chain.replace(AWS_ROOT_CA, b"")  # moto's own addition
            found.append(b"\n".join(part.strip() for part in (bundle.cert, chain, bundle.key)).decode() + "\n")
        elif (stored := iam.get_certificate_by_arn(arn)) is not None:
            parts = (stored.cert_body, stored.cert_chain or "", stored.private_key)
            found.append("\n".join(part.strip() for part in parts) + "\n")
    return tuple(found)
