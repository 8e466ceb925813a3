"""Custom user models: replaced functions take effect everywhere, and nothing else changes."""

import dataclasses
import functools
import inspect
import math
import re
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from conftest import CHECKOUT
from numba import njit
from tiny_world import CERTAIN, make_simulator, start

import recsim_env  # noqa: F401  (registers the ids)
from recsim_env.simulation import user_model
from recsim_env.simulation.custom_user_model import REPLACEABLE, UserModel
from recsim_env.simulation.records import NUM_CUSTOM
from recsim_env.simulation.simulator import Simulator

VIDEO_ID = "recsim_env/Video-v0"
PAGE = (CHECKOUT / "docs" / "custom_user_model.md").read_text(encoding="utf-8")


# Functions with dials: each adds something to the package's version, or departs from it, if its number in
# `session.custom` is not 0. So one pair of compilations does for all of them.

AFFINITY, UTILITY, STARS, TRUST, LAST_STEP, SLOT = range(6)


def dialled_affinity(session, item, p):
    return user_model.effective_affinity(session, item, p) + session.custom[AFFINITY]


def dialled_utility(session, item, affinity, p):
    return user_model.choice_utility(session, item, affinity, p) + session.custom[UTILITY]


def dialled_rating(session, item, affinity, p):
    return session.custom[STARS] if session.custom[STARS] > 0.0 else user_model.draw_rating(session, item, affinity, p)


def dialled_change(session, item, rating, expectation, consumption, purchase, follow, p):
    user_model.change(session, item, rating, expectation, consumption, purchase, follow, p)
    if session.custom[TRUST] > 0.0:
        session.trust = session.custom[TRUST]


def dialled_leaving(session, p):
    return (
        session.step >= session.custom[LAST_STEP]
        if session.custom[LAST_STEP] > 0.0
        else user_model.has_left(session, p)
    )


def dialled_choice(session, items, slate, num_examined, p):
    return (
        int(session.custom[SLOT]) - 1
        if session.custom[SLOT] > 0.0
        else user_model.choose(session, items, slate, num_examined, p)
    )


def dialled_response(session, item, affinity, p):
    if session.custom[STARS] > 0.0:
        return session.custom[STARS], 0.125, 1.0
    return user_model.respond(session, item, affinity, p)


def with_custom_user_models(simulator: Simulator, user_model: UserModel) -> Simulator:
    world = dataclasses.replace(simulator.world, user_model=user_model)
    mine = Simulator(world, simulator.config, len(simulator))
    start(mine)
    return mine


@pytest.fixture(scope="module")
def parts() -> UserModel:
    return UserModel(
        effective_affinity=dialled_affinity,
        choice_utility=dialled_utility,
        draw_rating=dialled_rating,
        change=dialled_change,
        has_left=dialled_leaving,
    )


@pytest.fixture(scope="module")
def wholes() -> UserModel:
    return UserModel(choose=dialled_choice, respond=dialled_response)


NUM_LANES, HALF = 200, 100


def step_with_dial(user_model: UserModel, dial: int, value: float, **world):
    """One step of 200 sessions, with a dial turned in the second hundred, and of the same without own users.

    Returns outcomes and sessions of the second hundred, with and without the dial; checks that the first hundred, whose
    dials are at 0, do what the package's users do.
    """
    plain = make_simulator(num_sessions=NUM_LANES, slate_size=3, continue_probability=1.0, **world)
    mine = with_custom_user_models(plain, user_model)
    mine.sessions["custom"][HALF:, dial] = value
    for simulator in (mine, plain):
        simulator.step(np.tile([0, 1, 2], (NUM_LANES, 1)))
    assert mine.outcomes[:HALF].tobytes() == plain.outcomes[:HALF].tobytes()
    assert mine.sessions[:HALF].tobytes() == plain.sessions[:HALF].tobytes()
    return (mine.outcomes[HALF:], mine.sessions[HALF:]), (plain.outcomes[HALF:], plain.sessions[HALF:])


@pytest.mark.parametrize(("value", "expected"), [(CERTAIN, 1.0), (-CERTAIN, 0.0)])
def test_users_choose_by_a_custom_affinity(parts, value, expected):
    (outcomes, _), (plain, _) = step_with_dial(parts, AFFINITY, value)
    assert (outcomes["click"] * 3 == expected).all()
    assert 0.3 < plain["click"].mean() * 3 < 0.95


def test_users_consume_and_rate_by_a_custom_affinity(parts):
    (outcomes, _), _ = step_with_dial(parts, AFFINITY, CERTAIN)
    assert outcomes["rating"] * 3 == pytest.approx(5.0)
    assert outcomes["consumption"] * 3 == pytest.approx(1.0)


@pytest.mark.parametrize(("value", "expected"), [(CERTAIN, 1.0), (-CERTAIN, 0.0)])
def test_a_custom_choice_utility_affects_choices_only(parts, value, expected):
    (outcomes, _), _ = step_with_dial(parts, UTILITY, value)
    assert (outcomes["click"] * 3 == expected).all()
    if expected:
        assert outcomes["rating"].std() > 0.3  # by their affinity, as ever
        assert outcomes["consumption"].max() * 3 < 0.95


def test_a_custom_rating_is_rewarded_and_part_of_the_history(parts):
    (outcomes, sessions), (plain, _) = step_with_dial(parts, STARS, 2.5, rating_probability=1.0)
    assert (outcomes["click"] == plain["click"]).all()
    assert outcomes["rating"] * 3 == pytest.approx(2.5 * 3 * np.array(plain["click"]))
    assert (outcomes["reward"] == outcomes["rating"]).all()
    assert set(np.unique(sessions["history_feedback"][:, :, 3])) == {0.0, 2.5}


def test_a_custom_change_replaces_the_default(parts):
    (outcomes, sessions), (_, plain) = step_with_dial(parts, TRUST, 0.375)
    is_chosen = outcomes["click"] > 0.0
    assert 20 < is_chosen.sum() < HALF
    assert (sessions["trust"][is_chosen] == 0.375).all()
    assert (sessions["trust"][~is_chosen] == plain["trust"][~is_chosen]).all()
    assert sessions["interests"].tobytes() == plain["interests"].tobytes()  # the package's version, called inside


def test_users_leave_exactly_when_a_custom_function_says_so(parts):
    plain = make_simulator(num_sessions=2, patience=0.1, patience_skip=1.0, choice_intercept=-CERTAIN)
    mine = with_custom_user_models(plain, parts)
    mine.sessions["custom"][1, LAST_STEP] = 4.0
    slates, ends = np.zeros((2, 1), np.int64), []
    for _ in range(4):
        is_running = ~mine.sessions["is_over"]
        mine.step(slates)
        ends.append(mine.outcomes["terminated"].tolist())
        assert not mine.outcomes["truncated"].any()
        assert (mine.outcomes["retention"] == (is_running & ~mine.outcomes["terminated"])).all()
    assert [end[0] for end in ends] == [True, False, False, False]  # patience, as the package has it; then it is over
    assert [end[1] for end in ends] == [False, False, False, True]


@pytest.mark.parametrize("slot", [0, 1, 2])
def test_a_custom_choice_replaces_the_default(wholes, slot):
    (outcomes, sessions), _ = step_with_dial(wholes, SLOT, slot + 1.0)
    assert (outcomes["click"] * 3 == 1.0).all()
    clicks = sessions["history_feedback"][:, :3, 1]
    assert (clicks == np.eye(3)[slot]).all()
    assert (outcomes["rating"] > 0.0).all()


def test_a_custom_response_replaces_the_default(wholes):
    (outcomes, _), (plain, _) = step_with_dial(wholes, STARS, 4.5)
    is_chosen = np.array(plain["click"]) > 0.0
    assert 20 < is_chosen.sum() < HALF
    for name, value in {"rating": 4.5, "consumption": 0.125, "purchase": 1.0}.items():
        assert outcomes[name] * 3 == pytest.approx(value * is_chosen), name


def message_of(**functions) -> str:
    with pytest.raises(ValueError, match=r"[mM]ust be") as caught:
        UserModel(**functions)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["leaves", "_utility", "normal", "stars", "math", "NUM_RECENT_ITEMS"])
def test_an_unknown_function_name_is_refused_with_the_valid_names(name):
    message = message_of(**{name: dialled_leaving})
    assert message.startswith(f"UserModel({name}=...): unknown; ")
    assert message.endswith(f"ust be one of {', '.join(REPLACEABLE)}")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda session: False,
        lambda p, session: False,
        lambda session, p, more: False,
        lambda session, p, *more: False,
        lambda *, session, p: False,
        lambda self, p: False,
        njit(lambda session: False),
        functools.partial(dialled_leaving, p=None),
        max,
        math.exp,
        bool,
        3,
        None,
        "has_left",
    ],
    ids=lambda wrong: getattr(wrong, "__name__", type(wrong).__name__),  # no addresses
)
def test_a_function_with_other_arguments_is_refused(wrong):
    assert message_of(has_left=wrong).endswith(": must be a function of (session, p)")
    assert message_of(draw_rating=wrong).endswith(": must be a function of (session, item, affinity, p)")


def test_annotations_and_defaults_of_arguments_do_not_matter():
    def annotated(session: np.void, p: np.void = None) -> bool:
        return False

    UserModel(has_left=annotated)


def test_a_misspelt_function_is_refused_with_the_near_name():
    with pytest.raises(ValueError, match=r"^UserModel\(has_gone=...\): unknown; did you mean 'has_left'\? .*$"):
        gymnasium.make(VIDEO_ID, user_model=UserModel(has_gone=dialled_leaving))


# The page of documentation.

PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
ROWS = re.findall(r"^\| `(\w+)(\([\w, ]+\))` \| ", PAGE, re.MULTILINE)


def test_the_page_names_what_can_be_replaced_with_its_arguments_and_nothing_else():
    assert len(ROWS) == len(REPLACEABLE)
    signatures = {name: inspect.signature(function.py_func) for name, function in REPLACEABLE.items()}
    assert dict(ROWS) == {name: str(signature) for name, signature in signatures.items()}


def test_the_example_of_the_page_runs_as_it_stands_and_is_short(tmp_path):
    program = PROGRAMS[0]
    assert len([line for line in program.splitlines() if line]) <= 16
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    clicks, left = (float(number) for number in re.findall(r"\d\.\d+", ran.stdout))
    assert 0.0 < clicks < 0.4  # most are tired
    assert 0.0 < left < 0.2


def test_the_page_gives_the_number_of_custom_numbers():
    assert NUM_CUSTOM == 8
    assert "eight numbers" in PAGE
