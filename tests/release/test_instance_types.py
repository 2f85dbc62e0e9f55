"""Instance types that cannot launch an AMI are told before anything is made of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetswap.domain.image.info import ImageInfo
from fleetswap.domain.release.instance_types import InstanceType, cores_of, misfits, unfit

X86 = frozenset({"x86_64"})
INTEL = InstanceType("c7i.large", frozenset({"x86_64"}), frozenset({"legacy-bios", "uefi"}))
GRAVITON = InstanceType("c7g.large", frozenset({"arm64"}), frozenset({"uefi"}))
XEN = InstanceType("m4.large", frozenset({"x86_64"}), frozenset({"legacy-bios"}), needs_ena=False, nitro_tpm=False)
OLD = InstanceType("t1.micro", frozenset({"i386", "x86_64"}), needs_ena=False, nitro_tpm=False)


@pytest.mark.parametrize(
    ("info", "types"),
    [
        (ImageInfo(), (INTEL, OLD)),
        (ImageInfo(architecture="arm64"), (GRAVITON,)),
        (ImageInfo(boot_mode="uefi-preferred"), (INTEL,)),
        (ImageInfo(boot_mode="uefi-preferred", ena=False), (XEN,)),
        (ImageInfo(boot_mode="legacy-bios"), (INTEL, XEN)),
        (ImageInfo(tpm="v2.0"), (INTEL,)),
    ],
)
def test_what_can_be_launched_is_not_refused(info: ImageInfo, types: tuple[InstanceType, ...]) -> None:
    """A good image could not be deployed."""
    assert misfits(info, types) == []


def test_each_reason_is_told_once_with_all_its_types() -> None:
    """A list of forty types would be forty sentences, or only the first of them."""
    assert misfits(ImageInfo(tpm="v2.0", ena=False), (INTEL, XEN, OLD, GRAVITON)) == [
        "the AMI has no ENA support, which is required by c7i.large and c7g.large",
        "the AMI has boot mode uefi, which m4.large cannot boot",
        "the AMI has NitroTPM v2.0, but there is none with m4.large and t1.micro",
        "the image is for x86_64, but c7g.large can only run arm64",
    ]
    assert misfits(ImageInfo(architecture="arm64"), (OLD,)) == [
        "the image is for arm64, but t1.micro can only run i386 and x86_64"
    ]


def test_the_number_of_cores_is_one_for_all() -> None:
    """EC2 would be told a number of cores that a type does not have."""
    large = InstanceType("c7i.large", X86, cores=1, threads=(1, 2))
    assert cores_of([large, replace(large, name="c7a.large")], 1) == 1
    for other, told in (
        (replace(large, cores=2), "the same number"),
        (replace(large, cores=None), "the same number"),
        (replace(large, threads=(2,)), "cannot have 1 threads"),
    ):
        with pytest.raises(ValueError, match=told):
            cores_of([large, replace(other, name="c7i.xlarge")], 1)


def test_what_cannot_launch_is_named_by_families() -> None:
    """A user would have to exclude hundreds of types by name, or all of a family of which some can."""
    info = ImageInfo(boot_mode="uefi")
    bios = frozenset({"legacy-bios"})
    types = [
        InstanceType("m4.large", X86, bios),
        InstanceType("m4.xlarge", X86, bios),
        InstanceType("m5.large", X86, bios),
        InstanceType("m5.xlarge", X86),
    ]
    assert unfit(info, types) == ("m4.*", "m5.large")
