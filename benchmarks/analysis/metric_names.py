"""Titles, units and definitions of the metrics beyond reward."""

from typing import NamedTuple


class MetricName(NamedTuple):
    """A metric in figures and tables."""

    title: str
    unit: str = ""
    num_digits: int = 2
    definition: str = ""

    @property
    def label(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_NAMES = {
    "click_rate": MetricName("click rate", "share of exposures", 2, "exposures that were clicked"),
    "rating_per_click": MetricName(
        "rating per click", "1 to 5", 2, "mean rating of the clicked items; in a shop, of the purchased ones"
    ),
    "return_visits": MetricName("return visits", "a user", 1, "visits after the first, in lifetimes"),
    "active_days": MetricName("active days", "a user", 1, "days with a visit, in lifetimes"),
    "miscalibration": MetricName(
        "miscalibration",
        "nats",
        2,
        "mean KL divergence between the topics that a user clicks and the topics shown; 0: perfectly calibrated",
    ),
    "creator_coverage": MetricName("creator coverage", "share of creators", 2, "creators with at least one exposure"),
    "creator_exposure_gini": MetricName(
        "creator exposure Gini", "0 to 1", 2, "inequality of exposure over creators; 0: equal"
    ),
    "creator_click_gini": MetricName("creator click Gini", "0 to 1", 2, "inequality of clicks over creators; 0: equal"),
    "tail_creator_exposure": MetricName(
        "exposure of tail creators", "share of exposures", 2, "exposures that go to the least popular third of creators"
    ),
    "tail_creator_clicks": MetricName(
        "clicks on tail creators", "share of clicks", 2, "clicks that go to the least popular third of creators"
    ),
    "catalog_coverage": MetricName("coverage", "share of items", 2, "available items that were shown at all"),
    "exposure_gini": MetricName("exposure Gini", "0 to 1", 2, "inequality of exposure over available items; 0: equal"),
    "intra_list_diversity": MetricName(
        "diversity", "0 to 2", 2, "mean of 1 − cosine over all pairs of items shown in a session"
    ),
    "novelty": MetricName("novelty", "bits", 1, "mean self-information of the shown items"),
    "new_item_exposure": MetricName("new items", "share of exposures", 2, "exposures of recently released items"),
    "share_discovered": MetricName("discovered", "share of arrivals", 2, "newly released items that were shown at all"),
    "steps_to_discovery": MetricName(
        "time to discovery", "steps", 0, "median time from release to first exposure, over discovered items"
    ),
    "session_length": MetricName("session length", "steps", 1),
    "industry_metric": MetricName(
        "industry metric",
        "a session",
        2,
        "clicks, watched fractions, purchases, ratings or active days: `Scenario.metric`",
    ),
    "churn": MetricName("churn", "share of users", 2, "users who left before the session's time limit"),
}


def name_of_metric(key: str) -> MetricName:
    """The metric's name, by default its key."""
    return _NAMES.get(key, MetricName(key.replace("_", " ")))
