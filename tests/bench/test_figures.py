"""The verdicts of the benchmark, from figures made up here."""

from __future__ import annotations

import pytest

from bench.cases import cases
from bench.figures import (
    Changed,
    Cpu,
    Everywhere,
    Goal,
    Peak,
    Run,
    Sample,
    Seconds,
    Share,
    Start,
    Undisturbed,
    ratio,
    table,
    verdict,
)

NONE = Sample()


def sample(*runs: Run) -> Sample:
    return Sample(runs)


def run(**figures: float) -> Run:
    return Run(**{"seconds": 1.0, "cpu": 1.0, "peak": 1.0, "accepted": 0, "throttled": 0, "window": 0.0} | figures)  # type: ignore[arg-type] # the counts are whole


BROKEN = Run(seconds=9, cpu=9, peak=9, problem="exit status 1: block 3: refused")
LATE = Run(seconds=240, cpu=9, peak=9, problem="not done in 240 s", late=True)


def test_share_of_the_quota() -> None:
    """If this failed, an uploader could hold another share of the quota than the table says."""
    held = run(accepted=2048, window=2.0)
    assert held.share(1000) == pytest.approx(1.024)
    assert held.share(2000) == pytest.approx(0.512)
    assert run(accepted=1, window=0.0).share(1000) == 0.0
    assert run(accepted=99, throttled=1).throttled_share == pytest.approx(0.01)
    assert run().throttled_share == 0.0


def test_median_is_of_good_runs_only() -> None:
    """If this failed, a run that failed at once would make an uploader look fast."""
    mixed = sample(run(seconds=3.0), BROKEN, run(seconds=5.0), run(seconds=4.0))
    assert mixed.median(lambda each: each.seconds) == 4.0
    assert sample(BROKEN).median(lambda each: each.seconds) is None


CASES: list[tuple[Goal, Run, Run, Run | None, str]] = [
    (Cpu(0.8), run(cpu=0.8), run(cpu=1.0), None, "ok"),
    (Cpu(0.8), run(cpu=0.81), run(cpu=1.0), None, "short"),
    (Start(0.25), run(cpu=0.25), run(), None, "ok"),
    (Start(0.25), run(cpu=0.26), run(), None, "short"),
    (Seconds(0.35), run(seconds=1.0), run(seconds=3.0), None, "ok"),
    (Seconds(0.35), run(seconds=1.1), run(seconds=3.0), None, "short"),
    (Peak(64), run(peak=64.0), run(peak=200.0), None, "ok"),
    (Peak(64), run(peak=64.5), run(peak=200.0), None, "short"),
    (Share(0.95, 1000, 0.01), run(accepted=960, window=1.0, throttled=9), run(), None, "ok"),
    (Share(0.95, 1000, 0.01), run(accepted=960, window=1.0, throttled=10), run(), None, "short"),
    (Share(0.95, 1000, 0.01), run(accepted=940, window=1.0), run(), None, "short"),
    (Share(0.95, 100), run(accepted=96, window=1.0, throttled=50), run(), None, "ok"),
    (Undisturbed(1.5), run(seconds=3.0), run(seconds=1.0), run(seconds=2.0), "ok"),
    (Undisturbed(1.5), run(seconds=3.1), run(seconds=99.0), run(seconds=2.0), "short"),
    (Changed(0.02, 2048, 0.15), run(seconds=1.5, accepted=40), run(seconds=10.0), None, "ok"),
    (Changed(0.02, 2048, 0.15), run(seconds=1.6, accepted=40), run(seconds=10.0), None, "short"),
    (Changed(0.02, 2048, 0.15), run(seconds=1.0, accepted=41), run(seconds=10.0), None, "short"),
    (Everywhere(1.15, 1.3, 0.02, 2048), run(seconds=1.1, cpu=1.3, accepted=40), run(), run(), "ok"),
    (Everywhere(1.15, 1.3, 0.02, 2048), run(seconds=1.2, accepted=40), run(), run(), "short"),
    (Everywhere(1.15, 1.3, 0.02, 2048), run(cpu=1.4, accepted=40), run(), run(), "short"),
    (Everywhere(1.15, 1.3, 0.02, 2048), run(accepted=41), run(), run(), "short"),
    (Everywhere(1.15, 1.3, 1, 2048), run(accepted=2050), run(), run(), "ok"),
    (Everywhere(1.15, 1.3, 1, 2048), run(), run(), None, "nothing to compare with"),
]


@pytest.mark.parametrize(("goal", "ours", "peer", "undisturbed", "wanted"), CASES)
def test_verdict(goal: Goal, ours: Run, peer: Run, undisturbed: Run | None, wanted: str) -> None:
    """If this failed, the table would call a figure reached that is not, or the other way round."""
    without = sample(undisturbed) if undisturbed else NONE
    assert verdict(goal, sample(ours), sample(peer), without) == wanted


def test_one_failed_run_of_ours_is_a_failure() -> None:
    """If this failed, an uploader that breaks now and then would pass for one that is good."""
    assert verdict(Peak(64), sample(run(), BROKEN), NONE, NONE) == "fails"
    assert verdict(Peak(64), NONE, NONE, NONE) == "fails"


def test_without_the_peer_a_comparison_says_so() -> None:
    """If this failed, a machine without coldsnap would show invented verdicts, or none where there can be one."""
    for peer in (NONE, sample(BROKEN, LATE)):
        assert ratio(Cpu(0.8), sample(run()), peer) is None
        assert verdict(Cpu(0.8), sample(run()), peer, NONE) == "nothing to compare with"
        assert verdict(Peak(64), sample(run()), peer, NONE) == "ok"
    assert verdict(Changed(0.02, 2048, 0.15), sample(run(accepted=41)), NONE, NONE) == "short"


def test_cells_say_what_failed() -> None:
    """If this failed, a reader would take the figure of the runs that went well for all of them."""
    figure = Cpu(0.8).figure
    assert sample(run(cpu=1.5)).told(figure) == "1.50 CPU-s"
    assert sample(run(cpu=1.5), BROKEN).told(figure) == "1.50 CPU-s (1 of 2 runs fail)"
    assert sample(BROKEN).told(figure) == "fails"
    assert sample(LATE).told(figure) == "not done in 240 s"
    assert NONE.told(figure) == "–"


def test_every_case_can_be_told() -> None:
    """If this failed, a long measurement would end in an error instead of a table."""
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    for case in cases():
        assert case.goal.text()
        assert case.goal.figure(sample(run(accepted=2048, window=2.0)))


def test_table_is_aligned() -> None:
    """If this failed, the table could not be read in a terminal."""
    assert table([["a", "bb"], ["ccc", "d"]]).split("\n") == ["| a   | bb |", "|-----|----|", "| ccc | d  |"]
