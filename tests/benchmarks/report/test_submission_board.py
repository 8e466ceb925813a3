"""The page of the leaderboard."""

from conftest import CHECKOUT

from benchmarks.committed_results import COMMITTED
from benchmarks.report.submission_board import board


def test_the_page_is_that_of_the_committed_submissions():
    page = (CHECKOUT / "docs" / "leaderboard.md").read_text("utf-8")
    assert page == board(COMMITTED), "python -m benchmarks leaderboard --write docs/leaderboard.md"
