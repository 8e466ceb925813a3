"""The equations of the simulator, of which a scenario's page has exactly those whose mechanism the scenario has.

A section has a condition, and so has each line that ends in `[if condition]` or `[if not condition]`; conditions are
the names in `CONDITIONS`. Names of config fields stand for the scenario's values.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from recsim_env.config import Scenario
from recsim_env.simulation.records import LIBRARY_SIZE

CONDITIONS: dict[str, Callable[[Scenario], bool]] = {
    "purchases": lambda it: it.behaviour.is_shop,
    "following": lambda it: it.behaviour.follow_probability > 0.0,
    "freshness": lambda it: it.behaviour.choice_freshness > 0.0,
    "repeats": lambda it: it.behaviour.repeat_gain > 0.0 or it.behaviour.repeat_boredom > 0.0,
    "moods": lambda it: it.population.num_moods > 1,
    "clickbait": lambda it: it.catalog.appeal_quality_correlation < 0.0,
    "warm history": lambda it: it.population.warm_share > 0.0,
    "sound": lambda it: it.catalog.has_audio,
    "synthetic": lambda it: it.source == "synthetic",
    "log": lambda it: it.source == "ratings_log",
    "statistics": lambda it: it.source == "statistics",
    "satiation by consumption": lambda it: it.behaviour.satiation_gain > 0.0,
    "satiation by purchase": lambda it: it.behaviour.is_shop and it.behaviour.satiation_purchase > 0.0,
    "new items": lambda it: it.catalog.new_item_share > 0.0,
    "drawn repeats": lambda it: it.catalog.repeat_share > 0.0,
}
"""What a scenario may have, or be made of."""

SPECIAL = ("purchases", "following", "freshness", "repeats", "moods", "clickbait", "warm history", "sound")
"""The conditions that are mechanisms of some scenarios only."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the equations: Markdown, with conditions at the ends of lines."""

    heading: str
    text: str
    condition: str = ""
    """The section is left out of scenarios without it; empty: it is in all of them."""


EQUATIONS = (
    Section(
        heading="Items",
        condition="synthetic",
        text="""
```
t       ~ Dirichlet(topic_concentration, …, topic_concentration)                        [if not following]
t       = creator_share · t_creator + (1 − creator_share) · t_own,                      [if following]
          each ~ Dirichlet(topic_concentration, …, topic_concentration)                 [if following]
f       = t
q       ~ Normal(0, 1)                                                                  [if not following]
q       = √creator_share · q_creator + √(1 − creator_share) · q_own, each ~ Normal(0, 1)    [if following]
quality = quality_sd · q
appeal  = appeal_sd · ε                                                                 [if not clickbait]
appeal  = appeal_sd · (c · q + √(1 − c²) · ε)   with c = appeal_quality_correlation     [if clickbait]
price   = price_mean · exp(price_sd · ε − price_sd² / 2)                                [if purchases]

content that anyone can see:
  topic k        = clip(t_k + feature_noise · ε, −1, 1)
  quality cue    = tanh(quality_cue · quality + cue_noise · ε)
  appeal cue     = tanh(appeal_cue · appeal + cue_noise · ε)
  relative price = price / (price + price_mean)                                         [if purchases]
```
An item is one of `num_creators` creators', each equally likely.                        [if following]
A negative c is clickbait: what promises much is on average a little worse.             [if clickbait]
""",
    ),
    Section(
        heading="Items and users of the log",
        condition="log",
        text="""
`w`, `f`, quality, bias, scale and the rating cuts are one draw from the posterior of this model, given the log:
```
opinion = bias + scale · (Σ_d w_d f_d + quality + ε)
rating  = 1 + the number of rating cuts below the opinion
```
Appeal is log(number of an item's ratings + 5), standardised. `t` has an item's genres in equal parts, and all topics
where it has none. The content is what the log says of its items, the profile what it says of its users. Items arrive in
the order of their first ratings. What no log tells of a user is drawn:
""",
    ),
    Section(
        heading="Items and users of the statistics",
        condition="statistics",
        text="""
Content and profiles are drawn from the log's distribution of genres, years, sexes, ages and occupations (a Gaussian
copula within categories). What is latent is normal given these, with coefficients measured in the log:
```
(quality, appeal, f) = intercept + coefficients · content + Normal(0, covariance)
(bias, log scale, w) = intercept + coefficients · profile + Normal(0, covariance)
```
`t` has an item's genres in equal parts. What no log tells of a user is drawn:
""",
    ),
    Section(
        heading="Users",
        text="""
```
w             = μ_cluster + interest_sd · ε   with μ_cluster = cluster_scale · ε        [if synthetic]
profile       = tanh(w B / √(cluster_scale² + interest_sd²) + profile_noise · ε)        [if synthetic]
bias          = rating_bias_sd · ε                                                      [if synthetic]
scale         = exp(rating_scale_sd · ε)                                                [if synthetic]
receptiveness = min(receptiveness_mean · U, 1)   with U ~ Uniform(0, 2)
patience      = min(max(patience_mean + patience_sd · ε, 1), patience_limit)
budget        = budget_mean · exp(budget_sd · ε − budget_sd² / 2)                       [if purchases]
```
There are `num_clusters` clusters, each equally likely. B is a matrix of draws from     [if synthetic]
Normal(0, 1 / K). It and the clusters are the same in all populations of the scenario.  [if synthetic]
A session begins with s_k = 0 and trust = 1.
""",
    ),
    Section(
        heading="Shelf and candidates",
        text="""
```
release_i = ⌊x_1 + … + x_i⌋   with x ~ Exponential(mean 1 / arrivals_per_step)
on the shelf at the platform's time τ:  release_i ≤ τ < release_i + shelf_life
```
In each step `num_candidates` different items of the shelf are drawn; where it is too short, candidates are missing.
A share of them, `new_item_share`, is drawn from the items that are younger than        [if new items]
`new_item_age` steps.                                                                   [if new items]
All items of the shelf are equally likely.                                              [if not new items]
Then ⌊repeat_share · num_candidates + 1/2⌋ of the candidates, or fewer, give way to     [if drawn repeats]
items that the user has consumed of late, that are on the shelf and not yet candidates. [if drawn repeats]
""",
    ),
    Section(
        heading="What the platform knows of an item",
        text="""
The rest of the platform's traffic leaves statistics behind. They are 0 at the release, and are refreshed at the ages of
1, 2, 4, … 2¹⁴ steps. Over Δ steps since the refresh before:
```
impressions grow by Poisson(impressions_per_step · Δ)
clicks      grow by Binomial(new impressions, click rate)
ratings     grow by Binomial(new clicks, rating_probability)                            [if not purchases]
ratings     grow by Binomial(new clicks, share bought · rating_probability)             [if purchases]
stars       grow by clip(mean · n + sd · √n · ε, n, 5 n)   with n new ratings
```
The click rate, and the mean and sd of ratings, are those of a sample of the population: people who have just come, and
are shown the item alone, at its release.
The share bought, of what is clicked, is that of the same sample.                       [if purchases]
The observation adds what the session's own history says of the item.
""",
    ),
    Section(
        heading="Examination",
        text="""
```
P(the user looks at slot j) = continue_probability^(j − 1),   j = 1, 2, … from the top
```
With one slot (all ids but Slate) it is looked at for certain.
""",
    ),
    Section(
        heading="Affinity",
        text="""
```
affinity = Σ_d w_d f_d − Σ_k s_k t_k
           + Σ_k m_k t_k                                                                [if moods]
           + repeat_gain · n − repeat_boredom · n²                                      [if repeats]
```
""",
    ),
    Section(
        heading="Moods",
        condition="moods",
        text="""
```
m_k = mood_scale · ε   for each of num_moods moods, the same for all users of the scenario
after each step:  mood ← any of the moods, each equally likely, with chance mood_change
```
The first mood is any of them. The observation shows a mood `mood_delay` steps after it came, if no other has come
since. Until then it shows the one that it showed before; at the start of a session it shows none.
""",
    ),
    Section(
        heading="Repeats",
        condition="repeats",
        text=f"""
`n` is how often the item is among the last {LIBRARY_SIZE} that the user has consumed, this session and logged history
together. Repeats add most to the affinity at n = repeat_gain / (2 · repeat_boredom), and beyond twice that they take
from it.
""",
    ),
    Section(
        heading="Choice",
        text="""
```
utility = choice_intercept + choice_affinity · affinity + choice_appeal · appeal
          − choice_distrust · (1 − trust)
          + choice_freshness · 0.5^(age / freshness_half_life)                          [if freshness]
          + choice_follow · [the user follows the item's creator]                       [if following]

P(click on item j) = exp(utility_j) / (1 + Σ_i exp(utility_i))
P(no click)        =              1 / (1 + Σ_i exp(utility_i))
```
The sums run over the items in the slots that are looked at; an empty slot, whose candidate is missing or stands higher
up already, has none. So at most one item of a slate is clicked.
""",
    ),
    Section(
        heading="Freshness",
        condition="freshness",
        text="""
`age` is the number of steps since the item's release. Freshness counts in the choice alone, not in the rating.
""",
    ),
    Section(
        heading="Consumption",
        text="""
```
consumption = logistic(consumption_intercept + consumption_affinity · affinity
                       + consumption_quality · quality + consumption_noise · ε)
```
It is the consumed fraction of what was clicked, 0 for everything else.
""",
    ),
    Section(
        heading="Purchases",
        condition="purchases",
        text="""
```
P(buy what was clicked) = 0                                          if price > budget
P(buy what was clicked) = logistic(purchase_intercept + purchase_affinity · affinity
                                   + purchase_quality · quality − purchase_price · price)   else
after a purchase:  budget ← budget − price
```
What is clicked and not bought is not rated (rating = 0), and is as bad for patience as no click.
""",
    ),
    Section(
        heading="Rating and expectation",
        text="""
```
opinion     = bias + scale · (rating_affinity · affinity + rating_quality · quality + rating_noise · ε)
rating      = 1 + the number of rating_cuts below the opinion

promise     = bias + scale · (rating_affinity · affinity + expectation_appeal · appeal)
expectation = 1 + Σ_c Φ((promise − c) / (scale · rating_noise)),   c in rating_cuts
```
The user rates what was clicked.                                                        [if not purchases]
The user rates what was bought.                                                         [if purchases]
With chance `rating_probability` the rating is submitted, and stands in the history. The reward counts it in any case.
""",
    ),
    Section(
        heading="Following",
        condition="following",
        text="""
```
a creator who is not followed:  P(follow)   = follow_probability · max(rating − 3, 0) / 2
a creator who is followed:      P(unfollow) = unfollow_probability · max(3 − rating, 0) / 2
```
""",
    ),
    Section(
        heading="Change",
        text="""
In each step, after the answer and before anything else changes:
```
s_k ← satiation_decay · s_k
```
After a click:                                                                          [if satiation by consumption]
```                                                                                     [if satiation by consumption]
s_k ← s_k + satiation_gain · consumption · t_k                                          [if satiation by consumption]
```                                                                                     [if satiation by consumption]
After a purchase:                                                                       [if satiation by purchase]
```                                                                                     [if satiation by purchase]
s_k ← s_k + satiation_purchase · t_k                                                    [if satiation by purchase]
```                                                                                     [if satiation by purchase]
After a rating, submitted or not:
```
w_d      ← clip(w_d + receptiveness · (rating − 3) / 2 · f_d, −interest_limit, interest_limit)
trust    ← clip(trust + trust_gain · (rating − expectation), 0, 1)   if rating > expectation
trust    ← clip(trust + trust_loss · (rating − expectation), 0, 1)   else
patience ← min(patience + patience_gain · (rating − 3), patience_limit)
```
After a step without a rating:
```
patience ← patience − patience_skip
```
""",
    ),
    Section(
        heading="Warm history",
        condition="warm history",
        text="""
```
P(the user is warm) = warm_share
T ~ Uniform{1, …, warm_steps}
```
Before the session a warm user takes T steps by the equations of this page, without leaving. The logging policy takes
two of the candidates and shows the one of higher utility, alone. What is left of these steps are the history and the
changed interests.
What was consumed of late is left, too, and counts for repeats.                         [if repeats]
The creators that the user follows are left, too.                                       [if following]
All else begins anew. The column `tenure` tells T.
""",
    ),
)
"""The equations of all mechanisms, in the order in which a page has them."""


_CONDITION = re.compile(r"^(.*?) *\[if (not )?([a-z ]+)\]$")


def has(scenario: Scenario, condition: str) -> bool:
    """Whether the scenario has what a condition says; the empty condition says nothing."""
    return not condition or CONDITIONS[condition](scenario)


def equations_of(scenario: Scenario) -> dict[str, str]:
    """Markdown of each section that the scenario has, by heading."""
    return {each.heading: _lines_of(scenario, each.text) for each in EQUATIONS if has(scenario, each.condition)}


def _lines_of(scenario: Scenario, text: str) -> str:
    """The lines of a text whose conditions hold, without the conditions."""
    lines = []
    for line in text.strip().splitlines():
        marked = _CONDITION.match(line)
        if marked is None:
            lines.append(line)
        elif has(scenario, marked[3]) != bool(marked[2]):
            lines.append(marked[1])
    return "\n".join(lines)
