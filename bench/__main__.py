"""`python -m bench upload|deploy|image|judge|scale`: the command line. It reads the arguments, no more."""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import sys
from pathlib import Path

from bench.cases import cases
from bench.deploy import deploy
from bench.image import image, sections
from bench.judge import judge
from bench.scale import scale
from bench.stand_in import NoServer
from bench.upload import Options, Refused, upload

WORK = Path(__file__).parent.parent / ".work" / "bench"


def _coldsnap(asked: str | None) -> str | None:
    if asked == "none":
        return None
    return shutil.which(asked or "coldsnap") or shutil.which(str(Path.home() / ".cargo/bin/coldsnap"))


def _command(words: list[str]) -> list[str]:
    program = shutil.which(words[0])
    if program is None:
        raise Refused(f"there is no program {words[0]} to run Fleetswap with")
    return [str(Path(program).absolute()), *words[1:]]


def _upload(asked: argparse.Namespace, names: list[str]) -> None:
    chosen = [case for case in cases() if case.name in (asked.case or names)]
    if asked.quick:
        chosen = [case for case in chosen if asked.case or not case.slow]
    options = Options(
        runs=1 if asked.quick else max(1, asked.runs),
        coldsnap=_coldsnap(asked.coldsnap),
        fleetswap=_command(shlex.split(asked.fleetswap)),
        work=WORK,
        verify=asked.verify,
    )
    upload(chosen, options, asked.json)


def main() -> int:
    """Exit status 0 if it measured, whatever the figures; 2 if it could not."""
    names = [case.name for case in cases()]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("upload", help="coldsnap and Fleetswap in turn against the same server")
    command.add_argument("--case", action="append", choices=names, help="only this one; may be given again")
    command.add_argument("--runs", type=int, default=3, help="of each uploader in each case (3)")
    command.add_argument("--quick", action="store_true", help="one run, and not the cases that take minutes")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    command.add_argument("--coldsnap", metavar="PROGRAM", help="which coldsnap; none: leave it out")
    command.add_argument("--fleetswap", metavar="COMMAND", default=shlex.join([sys.executable, "-m", "fleetswap"]))
    command.add_argument(
        "--verify", action="store_true", help="the server checks every block's bytes, which costs it time"
    )
    deploys = commands.add_parser("deploy", help="phases of a deploy and of a rollback on the local cloud")
    deploys.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    deploys.set_defaults(run=lambda asked: deploy(WORK / "deploy", asked.json))
    images = commands.add_parser("image", help="blocks that a change of an image moves, its build, its preview")
    images.add_argument("--only", action="append", choices=[*sections()], help="only this section; may be given again")
    images.add_argument("--quick", action="store_true", help="one size, one run, two changes")
    images.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    images.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="where it may write (.work/bench)")
    images.set_defaults(
        run=lambda asked: image(asked.work / "image", asked.json, asked.only or [*sections()], quick=asked.quick)
    )
    judges = commands.add_parser("judge", help="how fast fleetswap gc judges 10,000 images")
    judges.set_defaults(run=lambda _asked: judge())
    scales = commands.add_parser("scale", help="a preview and an unchanged update of one of 50 services")
    scales.add_argument("--quick", action="store_true", help="three rounds")
    scales.add_argument("--json", type=Path, metavar="FILE", help="write all figures to it")
    scales.set_defaults(run=lambda asked: scale(WORK / "scale", asked.json, quick=asked.quick))
    command.set_defaults(run=lambda asked: _upload(asked, names))
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left behind
    try:
        asked.run(asked)
    except (Refused, NoServer) as error:
        print(error, file=sys.stderr)  # noqa: T201 (the message of a command-line program)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
