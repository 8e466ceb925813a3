"""The report: it opens with the answer, holds what the rows hold, says what is missing, and needs nothing else."""

import json
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_rows import TEN, failed, made_rows

from benchmarks.analysis.bootstrap import Estimate, draw_runs, estimate
from benchmarks.analysis.leaderboard import Board
from benchmarks.analysis.scores import final_rows, scales, scored
from benchmarks.report.leaderboard_table import score_table
from benchmarks.report.readme_section import markers, write_readme_section
from benchmarks.report.report import write_report
from benchmarks.report.report_page import marked
from benchmarks.report.report_words import against_popularity, answer, how_sure, missing_cells
from benchmarks.report.tensorboard_export import write_events
from benchmarks.running.rows import ResultsError

BEGIN, END = markers("made")
ROWS = made_rows(TEN, ("Video", "News"), 3, num_sessions=40)
ENDS = (("random", 20.0), ("planning-oracle", 60.0))
VOID = {"meta", "link", "br", "img", "path", "use", "rect", "circle", "clippath"}


def with_gaps() -> list[dict]:
    """`ROWS` with a cell that failed and one that is missing."""
    rows = [row for row in ROWS if (row["agent"], row["scenario"], row["seed"]) != ("pqn", "News", 2)]
    dropped = next(row for row in rows if (row["agent"], row["scenario"], row["seed"]) == ("sb3-dqn", "Video", 1))
    rows = [row for row in rows if row["run"] != dropped["run"]]
    return [*rows, failed(dropped, "ValueError: loss is <not> finite | update 12")]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, str, str]:
    """A folder with a report of a suite in which one cell failed and one is missing; its page and its Markdown."""
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, with_gaps())
    return folder, (folder / "report.html").read_text(), (folder / "report.md").read_text()


def of(agent: str, value: float, scenario: str = "Video", seed: int = 0, **more) -> dict:
    """A final row of which only the score matters; its ten sessions all return the same."""
    family = {"random": "reference", "planning-oracle": "reference", "popularity": "rule"}.get(agent, "learner")
    row = {"suite": "tiny", "agent": agent, "family": family, "scenario": scenario, "seed": seed, "env_steps": 0}
    row |= {"is_final": True, "status": "ok", "return_mean": value, "return_sem": 1.0, "returns": [value] * 10}
    row |= {"session_length_mean": 40.0, "churn": 0.1, "wall_s": 0.0, "metrics": None, "settings": {}}
    return {**row, **more}


def tiny(*rows: dict) -> list[dict]:
    return [*(of(agent, value) for agent, value in ENDS), *rows]


# scores


def test_a_score_is_zero_for_random_one_for_the_planning_oracle_and_linear_between():
    rows = [of("random", 18.0), of("random", 22.0, seed=1), of("planning-oracle", 60.0), of("ppo", 30.0)]
    found = scored([*rows, of("planning-oracle", 60.0, seed=1)])
    assert [row["score"] for row in found] == pytest.approx([-0.05, 0.05, 1.0, 0.25, 1.0])
    assert found[3]["score_sem"] == pytest.approx(1.0 / 40.0)
    assert "score" not in rows[3], "the rows that were given stay as they are"


def test_without_both_references_or_with_an_oracle_below_random_there_are_no_scores():
    alone = [of("random", 20.0), of("ppo", 30.0)]
    turned = [of("random", 20.0, "News"), of("planning-oracle", 19.0, "News"), of("ppo", 30.0, "News")]
    assert scales([*alone, *turned]) == {}
    assert all("score" not in row for row in scored([*alone, *turned]))


def test_only_final_rows_count_and_of_a_run_made_twice_the_later_one():
    rows = [of("ppo", 1.0, is_final=False), of("ppo", 2.0), of("ppo", 3.0), failed_row("ppo", 1)]
    unfinished = [of("pqn", 1.0, is_final=False)]
    assert [row["return_mean"] for row in final_rows([*rows, *unfinished])] == [3.0]


def failed_row(agent: str, seed: int) -> dict:
    row = {key: value for key, value in of(agent, 0.0, seed=seed).items() if not key.startswith("return")}
    return {**row, "status": "failed", "error": "OSError: gone"}


# intervals


def test_with_sessions_that_are_all_alike_the_interval_is_that_of_the_bootstrap_over_seeds():
    values = [30.0, 40.0, 50.0]
    rows = [of(agent, v, seed=n) for n in range(3) for agent, v in ENDS]
    runs = draw_runs([*rows, *(of("ppo", value, seed=n) for n, value in enumerate(values))], num_draws=4_000)["ppo"]
    drawn = runs.scores["Video"].drawn().mean(1)
    every = np.array([(a + b + c) / 3 for a in values for b in values for c in values])  # all 27 ways to draw again
    assert runs.scores["Video"].values == pytest.approx([0.25, 0.5, 0.75])
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.std() == pytest.approx((every / 40.0).std(), rel=0.05)


def test_sessions_are_drawn_alike_for_all_agents_so_a_constant_lead_is_certain():
    of_seeds = np.random.default_rng(0).normal([[40.0], [50.0], [30.0]], 20.0, (3, 50))
    rows = []
    for agent, lead in (("random", -20.0), ("planning-oracle", 30.0), ("ppo", 5.0), ("popularity", 0.0)):
        rows += [of(agent, r.mean() + lead, seed=n, returns=(r + lead).tolist()) for n, r in enumerate(of_seeds)]
    board = Board(rows)
    found = board.lead_in("Video", "ppo", "popularity")
    assert (found.value, found.low, found.high) == pytest.approx((5.0, 5.0, 5.0))
    assert board.by_agent["ppo"].returns["Video"].high - board.by_agent["ppo"].returns["Video"].low > 3.0
    score = board.by_agent["ppo"].scores["Video"]
    assert (score.value, score.low, score.high) == pytest.approx((0.5, 0.5, 0.5)), "the scale is drawn with the rest"


def test_pairs_are_made_by_seed_and_only_of_seeds_that_both_have():
    others = [of("ppo", 30.0), of("ppo", 50.0, seed=1), of("pqn", 40.0, seed=1), of("pqn", 10.0, seed=7)]
    rows = tiny(of("random", 20.0, seed=1), of("planning-oracle", 60.0, seed=1), *others)
    board = Board(rows)
    assert board.improvement("ppo", "pqn").value == 1.0
    assert board.lead_in("Video", "ppo", "pqn").value == 10.0
    assert Board(tiny(of("ppo", 30.0), of("pqn", 40.0, seed=1))).improvement("ppo", "pqn") is None


def test_an_estimate_is_the_middle_95_percent_of_the_draws_and_never_minus_zero():
    found = estimate(0.5, np.linspace(0.0, 1.0, 1_001))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.025, 0.975))
    assert Estimate(value=-0.001, low=-0.004, high=1_234.0).text() == "0.00 (0.00 to 1,234.00)"


# who wins


def test_who_lacks_a_scenario_has_no_place_but_its_figures_are_shown():
    rows = tiny(of("ppo", 50.0), of("pqn", 30.0), of("pqn", 30.0, "News"), of("popularity", 25.0, "News"))
    rows += [of("random", 20.0, "News"), of("planning-oracle", 60.0, "News")]
    board = Board(rows)
    assert [standing.agent for standing in board.deployable] == ["pqn"]
    table = {cells[0]: cells for cells in score_table(board).rows}
    assert table["ppo"][2] == "–"
    assert table["ppo"][4] == "0.75"
    assert table["1. pqn"][2].startswith("0.25")


def test_the_answer_names_the_winner_its_lead_and_what_can_be_reached():
    values = (("ppo", 50.0), ("pqn", 40.0), ("bayes-filter", 55.0), ("popularity", 30.0))
    rows = [of(agent, v, seed=n) for n in range(2) for agent, v in ENDS]
    rows += [of(agent, v, seed=n) for n in range(2) for agent, v in values if agent != "bayes-filter"]
    for told, value in (("bayes-filter", 58.0), ("bayes-filter-observed", 55.0)):
        rows += [of(told, value, seed=n, family="reference") for n in range(2)]
    words = answer(Board(rows), [])
    assert words[0] == (
        "On 1 scenario × 2 seeds, **ppo** has the best score of the 3 deployable agents: interquartile mean **0.75** "
        "(95% interval 0.75 to 0.75), 0.25 (0.25 to 0.25) above the next, pqn. The probability that a run of ppo "
        "scores above one of pqn is 1.00 (1.00 to 1.00)."
    )
    assert "has 0.88 (0.88 to 0.88); ppo has 86% of that" in words[1]
    assert "One that is told what every item is, but not who is visiting, has 0.95 (0.95 to 0.95)" in words[1]
    assert "The best rule or bandit, popularity, has 0.25" in words[1]


def test_the_answer_says_how_many_seeds_the_winner_has_in_each_scenario():
    both = [of(agent, v, where, n) for agent, v in ENDS for where in ("Video", "News") for n in range(2)]
    board = Board([*both, *(of("ppo", 50.0, where, n) for where, n in (("Video", 0), ("Video", 1), ("News", 0)))])
    assert answer(board, [])[0].startswith("On 2 scenarios × 1 to 2 seeds, **ppo**")
    assert answer(Board(tiny(of("ppo", 50.0))), [])[0].startswith("On 1 scenario × 1 seed, **ppo**")


def test_a_lead_that_may_be_none_is_called_so():
    noise = np.random.default_rng(1).normal(0.0, 20.0, (2, 10))
    values = {"ppo": 40.0 + noise[0], "pqn": 41.0 + noise[1]}
    rows = tiny(*(of(agent, returns.mean(), returns=returns.tolist()) for agent, returns in values.items()))
    assert "do not tell the two apart" in answer(Board(rows), [])[0]
    assert "do not tell the two apart" not in answer(Board(tiny(of("ppo", 40.0), of("pqn", 41.0))), [])[0]


def test_who_does_not_beat_popularity_is_said_plainly():
    rows = tiny(of("popularity", 30.0), of("ppo", 50.0), of("dqn", 29.0), of("a2c", 30.0))
    assert against_popularity(Board(rows)) == [
        "a2c and dqn do not beat popularity in any scenario.",
        "Above popularity in every scenario: ppo.",
    ]
    assert against_popularity(Board(tiny(of("ppo", 50.0)))) == []


@pytest.mark.parametrize(("num_seeds", "words"), [(1, "with one seed"), (5, "5 seeds are fewer than 10"), (10, "")])
def test_few_seeds_are_called_exploratory_with_the_coverage_of_such_intervals(num_seeds, words):
    rows = [of(agent, v, seed=n) for n in range(num_seeds) for agent, v in ENDS]
    says = how_sure(Board(rows))
    assert words in says
    assert bool(says) == (num_seeds < 10)
    assert ("90% with 5 seeds of 4" in says) == (num_seeds == 5)


def test_missing_cells_are_those_without_a_final_row():
    board = Board(tiny(of("ppo", 30.0), failed_row("pqn", 0)))
    assert missing_cells(board) == []
    assert missing_cells(board, [("ppo", "Video", 0), ("ppo", "Video", 1)]) == [("ppo", "Video", 1)]
    assert missing_cells(Board(tiny(of("ppo", 30.0, seed=1)))) == [
        ("random", "Video", 1),
        ("planning-oracle", "Video", 1),
        ("ppo", "Video", 0),
    ]


# the page and the Markdown


class Outline(HTMLParser):
    """Text, links, identifiers and sources of a page; fails on tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text = [], [], [], set(), ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_no_network_and_no_script_and_its_links_lead_somewhere(written):
    page = Outline(written[1])
    assert not page.tags & {"script", "iframe", "link", "img", "object"}
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", written[1])


def test_the_page_serves_phones_and_both_schemes_and_its_tables_scroll_by_themselves(written):
    assert 'name="viewport" content="width=device-width' in written[1]
    assert "prefers-color-scheme: dark" in written[1]
    assert written[1].count("<table>") == written[1].count('<div class="scroll"')
    assert ".scroll { overflow-x: auto" in written[1]


def test_both_reports_open_with_the_answer_and_have_the_same_sections(written):
    _, page, markdown = written
    headings = re.findall(r"^## (.+)$", markdown, re.MULTILINE)
    assert headings == re.findall(r"<h2>(.+?)</h2>", page)
    assert {"Leaderboard", "Learning curves", "Cold start", "Failed and missing"} <= set(headings)
    assert markdown.splitlines()[2].startswith("On 2 scenarios × ")
    first = re.search(r'<div class="answer">\s*<p>(.+?)</p>', page)[1]
    assert re.sub(r"</?strong>", "**", first) == markdown.splitlines()[2]


def test_failed_and_missing_cells_are_named_and_errors_are_text_not_markup(written):
    _, page, markdown = written
    assert "1 cell failed and 1 is missing" in markdown
    assert "| sb3-dqn | Video | 1 | ValueError: loss is <not> finite \\| update 12 |" in markdown
    assert "loss is &lt;not&gt; finite | update 12" in page
    assert "| pqn | News | 2 |" in markdown


def test_scenarios_that_miss_the_same_seeds_of_an_agent_stand_in_one_line(tmp_path: Path):
    expected = [(agent, where, n) for agent in ("ppo", "pqn") for where in ("Video", "News") for n in range(2)]
    write_report(tmp_path, tiny(of("ppo", 50.0)), expected)
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert [line for line in lines if line.startswith(("| ppo | Video | 1", "| ppo | News", "| pqn"))] == [
        "| ppo | Video | 1 |",
        "| ppo | News | 0, 1 |",
        "| pqn | Video, News | 0, 1 |",
    ]


def test_figures_of_the_rows_stand_in_both_reports(written):
    folder, page, markdown = written
    board = Board(with_gaps())
    best = board.deployable[0]
    for text in (page, markdown):
        assert best.score.text() in text
        assert f"{best.returns['Video'].value:.1f}" in text
        assert "0123456789ab" in text
        assert "made processor" in text
        assert "learning_rate 0.0003" in text
    for name in re.findall(r"\]\((\w+\.svg)\)", markdown):
        assert (folder / name).stat().st_size > 5_000
    assert page.count("<svg") == sum((folder / f).read_text().count("<svg") - 1 for f in pictures_of(markdown))


def pictures_of(markdown: str) -> list[str]:
    return re.findall(r"\]\((\w+\.svg)\)", markdown)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    rows = json.loads(json.dumps(made_rows(("random", "ppo", "planning-oracle"), ("Video",), 2, num_sessions=10)))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_report(folder, rows)
    assert {f.name: f.read_bytes() for f in first.iterdir()} == {f.name: f.read_bytes() for f in second.iterdir()}


def test_a_report_without_scores_says_so_and_shows_returns(tmp_path: Path):
    report = write_report(tmp_path, made_rows(("popularity", "ppo"), ("Video",), 2, num_sessions=10))
    assert report.answer.startswith("There are no scores: no scenario has final rows of both references")
    assert (
        "Without scores, as a reference is missing, or the oracle is not above random: Video."
        in (tmp_path / "report.md").read_text()
    )


def test_a_report_of_failures_alone_is_written(tmp_path: Path):
    report = write_report(tmp_path, [failed_row("ppo", 0), failed_row("pqn", 0)])
    assert "2 cells failed" in report.answer
    assert "OSError: gone" in (tmp_path / "report.html").read_text()


def test_names_are_escaped_and_marks_are_not():
    assert marked("**x** `a < b` <script>") == "<strong>x</strong> <code>a &lt; b</code> &lt;script&gt;"


# README and TensorBoard


def test_the_readme_section_is_replaced_and_nothing_else(tmp_path: Path):
    readme, folder = tmp_path / "README.md", tmp_path / "runs" / "quick"
    readme.write_text(f"# Title\n\n{BEGIN}\nwhat stood here before\n{END}\n\nafter\n")
    write_readme_section(readme, folder, ROWS)
    text = readme.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\nOn 2 scenarios × 3 seeds, **")
    assert text.endswith(f"\n{END}\n\nafter\n")
    assert "what stood here before" not in text
    assert "](runs/quick/report.md)" in text
    assert "](runs/quick/leaderboard.svg)" in text
    assert "| bayes-filter | reference | 0." in text
    write_readme_section(readme, folder, ROWS)
    assert readme.read_text() == text


@pytest.mark.parametrize("content", ["no markers", f"{END}\n{BEGIN}", BEGIN])
def test_a_readme_without_markers_is_left_alone_with_one_line(content, tmp_path: Path):
    readme = tmp_path / "README.md"
    readme.write_text(content)
    with pytest.raises(ResultsError, match="lacks the lines") as refusal:
        write_readme_section(readme, tmp_path, ROWS)
    assert "\n" not in str(refusal.value)
    assert readme.read_text() == content


def test_without_tensorboard_one_line_says_what_to_install(tmp_path: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ResultsError, match="pip install tensorboard"):
        write_events(tmp_path, ROWS)
    assert not list(tmp_path.iterdir())


def test_events_are_written_for_each_run_against_user_steps(tmp_path: Path, monkeypatch):
    found: dict[str, list[tuple[str, float, int]]] = {}

    class Writer:
        def __init__(self, folder: str) -> None:
            self.scalars = found.setdefault(Path(folder).relative_to(tmp_path).as_posix(), [])

        def __enter__(self) -> "Writer":
            return self

        def __exit__(self, *error: object) -> None: ...

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            self.scalars.append((tag, value, step))

    stub = types.ModuleType("torch.utils.tensorboard")
    stub.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stub)
    write_events(tmp_path, [*ROWS, failed_row("ppo", 0)])
    assert len(found) == 10 * 2 * 3
    run = found["Video/ppo-gru/seed-1"]
    assert [step for tag, _, step in run if tag == "score"] == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
    last = next(row for row in scored(ROWS) if row["run"] == "ppo-gru-Video-1" and row["is_final"])
    assert ("return", last["return_mean"], 50_000) in run
    assert ("score", last["score"], 50_000) in run
    assert ("metrics/novelty", last["metrics"]["novelty"], 50_000) in run
    assert not any(tag == "metrics/regret" for tag, _, _ in run), "a metric that a run lacks is left out"
