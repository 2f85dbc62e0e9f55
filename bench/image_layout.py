"""How many blocks of an image a change moves, in our layout and in others; and how long our image takes to be built.

It decides which layouts are compared, and by what programs they are made: the others are what systemd-repart makes of a
folder, as nixpkgs' image modules let it. All of them run with Debian 13's programs (`tools/debian13-run`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from bench import closures
from bench.sections import Goal, Section, say
from bench.upload import Refused

ROOT = Path(__file__).resolve().parent.parent
BLOCK = 512 * 1024
MIB = 1 << 20
ZEROS = bytes(BLOCK)
APP, LEAF = 0.03, 0.05
"""Of all blocks with data, how many a change of the application, or of a library with few users, may move."""

CHANGES = ("app", "leaf")
"""The changes that every layout is measured with; ours is with all."""

TIMES = 3.0
"""The build of an image may take so many times what writing its tree once takes."""

REPART = """[Partition]
Type=linux-generic
Label=store
UUID=c0ffee00-0000-4000-8000-000000000001
Format={format}
CopyFiles=/nix
Minimize={minimize}
"""


def block_map(image: Path) -> list[bytes]:
    """A digest for each block of an image; nothing for one of zeros."""
    found = []
    with image.open("rb") as file:
        while data := file.read(BLOCK):
            found.append(b"" if data == ZEROS[: len(data)] else blake2b(data, digest_size=16).digest())
    return found


def moved(before: list[bytes], after: list[bytes]) -> int:
    """How many blocks differ: what an upload sends."""
    longest = max(len(before), len(after))
    pad = [b""]
    return sum(
        one != other
        for one, other in zip(before + pad * (longest - len(before)), after + pad * (longest - len(after)), strict=True)
    )


def ours(*options: str) -> Callable[[Path, Path, Path], Path]:
    """Our builder, with these options."""

    def make(root: Path, closure: Path, out: Path) -> Path:
        whole = json.loads(closure.read_text())
        # As a real one: its command line has the path of the system. What else it has changes with the kernel alone.
        uki = out.with_suffix(".efi")
        uki.write_bytes(b"kernel and initrd" * (30 * MIB // 17) + f"init={whole['root']}/init".encode().ljust(4096))
        command: list[str | Path] = ["nix/image/build-disk", "--closure", closure, "--root", root, "--uki", uki]
        debian13(*command, *options, out)
        return out / "image.raw"

    return make


def repart(form: str, minimize: str) -> Callable[[Path, Path, Path], Path]:
    """systemd-repart, with a file system of this format."""

    def make(root: Path, closure: Path, out: Path) -> Path:
        names = [Path(info["path"]).name for info in json.loads(closure.read_text())["paths"]]
        out.mkdir()
        tree = out / "tree/nix/store"
        tree.mkdir(parents=True)
        for start in range(0, len(names), 100):
            some = [root / "nix/store" / name for name in names[start : start + 100]]
            subprocess.run(["cp", "-al", *some, tree], check=True)
        (out / "repart.d").mkdir()
        (out / "repart.d/10-store.conf").write_text(REPART.format(format=form, minimize=minimize))
        seed = "--seed=c0ffee00-0000-4000-8000-000000000000"
        command: list[str | Path] = [
            "systemd-repart",
            f"--definitions={out}/repart.d",
            f"--root={out}/tree",
            seed,
            "--empty=create",
        ]
        debian13(*command, "--size=auto", "--dry-run=no", "--pretty=no", "--offline=yes", out / "image.raw")
        shutil.rmtree(out / "tree")
        return out / "image.raw"

    return make


LAYOUTS: dict[str, Callable[[Path, Path, Path], Path]] = {
    "ours": ours(),
    "ours, --compress zstd": ours("--compress", "zstd,level=3"),
    "repart: erofs": repart("erofs", "best"),
    "repart: ext4": repart("ext4", "guess"),
    "repart: squashfs": repart("squashfs", "best"),
}


def debian13(*command: str | Path) -> None:
    """Run a program of Debian 13. Raises `Refused` with its error."""
    subprocess.run([ROOT / "tools/debian13"], check=True)
    done = subprocess.run(
        [ROOT / "tools/debian13-run", *command],
        cwd=ROOT,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}")


def blocks(folder: Path, quick: bool) -> list[Section]:  # noqa: FBT001 (one of the sections' signature)
    """The block tables, of 400 MiB and of 1 GiB."""
    return [_blocks(folder / str(mib), mib, quick=quick) for mib in ([400] if quick else [400, 1024])]


def _blocks(folder: Path, mib: int, *, quick: bool) -> Section:
    packages = closures.server(mib)
    changes = closures.changes(packages)
    if quick:
        changes = {name: changes[name] for name in CHANGES}
    folder.mkdir()
    for name, after in {"before": packages, **changes}.items():
        say(f"{mib} MiB: writing the closure {name} …")
        closures.write(after, folder, folder / f"{name}.json")
    rows = [["layout", "blocks with data", "of", *changes]]
    goals: list[Goal] = []
    for layout, make in LAYOUTS.items():
        maps = {}
        for name in ("before", *(changes if layout == "ours" else CHANGES)):
            out = folder / "out"
            maps[name] = block_map(make(folder, folder / f"{name}.json", out))
            shutil.rmtree(out)
            say(f"{mib} MiB: {layout}, {name}: {moved(maps['before'], maps[name])} of {sum(map(bool, maps[name]))}")
        before = maps["before"]
        data = sum(map(bool, before))
        counts = {name: moved(before, after) for name, after in maps.items()}
        rows.append([layout, str(data), str(len(before)), *(str(counts.get(name, "–")) for name in changes)])
        if layout == "ours":
            app = closures.size(packages["app"]) / BLOCK
            goals = [
                Goal(
                    f"application: at most {APP:.0%} of the blocks, or the application's {app:.0f} + 10",
                    f"{counts['app']} ({counts['app'] / data:.1%})",
                    counts["app"] <= max(APP * data, app + 10),
                ),
                Goal(
                    f"leaf library: at most {LEAF:.0%} of the blocks",
                    f"{counts['leaf']} ({counts['leaf'] / data:.1%})",
                    counts["leaf"] <= LEAF * data,
                ),
            ]
    shutil.rmtree(folder)
    return Section(f"Changed blocks, a closure of {mib} MiB", rows, goals)


def build(folder: Path, quick: bool) -> list[Section]:  # noqa: FBT001 (one of the sections' signature)
    """The build of an image of 1 GiB, against writing its tree once; both until it is on the disk."""
    mib = 400 if quick else 1024
    packages = closures.server(mib)
    closure = folder / "closure.json"
    closures.write(packages, folder, closure)
    ratios, rows = [], [["run", "writing the tree", "build-disk", "times"]]
    for run in range(1 if quick else 3):
        say(f"{mib} MiB: run {run + 1} …")
        copied = _seconds(lambda: _copy(folder))
        built = _seconds(lambda: ours()(folder, closure, folder / "out"))
        shutil.rmtree(folder / "copy")
        shutil.rmtree(folder / "out")
        ratios.append(built / copied)
        say(f"{mib} MiB: {built:.1f} s, the tree {copied:.1f} s")
        rows.append([str(run + 1), f"{copied:.1f} s", f"{built:.1f} s", f"{built / copied:.2f}"])
    best = sorted(ratios)[len(ratios) // 2]
    goal = Goal(f"at most {TIMES:.0f} times writing the tree once, the median", f"{best:.2f}", best <= TIMES)
    return [Section(f"Build of an image, a closure of {mib} MiB", rows, [goal])]


def _copy(folder: Path) -> None:
    subprocess.run(["cp", "-r", folder / "nix", folder / "copy"], check=True)
    subprocess.run(["sync", "-f", folder / "copy"], check=True)


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
