"""What metrics are called in pictures and tables, and what their figures mean."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """How to speak of a metric."""

    words: str
    unit: str
    digits: int = 2
    about: str = ""


_NAMES = {
    "regret": MetricName(words="regret", unit="stars", digits=1, about="return of the planning oracle minus return"),
    "coverage": MetricName(words="coverage", unit="share of items", about="available items that were shown at all"),
    "exposure_gini": MetricName(words="exposure Gini", unit="0 to 1", about="how unequally items are shown: 0 equally"),
    "diversity": MetricName(words="diversity", unit="0 to 2", about="mean of 1 - cosine of the items of a session"),
    "novelty": MetricName(words="novelty", unit="bits", digits=1, about="how little known the shown items are"),
    "new_item_share": MetricName(words="new items", unit="share of showings", about="showings of items just released"),
    "discovery_share": MetricName(words="discovered", unit="share", about="arrivals that were shown at all"),
    "discovery_steps": MetricName(words="steps to discovery", unit="steps", digits=0, about="median, of those shown"),
    "session_length": MetricName(words="session length", unit="steps", digits=1),
    "churn": MetricName(words="left", unit="share of users", about="users who left before the session was over"),
}
_NAMES["catalog_coverage"] = _NAMES["coverage"]
_NAMES["intra_list_diversity"] = _NAMES["diversity"]
_NAMES["new_item_exposure"] = _NAMES["new_item_share"]
_NAMES["share_discovered"] = _NAMES["discovery_share"]
_NAMES["steps_to_discovery"] = _NAMES["discovery_steps"]


def name_of_metric(key: str) -> MetricName:
    """A metric that has no name here is called by its key."""
    return _NAMES.get(key, MetricName(words=key.replace("_", " "), unit=""))
