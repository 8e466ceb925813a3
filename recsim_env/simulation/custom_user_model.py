"""Users of your own: functions that take the place of those in `user_model`, compiled like them.

A function of yours has the name of the one that it replaces, and its arguments. Every compiled function that comes to
call it is compiled anew, in this process; all others stay as they are.
"""

import inspect
import types
from collections.abc import Callable
from typing import Any

from numba import config as numba_config
from numba import njit

from recsim_env.simulation import user_model

REPLACEABLE = tuple(
    name
    for name, function in vars(user_model).items()
    if not name.startswith("_")
    and inspect.isfunction(inspect.unwrap(getattr(function, "py_func", function)))
    and getattr(function, "__module__", "") == user_model.__name__
)
"""Names of the functions in `user_model` that can be replaced."""


class UserModel:
    """Functions of your own in place of some of `user_model`'s, given by name: `UserModel(effective_affinity=mine)`.

    Write them in plain Python that Numba compiles; what they call of `user_model` is the package's version. What a user
    of yours has to remember goes into `session.custom`, numbers that are 0 when a user comes for the first time.
    Observations must stay in their spaces: ratings in 0..5, consumption, clicks and purchases in 0..1.

    Raises:
        ValueError: a name that `user_model` does not have, or a function with other arguments than the one it replaces.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self._given = functions
        self._functions: dict[Callable[..., Any], Callable[..., Any]] = {}
        for name, own in functions.items():
            if name not in REPLACEABLE:
                raise ValueError(f"UserModel({name}=...): unknown; must be one of {', '.join(REPLACEABLE)}")
            original = getattr(user_model, name)
            wanted = _arguments(original)
            if not inspect.isfunction(_plain(own)) or _arguments(own) != wanted:
                raise ValueError(f"UserModel({name}={own!r}): must be a function of {wanted}")
            self._functions[original] = _compiled(own)

    def __deepcopy__(self, memo: dict[int, Any]) -> "UserModel":
        """Itself, as it never changes: `gymnasium.make(env.spec)` then finds what has been drawn and compiled."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has compiled functions of its own to replace."""
        return _user_model, (self._given,)

    def adapted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled function with your functions in it, however deep down; itself if none of them is called."""
        if function not in self._functions:
            self._functions[function] = self._made_anew(function)
        return self._functions[function]

    def _made_anew(self, function: Callable[..., Any]) -> Callable[..., Any]:
        plain = _plain(function)
        called = {name: plain.__globals__.get(name) for name in plain.__code__.co_names}
        adapted = {name: self.adapted(each) for name, each in called.items() if _is_compiled(each)}
        if all(adapted[name] is called[name] for name in adapted):
            return function
        names = {**plain.__globals__, **adapted}
        return _compiled(
            types.FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
        )


DEFAULT_USER_MODEL = UserModel()
"""Nothing of your own: the users of the package."""


def _is_compiled(value: Any) -> bool:
    """Whether it is one of the functions that Numba compiles (all plain functions, when the compiler is off)."""
    return isinstance(value, types.FunctionType) if numba_config.DISABLE_JIT else hasattr(value, "py_func")


def _user_model(functions: dict[str, Callable[..., Any]]) -> UserModel:
    return UserModel(**functions)


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def _arguments(function: Any) -> str:
    """Its arguments as they are written, less annotations and defaults: `(session, p)`."""
    parameters = inspect.signature(_plain(function)).parameters.values()
    return str(inspect.Signature([each.replace(annotation=each.empty, default=each.empty) for each in parameters]))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function if _is_compiled(function) else njit(nogil=True)(function)
