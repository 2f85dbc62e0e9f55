"""Runs coldsnap and Fleetswap in turn against the same server, and prints what each case came to.

It decides the order of the runs and what they are given; `bench.cases` what is measured, `bench.figures` what counts
as reached. It writes into its folder under `.work/bench` alone, and empties that.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from bench import figures, images, measure, stand_in
from bench.cases import Case, Image
from bench.figures import Run, Sample

REGIONS = ("us-east-1", "eu-west-1", "ap-south-1")
"""Names of the endpoints, where there are several."""

Who = Literal["coldsnap", "fleetswap", "undisturbed"]


@dataclass(frozen=True)
class Options:
    """What the command line asks for. `coldsnap` is None where it is not installed."""

    runs: int
    coldsnap: str | None
    fleetswap: Sequence[str]
    work: Path
    verify: bool


class Refused(Exception):
    """The benchmark cannot be run; the message says why, in one line."""


@dataclass(frozen=True)
class Row:
    """A case and what its uploaders did."""

    case: Case
    coldsnap: Sample
    fleetswap: Sample
    undisturbed: Sample

    @property
    def verdict(self) -> figures.Verdict:
        """Whether it is what was to be reached."""
        return figures.verdict(self.case.goal, self.fleetswap, self.coldsnap, self.undisturbed)

    @property
    def ratio(self) -> float | None:
        """Ours by coldsnap's."""
        return figures.ratio(self.case.goal, self.fleetswap, self.coldsnap)

    def cells(self) -> list[str]:
        """Its line of the table."""
        goal, ratio = self.case.goal, self.ratio
        ours = self.fleetswap.told(goal.figure)
        without = self.undisturbed.median(lambda run: run.seconds)
        if self.case.endpoints > 1:
            ours += f" (one endpoint: {self.undisturbed.told(goal.figure)})"
        elif without is not None:
            ours += f" (without faults {without:.1f} s)"
        compared = "–" if ratio is None else f"{ratio:.2f}"
        return [self.case.title, self.coldsnap.told(goal.figure), ours, compared, goal.text(), self.verdict]


HEADS = ["case", "coldsnap", "Fleetswap", "ratio", "goal", ""]

CAPTION = """\
1 GiB of dense data unless said otherwise; medians, peak memory the highest. Ratio: Fleetswap's figure by coldsnap's, in
the row's own unit. Share of the quota: accepted puts / (last accepted - first accepted) / quota, by the server's clock;
the bucket is full at first, and holds what comes in a tenth of a second. Throttled: of all puts that got as far as the
bucket. CPU-s: user and system time of the uploader. Peak memory: of its largest process (ru_maxrss). Faults are those
of puts alone, because coldsnap tries no other request twice: answers 500 and 503, connections reset before the answer,
answers cut in headers or body. Every snapshot was compared with its image by the checksums of its blocks."""


class Bench:
    """One session of measuring: its folder, its images, its cores."""

    def __init__(self, options: Options, folder: Path) -> None:
        self.options = options
        self.folder = folder
        cores = sorted(os.sched_getaffinity(0))
        self.client_core, self.server_core = cores[-1], cores[0]
        self.program = stand_in.build(options.work)
        self._digests: dict[Image, list[bytes]] = {}

    def row(self, case: Case) -> Row:
        """Measure one case."""
        runs: dict[Who, list[Run]] = {"coldsnap": [], "fleetswap": [], "undisturbed": []}
        whom: list[Who] = (
            ["coldsnap", "fleetswap"] if self.options.coldsnap and case.peer is not None else ["fleetswap"]
        )
        if case.start:
            return self._start(case)
        if case.undisturbed or case.endpoints > 1:
            whom.append("undisturbed")
        image = self._image(case.image)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, folder)
            servers = []
            for number in range(case.endpoints):
                own = folder / f"server-{number}"
                own.mkdir()
                keep = case.parent is not None
                server = stand_in.Server(self.program, own, self.server_core, tls=case.tls, keep_data=keep)
                servers.append(stack.enter_context(server))
            parents = [self._parent(case, server, folder) if case.parent else None for server in servers]
            for number in range(1 if case.once else self.options.runs):
                for who in whom:
                    if any(run.late for run in runs[who]):
                        continue  # it would only take as long again
                    run = self._run(case, who, servers, folder, image, parents)
                    runs[who].append(run)
                    told = f"{run.seconds:.1f} s, {run.cpu:.2f} CPU-s, {run.problem or 'ok'}"
                    _say(f"{case.name} {number + 1}: {who}: {told}")
        return Row(
            case,
            coldsnap=Sample(tuple(runs["coldsnap"])),
            fleetswap=Sample(tuple(runs["fleetswap"])),
            undisturbed=Sample(tuple(runs["undisturbed"])),
        )

    def _start(self, case: Case) -> Row:
        """Measure how ours starts, up to its first request, in turn with nothing."""
        image = self._image(case.image)
        runs: list[Run] = []
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            for number in range(self.options.runs + 1):
                cost = measure.run(
                    self._command("fleetswap", case, [url], image),
                    cores={self.client_core},
                    env=_environment(_home(Path(folder)), url, None),
                    cwd=Path(folder),
                    output=Path(folder) / "start.log",
                    timeout=case.timeout,
                    until=nobody,
                )
                problem = "" if cost.status == 0 else f"no request came, exit status {cost.status}: {cost.words}"
                _say(f"{case.name} {number}: {cost.cpu:.2f} CPU-s, {problem or 'ok'}")
                if number:  # the one before that may have compiled the modules
                    runs.append(Run(cost.seconds, cost.cpu, cost.peak, problem))
        return Row(case, coldsnap=Sample(), fleetswap=Sample(tuple(runs)), undisturbed=Sample())

    def _image(self, name: Image) -> Path:
        path = self.folder / f"{name}.raw"
        if not path.exists():
            _say(f"making the image {name}")
            if name == "changed":
                images.changed(path, self._image("dense"))
            else:
                {"dense": images.dense, "sparse": images.sparse, "large": images.large}[name](path)
        return path

    def _parent(self, case: Case, server: stand_in.Server, folder: Path) -> str:
        """Upload the parent, without limit; its id. What the uploaders do to it is as on another machine."""
        server.reset(stand_in.Settings())
        cost = self._cost("fleetswap", case, [server], folder, self._image(case.parent or case.image))
        finished = [each for each in server.stats().snapshots if each.state == "completed"]
        if cost.status != 0 or not finished:
            return ""
        os.sync()  # its blocks, now and not while something is measured
        return finished[-1].id

    def _run(
        self,
        case: Case,
        who: Who,
        servers: Sequence[stand_in.Server],
        folder: Path,
        image: Path,
        parents: Sequence[str | None],
    ) -> Run:
        settings = replace(case.settings, verify=self.options.verify)
        if who == "undisturbed":
            settings = replace(settings, fail=0)
            servers, parents = servers[:1], parents[:1]
        for server, parent in zip(servers, parents, strict=True):
            server.reset(settings, keep_snapshots=parent is not None)
        cost = self._cost(who, case, servers, folder, image)
        runs = [self._seen(case, cost, *each, image) for each in zip(servers, parents, strict=True)]
        # Of several endpoints the one that comes off worst.
        return replace(
            max(runs, key=lambda run: run.accepted), problem=next((run.problem for run in runs if run.problem), "")
        )

    def _seen(self, case: Case, cost: measure.Cost, server: stand_in.Server, parent: str | None, image: Path) -> Run:
        """What a run was, by one of its servers."""
        stats = server.stats()
        made = [each for each in stats.snapshots if each.state == "completed" and each.id != parent]
        late = cost.status is None
        if late:
            problem = f"not done in {cost.seconds:.0f} s"
        elif cost.status != 0:
            problem = f"exit status {cost.status}: {cost.words}"
        elif parent == "":
            problem = "no parent could be uploaded"
        elif not made:
            problem = "exit status 0, but no snapshot is finished"
        else:
            if case.image not in self._digests:
                self._digests[case.image] = images.digests(image)
            wanted = self._digests[case.image]
            problem = images.difference(wanted, server.digests(made[-1].id), zeros_may_lack=case.zeros_may_lack)
        for each in stats.snapshots if parent is not None else []:
            if each.id != parent:
                server.delete(each.id)
        return Run(
            seconds=cost.seconds,
            cpu=cost.cpu,
            peak=cost.peak,
            problem=problem,
            accepted=stats.accepted,
            throttled=stats.throttled,
            window=stats.window,
            connections=stats.connections,
            late=late,
        )

    def _cost(
        self, who: Who, case: Case, servers: Sequence[stand_in.Server], folder: Path, image: Path
    ) -> measure.Cost:
        home = _home(folder)
        return measure.run(
            self._command(who, case, [server.url for server in servers], image),
            cores={self.client_core, self.server_core} if case.two_cores else {self.client_core},
            env=_environment(home, servers[0].url, servers[0].certificate),
            cwd=home,
            output=folder / f"{who}.log",
            timeout=case.timeout,
        )

    def _command(self, who: Who, case: Case, urls: Sequence[str], image: Path) -> list[str]:
        if who == "coldsnap":
            command = [str(self.options.coldsnap), "--endpoint", urls[0], "upload", "--no-progress", str(image)]
            return [*command, *(case.peer or ())]
        # Named, as an image is that Nix built: else all of it would be read and hashed once more, for its name.
        named = ["--identity", f"benchmark:{image.name}", "--lineage", "benchmark"]
        command = [*self.options.fleetswap, "upload", str(image), "--quiet", "--json", *named, *case.ours]
        if len(urls) > 1:
            for region, url in zip(REGIONS, urls, strict=False):
                command += ["--region", region, "--endpoint-url", url]
        return command


def _home(folder: Path) -> Path:
    """A new machine's: no cache, no journal."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    return home


def _environment(home: Path, url: str, certificate: Path | None) -> dict[str, str]:
    env = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": url,
    }
    if certificate:
        env |= {"AWS_CA_BUNDLE": str(certificate), "SSL_CERT_FILE": str(certificate)}
    return env


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (progress of a command-line program)


@contextmanager
def _folder(work: Path) -> Iterator[Path]:
    """A folder that nobody else measures in; what a killed benchmark left is removed."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another benchmark is running: two would measure each other") from None
        folder = work / "run"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": " ".join(f"{each:.1f}" for each in os.getloadavg()),
    }


def upload(cases: Sequence[Case], options: Options, report: Path | None) -> None:
    """Measure `cases`, print the table, and write all figures to the file `report`."""
    before = machine()
    if int(before["cores"]) < 2:
        _say("one core alone: server and uploader share it, and the figures are those of both")
    if options.coldsnap is None:
        _say("coldsnap is not installed (cargo install coldsnap): nothing to compare with")
    with _folder(options.work) as folder:
        bench = Bench(options, folder)
        rows = []
        for case in cases:
            rows.append(bench.row(case))
            if report:
                report.write_text(json.dumps(_report(before, rows), indent=1) + "\n")
    shown = figures.table([HEADS, *(row.cells() for row in rows)])
    lines = [f"{key}: {value}" for key, value in before.items()]
    print(f"{shown}\n\n{CAPTION}\n{', '.join(lines)}, {options.runs} runs each")  # noqa: T201
    for row in rows:
        for who, sample in (("coldsnap", row.coldsnap), ("Fleetswap", row.fleetswap), ("Fleetswap", row.undisturbed)):
            for problem in sorted({run.problem for run in sample.runs if run.problem}):
                print(f"{row.case.name}: {who}: {problem}")  # noqa: T201


def _report(machine: dict[str, str], rows: list[Row]) -> dict[str, object]:
    return {
        "machine": machine,
        "cases": [
            {
                "name": row.case.name,
                "title": row.case.title,
                "to_reach": row.case.goal.text(),
                "verdict": row.verdict,
                "ratio": row.ratio,
                **{
                    who: [asdict(run) for run in getattr(row, who).runs]
                    for who in ("coldsnap", "fleetswap", "undisturbed")
                },
            }
            for row in rows
        ],
    }
