"""The pages in `docs/scenarios`: what the command writes, and what it writes is true."""

import dataclasses
import functools
import inspect
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from by_hand import NORMAL, logistic
from conftest import CHECKOUT, SCENARIO_NAMES
from made_rows import made_rows

import recsim_env  # noqa: F401  (registers the ids)
from benchmarks.__main__ import main
from benchmarks.report.scenario_equations import CONDITIONS, EQUATIONS, equations_of
from benchmarks.report.scenario_pages import LADDER_HEADING, docstrings, write_pages
from benchmarks.report.scenario_texts import ALWAYS_ZERO, ARGUMENTS, COLUMNS, DESCRIPTIONS
from benchmarks.running.rows import read_rows
from recsim_env import config
from recsim_env.config import SECTIONS, BehaviourConfig
from recsim_env.envs.spaces_and_actions import Adapter
from recsim_env.scenarios import SCENARIOS
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, CONTEXT, FEEDBACK
from recsim_env.simulation.random_streams import Purpose, normal, uniform

PAGES = CHECKOUT / "docs" / "scenarios"
LADDERS = CHECKOUT / "benchmarks" / "results" / "standard"
NAMES = ["README.md", *(f"{name.lower()}.md" for name in SCENARIOS)]
HEADINGS = [
    *("Description", "Equations", "Action Space", "Observation Space", "Rewards", "Starting State", "Episode End"),
    *("Arguments", "Numbers", LADDER_HEADING, "Version History"),
]

MECHANISMS = {
    "Purchases": (
        {"Ecommerce"},
        "is_shop purchase_intercept purchase_affinity purchase_quality purchase_price satiation_purchase "
        "budget_mean budget_sd price_mean price_sd",
    ),
    "Following": (
        {"Social"},
        "choice_follow follow_probability unfollow_probability num_creators creator_share",
    ),
    "Freshness": ({"Social", "News"}, "choice_freshness freshness_half_life"),
    "Repeats": ({"Music"}, "repeat_gain repeat_boredom repeat_share"),
    "Moods": ({"Music"}, "num_moods mood_scale mood_change mood_delay"),
    "Warm history": ({"Ecommerce", "Social", "Music"}, "warm_share warm_steps"),
}
"""For each mechanism of some scenarios only: which have it, and its fields in the config."""

EVERYWHERE = ("Users", "Affinity", "Choice", "Consumption", "Rating and expectation", "Change")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, str]:
    """The pages as the command writes them now, with the ladders in the checkout."""
    out = tmp_path_factory.mktemp("pages")
    assert main(["pages", "--out", str(out), "--ladder", str(LADDERS)]) == 0
    return {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()}


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    return SCENARIOS[request.param]


@pytest.fixture
def page(scenario) -> str:
    return (PAGES / f"{scenario.name.lower()}.md").read_text(encoding="utf-8")


def without_ladder(page: str) -> str:
    return re.sub(rf"(?s)## {LADDER_HEADING}\n.*?(?=## )", "", page)


def section(page: str, heading: str) -> str:
    return re.search(rf"(?ms)^## {heading}\n(.*?)(?=^## |^---$)", page)[1]


def test_there_is_a_page_for_each_scenario_and_no_other(written):
    assert set(written) == set(NAMES) == {path.name for path in PAGES.iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_of_the_checkout_are_those_that_the_command_writes(written, name):
    committed = (PAGES / name).read_text(encoding="utf-8")
    assert without_ladder(committed) == without_ladder(written[name]), "run `python -m benchmarks pages`"


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_ladders_on_the_pages_are_those_of_the_committed_rows(written, name):
    committed = (PAGES / name).read_text(encoding="utf-8")
    ladder = section(committed, LADDER_HEADING)
    assert ladder == section(written[name], LADDER_HEADING), "run `python -m benchmarks pages`"


def test_pages_show_a_ladder_if_there_are_rows_for_it_and_else_say_that_there_is_none(tmp_path: Path):
    write_pages(tmp_path, made_rows(scenarios=("News",), num_seeds=2, num_sessions=50))
    ladder = section((tmp_path / "news.md").read_text(), LADDER_HEADING)
    assert "100 sessions" in ladder
    assert "| planning-oracle | 1.00 | " in ladder
    assert "#" not in ladder
    assert "has not been measured" in section((tmp_path / "video.md").read_text(), LADDER_HEADING)


def test_the_command_needs_no_ladders_and_says_which_it_found(tmp_path: Path, capsys):
    assert main(["pages", "--out", str(tmp_path / "new" / "folder"), "--ladder", str(tmp_path)]) == 0
    assert f"{len(NAMES)} pages" in (said := capsys.readouterr().out)
    assert "none" in said
    for name in NAMES[1:]:
        assert "has not been measured" in (tmp_path / "new" / "folder" / name).read_text()


def test_the_command_refuses_damaged_rows_in_one_line_and_writes_nothing(tmp_path: Path, capsys):
    (tmp_path / "results.jsonl").write_text("{}\n")
    assert main(["pages", "--out", str(tmp_path / "out"), "--ladder", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_pages_are_written_without_a_ratings_log(written, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RECSIM_DATA", str(tmp_path / "nothing"))
    rows = read_rows(LADDERS / "results.jsonl") if (LADDERS / "results.jsonl").exists() else []
    write_pages(tmp_path / "out", rows)
    assert (tmp_path / "out" / "movielens.md").read_text(encoding="utf-8") == written["movielens.md"]


def test_every_page_has_all_sections_in_order(page):
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == HEADINGS
    for heading in HEADINGS:
        assert len(section(page, heading).strip()) > 10, heading


def test_every_registered_id_is_named_on_the_page_of_its_scenario_and_in_the_list(scenario, page):
    ids = {name for name, spec in gymnasium.registry.items() if spec.kwargs.get("scenario") == scenario.name}
    assert len(ids) == 4
    assert set(re.findall(r"^\| `(recsim_env/\w+-v\d)`", section(page, "Action Space"), re.MULTILINE)) == ids
    listed = (PAGES / "README.md").read_text(encoding="utf-8")
    assert all(f"`{env_id}`" in listed for env_id in ids)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_page_names_a_mechanism_if_and_only_if_its_preset_has_it(scenario, page, mechanism):
    have_it, fields = MECHANISMS[mechanism]
    is_named = [f"\n### {mechanism}\n" in page]
    is_named += [re.search(rf"\b{field}\b", page) is not None for field in fields.split()]
    assert is_named == [scenario.name in have_it] * len(is_named)
    row = re.search(rf"^\| \[{scenario.name}\].*$", (PAGES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert (mechanism.lower() in row.split(" | ")[6]) == (scenario.name in have_it)


def test_every_field_of_the_user_model_that_a_scenario_uses_is_in_its_equations(scenario, page):
    fields = {field.name for field in dataclasses.fields(BehaviourConfig)} - {"is_shop"}
    unused = {
        field for have_it, names in MECHANISMS.values() if scenario.name not in have_it for field in names.split()
    }
    if scenario.behaviour.satiation_gain == 0.0:
        unused.add("satiation_gain")
    named = set(re.findall(r"\w+", section(page, "Equations")))
    assert fields & named == fields - unused


def test_the_values_under_the_equations_are_those_of_the_preset(scenario, page):
    stated = re.findall(r"`(\w+)` = ([−\d.,]*\d)", section(page, "Equations"))
    values = {name: value for part in SECTIONS for name, value in dataclasses.asdict(getattr(scenario, part)).items()}
    assert len(stated) > 30
    for name, value in stated:
        assert float(value.replace("−", "-").replace(",", "")) == values[name], name


def test_the_numbers_are_all_fields_that_differ_from_the_default_with_their_docstrings(scenario, page):
    lines = section(page, "Numbers").splitlines()
    stated = {line.split(" | ")[1].strip("`"): line for line in lines if line.startswith("| `")}
    documented = docstrings(config)
    differing = set()
    for part, kind in SECTIONS.items():
        for field in dataclasses.fields(kind):
            if getattr(getattr(scenario, part), field.name) != field.default:
                differing.add(field.name)
                assert documented[f"{kind.__name__}.{field.name}"] in stated[field.name]
    assert set(stated) == differing


def test_every_field_of_the_config_has_a_docstring():
    documented = docstrings(config)
    for kind in SECTIONS.values():
        for field in dataclasses.fields(kind):
            assert documented[f"{kind.__name__}.{field.name}"].endswith(".")


def test_lengths_and_spaces_are_those_of_the_envs(scenario, page):
    if scenario.name not in SCENARIO_NAMES:
        pytest.skip("no ratings log on this machine")
    lengths = dict(re.findall(r"^\| `(\w+)` \| ([\d PF·()+]+) \|", section(page, "Observation Space"), re.MULTILINE))
    sizes = {"P": 23, "F": 19} if scenario.source == "ratings_log" else {}
    actions = dict(re.findall(r"^\| `([\w/-]+)` \| `(.*?)` \|", section(page, "Action Space"), re.MULTILINE))
    assert len(actions) == 4
    for env_id, space in actions.items():
        env = gymnasium.make(env_id)
        found = {key: box.shape[0] for key, box in env.observation_space.items()}
        assert found == {key: eval(text.replace("·", "*"), sizes.copy()) for key, text in lengths.items()}
        assert str(env.action_space) == space.replace("F", str(sizes.get("F", "F")))


def test_the_algorithms_on_the_pages_are_those_that_take_the_space(page):
    sb3 = pytest.importorskip("stable_baselines3")
    source = {name: inspect.getsource(getattr(sb3, name)) for name in ("PPO", "A2C", "DQN", "SAC", "TD3", "DDPG")}
    source["DDPG"] = source["TD3"]  # of which it is a special case
    rows = re.findall(r"^\| `[\w/-]+` \| `(\w+)\(.*\| ([\w, ]+) \|$", section(page, "Action Space"), re.MULTILINE)
    assert len(rows) == 4
    for space, algorithms in rows:
        fit = {
            name for name, text in source.items() if f"spaces.{space}" in text.partition("supported_action")[2][:200]
        }
        assert fit == set(algorithms.split(", "))


def test_columns_and_arguments_are_those_of_the_code(page):
    assert set(COLUMNS) == {*CONTEXT, *CANDIDATE_COLUMNS, *FEEDBACK}
    assert set(ALWAYS_ZERO) <= set(COLUMNS)
    for name in COLUMNS:
        assert f"\n| `{name}` |" in page
    accepted = set(inspect.signature(Adapter.__init__).parameters) - {"self", "num_sessions", "scenario"}
    assert set(ARGUMENTS) == accepted | {"render_mode"}


def test_every_condition_of_the_equations_is_known_and_none_is_left_on_a_page():
    used = {each.condition for each in EQUATIONS if each.condition}
    used |= {name for each in EQUATIONS for _, name in re.findall(r"\[if (not )?([a-z ]+)\]", each.text)}
    assert used <= set(CONDITIONS)
    for text in (text for it in SCENARIOS.values() for text in equations_of(it).values()):
        assert "[if" not in text
        assert text.count("```") % 2 == 0


@pytest.mark.parametrize("name", NAMES)
def test_no_page_has_placeholders_and_each_link_leads_to_a_file(name):
    page = (PAGES / name).read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|TBD|FIXME|XXX|nan|lorem)\b|\[if |<[a-z_]+ object|\{[a-z_.]+\}", page)
    for link in re.findall(r"\]\(((?!https?://)[^)#]+)\)", page):
        assert (PAGES / link).exists(), link


def test_every_page_names_the_test_that_computes_steps_by_hand(page):
    assert "tests/test_user_model_by_hand.py" in page


def test_every_scenario_is_described_in_four_to_eight_sentences_and_the_common_equations_are_everywhere(scenario, page):
    assert 4 <= len(re.findall(r"[.?!](?:\s|$)", DESCRIPTIONS[scenario.name])) <= 8
    assert all(f"\n### {heading}\n" in page for heading in EVERYWHERE)


SYMBOLS = {
    "Σ_d w_d f_d": "np.dot(w, f)",
    "Σ_k s_k t_k": "np.dot(s, t)",
    "Σ_k m_k t_k": "np.dot(m, t)",
    "Σ_i exp(utility_i)": "exp(utility)",
    "utility_j": "utility",
    "[the user follows the item's creator]": "follows",
    "w_d": "w",
    "f_d": "f",
    "s_k": "s",
    "t_k": "t",
    "·": "*",
    "−": "-",
    "²": "**2",
    "^": "**",
}
"""The notation of the pages in Python, for one item shown alone."""


@functools.cache
def equations_with(page: str, left: str) -> list[str]:
    """The right-hand sides of all equations on the page that begin with `left`, as Python."""
    text = re.sub(r" +", " ", re.sub(r"\n +", " ", section(page, "Equations")))
    found = []
    for right in re.findall(rf"^{re.escape(left)} (.*)$", text, re.MULTILINE):
        expression = re.sub(r" (if rating > expectation|else)$", "", right)
        expression = re.sub(r"Σ_c (.*), c in rating_cuts", r"sum(\1 for c in rating_cuts)", expression)
        for symbol, python in SYMBOLS.items():
            expression = expression.replace(symbol, python)
        found.append(expression)
    return found


class Equations:
    """What the equations of a page say of one step, with the names of the page."""

    def __init__(self, page: str, env, action: int) -> None:
        simulator, latent, session = env.simulator, env.latent_state(), env.simulator.sessions[0].copy()
        world, item_id = simulator.world, latent["candidate_items"][action]
        item = world.item_records[item_id]
        self.page, self.session = page, session
        self.names = {
            **dataclasses.asdict(world.scenario.behaviour),
            "np": np,
            "Φ": NORMAL.cdf,
            "exp": np.exp,
            "logistic": logistic,
            "clip": np.clip,
            "w": latent["interests"],
            "s": latent["satiation"],
            "m": world.moods[latent["mood"]],
            "f": item["factors"],
            "t": item["topics"],
            "n": list(session["library"]).count(item_id),
            **{name: float(item[name]) for name in ("quality", "appeal", "price")},
            **{name: float(latent[name]) for name in ("trust", "patience", "budget", "receptiveness")},
            "bias": float(latent["rating_bias"]),
            "scale": float(latent["rating_scale"]),
            "ε": 0.0,
            "follows": float(latent["follows"][item["creator"]]),
            "age": int(session["start_step"] + session["step"] - item["release_step"]),
        }
        for name in ("affinity", "utility", "promise", "expectation"):
            self.names[name] = self.of(f"{name} =")

    def of(self, left: str, which: int = -1, **names) -> float | np.ndarray:
        return eval(equations_with(self.page, left)[which], {**self.names, **names})

    def draw(self, purpose: Purpose) -> float:
        return normal(self.session["noise_key"], self.session["step"], purpose, 0)


@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_the_equations_on_a_page_are_those_of_the_simulator(name):
    page = (PAGES / f"{name.lower()}.md").read_text(encoding="utf-8")
    env, generator = gymnasium.make(f"recsim_env/{name}-v0").unwrapped, np.random.default_rng(0)
    env.reset(seed=7)
    ratings = []
    for _ in range(200):
        before = env.latent_state()
        best, any_one = before["expected_rewards"].argmax(), generator.integers(20)
        action = int(best if generator.random() < 0.5 else any_one)
        page_says = Equations(page, env, action)
        _, _, terminated, truncated, info = env.step(action)
        after = env.latent_state()
        is_clicked, consumption, purchase, rating = (
            info[key] for key in ("click", "consumption", "purchase", "rating")
        )
        ratings.append(rating)

        cuts, names = page_says.names["rating_cuts"], page_says.names
        sd = names["scale"] * names["rating_noise"]
        expected = 1.0 + sum(NORMAL.cdf((page_says.of("opinion =") - cut) / sd) for cut in cuts)
        expected *= page_says.of("P(click on item j) =")
        if name == "Ecommerce":
            expected *= (names["price"] <= names["budget"]) * page_says.of("P(buy what was clicked) =")
        assert before["expected_rewards"][action] == pytest.approx(expected, abs=1e-7)

        satiation = page_says.of("s_k ←", 0)
        if is_clicked:
            says = page_says.of("consumption =", ε=page_says.draw(Purpose.CONSUMPTION))
            assert consumption == pytest.approx(says, abs=1e-9)
            if name != "Ecommerce" or purchase:
                satiation = page_says.of("s_k ←", 1, s=satiation, consumption=consumption)
        np.testing.assert_allclose(after["satiation"], satiation, atol=1e-9)
        if not rating:
            assert not is_clicked or (name == "Ecommerce" and not purchase)
            assert after["patience"] == pytest.approx(page_says.of("patience ←", 1), abs=1e-9)
        else:
            opinion = page_says.of("opinion =", ε=page_says.draw(Purpose.RATING))
            assert rating == 1.0 + sum(opinion > cut for cut in cuts)
            is_better = rating > names["expectation"]
            trust = page_says.of("trust ←", 0 if is_better else 1, rating=rating)
            assert after["trust"] == pytest.approx(trust, abs=1e-7)
            assert after["patience"] == pytest.approx(page_says.of("patience ←", 0, rating=rating), abs=1e-9)
            np.testing.assert_allclose(after["interests"], page_says.of("w_d ←", rating=rating), atol=1e-9)
        if name == "Ecommerce":
            paid = page_says.of("after a purchase: budget ←") if purchase else names["budget"]
            assert after["budget"] == pytest.approx(paid, abs=1e-9)
        if name == "Social" and rating:
            creator = env.simulator.world.item_records["creator"][before["candidate_items"][action]]
            chance = uniform(page_says.session["noise_key"], page_says.session["step"], Purpose.FOLLOW, 0)
            if names["follows"]:
                is_followed = chance >= page_says.of("a creator who is followed: P(unfollow) =", rating=rating)
            else:
                is_followed = chance < page_says.of("a creator who is not followed: P(follow) =", rating=rating)
            assert after["follows"][creator] == is_followed
        if terminated or truncated:
            env.reset()
    assert set(ratings) >= {0.0, 2.0, 3.0, 4.0, 5.0}
