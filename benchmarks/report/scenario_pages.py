"""The pages in `docs/scenarios`: from the presets, the equations that they use, and the headroom ladders."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium import spaces

from benchmarks.analysis.headroom import LADDER_WORDS, headroom_table, returns_of
from benchmarks.report.scenario_equations import SPECIAL, equations_of, has
from benchmarks.report.scenario_texts import ACTIONS, ALWAYS_ZERO, ARGUMENTS, COLUMNS, DESCRIPTIONS, SB3_ALGORITHMS
from benchmarks.running.rows import Row
from recsim_env import config, scenarios
from recsim_env.atomic_file import write_atomically
from recsim_env.config import SECTIONS, Scenario
from recsim_env.envs.spaces_and_actions import Adapter
from recsim_env.logs import WHERE_TO_GET_DATA
from recsim_env.logs.population_statistics import load_statistics
from recsim_env.scenarios import SCENARIOS
from recsim_env.simulation.observation import CANDIDATE_COLUMNS, CONTEXT, FEEDBACK

LADDER_HEADING = "Headroom ladder"
_COMMAND = "`python -m benchmarks pages`"
_NEEDS_LOG = f"\n\nIt needs a ratings log: {WHERE_TO_GET_DATA}. The argument `world` names another one."
_LEGEND = """
Of the user: `w` interests, `s` satiation, bias, scale, trust, patience, receptiveness. Of the item: `f` factors, `t`
topics (they sum to 1), quality, appeal. `d` counts factors, `k` the K topics. `ε` is a standard normal draw, another
one in each place; `Φ` is the normal distribution function; `logistic(x) = 1 / (1 + exp(−x))`;
`clip(x, a, b) = min(max(x, a), b)`; `←` is what changes in a step. Other names are fields of
[`config.py`](../../recsim_env/config.py).

The code of the user is in [`user_model.py`](../../recsim_env/user_model.py).
[`tests/test_user_model_by_hand.py`](../../tests/test_user_model_by_hand.py) computes whole steps from the equations of
the user, and compares them with the simulator.
""".strip()


@dataclass(frozen=True, kw_only=True)
class View:
    """What an agent sees of a scenario and does in it, in words."""

    scenario: Scenario
    """With the rating scale of its world, where that is known without a log."""
    action_spaces: dict[str, tuple[str, ...]]
    """For each id: the space, what an action says, the algorithms that fit."""
    lengths: dict[str, str]
    """Of the four parts of an observation, and of all together (`flat`)."""
    profile_names: tuple[str, ...]
    content_names: tuple[str, ...]
    num_topics: int


def ids_of(scenario: Scenario) -> list[str]:
    """The registered ids of a scenario."""
    return [name for name in gymnasium.registry if _options(name).get("scenario") == scenario.name]


def _options(env_id: str) -> dict[str, Any]:
    return gymnasium.registry[env_id].kwargs if env_id.startswith("recsim_env/") else {}


def view_of(scenario: Scenario) -> View:
    """What its envs say. A log need not be there: its sizes stay letters, its columns are those of MovieLens-100K."""
    if has(scenario, "log"):
        return _view_of_log(scenario)
    action_spaces = {}
    for env_id in ids_of(scenario):
        env: Any = gymnasium.make(env_id).unwrapped
        action_spaces[env_id] = _in_words(env_id, env.action_space)
    lengths = {name: str(part.stop - part.start) for name, part in env.simulator.layout.slices.items()}
    world = env.simulator.world
    return View(
        scenario=world.scenario,
        action_spaces=action_spaces,
        lengths={**lengths, "flat": str(env.simulator.layout.size)},
        profile_names=tuple(world.users.profile_names),
        content_names=tuple(world.items.feature_names),
        num_topics=world.sizes.num_topics,
    )


def _view_of_log(scenario: Scenario) -> View:
    session, statistics = scenario.session, load_statistics()
    length, candidates = session.history_length, session.num_candidates
    action_spaces = {}
    for env_id in ids_of(scenario):
        space: spaces.Space = spaces.Discrete(candidates)
        if "slate_size" in _options(env_id):
            space = spaces.MultiDiscrete([candidates] * _options(env_id)["slate_size"])
        elif "action" in _options(env_id):
            space = spaces.Box(-1.0, 1.0, (1,))
        shown, *words = _in_words(env_id, space)
        action_spaces[env_id] = (shown.replace("(1,)", "(F,)"), *words)
    lengths = {
        "user": f"P + {len(CONTEXT)}",
        "history": f"{length} · (F + {len(FEEDBACK)})",
        "candidates": f"{candidates} · (F + {len(CANDIDATE_COLUMNS)})",
        "candidate_mask": str(candidates),
    }
    return View(
        scenario=scenario,
        action_spaces=action_spaces,
        lengths={**lengths, "flat": " + ".join(lengths.values())},
        profile_names=statistics.profile_names,
        content_names=statistics.feature_names,
        num_topics=len(statistics.topic_names),
    )


def _in_words(env_id: str, space: spaces.Space) -> tuple[str, ...]:
    kind = type(space).__name__
    meaning = ACTIONS["slate" if kind == "MultiDiscrete" else _options(env_id).get("action", "candidate")]
    return str(space), meaning, SB3_ALGORITHMS[kind]


def docstrings(module: ModuleType) -> dict[str, str]:
    """The string after each field and constant of a module, by name: `SCENARIO`, or `Config.field`."""
    found: dict[str, str] = {}

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for one, after in zip(body, [*body[1:], ast.Pass()], strict=True):
            if isinstance(one, ast.ClassDef):
                collect(one.body, f"{one.name}.")
            elif isinstance(one, ast.Assign | ast.AnnAssign) and isinstance(after, ast.Expr):
                target = one.targets[0] if isinstance(one, ast.Assign) else one.target
                if isinstance(target, ast.Name) and isinstance(after.value, ast.Constant):
                    found[prefix + target.id] = " ".join(str(after.value.value).split())

    collect(ast.parse(inspect.getsource(module)).body, "")
    return found


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *rows)]
    return "\n".join([lines[0], "|---" * len(headings) + "|", *lines[1:]])


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(each) for each in value) + ")"
    if isinstance(value, int):
        return str(value) if isinstance(value, bool) else f"{value:,}"
    return f"{value:g}".replace("-", "−")


def scenario_page(scenario: Scenario, rows: list[Row]) -> str:
    """Markdown: everything about one scenario. `rows` are those of headroom ladders, of any scenarios."""
    view = view_of(scenario)
    sections = {
        "Description": DESCRIPTIONS[scenario.name].strip() + (_NEEDS_LOG if has(scenario, "log") else ""),
        "Equations": _equations(view),
        "Action Space": _action_space(view),
        "Observation Space": _observation_space(view),
        "Rewards": _rewards(view),
        "Starting State": _starting_state(view),
        "Episode End": _episode_end(view),
        "Arguments": _arguments(view),
        "Numbers": _numbers(scenario),
        LADDER_HEADING: _ladder(scenario, rows),
        "Version History": "* v0: first release.",
    }
    parts = [f"# {scenario.name}", docstrings(scenarios)[scenario.name.upper()]]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return "\n\n".join(parts) + f"\n\n---\n\nThis page is written by {_COMMAND}. Change its sources, not the page.\n"


def _equations(view: View) -> str:
    values: dict[str, Any] = {}
    for section in ("catalog", "population", "behaviour", "session"):
        values |= dataclasses.asdict(getattr(view.scenario, section))
    if has(view.scenario, "log"):
        del values["rating_cuts"]  # the log's
    parts = [_LEGEND]
    for heading, text in equations_of(view.scenario).items():
        named = [name for name in dict.fromkeys(re.findall(r"\w+", text)) if name in values]
        here = ", ".join(f"`{name}` = {_shown(values[name])}" for name in named)
        parts.append(f"### {heading}\n\n{text}" + (f"\n\nHere: {here}." if here else ""))
    return "\n\n".join(parts)


def _action_space(view: View) -> str:
    rows = [(f"`{name}`", f"`{space}`", *words) for name, (space, *words) in view.action_spaces.items()]
    return (
        _table(("id", "space", "an action is", "algorithms of Stable-Baselines3"), rows)
        + "\n\nWhere a candidate is missing, its index leaves the slot empty. `action_masks()` tells which are there."
    )


def _observation_space(view: View) -> str:
    session, is_log, moods = view.scenario.session, has(view.scenario, "log"), view.scenario.population.num_moods
    length, candidates = session.history_length, session.num_candidates
    width = "F" if is_log else str(len(view.content_names))
    contents = {
        "user": "what is known of the person",
        "history": f"shown items, the last one first; reshape to ({length}, {width} + {len(FEEDBACK)})",
        "candidates": f"what can be shown; reshape to ({candidates}, {width} + {len(CANDIDATE_COLUMNS)})",
        "candidate_mask": "1 where there is a candidate, 0 where none is",
    }
    made_for = "in MovieLens-100K: " if is_log else ""
    profile = ("profile", made_for + ", ".join(view.profile_names))
    content = ("content", made_for + ", ".join(view.content_names))
    mood = [(f"`mood` 1 to {moods}", "1 for the mood that shows")] if moods > 1 else []
    columns = {
        "Columns of `user`:": [profile, *_columns(view, CONTEXT), *mood],
        "Columns of a row of `history`:": [content, *_columns(view, FEEDBACK)],
        "Columns of a candidate:": [content, *_columns(view, CANDIDATE_COLUMNS)],
    }
    parts = ['With `observation="dict"` a `Dict` of float32 boxes in [−1, 1] (the mask in [0, 1]):']
    rows = [(f"`{name}`", view.lengths[name], content) for name, content in contents.items()]
    parts.append(_table(("key", "length", "content"), rows))
    if is_log:
        sizes = f"P = {len(view.profile_names)} and F = {len(view.content_names)}"
        parts.append(f"P and F are the numbers of profile and content columns of the log: {sizes} in MovieLens-100K.")
    for heading, lines in columns.items():
        parts += [heading, _table(("column", "meaning"), lines)]
    parts.append(
        f'`"flat"` is one vector of the four, of length {view.lengths["flat"]}. `"compact"` has `user`, '
        f"`history_items` ({length}), `history_feedback` ({length} · {len(FEEDBACK)}), `candidate_items` "
        f'({candidates}) and `time` (1). SB3 takes `"dict"` with `MultiInputPolicy` and `"flat"` with `MlpPolicy`.'
    )
    made = {"titles": "", "pictures": "synthetic", "sounds": "sound"}
    there = " and ".join(name for name, condition in made.items() if has(view.scenario, condition))
    return "\n\n".join([*parts, f"Not in it: the items' {there}, from `env.unwrapped.simulator.world.items`."])


def _columns(view: View, names: tuple[str, ...]) -> list[tuple[str, str]]:
    def meaning(name: str) -> str:
        return COLUMNS[name] if has(view.scenario, ALWAYS_ZERO.get(name, "")) else "always 0 in this scenario"

    return [(f"`{name}`", meaning(name)) for name in names]


def _rewards(view: View) -> str:
    weights, docs = view.scenario.reward, docstrings(config)
    rows = []
    for each in dataclasses.fields(weights):
        doc = docs[f"RewardConfig.{each.name}"]
        if not has(view.scenario, ALWAYS_ZERO.get(each.name, "")):
            doc = "Always 0 in this scenario."
        rows.append((f"`{each.name}`", _shown(getattr(weights, each.name)), doc))
    is_shop = has(view.scenario, "purchases")
    shop = " Only what is bought is rated: a click without a purchase pays 0." if is_shop else ""
    return "\n\n".join(
        [
            "The sum of weight times term; `info` holds each term by its name.",
            _table(("term", "weight", "meaning"), rows),
            "At most one item of a slate is clicked, so with these weights S slots pay at most 5 / S stars in a step."
            + shop,
            'Other weights: `changes={"reward": {"click": 0.5, "retention": 1.0}}`, for example.',
        ]
    )


def _starting_state(view: View) -> str:
    catalog, population = view.scenario.catalog, view.scenario.population
    people = "of the log's" if has(view.scenario, "log") else f"of {population.num_users:,}"
    history = "All users are new: `history` is empty."
    if has(view.scenario, "warm history"):
        history = (
            f"{population.warm_share:.0%} of the users are warm: `history` has up to {population.warm_steps} steps "
            "already, and `tenure` is above 0. The others are new, and their `history` is empty."
        )
    return "\n\n".join(
        [
            f"One {people} users, drawn at random, at a random time of the catalogue's life: not before the shelf is "
            f"full (`shelf_life` = {catalog.shelf_life:,} steps) or half of the items are released, whichever comes "
            "first, and early enough for items to go on arriving until the session is over.",
            history,
            '`reset(seed=s)` fixes everything. `options={"user_seed": .., "noise_seed": .., "world_seed": ..}` '
            "replaces one of the three seeds: who comes; how the person answers; what time it is and what the "
            "candidates are.",
        ]
    )


def _episode_end(view: View) -> str:
    return (
        "`terminated`: the person leaves when patience, after a step, is 0 or less.\n\n"
        f"`truncated`: {view.scenario.session.session_length} steps are over (`session_length`), and the person is "
        "still there."
    )


def _arguments(view: View) -> str:
    parameters = dict(inspect.signature(Adapter.__init__).parameters)
    defaults = {name: parameters[name].default for name in parameters if name in ARGUMENTS}
    defaults |= dataclasses.asdict(view.scenario.session) | {"render_mode": None}
    rows = []
    for name, meaning in ARGUMENTS.items():
        if name == "world" and not has(view.scenario, "log"):
            continue
        given = {env_id: _options(env_id)[name] for env_id in view.action_spaces if name in _options(env_id)}
        shown = [f"`{defaults[name]}`" if name != "own_users" else "none"]
        shown += [f"`{value}` in {env_id.removeprefix('recsim_env/')}" for env_id, value in given.items()]
        rows.append((f"`{name}`", "; ".join(shown), meaning))
    return "Of `gymnasium.make` and `gymnasium.make_vec`:\n\n" + _table(("argument", "default", "meaning"), rows)


def _numbers(scenario: Scenario) -> str:
    docs, rows = docstrings(config), []
    for section, kind in SECTIONS.items():
        for each in dataclasses.fields(kind):
            value = getattr(getattr(scenario, section), each.name)
            if value != each.default:
                doc = docs[f"{kind.__name__}.{each.name}"]
                if each.name == "num_items" and has(scenario, "log"):
                    doc += " (Not used: the log has its own items.)"
                rows.append((f"`{section}`", f"`{each.name}`", _shown(value), _shown(each.default), doc))
    return (
        "What differs from the defaults in [`config.py`](../../recsim_env/config.py):\n\n"
        + _table(("section", "field", "value", "default", "meaning"), rows)
        + '\n\nAll of them can be changed: `changes={"section": {"field": value}}`.'
    )


def _ladder(scenario: Scenario, rows: list[Row]) -> str:
    table = headroom_table(rows, scenario.name)
    if not table:
        command = f"python -m benchmarks run --suite headroom --scenario {scenario.name} --out runs/headroom"
        return f"It has not been measured: `{command}` does it."
    num_sessions = len(returns_of(rows, scenario.name)["random"])
    return f"{num_sessions} sessions of held-out users with held-out catalogues.\n\n{table}\n\n{LADDER_WORDS}"


def index_page() -> str:
    """Markdown: all scenarios in a table."""
    about, rows = docstrings(scenarios), []
    for name, scenario in SCENARIOS.items():
        session = scenario.session
        is_log = has(scenario, "log")
        rows.append(
            (
                f"[{name}]({name.lower()}.md)",
                about[name.upper()],
                "the log's" if is_log else f"{scenario.catalog.num_items:,}",
                f"{view_of(scenario).num_topics}" + (" in MovieLens-100K" if is_log else ""),
                str(session.num_candidates),
                str(session.session_length),
                ", ".join(each for each in SPECIAL if has(scenario, each)) or "–",
                ", ".join(f"`{env_id}`" for env_id in ids_of(scenario)),
            )
        )
    headings = ("scenario", "what it is about", "items", "topics", "candidates", "session length")
    parts = [
        "# Scenarios",
        "One simulator, with other numbers and other mechanisms in each scenario. A page has what a scenario is about, "
        "its equations, its spaces and its numbers.",
        _table((*headings, "special mechanisms", "ids"), rows),
        "In all of them users examine, choose, rate, tire of topics, trust or distrust, grow into new interests and "
        "leave, and items arrive and retire while a session runs.",
        "Plain ids show one item in a step, Slate ids five. An action is the index of a candidate, or one for each "
        "slot; in Content ids it is a point in content space, for the nearest candidate, in Catalog ids for the "
        "nearest item of the whole shelf.",
        f"---\n\nThese pages are written by {_COMMAND}. Change their sources, not the pages.\n",
    ]
    return "\n\n".join(parts)


def write_pages(directory: Path, rows: list[Row]) -> list[Path]:
    """Write `README.md` and a page for each scenario; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = {"README.md": index_page()}
    pages |= {f"{name.lower()}.md": scenario_page(scenario, rows) for name, scenario in SCENARIOS.items()}
    for name, text in pages.items():
        write_atomically(directory / name, text.encode())
    return [directory / name for name in pages]
