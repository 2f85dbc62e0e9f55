"""How AWS says that a request is denied: its sentence, and where a service says something else.

Decides the code and the message; `calls` writes them in the protocol. Sources: IAM user guide, "Troubleshoot access
denied error messages"; words of Auto Scaling as users met them (terraform-aws-modules/terraform-aws-eks issue 822);
EBS direct API reference, AccessDeniedException; SNS API reference, Publish.
"""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from localcloud.authorization import checks
from localcloud.faults import calls

if TYPE_CHECKING:
    from localcloud.authorization.callers import Caller
    from localcloud.authorization.policies import Verdict

DRY_RUN: Final = calls.Refusal(412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
_NO_LINKED_ROLE: Final = (
    "The default Service-Linked Role for Auto Scaling could not be created."
    " com.amazonaws.services.identitymanagement.model.AmazonIdentityManagementException: {sentence}"
)


def denial(call: calls.Call, caller: Caller, check: checks.Check, verdict: Verdict) -> calls.Refusal:
    """What the service of a call answers when a check of it fails."""
    refused = calls.refusal(call, "access-denied")
    said = sentence(caller, check, verdict)
    if check.about == checks.LAUNCH:
        return replace(refused, message=f"You are not authorized to use launch template: {check.template}")
    if check.about == checks.LINKED and call.service == "autoscaling":
        return replace(refused, message=_NO_LINKED_ROLE.format(sentence=said))
    if check.about == checks.KEY and call.service == "sns":
        return replace(refused, code="KMSAccessDenied", message=said)
    if check.about == checks.KEY and call.service == "ebs":
        return replace(refused, message=said, reason="DEPENDENCY_ACCESS_DENIED")
    if call.service == "ec2":
        return replace(
            refused, message=f"You are not authorized to perform this operation. {said}{_encoded(call, said)}"
        )
    return replace(refused, message=said)


def sentence(caller: Caller, check: checks.Check, verdict: Verdict) -> str:
    """AWS's own: who may not do what to what, and why."""
    question = check.question
    on = f" on resource: {question.resource}" if question.resource != "*" else ""
    return f"User: {caller.arn} is not authorized to perform: {question.action}{on} {verdict.why}"


def _encoded(call: calls.Call, said: str) -> str:
    """What EC2 adds to the denial of a change, for DecodeAuthorizationMessage."""
    if call.reads:
        return ""
    told = base64.urlsafe_b64encode(json.dumps({"allowed": False, "context": said}).encode()).decode()
    return f". Encoded authorization failure message: {told}"
