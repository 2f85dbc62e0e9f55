"""What `nix/image/build-disk` refuses: in one line, with the remedy, and with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.needs import ROOT
from tests.nix.image.conftest import Build, store_path, write_closure


def refusal(build: Build, out: Path, *arguments: str, path: str = "", uki: bool = True) -> str:
    """What the builder says, which must be one line; what it began must be gone."""
    done = build(out, *arguments, path=path, uki=uki)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert not out.exists()
    return line.removeprefix("build-disk: ")


def test_a_store_that_does_not_fit(build: Build, tmp_path: Path) -> None:
    """The user would have to guess how large the store must be."""
    said = refusal(build, tmp_path / "out", "--store-size", "17M")
    assert said == (
        "the store does not fit: 3 MiB of data, and --store-size is 17M: give it 256M, or leave --store-size out"
    )


def test_a_uki_that_does_not_fit(build: Build, small: Path, tmp_path: Path) -> None:
    """Of mtools there is only `Disk full`, and not of which disk."""
    said = refusal(build, tmp_path / "out", "--esp-size", "10M")
    assert said == f"{small}/web.efi does not fit into the boot partition: --esp-size is 10M: give it 36M"


def test_programs_that_are_missing(build: Build, tmp_path: Path) -> None:
    """A build would end half way, at the first of them, and the next at the second."""
    said = refusal(build, tmp_path / "out", path="/nowhere")
    assert said == "not on PATH: mkfs.erofs, mformat, mmd, mcopy, systemd-repart"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("[]", "has no path named as its root: give --toplevel"),
        ('{"root": "/nix/store/x", "paths": [{"path": "/nix/store/x"}]}', "is not a closure: each path must have"),
        (
            '{"root": "/nix/store/x", "paths": [{"path": "/nix/store/x", "narHash": "", "narSize": 1, '
            '"references": ["/nix/store/y"]}]}',
            "is not whole: /nix/store/y is referred to but is not one of its paths",
        ),
        (
            '{"root": "/etc", "paths": [{"path": "/etc", "narHash": "", "narSize": 1, "references": []}]}',
            "/etc is not a path of /nix/store",
        ),
    ],
)
def test_a_closure_that_is_none(build: Build, tmp_path: Path, content: str, said: str) -> None:
    """The image would lack what the machine needs, and the machine not start."""
    file = tmp_path / "closure.json"
    file.write_text(content)
    assert said in refusal(build, tmp_path / "out", "--closure", str(file))


def test_a_path_that_is_not_there(build: Build, small: Path, tmp_path: Path) -> None:
    """The same, where only the file system knows."""
    file = write_closure(tmp_path, [store_path("gone")])
    said = refusal(build, tmp_path / "out", "--closure", str(file))
    assert said == f"{small}/nix/store/{store_path('gone')} is in the closure but is not there: build or fetch it first"


def test_verity_without_a_place_for_the_root_hash(build: Build, tmp_path: Path) -> None:
    """The machine would boot with a store that nothing verifies, or wait for one that is not there."""
    config = tmp_path / "uki.conf"
    config.write_text("[UKI]\nCmdline=init=/init\n")
    assert refusal(build, tmp_path / "out", "--verity").startswith("--verity needs --uki-config")
    said = refusal(build, tmp_path / "out", "--verity", "--uki-config", str(config), uki=False)
    assert said == f"{config} has no usrhash=@usrhash@ in its command line"
    config.write_text("[UKI]\nCmdline=usrhash=@usrhash@\n")
    said = refusal(build, tmp_path / "out", "--uki-config", str(config), uki=False)
    assert said == f"{config} needs --verity: it has usrhash=@usrhash@ in its command line"


def test_a_folder_that_exists_is_left_as_it_is(build: Build, tmp_path: Path) -> None:
    """A mistyped name would remove someone's files."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    done = build(tmp_path / "out")
    assert done.returncode == 1
    assert "exists: remove it, or name another folder" in done.stderr
    assert (tmp_path / "out/mine").exists()


def test_an_mkfs_that_has_an_order_of_its_own(build: Build, tmp_path: Path) -> None:
    """Every change would move the whole store, and nothing would say why."""
    fake = tmp_path / "bin/mkfs.erofs"
    fake.parent.mkdir()
    fake.write_text(
        '#!/bin/bash\nfor each; do [ "$each" = --sort=none ] || given+=("$each"); done\n'
        'exec /usr/bin/mkfs.erofs "${given[@]}"\n'
    )
    fake.chmod(0o755)
    said = refusal(build, tmp_path / "out", path=f"{fake.parent}:/usr/sbin:/usr/bin")
    assert said == "mkfs.erofs (erofs-utils) 1.8.6 did not keep the order of its input: use 1.8 or later"


def test_what_mkfs_says_is_passed_on(build: Build, tmp_path: Path) -> None:
    """A user with an algorithm that this mkfs.erofs does not have would see a broken pipe."""
    said = refusal(build, tmp_path / "out", "--compress", "brotli")
    assert said.startswith("mkfs.erofs failed: <E> erofs: ")
    assert "compressor" in said


def test_a_build_that_is_stopped_leaves_nothing(small: Path, tmp_path: Path) -> None:
    """Half an image would be in the way of the next build, and its programs would run on."""
    for name in ("mkfs.erofs", "mformat", "mmd", "mcopy", "systemd-repart"):
        fake = tmp_path / "bin" / name
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/started\nexec sleep 60\n")
        fake.chmod(0o755)
    given = ["--closure", str(small / "closure.json"), "--root", str(small), "--uki", str(small / "web.efi")]
    with subprocess.Popen(
        [sys.executable, ROOT / "nix/image/build-disk", *given, "--store-size", "64M", tmp_path / "out"],
        env=os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
    ) as building:
        while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
            time.sleep(0.02)
        building.send_signal(signal.SIGTERM)
        assert building.wait(timeout=60) == 128 + signal.SIGTERM
    assert not (tmp_path / "out").exists()
    started = int((tmp_path / "started").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)


def test_registration_data_is_a_json_object(build: Build, tmp_path: Path) -> None:
    """What is no object would end in a traceback."""
    file = tmp_path / "register.json"
    file.write_text(json.dumps(["TpmSupport"]))
    assert refusal(build, tmp_path / "out", "--register", str(file)) == f"{file} must be a JSON object"
