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
    "catalog_coverage": MetricName(
        words="coverage", unit="share of items", about="available items that were shown to anybody"
    ),
    "exposure_gini": MetricName(
        words="exposure Gini", unit="0 to 1", about="how unequally items are shown; 0: equally"
    ),
    "intra_list_diversity": MetricName(
        words="diversity", unit="0 to 2", about="mean of 1 - cosine over all pairs of items that a session was shown"
    ),
    "novelty": MetricName(words="novelty", unit="bits", digits=1, about="how little known the shown items are"),
    "new_item_exposure": MetricName(
        words="new items", unit="share of showings", about="showings of items that were released lately"
    ),
    "share_discovered": MetricName(words="discovered", unit="share of arrivals", about="new items shown to anybody"),
    "steps_to_discovery": MetricName(
        words="time to discovery", unit="steps", digits=0, about="median over the arrivals that were shown"
    ),
    "session_length": MetricName(words="session length", unit="steps", digits=1),
    "churn": MetricName(words="left", unit="share of users", about="users who left before the session was over"),
}


def name_of_metric(key: str) -> MetricName:
    """A metric that has no name here is called by its key."""
    return _NAMES.get(key, MetricName(words=key.replace("_", " "), unit=""))
