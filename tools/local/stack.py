"""The verbs of the Makefile on the stack `local`: up, rollback, preview, status, down.

It decides whether the stack's state still belongs to the account of the local cloud, and starts the real `pulumi`.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from fleetswap.domain.rollout.state import Phase
from tools.local.config import (
    SALT,
    checked_port,
    checked_version,
    committed_port,
    configuration,
    front_address,
    home_region,
    listener_port,
    needs_secret,
)
from tools.local.process import end_left_behind, environment, killed_holders, run, wait_for_guardian
from tools.local.seal import seal
from tools.local.work import PROJECT, STACK, LocalError, Work, heal_state, lock, read_json, write

PREVIEW_COLUMNS = 100
REJECTED = 5  # flows that `status` shows
UPDATE_COLUMNS = 150
"""Least width in which pulumi's table has room for what it says last: what changes, and what a rollout waits for."""


def rejection(flow: str) -> str:
    """A flow that the local cloud rejected, from a record in the format of VPC Flow Logs with the reason at its end."""
    fields = flow.split(" ", 14)
    source, target, port, reason = fields[3], fields[4], fields[6], fields[14]
    return f"{source} to {target}:{port}: {reason}"


def cloud_status(port: int) -> dict[str, Any] | None:
    """What the local cloud on `port` tells of itself; None where nothing, or something else, answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/_localcloud/status", timeout=30) as answer:
            status = json.load(answer)
    except (OSError, ValueError):
        return None
    return status if isinstance(status, dict) else None


def refuse_taken(region: str, port: int) -> None:
    """Refuse to begin if the fleet could not answer at its port of load balancer 1."""
    address = front_address(region)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise LocalError(
                f"port {port} of {address} is in use ({error.strerror}): stop what listens there, or set another"
                f" {PROJECT}:front.port in Pulumi.{STACK}.yaml"
            ) from None


def summary(outputs: Mapping[str, Any]) -> str:
    """What a person wants to know after an update: where it answers, what is live, what took how long, the way back."""
    if "seconds" not in outputs:
        return ""  # of an update that only makes the key of secrets
    seconds = outputs["seconds"]
    rollout = {str(phase): seconds["rollout"].get(phase, 0) for phase in Phase}  # Pulumi sorts outputs by name
    image = {
        "build": seconds["build"],
        "upload": seconds["upload"],
    }  # of an earlier update, if it went back to this one
    parts = (("its image", image), ("the last rollout", rollout))
    told = ((what, ", ".join(f"{name} {spent:g} s" for name, spent in took.items() if spent)) for what, took in parts)
    return (
        f"{served(outputs)}({'; '.join(f'{what}: {took}' for what, took in told if took)})\n{how_to_roll_back(outputs)}"
    )


def served(outputs: Mapping[str, Any]) -> str:
    """Where it answers, and what is live."""
    standby = f", standby {outputs['standby']}" if outputs.get("standby") else ""
    return f"{outputs['url']} is served by {outputs['live']}{standby}\n"


def how_to_roll_back(outputs: Mapping[str, Any]) -> str:
    """How to go back, if there is a release to go back to."""
    return f"`make rollback` rolls back to {outputs['standby']}\n" if outputs.get("standby") else ""


class Stack:
    """The stack `local`: the verbs of the Makefile."""

    def __init__(self, work: Work, base: Mapping[str, str]) -> None:
        self._work = work
        self._base = base
        self._profile = "deploy"
        self._version = checked_version(base.get("VERSION"))
        self._port = checked_port(base.get("PORT"))
        # Tests deploy other settings than the committed ones.
        settings = base.get("FLEETSWAP_SETTINGS") or work.root / f"Pulumi.{STACK}.yaml"
        self._committed = yaml.safe_load(Path(settings).read_text())
        self._region = home_region(self._committed)

    def up(self) -> int:
        """Deploy: the version that is given, else what the last successful update deployed."""
        with lock(self._work, "up"):
            port = self._ensure_cloud()
            chosen = read_json(self._work.chosen)
            if self._version:
                chosen = {"version": self._version}
            return self._make_secret(chosen, port) or self._update(chosen, port)

    def rollback(self) -> int:
        """Put the traffic back on the release before."""
        with lock(self._work, "rollback"):
            if not self._is_cloud_running() or not self._work.has_stack:
                raise LocalError("nothing to roll back to: nothing is deployed; run `make up`")
            self._heal()
            standby = self._outputs().get("standby")
            if not standby:
                raise LocalError("nothing to roll back to: there is no standby release; deploy another version first")
            chosen = read_json(self._work.chosen) | {"release": standby}
            return self._update(chosen, read_json(self._work.cloud_seen)["port"])

    def preview(self) -> int:
        """Show what `up` would do, and leave all as it is."""
        with lock(self._work, "preview"):
            port = self._ensure_cloud()
            chosen = {"version": self._version} if self._version else read_json(self._work.chosen)
            sealed = self._work.sealed if self._work.sealed.exists() else None
            if sealed is None and needs_secret(self._committed):
                sys.stderr.write("Nothing is sealed yet: this is a preview of the image without its secret.\n")
            self._write_config(self._work.preview_config, chosen, port, sealed)
            self._ensure_stack()
            self._profile = "preview"
            return self._pulumi(
                "preview", "--config-file", str(self._work.preview_config), *self._plainness(PREVIEW_COLUMNS)
            )

    def status(self) -> int:
        """Tell what runs, where it answers, and how to go back; status 1 if nothing does."""
        port = self._seen_port()
        cloud = None if port is None else cloud_status(port)
        if port is None or cloud is None:
            sys.stdout.write("The local cloud is not running: start it with `make up`.\n")
            return 1
        outputs = self._outputs() if self._work.has_stack else {}
        running = sum(instance["state"] == "running" for instance in cloud.get("instances", ()))
        machines = f"{running} machine{'' if running == 1 else 's'}"
        sys.stdout.write(
            f"The local cloud is running at http://127.0.0.1:{port} (pid {cloud['pid']}), with {machines}.\n"
        )
        for problem in cloud.get("problems", ()):
            sys.stdout.write(f"  problem: {problem}\n")
        for flow in cloud.get("network", {}).get("rejected", [])[-REJECTED:]:
            sys.stdout.write(f"  rejected: {rejection(flow)}\n")
        if not outputs.get("live"):
            sys.stdout.write("Nothing is deployed: run `make up`.\n")
            return 0
        sys.stdout.write(f"\n{served(outputs)}{how_to_roll_back(outputs)}\n")
        return self._show_service(port)

    def _show_service(self, port: int) -> int:
        """Who has the traffic, as AWS tells it."""
        sys.stdout.flush()
        service = self._committed["config"][f"{PROJECT}:service"]
        show = [sys.executable, "-m", "fleetswap", "status", "--service", service]
        show += ["--endpoint-url", f"http://127.0.0.1:{port}"]
        return run(show, cwd=self._work.root, env=self._cloud_env())

    def down(self) -> int:
        """End every process and remove the account and the stack. A repeat changes nothing."""
        work = self._work
        with lock(work, "down"):
            if work.cloud.exists():
                stop = [sys.executable, "-m", "localcloud", "stop", "--dir", str(work.cloud)]
                status = run(stop, cwd=work.root, env=self._cloud_env())
                if status != 0:
                    return status
            end_left_behind(work)
            # The result links of Nix are what keeps the images in the store.
            folders = (work.cloud, work.state, work.preview_config.parent, work.folder / "nix", self._init_folder)
            for folder in (*folders, work.sealed.parent):
                shutil.rmtree(folder, ignore_errors=True)
            for file in (work.config, work.chosen, work.cloud_seen):
                file.unlink(missing_ok=True)
        return 0

    def _make_secret(self, chosen: dict[str, Any], port: int) -> int:
        """Seal a demo secret, unless there is one, with the key of the stack; if it has none, an update makes it first.

        Nobody ever sees the secret. Killed at any point, the next call does the rest. Status of pulumi.
        """
        if not needs_secret(self._committed) or self._work.sealed.exists():
            return 0
        self._ensure_stack()
        sealing = self._outputs().get("secrets")
        if sealing is None:
            sys.stderr.write(
                "Two updates: the first makes a KMS key, make seals a demo secret with it, the second deploys.\n"
            )
            made = self._deploy(chosen, port, is_sealed=False)
            if made != 0:
                return made
            sealing = self._outputs()["secrets"]
        seal(self._work, sealing, {"demo": token_hex(32)}, self._pulumi_env(), port)
        sys.stderr.write(f"Sealed a new demo secret: {self._work.sealed}\n")
        return 0

    def _update(self, chosen: dict[str, Any], port: int) -> int:
        """Run `pulumi up` with what was chosen, and remember that only when it went well."""
        status = self._deploy(chosen, port)
        if status == 0:
            write(self._work.chosen, json.dumps(chosen))
            sys.stdout.write(summary(self._outputs()))
        elif wait_for_guardian(self._work):
            sys.stdout.write("\nThe rollout was killed, and its guardian restored the traffic:\n\n")
            self._show_service(port)
        return status

    def _deploy(self, chosen: dict[str, Any], port: int, *, is_sealed: bool = True) -> int:
        self._write_config(self._work.config, chosen, port, self._work.sealed, is_sealed=is_sealed)
        self._ensure_stack()
        self._unlock()
        config = str(self._work.config)
        # The outputs hold the whole ledger: what a person wants to know of them is told after it.
        quietly = ("--suppress-outputs", *self._plainness(UPDATE_COLUMNS))
        return self._pulumi("up", "--yes", "--skip-preview", "--config-file", config, *quietly)

    def _heal(self) -> None:
        if heal_state(self._work):
            sys.stderr.write("The state of the stack is truncated (was the disk full?): using the backup.\n")

    def _unlock(self) -> None:
        """Take away the lock of an update that was killed: no one else will, and no one else works on the stack now."""
        killed = killed_holders(self._work)
        if not killed:
            return
        pids = ", ".join(str(pid) for pid in killed)
        sys.stderr.write(f"The previous update was killed (pulumi, pid {pids}): releasing its lock.\n")
        if self._pulumi("cancel", "--yes", "--non-interactive") != 0:
            raise LocalError(f"pulumi could not release its lock on stack {STACK}: see above")

    def _write_config(
        self, path: Path, chosen: Mapping[str, Any], port: int, sealed: Path | None, *, is_sealed: bool = True
    ) -> None:
        config = configuration(self._committed, chosen, port=port, sealed=sealed, is_sealed=is_sealed)
        write(path, f"# Made by tools/local for each run.\n{yaml.safe_dump(config, sort_keys=False)}")

    @staticmethod
    def _is_plain(columns: int) -> bool:
        """Whether pulumi is to print lines: in a narrower terminal its table cuts off what goes on, and why."""
        return not sys.stdout.isatty() or shutil.get_terminal_size().columns < columns

    def _plainness(self, columns: int) -> list[str]:
        return ["--non-interactive", "--suppress-progress"] if self._is_plain(columns) else []

    def _seen_port(self) -> int | None:
        """The port of the cloud that the stack's state belongs to, if it still runs."""
        seen = read_json(self._work.cloud_seen)
        if not seen:
            return None
        status = cloud_status(seen["port"])
        return seen["port"] if status is not None and status.get("pid") == seen["pid"] else None

    def _is_cloud_running(self) -> bool:
        return self._seen_port() is not None

    def _ensure_cloud(self) -> int:
        """Start the local cloud if it does not run, and return its port. A new cloud starts with an empty stack."""
        seen = self._seen_port()
        if seen is not None:
            if self._port not in (None, seen):
                raise LocalError(f"the local cloud is running on port {seen}: run `make down` first, or leave out PORT")
            return seen
        port = self._port or committed_port(self._committed)
        refuse_taken(self._region, listener_port(self._committed))
        start = [sys.executable, "-m", "localcloud", "start", "--dir", str(self._work.cloud), "--port", str(port)]
        status = run(start, cwd=self._work.root, env=self._cloud_env())
        if status != 0:
            raise SystemExit(status)  # it has told why
        told = cloud_status(port)
        if told is None:
            raise LocalError(f"the local cloud does not answer on port {port}: see {self._work.cloud}/log")
        known = read_json(self._work.cloud_seen)
        if known and told.get("pid") == known["pid"]:
            return port  # it only answered too late when we first asked
        self._work.sealed.unlink(missing_ok=True)  # with a key of the account that is gone
        if self._work.state.exists():
            sys.stderr.write("The local cloud is new and its account empty: the stack starts empty too.\n")
            shutil.rmtree(self._work.state)
            chosen = read_json(self._work.chosen)
            chosen.pop("release", None)  # a release of the account that is gone
            write(self._work.chosen, json.dumps(chosen))
        # Last: killed before this, the next run finds the cloud unseen, and the stack is emptied all the same.
        write(self._work.cloud_seen, json.dumps({"port": port, "pid": told.get("pid")}))
        return port

    @property
    def _init_folder(self) -> Path:
        return self._work.folder / "stack"

    def _ensure_stack(self) -> None:
        """Make the stack if there is none.

        `stack init` writes the stack's settings beside Pulumi.yaml, whatever `--config-file` the others take; so it is
        given a folder of its own, and the committed file stays as it is.
        """
        if self._work.has_stack:
            self._heal()
            return
        self._work.state.mkdir(parents=True, exist_ok=True)
        write(self._init_folder / "Pulumi.yaml", f"name: {PROJECT}\nruntime: python\n")
        write(self._init_folder / f"Pulumi.{STACK}.yaml", f'encryptionsalt: "{SALT}"\n')
        init = ["pulumi", "stack", "init", STACK, "--non-interactive"]
        made = subprocess.run(
            init, cwd=self._init_folder, env=self._pulumi_env(), capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise LocalError(f"pulumi could not create stack {STACK}: {made.stderr.strip() or made.stdout.strip()}")

    def _outputs(self) -> dict[str, Any]:
        """The outputs of the stack."""
        command = ["pulumi", "stack", "output", "--json", "--stack", STACK, "--non-interactive"]
        answer = subprocess.run(
            command, cwd=self._work.root, env=self._pulumi_env(), capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise LocalError(f"pulumi could not read the outputs of stack {STACK}: {answer.stderr.strip()}")
        outputs: dict[str, Any] = json.loads(answer.stdout)
        return outputs

    def _pulumi(self, verb: str, *args: str) -> int:
        return run(["pulumi", *verb.split(), *args, "--stack", STACK], cwd=self._work.root, env=self._pulumi_env())

    def _cloud_env(self) -> dict[str, str]:
        return environment(self._work, self._base, engine=None, profile="rollback", region=self._region)

    def _pulumi_env(self) -> dict[str, str]:
        env = environment(self._work, self._base, engine=self._engine, profile=self._profile, region=self._region)
        # Pulumi's own name of the option, for its providers: what overwrites itself in a table is a line here.
        return env | {"PULUMI_OPTION_NON_INTERACTIVE": "true"} if self._is_plain(UPDATE_COLUMNS) else env

    @cached_property
    def _engine(self) -> Path:
        """The directory of `pulumi`, which the first to ask finds."""
        find = [str(self._work.root / "engine" / "find-or-build"), "--say"]
        found = subprocess.run(find, stdout=subprocess.PIPE, text=True, check=False)
        if found.returncode != 0:
            raise SystemExit(found.returncode)  # it has told why
        return Path(found.stdout.strip())
