"""The page of the leaderboard."""

import dataclasses

import pytest
from conftest import CHECKOUT

from benchmarks.committed_results import COMMITTED
from benchmarks.report import submission_board
from benchmarks.report.submission_board import board
from benchmarks.submission.published import published


def test_the_page_is_that_of_the_committed_submissions():
    page = (CHECKOUT / "docs" / "leaderboard.md").read_text("utf-8")
    assert page == board(COMMITTED), "python -m benchmarks leaderboard --write docs/leaderboard.md"


@pytest.mark.parametrize(
    "text", ["<img src=x onerror=act>", "A {onclick=act}", "[x](javascript:act)", "<script>act</script>"]
)
@pytest.mark.parametrize("field", ["authors", "description", "licence"])
def test_texts_of_authors_are_shown_literally(monkeypatch, field, text):
    markdown = pytest.importorskip("markdown")  # of MkDocs

    def forged(folder):
        for each in published(folder):
            value = [text] if field == "authors" else text
            manifest = each.submission.manifest.model_copy(update={field: value, "url": "https://example.org/a_b"})
            yield dataclasses.replace(each, submission=dataclasses.replace(each.submission, manifest=manifest))

    monkeypatch.setattr(submission_board, "published", forged)
    page = markdown.markdown(board(COMMITTED), extensions=["attr_list", "tables"])
    assert "act" in page
    assert not any(f"<{tag}" in page for tag in ("img", "script"))
    assert not any(f' {name}="' in page for name in ("onclick", "onerror"))
    assert 'javascript:act"' not in page
    assert '<a href="https://example.org/a_b">https://example.org/a_b</a>' in page
