"""The timeline in words."""

from __future__ import annotations

from pathlib import Path

from fleetswap.domain.timeline.model import Span
from fleetswap.domain.timeline.words import over_budget, story, table
from tests.timeline.examples import DEPLOY, deploy


def test_a_deploy_is_told_from_its_commit_to_its_bake() -> None:
    """Nobody would see what makes a deploy slow."""
    assert story(DEPLOY) == (
        "web: deploy of web-7f3a1b2c in place of web-91bc0d3e in eu-central-1, succeeded",
        "commit 4b825dc642 of 2026-11-27 08:58:00 UTC: Sell more",
        f"stack shop/prod, run {DEPLOY.run}, started 2026-11-27 09:00:00 UTC",
        "AT     PHASE          TOOK    BUDGET       SHARE",
        "-2:00  commit",
        "0 s    evaluation     1.5 s                  1 %",
        "4 s    build          20.0 s  15.0 s over    8 % ##",
        "24 s   upload         6.0 s   1:00           2 % #",
        "30 s   registration   10.0 s                 4 % #",
        "40 s   launch         30.0 s                12 % ####",
        "1:10   first healthy",
        "1:10   gate           5.0 s                  2 % #",
        "1:15   step 25 %      1:00    1:30          25 % ########",
        "2:15   step 100 %     3.0 s   1:30           1 %",
        "2:16   live",
        "2:18   bake           1:40                  42 % ############",
        "start to live: 2:16 (budget 2:00, over)",
        "commit to live: 4:16 (budget 5:00)",
    )


def test_the_page_shows_what_is_printed() -> None:
    """A user of the how-to would look for columns that are not there."""
    page = (Path(__file__).resolve().parents[2] / "docs/how-to/timeline.md").read_text(encoding="utf-8")
    for printed in (story(DEPLOY), table([DEPLOY])):
        assert "\n".join(printed) in page


def test_a_failed_deploy_says_why() -> None:
    """Its reason would have to be looked for in a log."""
    failed = deploy(
        outcome="aborted", reason="never healthy", commit=None, commit_time=None, region="", previous=None, spans=()
    )
    assert story(failed) == (
        "web: deploy of web-7f3a1b2c, aborted",
        "why: never healthy",
        f"stack shop/prod, run {DEPLOY.run}, started 2026-11-27 09:00:00 UTC",
        "AT  PHASE  TOOK  BUDGET  SHARE",
    )
    bare = deploy(subject=None, commit_time=None, ended=DEPLOY.started, spans=(Span("look", DEPLOY.started, 0.1),))
    assert story(bare)[1] == "commit 4b825dc642"
    assert story(bare)[-1].split() == ["0", "s", "look", "0.1", "s", "0", "%"]


def test_the_last_deploys_are_a_table() -> None:
    """Which deploy was slow, or failed, could not be seen at a glance."""
    failed = deploy(outcome="rolled back", commit="4b825dc642cb6eb9-dirty", spans=())
    assert table([DEPLOY, failed]) == (
        "ENDED (UTC)          RELEASE       BY      COMMIT            OUTCOME      START TO LIVE  COMMIT TO LIVE"
        "  OVER BUDGET",
        "2026-11-27 09:04:00  web-7f3a1b2c  deploy  4b825dc642        succeeded    2:16           4:16          "
        "  build, start to live",
        "2026-11-27 09:04:00  web-7f3a1b2c  deploy  4b825dc642-dirty  rolled back  -              -               -",
    )
    several = table([DEPLOY, deploy(region="", commit=None)])
    assert [line.split()[4 if not number else 3] for number, line in enumerate(several)][1:] == ["eu-central-1", "-"]
    assert several[0].split()[3] == "REGION"


def test_a_budget_is_named_by_its_setting() -> None:
    """Nobody would know which setting to change."""
    slow = deploy(spans=(*DEPLOY.spans, Span("step 25 %", DEPLOY.started, 91.0, budget=90.0)))
    assert over_budget(slow) == (
        "build took 20.0 s, and fleetswap:budgets.build is 15 s",
        "step 25 % took 1:31, and fleetswap:budgets.step is 90 s",
        "start to live took 2:16, and fleetswap:budgets.start_to_live is 120 s",
    )
