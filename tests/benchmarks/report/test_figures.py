"""Pictures of the benchmark: they say what the rows say, nothing stands on anything else, both schemes are served."""

import re
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
from made_rows import FAMILY_OF, TEN, failed, made_rows

from agents.registry import FAMILIES
from benchmarks.analysis.leaderboard import Board
from benchmarks.report.figures.cold_start_curves import ramp_values
from benchmarks.report.figures.learning_curves import SECONDS, STEPS, curve, learning_curves
from benchmarks.report.figures.palette import FAMILY_TONES, TONES, variables
from benchmarks.report.figures.panel import new_panel, short, spread, svg_of, text_width
from benchmarks.report.figures.pareto import front
from benchmarks.report.figures.scores import leaderboard_picture
from benchmarks.report.plots import draw_pictures, legend, panels, sheet

TEXT = re.compile(
    r'<text style="(?P<style>[^"]*)"(?: x="(?P<x>[-\d.]+)" y="(?P<y>[-\d.]+)")?'
    r'(?: transform="(?:translate\((?P<at>[-\d. ]+)\) )?rotate\((?P<turn>[-\d.]+)[^"]*\)")?>(?P<words>[^<]*)</text>'
)
Box = tuple[float, float, float, float]

THIRTY = tuple(FAMILY_OF)[:3] + tuple(FAMILY_OF)[4:31]
BOARDS = {
    "10 agents x 5 scenarios x 5 seeds": made_rows(TEN),
    "30 agents": made_rows(THIRTY, ("Video",), 2, num_sessions=20),
}


@pytest.fixture(scope="module", params=BOARDS)
def drawn(request):
    """Each picture with its panels as SVG."""
    return [(picture, panels(picture)) for picture in draw_pictures(Board(BOARDS[request.param]))]


def text_boxes(svg: str) -> list[tuple[str, Box]]:
    """Each text of an SVG with the box (left, top, right, bottom) that its letters take in points."""
    found = []
    for match in TEXT.finditer(svg):
        style, words = match["style"], unescape(match["words"])
        size = float(re.search(r"(?:font-size:|font:[^;]*?) ?([\d.]+)px", style)[1])
        width = text_width(words, size, "bold" if re.search(r"bold|700", style) else "normal")
        start = {"middle": -0.5 * width, "end": -width}.get((re.findall(r"text-anchor: (\w+)", style) or [""])[0], 0.0)
        x, y = map(float, (match["at"] or f"{match['x']} {match['y']}").split())
        if abs(float(match["turn"] or 0.0)) == 90.0:
            box = (x - 0.75 * size, y - start - width, x + 0.22 * size, y - start)
        else:
            box = (x + start, y - 0.75 * size, x + start + width, y + 0.22 * size)
        found.append((words, box))
    return found


def is_overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share more than a hair."""
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.3 and min(a[3], b[3]) - max(a[1], b[1]) > 1.2


def overlaps(svg: str) -> list[tuple[str, str]]:
    boxes = text_boxes(svg)
    return [(a, b) for n, (a, x) in enumerate(boxes) for b, y in boxes[n + 1 :] if is_overlap(x, y)]


def test_no_text_stands_on_another_and_none_is_cut_off(drawn):
    num_texts = 0
    for picture, elements in drawn:
        for svg in elements:
            _, _, width, height = map(float, re.search(r'viewBox="([^"]+)"', svg)[1].split())
            boxes = text_boxes(svg)
            num_texts += len(boxes)
            assert len(boxes) == svg.count("<text")
            assert overlaps(svg) == [], picture.name
            outside = [words for words, b in boxes if b[0] < 0 or b[1] < 0 or b[2] > width or b[3] > height + 0.5]
            assert outside == [], picture.name
    assert num_texts > 500


def test_the_test_of_overlaps_sees_an_overlap():
    figure, axes = new_panel("Title", "along")
    axes.text(0.5, 0.5, "one name")
    axes.text(0.5, 0.5, "another")
    assert overlaps(svg_of(figure, "made")) == [("one name", "another")]
    turned, axes = new_panel("Title", "along", "upwards")
    axes.text(-0.16, 0.5, "beside", transform=axes.transAxes)
    assert {frozenset(pair) for pair in overlaps(svg_of(turned, "made"))} == {frozenset({"upwards", "beside"})}


def test_every_panel_has_a_title_and_units_and_every_picture_a_caption_and_a_legend(drawn):
    for picture, elements in drawn:
        assert picture.title
        assert len(picture.caption) > 60
        assert {family for family, _ in legend(picture)} == picture.families
        for svg in elements:
            boxes = text_boxes(svg)
            assert any(box[1] < 8.0 for _, box in boxes), "no title at the top"
            assert any(re.search("score|stars|probability", words) for words, _ in boxes), picture.name


def test_every_kind_of_picture_is_drawn_and_its_file_is_xml_with_both_schemes(drawn):
    assert [picture.name for picture, _ in drawn] == [
        "leaderboard",
        "headroom",
        "learning_curves",
        "learning_curves_by_time",
        "learners_one_by_one",
        "profiles",
        "improvement",
        "cold_start",
        "pareto",
    ]
    for picture, elements in drawn:
        file = sheet(picture, elements)
        root = ElementTree.fromstring(file)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root.findall("{http://www.w3.org/2000/svg}svg")) == len(elements)
        assert b"prefers-color-scheme: dark" in file
        for _, words in legend(picture):
            assert words.encode() in file


def test_panels_leave_every_colour_to_the_page_and_have_no_id_twice(drawn):
    for picture, elements in drawn:
        whole = "".join(elements)
        colours = set(re.findall(r"#[0-9a-f]{6}\b", re.sub(r"var\([^)]*\)", "", whole)))
        assert colours <= {"#ffffff"}, picture.name
        ids = re.findall(r' id="([^"]+)"', whole)
        assert len(ids) == len(set(ids))
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', whole)) <= set(ids)


def test_colours_can_be_told_from_the_paper_in_both_schemes():
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255.0
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)
        )

    def contrast(a: str, b: str) -> float:
        light, dark = sorted((luminance(a), luminance(b)), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    paper = next(tone for tone in TONES if tone.variable == "--paper")
    ink = next(tone for tone in TONES if tone.variable == "--ink")
    assert contrast(ink.light, paper.light) > 7.0 < contrast(ink.dark, paper.dark)
    for family, tones in FAMILY_TONES.items():
        for tone in tones:
            assert contrast(tone.light, paper.light) > 2.4, (family, tone)
            assert contrast(tone.dark, paper.dark) > 4.5, (family, tone)
    assert len({tone.light for tone in TONES}) == len({tone.variable for tone in TONES}) == len(TONES)
    assert set(FAMILIES) == set(FAMILY_TONES)
    assert variables(False).count(":") == variables(True).count(":") == len(TONES)


def test_leaderboard_panels_list_all_agents_from_the_top_with_their_figures():
    board = Board(made_rows(TEN, ("Video", "News"), 2, num_sessions=20, seed=3))
    everywhere, _, news = panels(leaderboard_picture(board))
    best_in_news = sorted(board.standings, key=lambda standing: -standing.scores["News"].value)
    assert best_in_news != board.standings, "else the test shows nothing"
    for svg, standings in ((everywhere, board.standings), (news, best_in_news)):
        names = sorted((box[1], words) for words, box in text_boxes(svg) if words in TEN)
        assert [words for _, words in names] == [standing.agent for standing in standings]
    assert f"{board.ranked[2].score.value:.2f}" in [words for words, _ in text_boxes(everywhere)]


def test_a_curve_is_the_mean_over_seeds_with_the_interval_by_hand():
    rows = [row for row in made_rows(("random", "ppo"), ("Video",), 3, num_sessions=400) if row["agent"] == "ppo"]
    for row in rows:
        row["return_mean"], row["return_sem"] = 50.0 + 2.0 * row["seed"], 0.5
    line = curve(rows, STEPS)
    assert line.x.tolist() == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
    assert line.mean == pytest.approx(np.full(6, 52.0))
    assert line.half == pytest.approx(np.full(6, 1.96 * 2.0 / np.sqrt(3)))
    certain = [{**row, "return_mean": 50.0} for row in rows]
    assert curve(certain, STEPS).half == pytest.approx(np.full(6, 1.96 * 0.5 / np.sqrt(3)))


def test_curves_by_time_run_along_seconds_and_leave_out_the_evaluation_before_the_first_step():
    board = Board(made_rows(("random", "ppo", "planning-oracle"), ("Video",), 2, num_sessions=20))
    assert curve(board.runs("ppo"), SECONDS).x[-1] == board.runs("ppo")[0]["wall_s"]
    axes = learning_curves(board, SECONDS).panels[0].axes[0]
    assert axes.get_xscale() == "log"
    assert min(min(line.get_xdata()) for line in axes.lines if line.get_marker() == "o") > 0.0


def test_learning_curves_take_up_the_height_of_their_panel():
    board = Board(made_rows(("random", "ppo", "planning-oracle"), ("Music",), 2, num_sessions=20))
    for along in (STEPS, SECONDS):
        axes = learning_curves(board, along).panels[0].axes[0]
        lowest, highest = (board.by_agent[agent].returns["Music"].value for agent in ("random", "planning-oracle"))
        assert (highest - lowest) / (axes.get_ylim()[1] - axes.get_ylim()[0]) > 0.75


def test_names_are_spread_in_their_order_as_near_as_there_is_room():
    assert spread([50.0, 10.0], 0.0, 100.0, 9.0) == [50.0, 10.0]
    assert spread([50.0, 50.0, 51.0], 0.0, 100.0, 9.0) == [50.0, 59.0, 68.0]
    assert spread([99.0, 98.0], 0.0, 100.0, 9.0) == pytest.approx([100.0, 91.0])
    crowded = spread([5.0] * 11, 0.0, 50.0, 9.0)
    assert crowded == pytest.approx(np.arange(0.0, 55.0, 5.0).tolist())


def test_the_front_holds_whom_nobody_exceeds_in_both():
    points = {"a": (0.1, 0.9), "b": (0.5, 0.5), "c": (0.4, 0.4), "d": (0.9, 0.1), "e": (0.9, 0.05)}
    assert front(points) == ["a", "b", "d"]


def test_means_of_few_sessions_are_left_out_of_a_ramp():
    ramp = {"reward": [1.0, 2.0, None], "num_sessions": [10, 4, 0]}
    values = ramp_values(
        [{"curves": {"by_step": ramp}}, {"curves": {"by_step": {"reward": [3.0], "num_sessions": [9]}}}], "by_step"
    )
    assert values[0].tolist() == [1.0, 3.0]
    assert np.isnan(values[1:]).all()


def test_long_names_keep_their_end():
    assert short("eb-linucb") == "eb-linucb"
    assert short("my_package.my_agents:NewestFirst") == "…e.my_agents:NewestFirst"
    assert len(short("x" * 80)) == 24


@pytest.mark.parametrize("kept", [("popularity",), ("random", "planning-oracle"), ("random", "ppo")])
def test_whatever_is_missing_is_left_out_of_the_pictures(kept):
    rows = made_rows(kept, ("Video",), 1, num_sessions=10)
    names = {picture.name for picture in draw_pictures(Board(rows))}
    assert "headroom" in names or kept == ("popularity",)
    assert ("leaderboard" in names) == ("planning-oracle" in kept)
    assert draw_pictures(Board([failed(row) for row in rows if row["is_final"]])) == []
