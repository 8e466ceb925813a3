"""The words of the scenario pages: what each scenario is about, and what columns and arguments mean."""

DESCRIPTIONS = {
    "Ecommerce": """
A shop. A visitor comes with a budget, looks at products, and buys some of them. A click is only a look: what is bought
is rated, and the rating is the reward. A high price lowers the chance to buy, and what costs more than is left of the
budget is never bought. A purchase meets the need for its category: for many steps the visitor wants no more of it. Some
visitors bring a logged history, in which their taste shows at once; the others are strangers. A good policy finds out
which categories a visitor wants, shows products that will be bought and liked, goes on to another category after a
purchase, and makes the budget last for the whole session.
""",
    "Social": """
A feed of posts by creators. Posts lose their freshness within a few steps and are gone soon after, so a policy can
hardly learn single posts by heart. What lasts are the creators: most of a post's topics and quality are its creator's.
A user who rates a post highly may follow its creator, and then clicks that creator's posts far more often; a bad post
can end this. Whether a post is by somebody whom the user follows shows in the observation, who made it does not. Some
users bring a logged history, and may follow somebody already. A good policy shows fresh posts that fit the user, earns
follows early in the session, and does not lose them to posts that disappoint.
""",
    "Music": """
A player of tracks. A listener likes to hear a good track again, and again, until it has become a bore; and topics
satiate, too, so that one genre alone tires. Each listener is in a mood that adds to some topics and takes from others.
Moods change without warning and show in the observation only some steps later: before that, the only sign of a new mood
is that the answers change. Some of the candidates are tracks that the listener has heard of late. Most listeners bring
a logged history. A good policy mixes what is known to please with what is new, stops repeating a track in time, and
notices a change of mood by the answers.
""",
    "Video": """
A platform of videos. Appeal makes a viewer click, quality makes the viewer satisfied, and the two are at odds: what
promises much is on average a little worse. A promise that is not kept costs trust, and trust is lost faster than it is
earned. A viewer without trust hardly clicks, loses patience and leaves. So clicks are not the goal: a policy that goes
for them alone spends the trust that later steps need. Tastes differ widely, and only a noisy profile is known of a
newcomer. A good policy finds the viewer's topics in a few steps, shows items that keep what they promise, and varies
the topics, as each of them satiates.
""",
    "News": """
A news site. Several articles arrive in a step, and each is gone after half a session. An article is most attractive
when it has just been released, and at that time nobody has rated it: cold start is the normal case. Headlines that
promise much are on average a little worse, and a reader who is misled loses trust and then patience. Tastes differ
widely, and of a newcomer only a noisy profile is known. A good policy judges an article by its content and not by its
statistics, learns the reader's topics from the answers, and takes a fresh article with an honest headline rather than
an old one that is well known.
""",
    "MovieLens": """
Films and people of a real ratings log: MovieLens-100K, or a log of your own. The tastes of the users, the quality of
the films and the rating scale are fitted to the log, and films arrive in its order. A log tells how people rate what
they have watched. It does not tell how a session goes on, so boredom, trust and patience are assumptions, the same as
in Ratings. In MovieLens-100K films differ in quality about as much as people differ in taste, and what is popular is on
average better. A good policy begins with films that most people like, learns the taste of this person from the answers,
and varies the genres. `train` and `test` are halves of the log's users and films.
""",
    "Ratings": """
Films and people drawn from the statistics of MovieLens-100K. No data is needed: the package has the moments of the log
and none of its rows or titles. New films and new users are drawn with the log's genres, years, occupations, tastes,
quality and rating scale. The course of a session is assumed, with the same numbers as in MovieLens. Films differ in
quality about as much as people differ in taste, and what is popular is on average better. A good policy begins with
films that most people like, learns the taste of this person from the answers, and varies the genres.
""",
}
"""What kind of application it is, what makes it hard, and what a good policy must do."""

COLUMNS = {
    "elapsed": "share of the session that is over",
    "tenure": "log2(1 + steps of logged history) / 16",
    "age": "log2(1 + steps since its release) / 16",
    "impressions": "log2(1 + times shown) / 32",
    "click_rate": "clicks / times shown",
    "mean_rating": "mean rating / 5, 0 if there is none",
    "followed": "1 if the user follows its creator",
    "plays": "how often the history has it clicked / 16, at most 1",
    "shown": "1 if the row is in use",
    "slot": "slot / 10; the top slot is 0",
    "click": "1 if it was clicked",
    "consumption": "consumed fraction",
    "rating": "stars / 5, 0 if no rating was submitted",
    "purchase": "1 if it was bought",
    "follow": "1 if its creator was followed then, -1 if unfollowed",
}
"""What the columns of `CONTEXT`, `CANDIDATE_COLUMNS` and `FEEDBACK` mean."""

ALWAYS_ZERO = {"tenure": "warm history", "followed": "following", "follow": "following", "purchase": "purchases"}
"""Columns and terms of the reward that are 0 in a scenario without this mechanism."""

ARGUMENTS = {
    "observation": "`dict`; `flat`: one vector; `compact`: item ids and feedback",
    "action": "`candidate`, `content` or `catalog`: see Action Space",
    "slate_size": "items shown in a step",
    "num_candidates": "items to choose from in a step",
    "session_length": "steps until truncation",
    "history_length": "shown items that an observation remembers",
    "catalog_seed": "draws the catalogue",
    "split": "`all`, `train` or `test`; the last two share no user and no item",
    "user_split": "another part for users than for items; none is that of `split`",
    "world": "a fitted world (.npz), a MovieLens-100K folder or a CSV; without it the log that `RECSIM_DATA` names",
    "changes": 'other numbers, such as `{"behaviour": {"patience_skip": 0.5}}`',
    "own_users": "functions of your own in place of those in `user_model` (`own_users.OwnUsers`)",
    "live_platform": "whether the sessions share one clock, and the statistics that they leave behind",
    "num_threads": "threads that share a step of many sessions; changes no number",
    "render_mode": "`ansi`: the session in words; `rgb_array` and `human`: as a picture (single env only)",
}
"""What the arguments of `gymnasium.make` and `make_vec` do."""

ACTIONS = {
    "candidate": "the index of a candidate",
    "slate": "the index of a candidate for each slot, top slot first; one that is there already leaves its slot empty",
    "content": "a point in content space for each slot: the nearest candidate is shown",
    "catalog": "a point in content space for each slot: the nearest item of the whole shelf is shown",
}
"""What an action says; `slate` is `candidate` with more than one slot."""

SB3_ALGORITHMS = {"Discrete": "PPO, A2C, DQN", "MultiDiscrete": "PPO, A2C", "Box": "PPO, A2C, SAC, TD3, DDPG"}
"""The algorithms of Stable-Baselines3 that fit an action space."""
