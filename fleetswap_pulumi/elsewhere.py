"""Other places in AWS that a disk image is sent to together with the first one: other regions, other accounts.

Such a place has a disk image of its own, which depends on the first one and adopts what that has sent, or resumes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pulumi

from fleetswap.aws.image.block_writer import BlockPuts
from fleetswap.aws.image.ebs import DirectSnapshots
from fleetswap.domain import tags
from fleetswap.domain.access import Access
from fleetswap.domain.image.meter import Meter, Progress
from fleetswap.domain.release.ledger import Entry
from fleetswap.domain.secrets.sealing import STACK
from fleetswap.workflows.image.fan_out import Destination, Failed
from fleetswap.workflows.image.request import UploadRequest
from fleetswap.workflows.image.ship import Others
from fleetswap.workflows.image.upload import Uploaded
from fleetswap_pulumi.context import Context
from fleetswap_pulumi.image_settings import UploadSettings
from fleetswap_pulumi.reach import ReachInputs
from fleetswap_pulumi.speech import Speech

REMEDY = "the next pulumi up resumes it"
"""After the failure of a place that the image is sent to as well."""


class Also(ReachInputs):
    """Another place in AWS that the image is sent to as well, for the disk image there: what differs from the inputs of
    the first one. Its tags and its key are those of the disk image there, which adopts the snapshot.
    """

    stack: str
    tags: dict[str, str]
    lineage: str = ""
    shipping: UploadSettings = UploadSettings()
    kms_key: str | None = None


def elsewhere(
    name: str,
    context: Context,
    entry: Entry,
    upload: UploadSettings,
    kms_key: pulumi.Input[str] | None = None,
) -> dict[str, Any]:
    """The `also` of a disk image, for the place of another disk image of the same arguments (another `context`)."""
    place = Also(
        region=context.region,
        endpoint=context.endpoint,
        access=context.reach,
        stack=context.stack,
        tags=tags_of(name, context, entry),
        lineage=context.service,
        shipping=shipping_of(upload),
    )
    return {**place.model_dump(), "kms_key": kms_key}


def tags_of(name: str, context: Context, entry: Entry) -> dict[str, str]:
    """The tags of the snapshot of a release's image."""
    return {
        **context.tags(name, release=entry.release, image=entry.image.identity),
        **({tags.OWN_KEY: context.stack} if entry.image.kms_key == STACK else {}),
    }


def shipping_of(upload: UploadSettings) -> UploadSettings:
    """The settings of an upload as an input."""
    # The key may be that of another upload, and whom it is shared with is no part of it.
    return upload.model_copy(update={"kms_key": None, "share": None})


def others(
    home: str,
    places: Sequence[Also],
    request: Callable[[Also], UploadRequest],
    speech: Speech,
    status: Callable[[str], None],
) -> Others | None:
    """The other places than that in region `home`, as destinations, to which `request` is the upload request.

    What fails there is a warning: the disk image there tries again.
    """
    if not places:
        return None
    meters: dict[str, Meter] = {}

    def progress(now: Mapping[str, Progress]) -> None:
        told = (f"{name} {meters.setdefault(name, Meter('puts')).short(each)}" for name, each in now.items())
        status(f"uploading {'; '.join(told)}")

    def ended(name: str, outcome: Uploaded | Failed) -> None:
        if isinstance(outcome, Failed) and name != home:
            speech.warn(f"{name}: the image is not there yet: {outcome}: {REMEDY}")

    destinations = []
    for place in places:
        name = _name(place, home, places)
        try:
            cloud = place.admitted()
            ebs, ec2 = cloud.ebs_and_ec2(place.shipping.connections)
            ports = DirectSnapshots(ebs, ec2), BlockPuts.of(cloud, ebs)
            wanted = request(place)
        except Exception as error:  # noqa: BLE001 (whatever it is, it must not keep the image from the first place)
            ended(name, Failed(error))
        else:
            destinations.append(Destination(name, wanted, *ports, place.shipping.connections))
    return Others(destinations, home, ended, progress, wait=False)


def _name(place: Also, home: str, places: Sequence[Also]) -> str:
    """The region; with the account, if there are others in it."""
    regions = [home, *(each.region for each in places)]
    if regions.count(place.region) == 1:
        return place.region
    accounts = " or ".join(Access.of(place.access or {}).allowed_account_ids)
    return f"{place.region} ({accounts or place.endpoint or place.stack})"
