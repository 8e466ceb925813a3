"""One session: its start, with or without a logged history, and its steps.

A step has seven parts, in this order: examine, choose, respond, reward, change, arrivals, end.

Shape legend: S slots of a slate, M candidates, H shown items in the history.
"""

from recsim_env.simulation.availability import draw_candidates, find_available_items, update_available_items
from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.random_streams import Purpose, combine, integer_in, stream, uniform
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import answer_of, arrange_candidates, learn_from_answer, reset_tastes
from recsim_env.simulation.user_model import (
    anticipated_rating,
    change,
    choice_utility,
    choose,
    decay,
    effective_affinity,
    examine,
    follow_response,
    has_left,
    init_user,
    init_visit,
    is_shown,
    respond,
    skip,
)


@compiled
def start_session(session, users, items, outcome, p):
    """Start the episode of the session's seeds: draw its user, start time, logged history and first candidates.

    `outcome` is a buffer.
    """
    seeds, episode = session.seeds, session.episode
    session.world_key = combine(combine(combine(seeds[0], episode), Purpose.WORLD_KEY), p.catalog_seed)
    session.user_key = combine(combine(seeds[1], episode), Purpose.USER_KEY)
    session.noise_key = combine(combine(seeds[2], episode), Purpose.NOISE_KEY)
    session.step, session.is_over = 0, False
    session.start_step = p.first_start + integer_in(stream(session.world_key, 0, Purpose.START), 0, p.num_starts)
    session.user = integer_in(stream(session.user_key, 0, Purpose.USER), 0, len(users))
    user = users[session.user]
    for x in range(len(session.custom)):
        session.custom[x] = 0.0
    init_user(session, user, p)
    session.num_shown, session.num_clicks, session.num_ratings, session.rating_sum = 0, 0, 0, 0.0
    for row in range(len(session.history_items)):
        session.history_items[row] = NO_ITEM
        for column in range(session.history_feedback.shape[1]):
            session.history_feedback[row, column] = 0.0
    reset_tastes(session)
    session.tenure = 0
    if p.warm_share > 0.0 and uniform(session.user_key, 0, Purpose.TENURE, 0) < p.warm_share:
        session.tenure = 1 + integer_in(stream(session.user_key, 0, Purpose.TENURE), 1, p.warm_steps)
        log_visit(session, items, outcome, p)
        init_visit(session, user, p)
    find_available_items(session, items, p)
    draw_candidates(session, items, p)
    arrange_candidates(session, items, p)


@compiled
def log_visit(session, items, outcome, p):
    """Simulate the logged history of a warm user: `tenure` steps before the session, with independent draws.

    The logging policy draws two candidates and shows the one that this user is more likely to choose.
    """
    slate = session.logged_slate
    world_key, noise_key, start_step = session.world_key, session.noise_key, session.start_step
    session.world_key, session.noise_key = combine(world_key, Purpose.LOG), combine(noise_key, Purpose.LOG)
    session.start_step = max(start_step - session.tenure, 0)
    find_available_items(session, items, p)
    for _ in range(session.tenure):
        update_available_items(session, items, p)
        draw_candidates(session, items, p)
        other = len(session.candidates) // 2  # half-way round the ring of candidates, whose origin is random
        first, second = session.candidates[0], session.candidates[other]
        slate[0] = 0
        if second != NO_ITEM and (
            first == NO_ITEM or _utility(session, items[second], p) > _utility(session, items[first], p)
        ):
            slate[0] = other
        respond_to_slate(session, items, slate, outcome, p)
        session.step += 1
    session.world_key, session.noise_key, session.start_step, session.step = world_key, noise_key, start_step, 0


@compiled
def _utility(session, item, p):
    return choice_utility(session, item, effective_affinity(session, item, p), p)


@compiled
def respond_to_slate(session, items, slate, outcome, p):
    """Parts 1 to 5: show `slate` to the user, write the terms of the reward into `outcome`, change the user."""
    slate_size = len(slate)
    chosen = choose(session, items, slate, examine(session, slate_size, p), p)

    rating, consumption, purchase, expectation, follow, submitted = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    item = items[0]
    if chosen >= 0:
        item = items[session.candidates[slate[chosen]]]
        affinity = effective_affinity(session, item, p)
        rating, consumption, purchase = respond(session, item, affinity, p)
        if rating > 0.0:
            expectation = anticipated_rating(session, item, affinity, p)
            follow = follow_response(session, item, rating, p)
            if uniform(session.noise_key, session.step, Purpose.RATING_SUBMITTED, 0) < p.rating_probability:
                submitted = rating
    outcome.rating = rating / slate_size
    outcome.click = (1.0 if chosen >= 0 else 0.0) / slate_size
    outcome.consumption = consumption / slate_size
    outcome.purchase = purchase / slate_size

    if chosen >= 0:
        session.num_clicks += 1
    if submitted > 0.0:
        session.num_ratings += 1
        session.rating_sum += submitted

    decay(session, p)
    if chosen >= 0:
        change(session, item, rating, expectation, consumption, purchase, follow, p)
    else:
        skip(session, p)
    for slot in range(slate_size):
        if is_shown(session, slate, slot):
            row = session.num_shown % len(session.history_items)
            session.num_shown += 1
            is_chosen = slot == chosen
            session.history_items[row] = session.candidates[slate[slot]]
            shown = items[session.history_items[row]]
            if chosen < 0 or slot <= chosen:  # slots below a click may not have been examined
                learn_from_answer(session, shown, answer_of(submitted) if is_chosen else 0.0, p)
            session.history_feedback[row, 0] = slot
            session.history_feedback[row, 1] = 1.0 if is_chosen else 0.0
            session.history_feedback[row, 2] = consumption if is_chosen else 0.0
            session.history_feedback[row, 3] = submitted if is_chosen else 0.0
            session.history_feedback[row, 4] = purchase if is_chosen else 0.0
            session.history_feedback[row, 5] = follow if is_chosen else 0.0


@compiled
def step_session(session, items, slate, outcome, p):
    """Show `slate` (S indices of candidates) to the user, and write the result of the step into `outcome`.

    Nothing happens in a session that is over: all of its outcome is 0.
    """
    if session.is_over:
        outcome.rating, outcome.click, outcome.consumption, outcome.purchase = 0.0, 0.0, 0.0, 0.0
        outcome.reward, outcome.retention, outcome.terminated, outcome.truncated = 0.0, 0.0, False, False
        return
    respond_to_slate(session, items, slate, outcome, p)
    session.step += 1
    update_available_items(session, items, p)  # part 6
    draw_candidates(session, items, p)
    arrange_candidates(session, items, p)
    outcome.terminated = has_left(session, p)  # part 7
    outcome.truncated = session.step >= p.max_steps and not outcome.terminated
    session.is_over = outcome.terminated or outcome.truncated
    outcome.retention = 0.0 if outcome.terminated else 1.0
    outcome.reward = (
        p.reward_rating * outcome.rating
        + p.reward_click * outcome.click
        + p.reward_consumption * outcome.consumption
        + p.reward_purchase * outcome.purchase
        + p.reward_retention * outcome.retention
    )
