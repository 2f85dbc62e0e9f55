"""KMS's wire, and its operations: JSON 1.1, with `X-Amz-Target: TrentService.OPERATION`.

Decides how a request that IAM let through is read and answered. `patch` gives moto's keys what moto does not know.
Source: botocore's model of KMS.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from moto.core.parse import PROTOCOL_PARSERS
from moto.core.utils import get_service_model
from moto.kms import models
from moto.kms.models import Key, KmsBackend
from moto.utilities.utils import get_partition

from localcloud import parameters
from localcloud.authorization import resources
from localcloud.authorization.asked import well_typed
from localcloud.authorization.gate import JUDGED
from localcloud.kms import aliases, cryptography, documents, grants, keys, material, regions, rotation, states, tags
from localcloud.kms.late import Changes, Late
from localcloud.kms.refusals import STATUS, Refused, unsupported
from localcloud.kms.request import Request
from localcloud.moto_state import LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from localcloud.faults.lateness import Lateness
    from localcloud.moto_state import Moto
    from localcloud.patches import Patches


def _list_keys(request: Request) -> dict[str, Any]:
    found = [{"KeyId": key.id, "KeyArn": key.arn} for key in keys.every(request.kms)]
    return request.page("Keys", found, 100, 1000)


def _list_tags(request: Request) -> dict[str, Any]:
    key = keys.checked(request, request.parameters["KeyId"])
    now: dict[str, str] = request.kms.tagger.get_tag_dict_for_resource(key.id)
    seen = key.changes.seen(keys.late(key), "tags", now)
    listed = [{"TagKey": name, "TagValue": value} for name, value in sorted(seen.items())]
    return request.page("Tags", listed, 50, 50)


def _tag(request: Request) -> dict[str, Any]:
    key, given = keys.own(request), request.parameters["Tags"]
    now: dict[str, str] = dict(request.kms.tagger.get_tag_dict_for_resource(key.id))
    tags.check(given, list(now))
    key.changes.note(keys.late(key), "tags", now)
    request.kms.tagger.tag_resource(key.id, given)
    return {}


def _untag(request: Request) -> dict[str, Any]:
    key = keys.own(request)
    key.changes.note(keys.late(key), "tags", dict(request.kms.tagger.get_tag_dict_for_resource(key.id)))
    request.kms.tagger.untag_resource_using_names(key.id, request.parameters["TagKeys"])
    return {}


_OPERATIONS: Final[dict[str, Callable[[Request], dict[str, Any]]]] = {
    "CancelKeyDeletion": keys.cancel_deletion,
    "CreateAlias": aliases.create,
    "CreateGrant": grants.create,
    "CreateKey": keys.create,
    "Decrypt": cryptography.decrypt,
    "DeleteAlias": aliases.delete,
    "DescribeKey": keys.describe,
    "DisableKey": keys.disable,
    "DisableKeyRotation": rotation.disable,
    "EnableKey": keys.enable,
    "EnableKeyRotation": rotation.enable,
    "Encrypt": cryptography.encrypt,
    "GenerateDataKey": cryptography.generate_data_key,
    "GenerateDataKeyWithoutPlaintext": cryptography.generate_data_key_without_plaintext,
    "GenerateRandom": cryptography.generate_random,
    "GetKeyPolicy": keys.get_policy,
    "GetKeyRotationStatus": rotation.status,
    "ListAliases": aliases.listed,
    "ListGrants": grants.listed,
    "ListKeyPolicies": keys.list_policies,
    "ListKeyRotations": rotation.listed,
    "ListKeys": _list_keys,
    "ListResourceTags": _list_tags,
    "ListRetirableGrants": grants.retirable,
    "PutKeyPolicy": keys.change_policy,
    "ReEncrypt": cryptography.re_encrypt,
    "ReplicateKey": regions.replicate,
    "RetireGrant": grants.retire,
    "RevokeGrant": grants.revoke,
    "RotateKeyOnDemand": rotation.on_demand,
    "ScheduleKeyDeletion": keys.schedule_deletion,
    "TagResource": _tag,
    "UntagResource": _untag,
    "UpdateAlias": aliases.update,
    "UpdateKeyDescription": keys.change_description,
    "UpdatePrimaryRegion": regions.change_primary,
}
_EMPTY: Final = frozenset(
    operation for operation in _OPERATIONS if get_service_model("kms").operation_model(operation).output_shape is None
)


class KmsApi:
    """The WSGI application of KMS. `moto` is moto's, for what it does alone."""

    def __init__(self, moto: WSGIApplication) -> None:
        self._moto = moto

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Never raises for what a client sent."""
        try:
            with LOCK:
                request = _read(environ)
                if request.operation in cryptography.OTHERS:
                    cryptography.check_other(request)
                    return list(self._moto(environ, start_response))
                operation = _OPERATIONS.get(request.operation)
                if operation is None:
                    raise unsupported(f"The local cloud's KMS has no {request.operation}.")
                told = operation(request)
        except Refused as refused:
            words = {"__type": refused.code} | ({"message": refused.message} if refused.message else {})
            return _answer(start_response, STATUS.get(refused.code, 400), json.dumps(words), refused.code)
        return _answer(start_response, 200, "" if request.operation in _EMPTY else json.dumps(_plain(told)))


def _read(environ: WSGIEnvironment) -> Request:
    """The request, checked against the service's model. Raises `Refused`."""
    caller, asked = environ[JUDGED]
    model = get_service_model("kms")
    if asked.operation not in model.operation_names:
        raise Refused("UnknownOperationException")
    shape = model.operation_model(asked.operation).input_shape
    try:
        sent = json.loads(asked.call.form or "{}")
        if not isinstance(sent, dict) or (shape is not None and not well_typed(shape, sent)):
            raise Refused("SerializationException")
        parser = PROTOCOL_PARSERS["json"](model.operation_model(asked.operation))
        given = parser.parse({"values": {}, "body": asked.call.form})
    except (ValueError, TypeError, AttributeError):
        raise Refused("SerializationException") from None
    if shape is not None:
        broken = next(parameters.problems("kms", shape, given), None)
        if broken is not None:
            raise Refused(broken.code, broken.message)
    return Request(asked.operation, given, caller, asked.account, asked.region, resources.moto(asked, "kms"))


def _plain(value: Any) -> Any:  # noqa: ANN401 - an answer
    """An answer as JSON has it: bytes in base64."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _answer(start_response: StartResponse, status: int, body: str, code: str = "") -> list[bytes]:
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", str(uuid.uuid4()))]
    if code:
        headers.append(("x-amzn-ErrorType", code))
    start_response(f"{status} {HTTPStatus(status).phrase}", headers)
    return [body.encode()]


_key_init = Key.__init__
_private_key = models.generate_private_key
_create_alias = KmsBackend.create_alias
_backend_init = KmsBackend.__init__


def patch(patches: Patches, lateness: Lateness, clock: Callable[[], float]) -> None:
    """Give moto's keys what they lack. `clock` gives seconds since the epoch."""
    late = Late(lateness, clock)
    patches.set(Key, "late", late)
    patches.set(KmsBackend, "late", late)
    patches.set(models, "generate_private_key", _no_needless_key)
    patches.set(Key, "__init__", _init)
    patches.methods(Key, policy_in_force, grants_in_force, state_in_force)
    patches.set(KmsBackend, "__init__", _with_changes)
    patches.methods(KmsBackend, create_alias, key_of, grant_of, alias_in_force)


def _no_needless_key(key_spec: str) -> Moto:
    """Moto makes an RSA key for every symmetric key, too, which takes a while."""
    return None if key_spec == "SYMMETRIC_DEFAULT" else _private_key(key_spec)


def _with_changes(self: Moto, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - moto's own
    _backend_init(self, *args, **kwargs)
    self.alias_changes = {}


def _init(self: Moto, policy: str | None, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - moto's own
    """A key with its material, its policy's principals, its lateness, and the id that AWS gives a multi-Region key."""
    _key_init(self, policy, *args, **kwargs)
    if self.multi_region:
        self.id = f"mrk-{secrets.token_hex(16)}"
    self.arn = f"arn:{get_partition(self.region)}:kms:{self.region}:{self.account_id}:key/{self.id}"
    self.policy = policy or documents.default(get_partition(self.region), self.account_id)
    self.creation_date = self.rotated_at = self.late.clock()
    self.changes = Changes(self.arn)
    self.materials, self.principals, self.ended = [material.Material.new()], {}, []
    self.primary, self.rotation_period, self.window, self.deleted_at, self.settled_at = True, 0, 30, None, 0.0


def policy_in_force(self: Moto) -> str:
    """The key policy that requests are judged by."""
    policy, ids = self.changes.in_force(self.late, "policy", (self.policy, self.principals))
    return documents.shown(policy, ids)


def grants_in_force(self: Moto, tokens: list[str]) -> list[dict[str, Any]]:
    """The grants that requests with these tokens are judged by."""
    return [
        {
            "id": one.id,
            "grantee": grants.person(one, "GranteePrincipal"),
            "service": one.by_service,
            "retiring": grants.person(one, "RetiringPrincipal"),
            "operations": one.operations,
            "constraints": one.constraints or {},
        }
        for one in grants.in_force(self, tokens)
    ]


def state_in_force(self: Moto) -> str:
    """The key state that cryptographic operations meet."""
    state: str = self.changes.in_force(self.late, "state", self.key_state)
    return state


def key_of(self: Moto, ciphertext: bytes) -> str:  # noqa: ARG001 - a method of the backend's
    """The id of the key that made a ciphertext; empty for what is none."""
    try:
        return material.key_of(ciphertext)
    except material.NotOurs:
        return ""


def alias_in_force(self: Moto, name: str) -> str | None:
    """The id of the key that an alias stands for now."""
    return keys.alias_target(self, name)


def grant_of(self: Moto, token: str) -> tuple[str, str]:
    """The ids of the key and the grant of a grant token; empty for an unknown one."""
    found = grants.with_token(self, token)
    return (found[0].id, found[1].id) if found is not None else ("", "")


def create_alias(self: Moto, target_key_id: str, alias_name: str) -> Moto:
    """An alias of AWS's makes the key one that AWS manages for a service; moto's is like any other."""
    made = _create_alias(self, target_key_id, alias_name)
    if alias_name.startswith("alias/aws/"):
        key, service = self.keys[self.get_key_id(target_key_id)], alias_name.rpartition("/")[2]
        key.key_manager, key.key_rotation_status = "AWS", True
        host = f"{'ec2' if service == 'ebs' else service}.{self.region_name}.amazonaws.com"
        key.policy = documents.of_aws(self.account_id, host)
        key.description = f"Default key that protects my {service.upper()} data when no other key is defined"
    return made


def tick(backends: Moto) -> None:
    """Do what is due in every region of an account. With `LOCK` held."""
    for kms in list(backends.values()):
        for key in keys.every(kms):
            regions.tick(key)
            rotation.tick(key)
            if key.key_state == states.PENDING and key.deleted_at is not None and key.deleted_at <= kms.late.clock():
                del kms.keys[key.id]  # with its aliases and its grants, which are in it
                kms.tagger.delete_all_tags_for_resource(key.id)
