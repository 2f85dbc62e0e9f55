"""Stand-in for `pulumi-language-python-exec`: runs one Pulumi program; started by `language_host.py` and nothing else.

It hands the engine's addresses and the configuration to the SDK, then runs the program's directory or file as
`__main__` inside a stack. An exception of the program is reported with the program's own frames. Exit status: 0 fine,
32 failed and already reported, anything else failed.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import runpy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pulumi
import pulumi.runtime

EXIT_FAILED = 1
EXIT_BAIL = 32


def parse(argv: list[str]) -> argparse.Namespace:
    """The arguments that `language_host.command_of` writes."""
    parser = argparse.ArgumentParser(description="Run a Pulumi program for the language host.")
    for flag in ("--monitor", "--engine", "--project", "--stack", "--organization", "--root", "--dry-run"):
        parser.add_argument(flag, required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("program")
    parser.add_argument("args", nargs="*")
    return parser.parse_args(argv)


def own_frames(error: BaseException, program: Path) -> str:
    """The traceback of `error` from the first frame of the program on; all of it where the program has none."""
    home = program if program.is_dir() else program.parent
    frames = traceback.extract_tb(error.__traceback__)
    first = next((i for i, frame in enumerate(frames) if Path(frame.filename).is_relative_to(home)), 0)
    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(frames[first:])
    return "".join(shown.format())


def run(options: argparse.Namespace) -> int:
    """Run the program and return the exit status."""
    program = Path(options.program).resolve()
    if program.is_dir() and not (program / "__main__.py").exists():
        pulumi.log.error(f"there is no Python program in {program}: it needs a __main__.py")
        return EXIT_BAIL
    try:
        asyncio.run(_in_stack(options))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - whatever the program raises is reported, and ends here
        pulumi.log.error(f"Program failed with an unhandled exception:\n{own_frames(error, program)}")
        return EXIT_BAIL
    return 0


async def _in_stack(options: argparse.Namespace) -> None:
    # The SDK waits for the engine's answers in threads: there must be at least as many as operations at once.
    with ThreadPoolExecutor(max_workers=max(options.parallel, 1) * 4) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        await pulumi.runtime.run_in_stack(lambda: _run_main(options.program))


def _run_main(program: str) -> None:
    runpy.run_path(program, run_name="__main__")


def main() -> None:
    """Connect the SDK to the engine, run the program, and exit with its status."""
    options = parse(sys.argv[1:])
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=options.project,
            stack=options.stack,
            monitor=options.monitor,
            engine=options.engine,
            parallel=options.parallel,
            dry_run=options.dry_run == "true",
            organization=options.organization,
            root_directory=options.root,
        )
    )
    # A program that fails leaves unfinished futures behind; asyncio's warnings about them would hide the error.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    sys.argv = [options.program, *options.args]
    status = run(options)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)


if __name__ == "__main__":
    main()
