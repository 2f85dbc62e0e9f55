"""What is found in an image's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetswap.domain.errors import InputError
from fleetswap.nix.output import Output, read


def test_the_disk_is_the_output_or_the_only_one_in_it(tmp_path: Path) -> None:
    """An image could not be found in its build's output."""
    disk = tmp_path / "nixos.img"
    disk.touch()
    (tmp_path / "nix-support").mkdir()
    (tmp_path / "packages").touch()
    assert read(disk) == Output(disk)
    assert read(tmp_path) == Output(disk)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["readme", "log"], "does not contain a disk (*.raw, *.img, *.vhd, *.qcow2) but log, readme"),
        ([], "but nothing"),
        (["b.vhd", "a.raw", "log"], "holds 2 disks (a.raw, b.vhd): use a derivation whose output has only one"),
    ],
)
def test_an_output_without_exactly_one_disk_is_refused(tmp_path: Path, names: list[str], expected: str) -> None:
    """Some file would be shipped as the disk, or the user would not learn what there is."""
    for file in names:
        (tmp_path / file).touch()
    with pytest.raises(InputError) as error:
        read(tmp_path)
    assert expected in str(error.value)


def test_an_output_that_is_gone_is_refused(tmp_path: Path) -> None:
    """An image that was collected as garbage would show as a traceback."""
    with pytest.raises(InputError, match="neither a file nor a folder"):
        read(tmp_path / "gone")


def test_the_output_says_which_disk_and_what_it_is(tmp_path: Path) -> None:
    """An AMI would be made of another file than the image's maker meant, or without what he says it must be."""
    about = tmp_path / "nix-support"
    about.mkdir()
    disk, other = tmp_path / "web.raw", tmp_path / "extra.raw"
    disk.touch()
    other.touch()
    (about / "image-info.json").write_text('{"file": "web.raw", "boot_mode": "uefi"}')
    (about / "closure.json").write_text('{"version": 1}')
    expected = Output(disk, {"file": "web.raw", "boot_mode": "uefi"}, {"version": 1})
    assert read(tmp_path) == expected
    assert read(disk) == expected
    assert read(other) == Output(other), "it is about the other file"
    (about / "image-info.json").write_text(f'{{"file": "{disk}"}}')
    assert read(tmp_path).disk == disk


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "image-info.json cannot be read"),
        ("[]", "image-info.json must hold a JSON object"),
        pytest.param("[" * 100_000, "image-info.json cannot be read", id="deep"),
        ('{"file": "gone.raw"}', "names the disk gone.raw, which is not there"),
    ],
)
def test_an_output_that_says_nonsense_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """A traceback would be the answer, or an image be registered as something that it is not."""
    (tmp_path / "nix-support").mkdir()
    (tmp_path / "web.raw").touch()
    (tmp_path / "nix-support" / "image-info.json").write_text(text)
    with pytest.raises(InputError, match=expected):
        read(tmp_path)
