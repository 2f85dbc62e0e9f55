"""The previews, and the comments that they make. `python -m tests.review.golden` writes the comments again."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from fleetswap.domain.review.comment import comment
from fleetswap.domain.review.drill import read as read_drill
from fleetswap.domain.review.preview import read

FOLDER = Path(__file__).parent
ACCOUNT = "123456789012"


def printed(name: str) -> dict[str, Any]:
    """What Pulumi printed."""
    found: dict[str, Any] = json.loads((FOLDER / "previews" / f"{name}.json").read_text())
    return found


def rollout(preview: dict[str, Any]) -> dict[str, Any]:
    """The step of the rollout, in the stack's own Region."""
    found: dict[str, Any] = next(each for each in preview["steps"] if each["urn"].endswith(":Rollout::web"))
    return found


def canary() -> dict[str, Any]:
    """The other image with a canary, in a second Region too, with warnings."""
    preview = printed("another-image")
    policy = rollout(preview)["newState"]["inputs"]["policy"]
    policy["strategy"]["steps"] = [
        {"weight": 5, "hold": 300, "min_requests": 200},
        {"weight": 50, "hold": 600, "min_requests": 0},
        {"weight": 100, "hold": 0, "min_requests": 0},
    ]
    policy |= {"convergence": 60, "deadline": 600}
    policy["strategy"]["bake"] = 900
    there = copy.deepcopy(rollout(preview))
    there["urn"] = there["urn"].replace("::pulumi-python", "::fleetswap:regions/eu-west-1:Region$pulumi-python")
    there["newState"]["inputs"]["region"] = "eu-west-1"
    preview["steps"].append(there)
    preview["changeSummary"] = {"same": 82, "create": 26, "update": 2}
    preview["diagnostics"].append({"message": "alarm `web-5xx` does not exist\n", "severity": "warning"})
    return preview


def asked(preview: dict[str, Any]) -> dict[str, Any]:
    """The same with pauses, and hooks at every moment."""
    for each in preview["steps"]:
        if each["urn"].endswith(":Rollout::web"):
            each["newState"]["inputs"]["policy"] |= {
                "pause": [
                    {"at": 0, "deadline": 14400, "otherwise": "abort"},
                    {"at": 100, "deadline": 3600, "otherwise": "continue"},
                ],
                "hooks": [
                    {"at": "before-traffic", "command": ["./scripts/smoke-test", "--secret"], "timeout": 300},
                    {"at": "after-step", "lambda": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:load", "timeout": 60},
                    {"at": "before-bake", "command": ["./warm-up"], "timeout": 60},
                    {"at": "end", "url": "https://hooks.example.com/secret", "token_env": "TOKEN", "timeout": 60},
                ],
            }
    return preview


def back() -> dict[str, Any]:
    """Back to a release that was live before, while the one that is live now has lost its target group."""
    preview = printed("another-image")
    step = rollout(preview)
    step["newState"]["inputs"] |= {"trusted": True, "standby": ""}
    urn = step["urn"].replace(
        "pulumi-python:dynamic/fleetswap:Rollout::web",
        f"fleetswap:components:Release$aws:lb/targetGroup:TargetGroup::{step['oldState']['outputs']['serving']}",
    )
    preview["steps"] = [step, {"op": "replace", "urn": urn, "diffReasons": ["port"]}, {"op": "delete", "urn": urn}]
    return preview


def of(stack: str, preview: dict[str, Any]) -> dict[str, Any]:
    """The same of another stack."""
    text = json.dumps(preview).replace("urn:pulumi:local:", f"urn:pulumi:{stack}:")
    found: dict[str, Any] = json.loads(text)
    return found


def drilled(checks: dict[str, tuple[str, str, str]]) -> str:
    """What a drill of the release that is live before `another-image` has printed."""
    ok = ("ok", "as it must be", "")
    names = ("rollout", "rule", "health", "preview", "group", "template", "ami", "snapshot", "keys", "network")
    found = {**dict.fromkeys(names, ok), **checks}
    swap = rollout(printed("another-image"))
    return json.dumps(
        {
            "service": "web",
            "stack": "fleetswap/local",
            "region": swap["newState"]["inputs"]["region"],
            "release": swap["oldState"]["outputs"]["serving"],
            "from": "the next release",
            "at": "2026-11-27T04:58:07+00:00",
            "proved": not checks,
            "seconds": 5.0,
            "warm": True,
            "checks": [
                {"check": name, "state": state, "detail": detail, "remedy": remedy}
                for name, (state, detail, remedy) in found.items()
            ],
        }
    )


BROKEN = {
    "keys": ("failed", f"KMS key arn:aws:kms:us-east-1:{ACCOUNT}:key/1 is Disabled", "enable it with `aws kms`"),
    "quota": ("unknown", "servicequotas:GetServiceQuota on ec2 L-1216C47A: access denied", ""),
}
DENIED = {"quota": BROKEN["quota"]}

DRILLS = {
    "drilled": [drilled({})],
    "drill-failed": [drilled(BROKEN)],
    "drill-unknown": [drilled(DENIED)],
}
"""The drills of comments."""

MADE = {
    "another-image": [printed("another-image")],
    "back": [back()],
    "asked": [asked(canary())],
    "asked-back": [asked(back())],
    "canary": [canary()],
    "drilled": [printed("another-image")],
    "drill-failed": [printed("another-image")],
    "drill-unknown": [printed("another-image")],
    "first": [printed("first")],
    "several-stacks": [printed("capacity"), of("staging", printed("unchanged")), of("prod", printed("invalid"))],
}
"""The comments, and the previews of each."""


def made(name: str) -> str:
    """The comment of these previews."""
    proofs = [read_drill(each, name) for each in DRILLS.get(name, ())]
    return comment([read(json.dumps(each), name) for each in MADE[name]], proofs)


if __name__ == "__main__":
    for each in MADE:
        (FOLDER / "comments" / f"{each}.md").write_text(made(each))
