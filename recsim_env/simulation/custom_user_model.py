"""Custom user models: functions that replace those in `user_model`, or the choice of candidates, compiled like them.

A function has the name and the arguments of the one that it replaces. Every compiled function that calls it, directly
or not, is compiled again in this process; all others are shared.
"""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from numba import config as numba_config

from recsim_env.config import unknown_name
from recsim_env.simulation import user_model
from recsim_env.simulation.availability import draw_candidates
from recsim_env.simulation.compilation import Kernel, compiled, kernel
from recsim_env.simulation.records import NUM_CUSTOM
from recsim_env.simulation.replacement_checks import checked

REPLACEABLE = {
    name: function
    for name, function in vars(user_model).items()
    if not name.startswith("_")
    and inspect.isfunction(inspect.unwrap(getattr(function, "py_func", function)))
    and getattr(function, "__module__", "") == user_model.__name__
} | {"draw_candidates": draw_candidates}
"""The functions that can be replaced, by name: those of `user_model`, and the platform's choice of candidates."""


class UserModel:
    """The user model with some functions replaced, by name: `UserModel(effective_affinity=my_function)`.

    `UserModel(draw_candidates=my_function)` chooses the candidates, which may depend on the user.

    Functions are plain Python that Numba can compile; calls to `user_model` from them run the package's version. State
    of a user goes into `session.custom`, numbers that are 0 before the user's first session. What functions return is
    checked in play (`replacement_checks.RULES`): ratings in [0, 5], consumption in [0, 1], no NaN.

    Raises:
        ValueError: an unknown name, a function with other arguments than the one it replaces, or a slip in its code,
            such as an unknown field, a missing return or global random numbers; in one line.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self._replacements = functions
        self._functions: dict[Callable[..., Any], Callable[..., Any]] = {}
        for name, function in functions.items():
            if name not in REPLACEABLE:
                raise ValueError(f"UserModel({name}=...): {unknown_name(name, REPLACEABLE)}")
            original = REPLACEABLE[name]
            arguments = _arguments(original)
            is_function = inspect.isfunction(_plain(function))
            is_lazy = inspect.isgeneratorfunction(_plain(function)) or inspect.iscoroutinefunction(_plain(function))
            if is_lazy or not is_function or _arguments(function) != arguments:
                given = f"{function.__qualname__}{_arguments(function)}" if is_function else repr(function)
                raise ValueError(f"UserModel({name}={given}): must be a function of {arguments}")
            self._functions[original] = checked(name, _plain(function))

    def __deepcopy__(self, memo: dict[int, Any]) -> "UserModel":
        """Itself, as it is immutable: `gymnasium.make(env.spec)` then reuses the world and the compiled functions."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """The replacements only: another process compiles its own functions."""
        return _user_model, tuple(self._replacements.items())

    def adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled function with the replacements in it, at any depth; itself if it calls none of them."""
        if function not in self._functions:
            self._functions[function] = self._with_replacements(function)
        return self._functions[function]

    def _with_replacements(self, function: Callable[..., Any]) -> Callable[..., Any]:
        plain = _plain(function)
        called = {name: plain.__globals__.get(name) for name in plain.__code__.co_names}
        adapted = {name: self.adapted(callee) for name, callee in called.items() if _is_compiled(callee)}
        if all(adapted[name] is called[name] for name in adapted):
            return function
        names = {**plain.__globals__, **adapted}
        copy = types.FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
        is_kernel = isinstance(function, Kernel)
        return self._named(kernel(copy, is_kept=False)) if is_kernel else compiled(copy, allocates=True)

    def _named(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A kernel whose errors about indices, which Numba raises without a place, name the replacements."""

        @functools.wraps(function)
        def call(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except IndexError as error:
                names = ", ".join(f"{name}={each.__qualname__}" for name, each in self._replacements.items())
                raise IndexError(f"UserModel({names}): {error}; session.custom has {NUM_CUSTOM} numbers") from None

        return call


DEFAULT_USER_MODEL = UserModel()
"""The user model of the package."""


def _is_compiled(value: Any) -> bool:
    """Whether it is a function compiled by Numba (any plain function if the compiler is off)."""
    return isinstance(value, types.FunctionType) if numba_config.DISABLE_JIT else hasattr(value, "py_func")


@functools.lru_cache(maxsize=8)
def _user_model(*replacements: tuple[str, Callable[..., Any]]) -> UserModel:
    """The user model of a pickle; the same one each time, as its world and its compiled functions are costly."""
    return UserModel(**dict(replacements)) if replacements else DEFAULT_USER_MODEL


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def _arguments(function: Any) -> str:
    """Its arguments without annotations and defaults: `(session, p)`."""
    parameters = inspect.signature(_plain(function)).parameters.values()
    return str(inspect.Signature([one.replace(annotation=one.empty, default=one.empty) for one in parameters]))
