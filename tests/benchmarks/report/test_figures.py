"""Figures: values equal the rows, no text overlaps or is cut off, and files open everywhere."""

from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from made_rows import FAMILY_OF, TEN, failed, made_rows
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from agents.registry import FAMILIES
from benchmarks.analysis.leaderboard import Leaderboard
from benchmarks.report.figures.cold_start import curve_values
from benchmarks.report.figures.learning_curves import SECONDS, STEPS, curve, learning_curves
from benchmarks.report.figures.pareto import front
from benchmarks.report.figures.scores import leaderboard_figure
from benchmarks.report.figures.style import CYCLE, DARK, FAMILY_COLOURS, LIGHT, OTHERS, short, write_figure
from benchmarks.report.report import FIGURES

THIRTY = tuple(FAMILY_OF)[:3] + tuple(FAMILY_OF)[4:31]
LEADERBOARDS = {
    "10 agents x 5 scenarios": made_rows(TEN),
    "30 agents": made_rows(THIRTY, ("Video",), 2, num_sessions=20),
    "long names": [
        {**row, "scenario": f"{row['scenario']} cold users, known items"}
        for row in made_rows(TEN, ("Video", "News", "Social"), 2, num_sessions=20)
    ],
}


@pytest.fixture(scope="module", params=LEADERBOARDS)
def leaderboard(request):
    return Leaderboard(LEADERBOARDS[request.param])


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_overlaps_or_is_cut_off_and_axes_have_labels(name, leaderboard, monkeypatch):
    with matplotlib.rc_context(LIGHT):
        figure = FIGURES[name](leaderboard)
        boxes = drawn_texts(figure, monkeypatch)
    width, height = figure.bbox.size
    outside = [text for text, b in boxes if min(b.x0, b.y0) < -1 or b.x1 > width + 1 or b.y1 > height + 1]
    assert outside == []
    assert [(a, b) for n, (a, x) in enumerate(boxes) for b, y in boxes[n + 1 :] if is_overlap(x, y)] == []
    assert any(axes.get_xlabel() for axes in figure.axes)


def drawn_texts(figure: Figure, monkeypatch) -> list[tuple[str, Bbox]]:
    """Each text that is drawn, with its place in pixels."""
    boxes: list[tuple[str, Bbox]] = []
    draw = Text.draw

    def record(text: Text, renderer) -> None:
        if text.get_visible() and text.get_text().strip():
            boxes.append((text.get_text(), text.get_window_extent(renderer)))
        draw(text, renderer)

    monkeypatch.setattr(Text, "draw", record)
    FigureCanvasAgg(figure).draw()
    return boxes


def is_overlap(a, b) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1.0 and min(a.y1, b.y1) - max(a.y0, b.y0) > 2.0


def test_files_open_in_every_viewer_and_are_small(leaderboard, tmp_path):
    light, dark = write_figure(tmp_path / "scores", lambda: leaderboard_figure(leaderboard))
    for svg in (light, dark):
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert b"var(" not in svg
        assert b"<text" not in svg, "text is drawn as paths, so that no font is needed"
    assert (tmp_path / "scores.svg").read_bytes() == light != dark
    assert (tmp_path / "scores.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "scores.png").stat().st_size < 150_000
    again = write_figure(tmp_path / "again", lambda: leaderboard_figure(leaderboard))
    assert again == (light, dark), "the same rows give the same bytes"
    assert (tmp_path / "again.pdf").read_bytes() == (tmp_path / "scores.pdf").read_bytes()


def test_colours_are_legible_on_light_and_on_dark_paper():
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255.0
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    def contrast(a: str, b: str) -> float:
        low, high = sorted((luminance(a), luminance(b)))
        return (high + 0.05) / (low + 0.05)

    for scheme in (LIGHT, DARK):
        assert contrast(scheme["text.color"], scheme["figure.facecolor"]) > 7.0
        assert all(contrast(colour, scheme["figure.facecolor"]) > 2.9 for colour in (*CYCLE, *FAMILY_COLOURS.values()))
        assert contrast(OTHERS, scheme["figure.facecolor"]) > 2.0
    assert set(FAMILY_COLOURS) == set(FAMILIES)


def test_leaderboard_panels_show_the_scores_of_all_agents_best_first():
    leaderboard = Leaderboard(made_rows(TEN, ("Video", "News"), 2, num_sessions=20, seed=3))
    everywhere, _, news = leaderboard_figure(leaderboard).axes
    assert [label.get_text() for label in everywhere.get_yticklabels()] == [each.agent for each in leaderboard.ranked]
    for axes, values in (
        (everywhere, [each.score.value for each in leaderboard.ranked]),
        (news, [each.scores["News"].value for each in leaderboard.ranked]),
    ):
        assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] == values


def test_a_curve_is_the_mean_over_seeds_with_the_interval_by_hand():
    rows = [row for row in made_rows(("random", "ppo"), ("Video",), 3, num_sessions=400) if row["agent"] == "ppo"]
    for row in rows:
        row["return_mean"], row["return_sem"] = 50.0 + 2.0 * row["seed"], 0.5
    x, mean, half = curve(rows, STEPS)
    assert x.tolist() == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
    assert mean == pytest.approx(np.full(6, 52.0))
    # The 97.5% quantile of t with 2 degrees of freedom; over the sessions of a seed, that of the normal distribution.
    assert half == pytest.approx(np.full(6, 4.30265273 * 2.0 / np.sqrt(3)))
    equal = [{**row, "return_mean": 50.0} for row in rows]
    assert curve(equal, STEPS)[2] == pytest.approx(np.full(6, 1.96 * 0.5 / np.sqrt(3)))


def test_curves_by_time_leave_out_the_evaluation_before_training():
    leaderboard = Leaderboard(made_rows(("random", "ppo", "planning-oracle"), ("Video",), 2, num_sessions=20))
    assert curve(leaderboard.runs("ppo"), SECONDS)[0, -1] == leaderboard.runs("ppo")[0]["wall_s"]
    axes = learning_curves(leaderboard, SECONDS).axes[0]
    assert axes.get_xscale() == "log"
    assert min(min(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") > 0.0


def test_the_pareto_front_holds_the_agents_that_no_other_dominates():
    points = {"a": (0.1, 0.9), "b": (0.5, 0.5), "c": (0.4, 0.4), "d": (0.9, 0.1), "e": (0.9, 0.05)}
    assert front(points) == ["a", "b", "d"]


def test_means_of_few_sessions_are_left_out_of_cold_start_curves():
    first = {"curves": {"by_step": {"reward": [1.0, 2.0, None], "num_sessions": [10, 4, 0]}}}
    second = {"curves": {"by_step": {"reward": [3.0], "num_sessions": [9]}}}
    values = curve_values([first, second], "by_step")
    assert values[0].tolist() == [1.0, 3.0]
    assert np.isnan(values[1:]).all()


def test_long_names_keep_their_end():
    assert short("eb-linucb") == "eb-linucb"
    assert short("my_package.my_agents:NewestFirst") == "…age.my_agents:NewestFirst"
    assert len(short("x" * 80)) == 26


@pytest.mark.parametrize("agents", [("popularity",), ("random", "planning-oracle"), ("random", "ppo")])
def test_figures_without_data_are_left_out(agents):
    rows = made_rows(agents, ("Video",), 1, num_sessions=10)
    names = {name for name, draw in FIGURES.items() if draw(Leaderboard(rows)) is not None}
    assert "headroom" in names
    assert ("leaderboard" in names) == ("planning-oracle" in agents)
    failures = Leaderboard([failed(row) for row in rows if row["is_final"]])
    assert all(draw(failures) is None for draw in FIGURES.values())
