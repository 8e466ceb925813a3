"""Column roles: which columns of a table hold users, items, ratings and times, by their common names or as given."""

import re
from collections.abc import Mapping, Sequence

from recsim_env.config import unknown_name

COMMON_NAMES: Mapping[str, tuple[str, ...]] = {
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
"""Common column names for each role, in lower case with letters and digits only; the first one present is used.
`rating`, `plays`, `watch_ratio` and `click` are kinds of values; see `rating_levels.FEEDBACK_KINDS`."""

_SHOWN_NAMES: Mapping[str, tuple[str, ...]] = {
    "session": ("session", "sessionid", "visit", "visitid", "sid"),
    "step": ("step", "request", "requestid", "impressionid", "slate", "slateid", "recsetid"),
    "position": ("position", "pos", "slot", "rank", "place"),
}
"""Further roles in a log of shown items."""

VALUES = ("rating", "plays", "watch_ratio", "click")
"""Kinds of values."""

_ROLES = ("user", "item", "rating", "time")


def assigned_columns(names: Sequence[str], has_header: bool, given: Sequence[str], feedback: str) -> dict[str, str]:
    """The name of the column for `user`, `item` and, if present, `rating` and `time`.

    The column of values is under `rating`; their kind, one of `VALUES`, is under `kind` if the column name reveals it.

    Args:
        names: columns of the file.
        has_header: whether the file names its columns.
        given: roles in the order of the columns, `-` for a column to skip, or `role=name` for some roles.
        feedback: the kind of values to prefer if a file has several: one of `rating_levels.FEEDBACK_KINDS`.

    Raises:
        ValueError: a column is missing, unknown or given twice; the message says how to name it.
    """
    roles = _given(names, given)
    if given and not any("=" in each for each in given):
        _require_both(roles, names, has_header)
        return roles
    plain = by_plain_name(names)
    taken = set(roles.values())
    preferred = {"clicks": "click", "plays": "plays", "watch_ratio": "watch_ratio"}.get(feedback, "rating")
    for role in ("user", "item", *sorted(VALUES, key=lambda value: value != preferred), "time"):
        place = "rating" if role in VALUES else role
        found = [plain[name] for name in COMMON_NAMES[role] if name in plain and plain[name] not in taken]
        if place not in roles and found:
            roles[place] = found[0]
            taken.add(found[0])
            if role in VALUES:
                roles["kind"] = role
    _require_both(roles, names, has_header)
    return roles


def assigned_columns_of_shown_items(names: Sequence[str], given: Sequence[str]) -> dict[str, str]:
    """The name of the column for `user`, `item`, `click` and, if present, `session`, `step`, `position` and `time`.

    The table has a header; `given` has `role=name` for some roles.

    Raises:
        ValueError: a column is missing or unknown.
    """
    common = {**{role: COMMON_NAMES[role] for role in ("user", "item", "click", "time")}, **_SHOWN_NAMES}
    if given and not all("=" in each for each in given):
        raise ValueError(f"--columns {','.join(given)}: must be ROLE=NAME,... with roles from {', '.join(common)}")
    roles = _given(names, given, tuple(common))
    plain = by_plain_name(names)
    for role in common:
        found = [plain[name] for name in common[role] if name in plain and plain[name] not in roles.values()]
        if role not in roles and found:
            roles[role] = found[0]
    if missing := [role for role in ("user", "item", "click") if role not in roles]:
        raise _no_column_for(missing, names)
    return roles


def by_plain_name(names: Sequence[str]) -> dict[str, str]:
    """The columns by name, in lower case with letters and digits only, without type suffixes as in `user_id:token`; of
    several columns with one such name, the first."""
    return {re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower()): name for name in reversed(names)}


def _given(names: Sequence[str], given: Sequence[str], known: Sequence[str] = _ROLES) -> dict[str, str]:
    """The roles that `given` assigns."""
    roles = {}
    is_by_name = any("=" in each for each in given)
    if given and not is_by_name and len(given) != len(names):
        raise ValueError(f"--columns names {len(given)} columns, but the file has {len(names)}; use - to skip one")
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
            f"no header found; name its {len(names)} columns in order, such as "
            f"--columns {','.join((*_ROLES, *['-'] * len(names))[: len(names)])}"
        )
    raise _no_column_for(missing, names)


def _no_column_for(roles: Sequence[str], names: Sequence[str]) -> ValueError:
    example = ",".join(f"{role}=NAME" for role in roles)
    return ValueError(f"no column for {' and '.join(roles)} among {','.join(names)}; name it: --columns {example}")
