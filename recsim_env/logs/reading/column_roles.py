"""The columns of a log: which one has users, items, ratings and times, by its usual name or as it is given."""

import re
from collections.abc import Mapping, Sequence

from recsim_env.config import unknown_name

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "user": (
        *("user", "userid", "uid", "usr", "customer", "customerid", "reviewer", "reviewerid", "member", "memberid"),
        *("visitor", "visitorid", "account", "accountid", "profile", "profileid", "person", "personid"),
    ),
    "item": (
        *("item", "itemid", "iid", "movie", "movieid", "film", "filmid", "product", "productid", "asin", "parentasin"),
        *("sku", "book", "bookid", "isbn", "artist", "artistid", "track", "trackid", "song", "songid", "business"),
        *("businessid", "article", "articleid", "newsid", "video", "videoid", "anime", "animeid", "game", "gameid"),
        *("recipe", "recipeid", "joke", "jokeid", "content", "contentid", "place", "placeid"),
    ),
    "rating": (
        *("rating", "ratings", "stars", "star", "score", "overall", "value", "userrating", "ratingvalue", "bookrating"),
        *("moviescore", "reviewscore", "starrating"),
    ),
    "plays": (
        "plays",
        "playcount",
        "weight",
        "count",
        "listens",
        "listencount",
        "numplays",
        "frequency",
    ),
    "watch_ratio": ("watchratio", "watchedratio", "completion", "completionrate", "playratio"),
    "click": ("click", "clicks", "clicked", "isclick", "isclicked", "label"),
    "time": (
        *("timestamp", "time", "date", "datetime", "ts", "unixreviewtime", "reviewtime", "created", "createdat"),
        *("ratingdate", "ratingtime", "dateadded", "day", "eventtime"),
    ),
}
"""Names of columns by what they hold, in lower case with letters and digits only; the first that a file has is taken.
`rating`, `plays`, `watch_ratio` and `click` are values; see `rating_levels.FEEDBACK_KINDS`."""

_SHOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "session": ("session", "sessionid", "visit", "visitid", "sid"),
    "step": ("step", "request", "requestid", "impressionid", "slate", "slateid", "recsetid"),
    "position": ("position", "pos", "slot", "rank", "place"),
}
"""Likewise, of columns that a log of shown items has."""

VALUES = ("rating", "plays", "watch_ratio", "click")
"""What the column of values may hold."""

_ROLES = ("user", "item", "rating", "time")


def assigned_columns(names: Sequence[str], has_header: bool, given: Sequence[str], feedback: str) -> dict[str, str]:
    """The name of the column for each of `user`, `item`, and (if there is one) `rating` and `time`.

    The column of values is under `rating`; their kind, one of `VALUES`, is under `kind` if its name says so.

    Args:
        names: of the columns of the file.
        has_header: whether the file names its columns.
        given: roles in the order of the columns, `-` for a column to skip, or `role=name` for some roles.
        feedback: whose column is preferred if a file has several values: one of `rating_levels.FEEDBACK_KINDS`.

    Raises:
        ValueError: a column is missing, unknown or not clear; one line that says how to name it.
    """
    roles = _given(names, given)
    if given and not any("=" in each for each in given):
        _require_both(roles, names, has_header)
        return roles
    by_usual_name = _by_usual_name(names)
    taken = set(roles.values())
    preferred = {"clicks": "click", "plays": "plays", "watch_ratio": "watch_ratio"}.get(feedback, "rating")
    for role in ("user", "item", *sorted(VALUES, key=lambda value: value != preferred), "time"):
        place = "rating" if role in VALUES else role
        found = [by_usual_name[name] for name in USUAL_NAMES[role] if name in by_usual_name]
        found = [name for name in found if name not in taken]
        if place not in roles and found:
            roles[place] = found[0]
            taken.add(found[0])
            if role in VALUES:
                roles["kind"] = role
    _require_both(roles, names, has_header)
    return roles


def assigned_columns_of_shown_items(names: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """The name of the column for each of `user`, `item`, `click`, and (if there is one) `session`, `step`, `position`
    and `time`, of a table with a header; `given` has `role=name` for some roles.

    Raises:
        ValueError: a column is missing or unknown; one line.
    """
    usual = {**{role: USUAL_NAMES[role] for role in ("user", "item", "click", "time")}, **_SHOWN_NAMES}
    if given and not all("=" in each for each in given):
        raise ValueError(f"--columns {','.join(given)}: must be ROLE=NAME,..., of {', '.join(usual)}")
    roles = _given(names, given, tuple(usual))
    plain = _by_usual_name(names)
    for role in usual:
        found = [plain[name] for name in usual[role] if name in plain and plain[name] not in roles.values()]
        if role not in roles and found:
            roles[role] = found[0]
    missing = [role for role in ("user", "item", "click") if role not in roles]
    if missing:
        example = ",".join(f"{role}=NAME" for role in missing)
        raise ValueError(f"no column for {' and '.join(missing)} among {','.join(names)}; name it: --columns {example}")
    return roles


def _by_usual_name(names: Sequence[str]) -> dict[str, str]:
    """The columns by their names in lower case with letters and digits only, without types as `user_id:token`."""
    return {re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower()): name for name in reversed(names)}


def _given(names: Sequence[str], given: Sequence[str], known: Sequence[str] = _ROLES) -> dict[str, str]:
    """The roles that the user has assigned."""
    roles = {}
    is_by_name = any("=" in each for each in given)
    if given and not is_by_name and len(given) != len(names):
        raise ValueError(f"--columns names {len(given)} columns, and the file has {len(names)}; - skips one")
    for position, each in enumerate(given):
        role, _, name = each.partition("=") if is_by_name else (each, "", names[position])
        if role == "-":
            continue
        if role not in known:
            raise ValueError(f"--columns {each}: {unknown_name(role, known)}")
        if role in roles:
            raise ValueError(f"--columns {each}: {role} is given twice")
        if name not in names:
            raise ValueError(f"--columns {each}: {unknown_name(name, list(names))}")
        roles[role] = name
    return roles


def _require_both(roles: Mapping[str, str], names: Sequence[str], has_header: bool) -> None:
    missing = [role for role in ("user", "item") if role not in roles]
    if not missing:
        return
    if not has_header:
        raise ValueError(
            f"the first line names no columns (no header?); name its {len(names)} columns in order, such as "
            f"--columns {','.join((*_ROLES, *['-'] * len(names))[: len(names)])}"
        )
    example = ",".join(f"{role}=NAME" for role in missing)
    raise ValueError(f"no column for {' and '.join(missing)} among {','.join(names)}; name it: --columns {example}")
