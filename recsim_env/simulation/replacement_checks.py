"""Checks of the functions that replace parts of the user model: of their code, their types, and what they return.

Code and types are checked when a `UserModel` is constructed. Values are checked in play, by a compiled function around
each replacement, so that a slip ends in one line instead of observations outside their space.
"""

import inspect
import math
import re
import types as python_types
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import numpy as np
from numba import config as numba_config
from numba import types
from numba.core import ir
from numba.core.compiler import run_frontend
from numba.core.errors import ConstantInferenceError, NumbaError, UnsupportedBytecodeError
from numba.core.ir_utils import get_definition, guard
from numba.core.registry import cpu_target

from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.record_types import RecordsType, RecordType
from recsim_env.simulation.records import ITEM, NO_ITEM, PARAMETERS, SESSION, USER

_ARGUMENTS: dict[str, types.Type] = {
    "session": RecordType(SESSION),
    "user": RecordType(USER),
    "item": RecordType(ITEM),
    "items": RecordsType(ITEM),
    "p": RecordType(PARAMETERS),
    "slate": types.Array(types.int64, 1, "C"),
    **dict.fromkeys(("slate_size", "num_examined", "slot"), types.intp),
}
"""Types of arguments by name; all others are numbers, float64."""

_PLATFORM_FIELDS = (
    *("episode", "world_key", "user_key", "noise_key", "step", "start_step", "user", "tenure", "is_over", "seeds"),
    *("first_item", "first_new_item", "end_item", "candidates", "tastes", "taste_covariance", "taste_gain"),
    *("num_clicks", "num_ratings", "rating_sum", "num_shown", "history_items", "history_feedback"),
    *("relevances", "sort_keys", "sorted_keys", "bucket_ends", "logged_slate", "clicked", "slot_feedback"),
    *("first_time", "num_visits", "visit_start", "absence", "num_choices", "num_remembered"),
    *("consumed_items", "consumed_times"),
)
"""Fields of a session that the simulator sets; only `draw_candidates` assigns to `candidates`."""

_GLOBAL_RANDOM_NUMBERS = (
    "global random numbers would make the same seed give other sessions; draw by "
    "recsim_env.simulation.random_streams from session.noise_key"
)
_LARGEST = float(np.finfo(np.float64).max)


class _Rule(NamedTuple):
    """What a function must return, or must leave behind if it returns nothing."""

    text: str
    kind: type | None
    """float, int, bool, tuple (of three numbers), or None for nothing."""
    is_met: Callable[..., bool]
    """Of the returned value and the tuple of arguments."""


def _between(low: float, high: float) -> Callable[..., bool]:
    def is_between(value, arguments):
        return low <= value <= high  # not so for NaN

    return compiled(is_between)


@compiled
def _always(value, arguments):
    return True


@compiled
def _is_number_of_slots(value, arguments):
    return 1 <= value <= arguments[1]


@compiled
def _is_shown_candidate(value, arguments):
    session, slate, slot = arguments
    return not value or session.candidates[slate[slot]] != NO_ITEM


@compiled
def _is_chosen_slot(value, arguments):
    session, slate = arguments[0], arguments[2]
    if value == -1:
        return True
    return 0 <= value < len(slate) and session.candidates[slate[value]] != NO_ITEM and session.clicked[value] == 0


@compiled
def _is_response(value, arguments):
    rating, consumption, purchase = value
    return 0.0 <= rating <= 5.0 and 0.0 <= consumption <= 1.0 and (purchase == 0.0 or purchase == 1.0)


@compiled
def _is_follow(value, arguments):
    return value == -1.0 or value == 0.0 or value == 1.0


@compiled
def _is_state(value, arguments):
    session, p = arguments[0], arguments[-1]
    total = session.trust + session.rating_bias + session.rating_scale + session.receptiveness
    total += session.satisfaction + session.habit
    for d in range(len(session.interests)):
        total += session.interests[d]
    for k in range(len(session.satiation)):
        total += session.satiation[k]
    is_number = session.patience == session.patience and session.budget == session.budget  # not NaN; may be infinite
    num_moods = len(p.moods)
    return math.isfinite(total) and is_number and 0 <= session.mood < num_moods and -1 <= session.seen_mood < num_moods


@compiled
def _are_candidates(value, arguments):
    session = arguments[0]
    candidates = session.candidates
    for m in range(len(candidates)):
        item = candidates[m]
        if item != NO_ITEM:
            if item < session.first_item or item >= session.end_item:
                return False
            for other in range(m):
                if candidates[other] == item:
                    return False
    return True


_NUMBER = _Rule("a finite number", float, _between(-_LARGEST, _LARGEST))
_LOGIT = _Rule("a number, not NaN", float, _between(-math.inf, math.inf))
_UTILITY = _Rule("a number below infinity, not NaN", float, _between(-math.inf, _LARGEST))
_PROBABILITY = _Rule("a number in [0, 1]", float, _between(0.0, 1.0))
_RATE = _Rule("a number of at least 0, not NaN", float, _between(0.0, math.inf))
_RATING = _Rule("a number in [0, 5]", float, _between(0.0, 5.0))
_CANDIDATES = _Rule(
    "distinct candidates from first_item to end_item - 1, or -1 for a missing one", None, _are_candidates
)
_STATE = _Rule("a state of finite numbers (patience and budget may be infinite) and a mood in range", None, _is_state)

RULES = {
    "logistic": _PROBABILITY,
    "familiarity": _NUMBER,
    "effective_affinity": _NUMBER,
    "choice_utility": _UTILITY,
    "mean_opinion": _NUMBER,
    "draw_rating": _RATING,
    "expected_rating": _RATING,
    "anticipated_rating": _NUMBER,
    "consumption_logit": _LOGIT,
    "purchase_probability": _PROBABILITY,
    "examine": _Rule("a whole number from 1 to slate_size", int, _is_number_of_slots),
    "is_shown": _Rule("True or False, and False where the candidate is missing", bool, _is_shown_candidate),
    "choose": _Rule("-1, or a slot of the slate that is not clicked and whose candidate exists", int, _is_chosen_slot),
    "chooses_again": _Rule("True or False", bool, _always),
    "respond": _Rule("a rating in [0, 5], a consumption in [0, 1] and a purchase of 0 or 1", tuple, _is_response),
    "follow_response": _Rule("1, 0 or -1", float, _is_follow),
    "has_left": _Rule("True or False", bool, _always),
    "is_visit_over": _Rule("True or False", bool, _always),
    "return_hazard": _RATE,
    "draw_absence": _RATE,
    "click_value": _NUMBER,
    "expected_reward": _NUMBER,
    **dict.fromkeys(
        ("init_user", "init_visit", "begin_visit", "end_visit", "return_after", "decay", "skip", "change"), _STATE
    ),
    "draw_candidates": _CANDIDATES,
}
"""By name of the replaced function."""


def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A replacement, compiled, with a check of what it returns.

    Raises:
        ValueError: a slip in its code; one line with the function and the rule.
    """
    label, rule = f"UserModel({name}={function.__qualname__})", RULES[name]
    read_only = [field for field in _PLATFORM_FIELDS if (name, field) != ("draw_candidates", "candidates")]
    for where, slip in _slips_in(function, read_only, set()):
        raise ValueError(f"{label}: {slip}{where}")
    inner = compiled(function, allocates=True, checks_bounds=True)
    must = f"{label}: must {'leave' if rule.kind is None else 'return'} {rule.text}"
    guarded = _guarded(inner, rule, must)
    guarded.__name__, guarded.__qualname__ = function.__name__, function.__qualname__
    if not numba_config.DISABLE_JIT:
        _check_types(inner, label, rule, must)
    return compiled(guarded)


def _guarded(function: Callable[..., Any], rule: _Rule, message: str) -> Callable[..., Any]:
    is_met = rule.is_met
    if rule.kind is float:

        def guarded(*arguments):
            value = float(function(*arguments))
            if not is_met(value, arguments):
                raise ValueError(message)
            return value

    elif rule.kind is int:

        def guarded(*arguments):
            value = int(function(*arguments))
            if not is_met(value, arguments):
                raise ValueError(message)
            return value

    elif rule.kind is bool:

        def guarded(*arguments):
            value = bool(function(*arguments))
            if not is_met(value, arguments):
                raise ValueError(message)
            return value

    elif rule.kind is tuple:

        def guarded(*arguments):
            first, second, third = function(*arguments)
            value = float(first), float(second), float(third)
            if not is_met(value, arguments):
                raise ValueError(message)
            return value

    else:

        def guarded(*arguments):
            function(*arguments)
            if not is_met(0.0, arguments):
                raise ValueError(message)

    return guarded


def _check_types(function: Any, label: str, rule: _Rule, must: str) -> None:
    """Compile a function for the arguments that it will get, and check the type that it returns."""
    arguments = tuple(_ARGUMENTS.get(each, types.float64) for each in inspect.signature(function.py_func).parameters)
    try:
        function.compile(arguments)
    except (NumbaError, AttributeError) as error:  # AttributeError: of a module
        raise ValueError(f"{label}: {_reason(error)}") from None
    returned = function.overloads[arguments].signature.return_type
    if isinstance(returned, types.Optional | types.NoneType) and rule.kind is not None:
        when = "in some cases" if isinstance(returned, types.Optional) else "(is a return missing?)"
        raise ValueError(f"{must}; it returns nothing {when}")
    kinds: dict[type | None, Any] = {bool: types.Integer | types.Boolean, int: types.Integer}
    numbers = kinds.get(rule.kind, types.Integer | types.Float)
    parts = tuple(returned) if rule.kind is tuple and isinstance(returned, types.BaseTuple) else (returned,)
    if rule.kind is None:
        return
    if len(parts) != (3 if rule.kind is tuple else 1) or not all(isinstance(each, numbers) for each in parts):
        raise ValueError(f"{must}; it returns {types.unliteral(returned)}")


def _slips_in(function: Callable[..., Any], read_only: list[str], seen: set[Any]) -> Iterator[tuple[str, str]]:
    """(where, what is wrong) in a function and the compiled ones that it calls, by Numba's reading of their code."""
    plain = getattr(function, "py_func", function)
    if plain in seen or plain.__module__.startswith("recsim_env."):
        return
    seen.add(plain)
    try:
        code = run_frontend(plain)
    except (NumbaError, UnsupportedBytecodeError) as error:
        yield "", _reason(error)
        return
    for inner in _inner_functions(plain.__code__):
        if any(_is_global_generator(plain.__globals__.get(name)) for name in inner.co_names) or (
            "random" in inner.co_names and any(plain.__globals__.get(name) is np for name in inner.co_names)
        ):
            yield f" ({plain.__name__}, line {inner.co_firstlineno})", _GLOBAL_RANDOM_NUMBERS
    for block in code.blocks.values():
        for field, line in _assigned_fields(code, block):
            if field in read_only:
                yield f" ({plain.__name__}, line {line})", f"session.{field} is set by the platform, and read-only here"
        for assignment in block.find_insts(ir.Assign):
            where = f" ({plain.__name__}, line {assignment.loc.line})"
            given = assignment.value
            try:
                value = code.infer_constant(assignment.target)
            except ConstantInferenceError:
                continue
            if value is ir.UNDEFINED:
                yield where, f"{given.name!r} is not defined"
            elif _is_global_generator(value):
                yield where, _GLOBAL_RANDOM_NUMBERS
            elif called := _compiled_functions(value):
                for each in called:
                    yield from _slips_in(each, read_only, seen)
            elif isinstance(given, ir.Global | ir.FreeVar) and not (numba_config.DISABLE_JIT or _is_constant(value)):
                is_function = isinstance(value, python_types.FunctionType)
                yield (
                    where,
                    f"{given.name!r} is a plain function; decorate it with numba.njit"
                    if is_function
                    else f"{given.name!r} is a {type(value).__name__}; a global must be a number, an array or a tuple, "
                    "and session.custom holds state",
                )


def _inner_functions(code: python_types.CodeType) -> Iterator[python_types.CodeType]:
    """The code of functions, lambdas and comprehensions inside a function, at any depth."""
    for constant in code.co_consts:
        if isinstance(constant, python_types.CodeType):
            yield constant
            yield from _inner_functions(constant)


def _assigned_fields(code: Any, block: Any) -> Iterator[tuple[str, int]]:
    """Fields of records that a block assigns to, or to whose elements it assigns, and the line."""
    for statement in block.body:
        if isinstance(statement, ir.SetAttr):
            yield statement.attr, statement.loc.line
        elif isinstance(statement, ir.SetItem | ir.StaticSetItem):
            array = guard(get_definition, code, statement.target)
            if isinstance(array, ir.Expr) and array.op == "getattr":
                yield array.attr, statement.loc.line


def _compiled_functions(value: Any) -> list[Any]:
    """Functions compiled by `njit` or `vectorize`: the value itself, or those in a tuple."""
    if isinstance(value, tuple):
        return [each for part in value for each in _compiled_functions(part)]
    value = getattr(value, "_dispatcher", value)
    return [value] if hasattr(value, "py_func") else []


def _is_global_generator(value: Any) -> bool:
    owner = getattr(value, "__self__", value)
    return isinstance(owner, np.random.Generator | np.random.RandomState | Random) or value is np.random


def _is_constant(value: Any) -> bool:
    """Whether compiled code can use a global value: a number, an array, a module, a function known to Numba."""
    context = cpu_target.typing_context
    context.refresh()
    try:
        return not isinstance(context.resolve_value_type(value), types.List | types.Set)
    except (ValueError, NumbaError):
        return False


def _reason(error: Exception) -> str:
    """The first line of Numba's message that says something, without colours, and the place."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    if "STORE_GLOBAL" in text:
        return "sets a global variable; session.custom holds state"
    text = re.sub(r"^Failed in nopython mode.*\n", "", text, flags=re.MULTILINE)
    reason = re.sub(r":\s+", ": ", text.strip()).partition("\n")[0]  # with the line that a colon announces
    place = re.search(r"^File \"[^\"]*\", line (\d+)", text, re.MULTILINE)
    return f"cannot be compiled: {reason}" + (f" (line {place[1]})" if place else "")
