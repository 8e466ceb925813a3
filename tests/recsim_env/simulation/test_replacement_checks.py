"""Slips in a custom user model end in one line that names the function and the rule."""

import random
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import CHECKOUT
from numba import njit, vectorize
from numpy.random import rand
from test_custom_user_model import with_custom_user_models
from tiny_world import make_simulator

from recsim_env import UserModel
from recsim_env.simulation import user_model
from recsim_env.simulation.custom_user_model import REPLACEABLE
from recsim_env.simulation.random_streams import Purpose, uniform
from recsim_env.simulation.replacement_checks import RULES

weights = {"a": 1.0}
numbers = [1.0, 2.0]
counter = 0
limits = np.array([1.0, 2.0])
generator = np.random.default_rng(0)


@njit
def noisy(x):
    return np.random.normal() + x  # noqa: NPY002


@vectorize
def noisy_vectorized(x):
    return np.random.normal() + x  # noqa: NPY002


@njit
def edit_candidates(session):
    session.candidates[0] = 10**9


def plain(x):
    return x + 1.0


# fmt: off
def misspelt(session, p): return session.patienc <= 0
def misspelt_coefficient(session, p): return session.patience <= p.patience_skp
def undefined(session, p): return session.patience <= limit  # noqa: F821
def forgotten(session, p): session.patience <= 0  # noqa: B015
def sometimes(session, item, affinity, p):
    if affinity > 0.0:
        return affinity
def text(session, item, affinity, p): return "yes"
def listed(session, item, affinity, p): return [3.0, 1.0, 0.0]
def half_slot(session, items, slate, num_examined, p): return 0.5
def by_numpy(session, p): return np.random.rand() < 0.1  # noqa: NPY002
def by_import(session, p): return rand() < 0.1  # noqa: NPY002
def by_random(session, p): return random.random() < 0.1
def by_helper(session, p): return noisy(1.0) < 0.1
def by_generator(session, p): return generator.random() < 0.1
def by_plain_helper(session, p): return plain(session.patience) < 0.1
def by_dict(session, p): return session.trust < weights["a"]
def by_list(session, p): return session.trust < numbers[0]
def counting(session, p):
    global counter
    counter += 1
    return counter > 5
def edits_item(session, item, affinity, p):
    item.quality = 1.0
    return affinity
def edits_topics(session, item, affinity, p):
    item.topics[0] = 1.0
    return affinity
def edits_coefficients(session, p): p.patience_skip = 0.0
def replaces_array(session, p): session.interests = limits
def by_comprehension(session, p): return sum([np.random.rand() for _ in range(3)]) < 0.5  # noqa: NPY002
def by_inner_function(session, p):
    def draw():
        return rand()  # noqa: NPY002
    return draw() < 0.5
def by_vectorized_helper(session, p): return noisy_vectorized(1.0) < 0.1
def true_or_false(session, item, affinity, p): return affinity > 0.0
def a_flag_among_three(session, item, affinity, p): return 5.0, 1.0, affinity > 0.0
def not_a_number(session, p): return session.custom[0] / session.custom[0]
def ends_the_session(session, p): session.is_over = True
def edits_history(session, p): session.history_feedback[0, 3] = 5.0
def edits_by_helper(session, p): edit_candidates(session)
def sets_text(session, p): session.patience = "x"
def sets_unknown(session, p): session.patienc = 1.0
def uses_unknown(session, p): session.trust += np.mena(session.interests)
def yields(session, p): yield session.trust
# fmt: on

RANDOM = "global random numbers would make the same seed give other sessions; draw by recsim_env.simulation.random_st"


@pytest.mark.parametrize(
    ("name", "function", "message"),
    [
        ("has_left", misspelt, "cannot be compiled: session.patienc: unknown; did you mean 'patience'? Must be one of"),
        ("has_left", misspelt_coefficient, "cannot be compiled: parameters.patience_skp: unknown; did you mean 'pati"),
        ("has_left", undefined, "'limit' is not defined (undefined, line "),
        ("has_left", forgotten, "must return True or False; it returns nothing (is a return missing?)"),
        ("choice_utility", sometimes, "must return a number below infinity, not NaN; it returns nothing in some cases"),
        ("choice_utility", text, "must return a number below infinity, not NaN; it returns unicode_type"),
        (
            "respond",
            listed,
            "must return a rating in [0, 5], a consumption in [0, 1] and a purchase of 0 or 1; it return",
        ),
        (
            *("choose", half_slot),
            "must return -1, or a slot of the slate that is not clicked and whose candidate exists; it returns float64",
        ),
        ("has_left", by_numpy, RANDOM),
        ("has_left", by_import, RANDOM),
        ("has_left", by_random, RANDOM),
        ("has_left", by_helper, RANDOM),
        ("has_left", by_generator, RANDOM),
        ("has_left", by_comprehension, f"{RANDOM}reams from session.noise_key (by_comprehension, line"),
        ("has_left", by_inner_function, RANDOM),
        ("has_left", by_vectorized_helper, f"{RANDOM}reams from session.noise_key (noisy_vectorized, line"),
        ("choice_utility", true_or_false, "must return a number below infinity, not NaN; it returns bool"),
        ("respond", a_flag_among_three, "must return a rating in [0, 5], a consumption in [0, 1] and a purchase of 0"),
        ("has_left", not_a_number, "must return True or False; it returns float64"),
        ("decay", ends_the_session, "session.is_over is set by the platform, and read-only here (ends_the_session, l"),
        ("decay", edits_history, "session.history_feedback is set by the platform, and read-only here (edits_history"),
        ("decay", edits_by_helper, "session.candidates is set by the platform, and read-only here (edit_candidates, l"),
        (
            "has_left",
            by_plain_helper,
            "'plain' is a plain function; decorate it with numba.njit (by_plain_helper, line",
        ),
        (
            "has_left",
            by_dict,
            "'weights' is a dict; a global must be a number, an array or a tuple, and session.custom",
        ),
        (
            "has_left",
            by_list,
            "'numbers' is a list; a global must be a number, an array or a tuple, and session.custom",
        ),
        ("has_left", counting, "sets a global variable; session.custom holds state"),
        ("choice_utility", edits_item, "cannot be compiled: item.quality is read-only"),
        (
            "choice_utility",
            edits_topics,
            "cannot be compiled: No implementation of function Function(<built-in functio",
        ),
        ("decay", replaces_array, "cannot be compiled: session.interests is an array: assign to its elements"),
        ("decay", sets_text, "cannot be compiled: Cannot cast Literal[str](x) to float64"),
        (
            "decay",
            sets_unknown,
            "cannot be compiled: session.patienc: unknown; did you mean 'patience'? Must be one of",
        ),
        ("decay", uses_unknown, "cannot be compiled: module 'numpy' has no attribute 'mena'"),
        ("decay", edits_coefficients, "cannot be compiled: parameters.patience_skip is read-only"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "",
)
def test_a_slip_in_the_code_is_refused_when_the_user_model_is_made(name, function, message):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        UserModel(**{name: function})
    assert str(refused.value).startswith(f"UserModel({name}={function.__name__}): {message}")


def test_a_generator_is_refused():
    with pytest.raises(
        ValueError, match=r"^UserModel\(decay=yields\(session, p\)\): must be a function of \(session, p\)$"
    ):
        UserModel(decay=yields)


def test_each_function_that_can_be_replaced_has_a_rule():
    assert set(RULES) == set(REPLACEABLE)


# Functions with dials: `session.custom[0]` says which of them breaks its rule.

AFFINITY, CONSUMPTION, SLOT, MISSING, EXAMINED, TRUST, MOOD, BEYOND, UTILITY = range(1, 10)


def dialled_utility(session, item, affinity, p):
    return np.nan if session.custom[0] == UTILITY else user_model.choice_utility(session, item, affinity, p)


def dialled_affinity(session, item, p):
    return 1.0 / 0.0 if session.custom[0] == AFFINITY else user_model.effective_affinity(session, item, p)


def dialled_response(session, item, affinity, p):
    return 3, 1.5 if session.custom[0] == CONSUMPTION else 1, 0


def dialled_choice(session, items, slate, num_examined, p):
    if session.custom[0] == SLOT:
        return len(slate)
    return 1 if session.custom[0] == MISSING else 0


def dialled_examination(session, slate_size, p):
    return slate_size + (session.custom[0] == EXAMINED)


def dialled_decay(session, p):
    if session.custom[0] == TRUST:
        session.trust = np.nan
    if session.custom[0] == MOOD:
        session.mood = len(p.moods)


def dialled_leaving(session, p):
    number = 8 if session.custom[0] == BEYOND else 7
    return limits[0] > 0.5 and session.custom[number] > 5.0


@pytest.fixture(scope="module")
def simulator():
    functions = UserModel(
        choice_utility=dialled_utility,
        effective_affinity=dialled_affinity,
        respond=dialled_response,
        choose=dialled_choice,
        examine=dialled_examination,
        decay=dialled_decay,
        has_left=dialled_leaving,
    )
    return with_custom_user_models(make_simulator(num_sessions=4, slate_size=3), functions)


@pytest.mark.parametrize(
    ("dial", "message"),
    [
        (AFFINITY, "UserModel(effective_affinity=dialled_affinity): must return a finite number"),
        (CONSUMPTION, "UserModel(respond=dialled_response): must return a rating in [0, 5], a consumption in [0, 1]"),
        (SLOT, "UserModel(choose=dialled_choice): must return -1, or a slot of the slate that is not clicked"),
        (MISSING, "UserModel(choose=dialled_choice): must return -1, or a slot of the slate that is not clicked"),
        (EXAMINED, "UserModel(examine=dialled_examination): must return a whole number from 1 to slate_size"),
        (TRUST, "UserModel(decay=dialled_decay): must leave a state of finite numbers"),
        (MOOD, "UserModel(decay=dialled_decay): must leave a state of finite numbers"),
        (BEYOND, "UserModel(choice_utility=dialled_utility, effective_affinity=dialled_affinity, "),
    ],
)
def test_a_value_that_breaks_a_rule_ends_the_step(simulator, dial, message):
    state = simulator.state()
    simulator.step(np.tile([0, 1, 2], (4, 1)))  # by the rules
    simulator.sessions["custom"][2, 0] = dial
    simulator.sessions["candidates"][2, 1] = -1
    with pytest.raises((ValueError, IndexError), match=f"^{re.escape(message)}"):
        simulator.step(np.tile([0, 1, 2], (4, 1)))
    simulator.restore(state)


def random_leaving(session, p):
    return uniform(session.noise_key, session.step, Purpose.CHOICE, 9) < 0.1


def test_draws_from_the_sessions_keys_are_allowed():
    UserModel(has_left=random_leaving)


def test_slips_are_refused_without_the_compiler_too():
    program = (
        "import numpy as np\nfrom recsim_env import UserModel\n"
        "def has_left(session, p):\n    return np.random.rand() < 0.1\nUserModel(has_left=has_left)\n"
    )
    environment = {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "ValueError: UserModel(has_left=has_left): global random numbers would make" in ran.stderr
