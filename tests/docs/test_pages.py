"""Tables and links of the README and the documentation agree with the code, the committed results and the files."""

import dataclasses
import inspect
import json
import re

import gymnasium
import pytest
from conftest import CHECKOUT, SCENARIO_NAMES

import recsim_env
from recsim_env.config import SECTIONS, SessionConfig
from recsim_env.fidelity import TARGETS
from recsim_env.logs import find_log
from recsim_env.logs.simulated.event_schema import event_schema
from recsim_env.scenarios import REPLAY, SCENARIOS
from recsim_env.simulation import custom_user_model

DOCS = CHECKOUT / "docs"
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def rows_of(text: str, pattern: str) -> dict[str, str]:
    """First cell -> the other cells of the line, of the table rows whose first cell matches."""
    return dict(re.findall(rf"^\| ({pattern}) \| (.*) \|$", text, re.MULTILINE))


def value_in(cell: str) -> float | bool:
    cell = cell.replace(",", "").replace("−", "-")
    return cell == "True" if cell in ("True", "False") else float(cell)


PRESETS = {**SCENARIOS, REPLAY.name: REPLAY}


@pytest.mark.parametrize("name", PRESETS)
def test_a_page_lists_exactly_the_fields_that_a_preset_changes(name):
    page = (DOCS / "environments" / f"{name.lower()}.md").read_text(encoding="utf-8")
    stated = {
        field.strip("`"): tuple(value_in(cell) for cell in columns.split(" | ")[:2])
        for field, columns in rows_of(page, r"`\w+\.\w+`").items()
    }
    changed = {
        f"{section}.{field.name}": (getattr(getattr(PRESETS[name], section), field.name), field.default)
        for section, kind in SECTIONS.items()
        for field in dataclasses.fields(kind)
        if getattr(getattr(PRESETS[name], section), field.name) != field.default
    }
    assert stated == changed


@pytest.mark.parametrize("name", [*SCENARIO_NAMES, *([REPLAY.name] if find_log() else [])])
def test_a_page_states_the_lengths_of_the_parts_of_an_observation(name):
    page = (DOCS / "environments" / f"{name.lower()}.md").read_text(encoding="utf-8")
    stated = {
        part.strip("`"): columns.split(" | ")[:2]
        for part, columns in rows_of(page, r"`(?:user|history|candidates|candidate_mask)`").items()
    }
    for column, kind in enumerate(("dict", "full")):
        space = gymnasium.make(f"recsim_env/{name}-v0", observation=kind).observation_space
        lengths = {part: cells[column] for part, cells in stated.items() if cells[column] != "none"}
        assert lengths == {part: str(box.shape[0]) for part, box in space.items()}


def ids_in(text: str) -> set[str]:
    return set(re.findall(r"recsim_env/[A-Z]\w+-v\d", text))


@pytest.mark.parametrize("name", TARGETS)
def test_a_page_has_each_measure_of_fidelity_inside_its_target(name):
    page = (DOCS / "environments" / f"{name.lower()}.md").read_text(encoding="utf-8")
    rows = rows_of(page.partition("## Fidelity")[2].partition("\n## ")[0], r"`\w+`")
    assert [row.strip("`") for row in rows] == list(TARGETS[name])
    for cells, target in zip(rows.values(), TARGETS[name].values(), strict=True):
        measured, span, source = cells.split(" | ")
        assert span == f"{target.low:g} to {target.high:g}"
        assert source == target.source
        assert target.low <= float(measured) <= target.high


def test_pages_and_readme_name_the_registered_ids():
    registered = {name for name in gymnasium.registry if name.startswith("recsim_env/")}
    in_pages = ids_in("".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md")))
    assert {name for name in registered if not name.endswith("Flat-v0")} <= in_pages <= registered
    plain = {name for name in registered if not re.search(r"(Slate|Content|Catalog|Flat|Lifetime)-v0$", name)}
    assert plain <= ids_in(README) <= registered


def test_the_table_of_arguments_has_each_argument_with_its_default():
    page = (DOCS / "environments" / "index.md").read_text(encoding="utf-8").split("## Arguments")[1].split("\n## ")[0]
    stated = {name.strip("`"): columns.split(" | ")[0] for name, columns in rows_of(page, r"`\w+`").items()}
    parameters = dict(inspect.signature(recsim_env.RecommenderEnv.__init__).parameters)
    named = {name for name, it in parameters.items() if it.kind is not it.VAR_KEYWORD}
    assert set(stated) == named - {"self", "scenario"}
    sizes = {field.name: field.default for field in dataclasses.fields(SessionConfig)}
    for name, cell in stated.items():
        default = sizes.get(name, parameters[name].default)
        if name != "user_model":
            assert cell.split(" (")[0].strip("`").strip('"') == str(default), name


def test_the_guide_to_user_models_lists_every_replaceable_function():
    page = (DOCS / "custom_user_model.md").read_text(encoding="utf-8")
    signatures = re.findall(r"^\| `(\w+)\((.*?)\)` \|", page, re.MULTILINE)
    assert sorted(name for name, _ in signatures) == sorted(custom_user_model.REPLACEABLE)
    for name, arguments in signatures:
        function = custom_user_model.REPLACEABLE[name]
        plain = getattr(function, "py_func", function)
        assert arguments == ", ".join(inspect.signature(plain).parameters), name


@pytest.mark.parametrize(
    "page", ["README.md", "docs/large_model.md", "agents/large_model/pretrained/README.md"], ids=lambda page: page
)
def test_scores_of_the_ladder_are_those_of_the_committed_report(page):
    report = (CHECKOUT / "benchmarks" / "results" / "standard" / "report.md").read_text("utf-8")
    rows = re.findall(
        r"^\| +\d* \| +\d* \| ([\w-]+) \| [a-z]+ \| [^|]+ \| (\S+ \(.*?\)) \| \S+ \| (.*) \| \d+ \|$",
        report,
        re.MULTILINE,
    )
    scores = {agent: f"{score} | {by_scenario}" for agent, score, by_scenario in rows}
    text = (CHECKOUT / page).read_text("utf-8").replace("| this model |", "| large-model-pretrained |")
    stated = re.findall(r"^\| `?([a-z-]+)`? \| (\S+ \(\S+ to \S+\) \| .*) \|$", text, re.MULTILINE)
    assert len(stated) >= 5
    for agent, row in stated:
        assert row == scores[agent], agent


@pytest.mark.parametrize("name", ["Video", "News", "Social", "Ecommerce", "Music", "MovieLens", "Ratings"])
def test_the_ladder_of_an_environment_is_that_of_the_committed_report(name):
    report = (CHECKOUT / "benchmarks" / "results" / "standard" / "report.md").read_text("utf-8")
    section = report.split(f"\n### {name}\n")[1].split("\n### ")[0]
    known = {
        (agent, value, score)
        for agent, score, value in re.findall(
            r"^\| ([\w-]+) \| (\S+ \(.*?\)) \| (\S+ \(.*?\)) \|", section, re.MULTILINE
        )
    }
    page = (DOCS / "environments" / f"{name.lower()}.md").read_text("utf-8").split("## Headroom")[1].split("\n## ")[0]
    stated = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    assert len(stated) == 10
    assert set(stated) <= known
    (ratios,) = re.findall(r"^\| (\S+ \([^|]+\)(?: \| \S+ \([^|]+\)){3}) \|$", page, re.MULTILINE)
    assert f"\n| {name} | {ratios} |\n" in report


def test_scores_in_reserved_scenarios_are_those_of_the_results():
    table = (CHECKOUT / "benchmarks" / "results" / "sampled" / "sampled.md").read_text("utf-8")
    known = dict(re.findall(r"^\| ([\w-]+) \| (\d\.\d\d \(.*?\)) \|", table, re.MULTILINE))
    for page in ("README.md", "docs/large_model.md", "agents/large_model/pretrained/README.md"):
        text = " ".join((CHECKOUT / page).read_text("utf-8").split())
        for agent in ("large-model-pretrained", "eb-linucb"):
            assert known[agent] in text, (page, agent)


def test_losses_without_a_source_are_those_of_the_results():
    lines = (CHECKOUT / "benchmarks" / "results" / "knockouts" / "knockouts.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    page = (DOCS / "large_model.md").read_text("utf-8")
    for age, stated in (("any age", "items of any age"), ("new", "new items")):
        of_age = [row for row in rows if row["age"] == age]
        returns = " | ".join(f"{row['return_mean']:.2f}" for row in of_age)
        table = page.split(f"| return, {stated} | {returns} |")[1].split("| return")[0]
        for name in ("title, image and audio", "cues", "statistics"):
            changes = (f"{row['differences'][name][0]:+.2f}".replace("-", "−") for row in of_age)
            assert f"| without {name} | {' | '.join(changes)} |" in table


def test_errors_of_off_policy_estimators_are_those_of_the_results():
    results = (CHECKOUT / "benchmarks" / "results" / "off_policy").glob("*.md")
    known = {line for file in results for line in file.read_text("utf-8").splitlines()}
    page = (DOCS / "off_policy.md").read_text("utf-8")
    stated = re.findall(r"^\| .*\| .*\d\.\d\d.*\|$", page, re.MULTILINE)
    assert len(stated) > 40
    assert set(stated) <= known


def test_the_tutorial_states_rows_of_its_results():
    results = (CHECKOUT / "benchmarks" / "results" / "tutorial" / "retention.md").read_text("utf-8").splitlines()
    stated = re.findall(r"^\| preset \| .*\|$", (DOCS / "tutorial.md").read_text("utf-8"), re.MULTILINE)
    assert len(stated) == 4
    assert set(stated) <= set(results)


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(((?!https?://)[^)#]+)", README))))
def test_a_link_of_the_readme_leads_to_a_file(link):
    assert (CHECKOUT / link).exists()


def test_the_citation_has_the_version_of_the_package():
    assert f"version: {recsim_env.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text("utf-8")


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", (CHECKOUT / name).read_text("utf-8"), re.MULTILINE)
    return {package.lower().replace("_", "-"): version for package, version in found}


def test_the_oldest_versions_are_those_of_the_ranges():
    ranges = dict(re.findall(r'"([\w-]+)>=([\d.]+)"', (CHECKOUT / "pyproject.toml").read_text("utf-8")))
    for package, version in pins("floors.txt").items():
        assert f"{version}.".startswith(f"{ranges[package]}."), package


def test_the_lock_has_every_pin_except_torch():
    assert {name: version for name, version in pins("constraints.txt").items() if name != "torch"} == pins(
        "requirements.lock"
    )


def test_the_page_of_simulated_logs_lists_the_columns_with_their_types():
    page = (DOCS / "logs.md").read_text(encoding="utf-8").partition("## Columns")[2]
    stated = {column.strip("`"): cells.split(" | ")[0] for column, cells in rows_of(page, r"`\w+`").items()}
    schema = event_schema(slate_size=5, num_candidates=20, num_action_features=0)
    sizes = {"(5,)": "S", "(20,)": "M"}
    own = {name: re.sub(r"shape=(\(\d+,\))", lambda size: sizes[size[1]], str(kind)) for name, kind in schema.items()}
    assert stated == {**own, "action": "Array(Int32, S) or Array(Float32, A)"}
