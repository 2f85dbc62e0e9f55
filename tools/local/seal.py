"""Seals the demo secret of the stack `local` with sops and the key of its account in the local cloud."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from tools.local.work import LocalError, Work, write


def seal(work: Work, sealing: Mapping[str, Any], secrets: Mapping[str, str], env: Mapping[str, str], port: int) -> None:
    """Write the sealed file. `sealing` is the output `secrets` of the stack, `env` has the keys of whoever deploys.

    The secrets are in memory and in a pipe alone. Raises LocalError with what sops says, which here is KMS's answer.
    """
    context = ",".join(f"{name}:{value}" for name, value in sealing["context"].items())
    command = ["sops", "encrypt", "--kms", sealing["key"], "--encryption-context", context]
    command += ["--filename-override", work.sealed.name, "/dev/stdin"]
    given = {**env, "AWS_ENDPOINT_URL_KMS": f"http://127.0.0.1:{port}"}
    done = subprocess.run(
        command, env=given, input=json.dumps(secrets), capture_output=True, text=True, check=False, cwd="/"
    )
    if done.returncode != 0:
        raise LocalError(
            f"sops could not seal the demo secret with key {sealing['key']}: {' '.join(done.stderr.split())}"
        )
    write(work.sealed, done.stdout)
