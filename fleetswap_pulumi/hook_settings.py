"""Hooks and pauses of a rollout, as the settings have them and Pulumi's state keeps them.

No value of them is a secret: a token is named by the environment variable of the deployer that has it.
"""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator

from fleetswap.domain.hosts import is_loopback
from fleetswap.domain.rollout import moments
from fleetswap.domain.rollout.moments import Hook, Moment, Otherwise, Pause
from fleetswap_pulumi.checks import Strict, wrong
from fleetswap_pulumi.names import Deadline, EnvironmentVariable, FunctionName

LONGEST_HOOK = 900
"""Seconds; no Lambda function may run for longer (Lambda developer guide, quotas)."""


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{value!r} is not a URL: {error}") from error
    if not host or any(not each.isprintable() or each.isspace() for each in value):
        raise ValueError(f"{value!r} is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user or a password: name the variable with a token in token_env")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"{value!r} must begin with https://: http is only for this computer")
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f"{value!r} must begin with https://")
    return value


def _place(value: object) -> object:
    if value == Moment.BEFORE_TRAFFIC.value:
        return 0
    if isinstance(value, str) and not value.isdigit():
        raise ValueError(f"{value!r} is neither `before-traffic` nor the weight of a step")
    return value


class HookSettings(Strict):
    """One hook. It has exactly one of `command`, `url` and `lambda`."""

    at: Moment
    """`before-traffic`: the candidate is healthy, was probed, and is reached through its preview rule. `after-step`: a
    step was passed. `before-bake`: the candidate has all the traffic. `end`: the rollout is over, however it ended; a
    failure is only a warning there."""
    command: tuple[Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")], ...] | None = Field(
        default=None, min_length=1, max_length=100, examples=[["./smoke-test", "--fast"]]
    )
    """Program and arguments that the deployer runs, without a shell, in the folder of the Pulumi project."""
    url: Annotated[str, AfterValidator(_url), Field(max_length=2000)] | None = Field(
        default=None, examples=["https://hooks.example.com/deploys"]
    )
    """HTTPS URL that receives the document in a POST request. It is kept in Pulumi's state: put no secret in it."""
    token_env: EnvironmentVariable | None = Field(default=None, examples=["HOOK_TOKEN"])
    """Name of the deployer's environment variable with the bearer token for `url`."""
    function: FunctionName | None = Field(
        default=None,
        validation_alias=AliasChoices("lambda", "function"),
        serialization_alias="lambda",
        description="Name or ARN of a Lambda function, which is invoked with the document.",
        examples=["smoke-test"],
    )
    timeout: float = Field(default=Hook.timeout, gt=0, le=LONGEST_HOOK)
    """Time in seconds after which the hook is killed, and has failed."""

    @model_validator(mode="after")
    def _is_one(self) -> HookSettings:
        given = [
            name
            for name, value in (("command", self.command), ("url", self.url), ("lambda", self.function))
            if value is not None
        ]
        if len(given) != 1:
            has = f"has {' and '.join(given)}" if given else "has none of them"
            raise ValueError(f"must have exactly one of command, url and lambda, and {has}")
        if self.token_env is not None and self.url is None:
            raise wrong("token_env", "is only for a url")
        return self


class PauseSettings(Strict):
    """One place where the rollout waits for a person."""

    at: Annotated[
        int, BeforeValidator(_place, json_schema_input_type=Literal["before-traffic"] | int), Field(ge=0, le=100)
    ] = Field(examples=["before-traffic"])
    """`before-traffic`, or the weight of the step before which the rollout waits."""
    deadline: Deadline = Pause.deadline
    """Time in seconds to wait."""
    otherwise: Otherwise = Pause.otherwise
    """What happens at the deadline: `abort` or `continue`."""

    @property
    def pause(self) -> Pause:
        """The same for the domain."""
        return moments.Pause(self.at, self.deadline, self.otherwise)
