"""The report: it summarises the results, holds the numbers of the rows, names missing runs, and is self-contained."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_rows import ENDS, TEN, failed, final_row, made_rows, with_references

from benchmarks.analysis.leaderboard import Leaderboard
from benchmarks.report.report import html, markdown, markdown_text, write_report
from benchmarks.report.tables import missing_runs

ROWS = made_rows(TEN, ("Video", "News"), 3, num_sessions=40)
VOID = {"meta", "link", "br", "img", "source"}


def with_gaps() -> list[dict]:
    """`ROWS` with a failed and a missing run."""
    rows = [row for row in ROWS if (row["agent"], row["scenario"], row["seed"]) != ("pqn", "News", 2)]
    dropped = next(row for row in rows if (row["agent"], row["scenario"], row["seed"]) == ("sb3-dqn", "Video", 1))
    rows = [row for row in rows if row["run"] != dropped["run"]]
    return [*rows, failed(dropped, "ValueError: loss is <not> finite | update 12")]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, str, str]:
    """A folder with a report of a suite with a failed and a missing run; its page and its Markdown."""
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, with_gaps())
    return folder, (folder / "report.html").read_text(), (folder / "report.md").read_text()


def table_of(rows: list[dict], heading: str) -> list[list[str]]:
    """The cells of the first table below a heading of the report, without its line of dashes."""
    lines = markdown(Leaderboard(rows)).split(f"# {heading}", 1)[1].split("\n\n")
    table = next((each for each in lines if each.startswith("|")), "")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "---" not in line]


def summary_of(rows: list[dict]) -> dict[str, str]:
    return dict(table_of(rows, "Benchmark report"))


def test_the_summary_names_the_best_agents_and_the_references():
    values = (("ppo", 50.0), ("pqn", 40.0), ("popularity", 30.0))
    rows = [final_row(agent, v, seed=n) for n in range(2) for agent, v in (("random", 20.0), ("planning-oracle", 60.0))]
    rows += [final_row(agent, v, seed=n) for n in range(2) for agent, v in values]
    rows += [final_row("bayes-filter", 55.0, seed=n, family="reference") for n in range(2)]
    summary = summary_of(rows)
    assert summary["best agent"] == "ppo: score 0.75 (0.75 to 0.75)"
    assert summary["second best"] == "pqn: score 0.50 (0.50 to 0.50)"
    assert summary["difference of the two"] == "0.25 (0.25 to 0.25)"
    assert summary["probability of improvement, same seed"] == "1.00 (0.34 to 1.00)"
    assert summary["probability of improvement, any seeds"] == "1.00 (0.39 to 1.00)"
    assert summary["not significantly below the best"] == "none"
    assert summary["best rule or bandit"] == "popularity: score 0.25 (0.25 to 0.25)"
    assert summary["bayes-filter"] == "score 0.88 (0.88 to 0.88)"


def test_a_difference_whose_interval_contains_zero_is_not_significant():
    noise = np.random.default_rng(1).normal(0.0, 20.0, (2, 10))
    returns = {"ppo": 40.0 + noise[0], "pqn": 41.0 + noise[1]}
    rows = [final_row(agent, each.mean(), returns=each.tolist()) for agent, each in returns.items()]
    assert "not significant" in summary_of(with_references(*rows))["difference of the two"]
    clear = with_references(final_row("ppo", 40.0), final_row("pqn", 41.0))
    assert "not significant" not in summary_of(clear)["difference of the two"]


def test_the_report_names_scenarios_in_which_the_oracle_is_not_measurably_above_random():
    rows = with_references(final_row("ppo", 50.0), *(final_row(agent, 9.0, "News") for agent, _ in ENDS))
    text = "not measurably above that of `random` with these seeds: News."
    assert text in markdown(Leaderboard(rows))
    assert "not measurably" not in markdown(Leaderboard(rows[:3]))


def test_a_report_is_written_if_agents_share_no_seed_and_leaves_out_their_comparison(tmp_path: Path):
    rows = [final_row(agent, value, seed=n) for n in range(2) for agent, value in ENDS]
    rows += [final_row("popularity", 30.0), final_row("ppo", 50.0, seed=1)]
    assert "| second best | popularity" in write_report(tmp_path, rows)
    assert not (tmp_path / "improvement.png").exists()
    write_report(tmp_path, [*rows, final_row("pqn", 40.0, seed=1)])
    assert (tmp_path / "improvement.png").exists()


def test_learners_are_compared_with_popularity_where_both_have_runs():
    learners = [final_row("ppo", 50.0), final_row("dqn", 29.0), final_row("a2c", 30.0), final_row("pqn", 50.0, "News")]
    _, *rows = table_of(with_references(final_row("popularity", 30.0), *learners), "Learners and popularity")
    assert rows == [["ppo", "Video", "1 of 1"], ["a2c", "none", "0 of 1"], ["dqn", "none", "0 of 1"]]
    assert "## Learners and popularity" not in markdown(Leaderboard(with_references(final_row("ppo", 50.0))))


def test_an_agent_without_all_scenarios_has_no_rank_but_its_scores_are_shown():
    rows = with_references(final_row("ppo", 50.0), final_row("pqn", 30.0), final_row("pqn", 30.0, "News"))
    rows += [final_row("random", 20.0, "News"), final_row("planning-oracle", 60.0, "News")]
    columns, *table = table_of(rows, "Leaderboard")
    cells = {row[2]: dict(zip(columns, row, strict=True)) for row in table}
    assert (cells["ppo"]["rank"], cells["ppo"]["score (95% interval)"], cells["ppo"]["Video"]) == ("", "–", "0.75")
    assert (cells["pqn"]["rank"], cells["pqn"]["seeds"]) == ("1", "1")
    assert summary_of(rows)["agents"] == "4, 2 of them deployable, 1 of these with runs in every scored scenario"


def test_the_table_has_the_tier_of_each_deployable_agent():
    noise = np.random.default_rng(0).normal(0.0, 1.0, (3, 10))
    rows = [
        final_row(agent, v, seed=n) for n in range(10) for agent, v in (("random", 20.0), ("planning-oracle", 60.0))
    ]
    for agent, mean, of_agent in zip(("ppo", "pqn", "popularity"), (50.0, 49.8, 30.0), noise, strict=True):
        rows += [final_row(agent, mean + each, seed=n) for n, each in enumerate(of_agent)]
    columns, *table = table_of(rows, "Leaderboard")
    tiers = {row[columns.index("agent")]: row[columns.index("tier")] for row in table}
    assert tiers == {"planning-oracle": "", "ppo": "1", "pqn": "1", "popularity": "2", "random": ""}
    assert summary_of(rows)["not significantly below the best"] in ("pqn", "ppo")


@pytest.mark.parametrize(("num_seeds", "text"), [(1, "with one seed"), (4, "fewer than 5 seeds"), (5, "")])
def test_results_of_few_seeds_are_called_exploratory(num_seeds, text):
    ends = (("random", 20.0), ("planning-oracle", 60.0))
    report = markdown(Leaderboard([final_row(agent, v, seed=n) for n in range(num_seeds) for agent, v in ends]))
    assert ("Exploratory" in report) == bool(text)
    assert text in report


def test_missing_runs_are_those_without_a_final_row():
    leaderboard = Leaderboard(with_references(final_row("ppo", 30.0), failed(final_row("pqn", 0.0))))
    assert missing_runs(leaderboard) == []
    assert missing_runs(leaderboard, [("ppo", "Video", 0), ("ppo", "Video", 1)]) == [("ppo", "Video", 1)]


class Outline(HTMLParser):
    """Text, identifiers, links and tags of a page; fails on unbalanced tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.tags, self.text = [], [], [], set(), ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in ("href", "src", "srcset", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_page_needs_no_network_and_no_script_and_its_links_lead_somewhere(written):
    page = Outline(written[1])
    assert not page.tags & {"script", "iframe", "link", "object"}
    assert {link[:1] for link in page.links if not link.startswith("data:image/svg+xml;base64,")} == {"#"}
    assert {link[1:] for link in page.links if link[0] == "#"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_serves_phones_and_both_schemes(written):
    assert 'name="viewport" content="width=device-width' in written[1]
    assert written[1].count('media="(prefers-color-scheme: dark)"') == written[1].count("<img ")
    assert written[1].count("<table>") == written[1].count('<div class="scroll"')


def test_page_and_markdown_have_the_same_sections_and_every_figure_exists(written):
    folder, page, markdown = written
    headings = re.findall(r"^## (.+)$", markdown, re.MULTILINE)
    assert headings == re.findall(r"<h2 [^>]*>(.+?)</h2>", page)
    assert {"Leaderboard", "Learning curves", "Cold start", "Failed and missing runs"} <= set(headings)
    figures = re.findall(r"\]\((\w+)\.png\)", markdown)
    assert len(figures) == page.count("<img ") == 9
    assert all((folder / f"{name}.{suffix}").exists() for name in figures for suffix in ("png", "pdf", "svg"))


def test_failed_and_missing_runs_are_named_and_errors_are_shown_literally(written):
    _, page, markdown = written
    assert "| failed runs | 1 |" in markdown
    assert "| missing runs | 1 |" in markdown
    assert "| pqn | News | 2 |" in markdown
    assert "<not>" not in markdown.replace("\\<", "")
    assert "ValueError: loss is <not> finite | update 12" in Outline(page).text


@pytest.mark.parametrize(
    "text",
    [
        "<img src=x onerror=alert(1)>",
        "a | b",
        "**bold** `code` __init__ [x](y) ![z](w)",
        "a\nb",
        "&lt; \\ # ~~",
        "learning_rate",
    ],
)
def test_text_of_rows_is_shown_literally(text):
    page = html(f"# Title\n\n| a | b |\n|---|---|\n| {markdown_text(text)} | 1 |\n", {})
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert len(cells) == 2
    assert Outline(cells[0]).text == " ".join(text.split())
    assert not Outline(cells[0]).tags


def test_a_lone_surrogate_in_an_error_does_not_end_the_report(tmp_path):
    write_report(tmp_path, with_references(failed(final_row("ppo", 0.0), "OSError: \udcff")))
    assert "OSError: ?" in (tmp_path / "report.html").read_text()


def test_numbers_of_the_rows_are_in_both_reports(written):
    _, page, markdown = written
    best = Leaderboard(with_gaps()).deployable[0]
    for text in (Outline(page).text, markdown):
        assert best.score.text() in text
        assert f"{best.returns['Video'].value:.1f}" in text
        assert all(each in text for each in ("0123456789ab", "made processor", "learning_rate=0.0003"))


def test_the_same_rows_give_the_same_bytes(tmp_path: Path):
    rows = json.loads(json.dumps(made_rows(("random", "ppo", "planning-oracle"), ("Video",), 2, num_sessions=10)))
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_report(folder, rows)
    assert {f.name: f.read_bytes() for f in first.iterdir()} == {f.name: f.read_bytes() for f in second.iterdir()}


def test_a_report_without_scores_says_so_and_shows_returns(tmp_path: Path):
    summary = write_report(tmp_path, made_rows(("popularity", "ppo"), ("Video",), 2, num_sessions=10))
    assert "There are no scores" in summary
    markdown = (tmp_path / "report.md").read_text()
    assert "Without scores, because a reference is missing or the oracle is not above random: Video." in markdown
    assert "### Video" in markdown


def test_a_report_of_failures_alone_is_written(tmp_path: Path):
    rows = [failed(final_row(agent, 0.0), "OSError: gone") for agent in ("ppo", "pqn")]
    assert "| failed runs | 2 |" in write_report(tmp_path, rows)
    assert "OSError: gone" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("declared", [{"is_privileged": True}, {"latent_reads": ["play"]}])
def test_a_privileged_agent_of_a_user_is_marked_and_not_ranked(declared):
    rows = with_references(final_row("ppo", 30.0), final_row("popularity", 25.0))
    oracle = final_row("gone_module:Oracle", 55.0, family="own", **declared)
    leaderboard = Leaderboard([*rows, oracle])
    report = markdown(leaderboard)
    assert list(leaderboard.tiers) == ["ppo", "popularity"]
    assert "|  |  | gone_module:Oracle | own | latent state in play | 0.88" in report
    assert "| best agent | ppo:" in report
    assert "*Latent state in play*" in report
    assert "gone_module" not in report.split("## Learners and popularity")[1].split("##")[0]
    assert "*Latent state in play*" not in markdown(Leaderboard(rows))


@pytest.mark.parametrize(
    ("agent", "family", "privileges"),
    [
        ("item-knn", "supervised", "feedback on items"),
        ("agents.supervised.item_knn:ItemKNN", "own", "feedback on items"),
        ("distilled-scorer", "supervised", "teacher"),
        ("large-model-pretrained", "pretrained", "teacher"),
        ("pqn", "reinforcement", "–"),
        ("gone_module:Gone", "own", "–"),
    ],
)
def test_the_leaderboard_says_what_was_privileged_in_training(agent, family, privileges):
    report = markdown(Leaderboard(with_references(final_row(agent, 50.0, family=family))))
    assert f" | {agent} | {family} | {privileges} | " in report
