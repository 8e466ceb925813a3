"""One session: its start, with or without a logged history, and its steps.

A step has seven parts: examine, choose, respond, change, end, reward, arrivals. In a lifetime (`LifetimeConfig`), an
absence follows the end of a visit, and then the user returns or has churned.

Shape legend: S slots of a slate, M candidates, H shown items in the history.
"""

import numpy as np

from recsim_env.simulation.availability import (
    draw_candidates,
    find_available_items,
    forget_consumed,
    remember_consumed,
    update_available_items,
)
from recsim_env.simulation.compilation import compiled
from recsim_env.simulation.random_streams import Purpose, combine, integer_in, stream, uniform
from recsim_env.simulation.records import NO_ITEM
from recsim_env.simulation.relevance import answer_of, arrange_candidates, learn_from_answer, reset_tastes
from recsim_env.simulation.user_model import (
    anticipated_rating,
    change,
    choice_utility,
    choose,
    chooses_again,
    decay,
    draw_absence,
    effective_affinity,
    end_visit,
    examine,
    follow_response,
    has_left,
    init_user,
    init_visit,
    is_shown,
    is_visit_over,
    respond,
    return_after,
    skip,
)


@compiled
def start_session(session, users, items, outcome, p):
    """Start the episode of the session's seeds: draw its user, start time, logged history and first candidates.

    `outcome` is a buffer.
    """
    begin_session(session, users, p)
    if p.warm_share > 0.0 and uniform(session.user_key, 0, Purpose.TENURE, 0) < p.warm_share:
        session.tenure = 1 + integer_in(stream(session.user_key, 0, Purpose.TENURE), 1, p.warm_steps)
        log_visit(session, items, outcome, p)
        init_visit(session, users[session.user], p)
    find_available_items(session, items, p)
    draw_candidates(session, items, p)
    arrange_candidates(session, items, p)


@compiled
def begin_session(session, users, p):
    """Set the keys of the episode, draw its user and start time, and empty its history."""
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
    forget_consumed(session)
    session.first_time, session.num_visits, session.visit_start, session.absence = session.start_step, 1, 0, 0.0
    session.tenure = 0


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
    """Parts 1 to 4: show `slate` to the user, write the terms of the reward into `outcome`, change the user."""
    slate_size = len(slate)
    begin_response(session, slate_size, outcome)
    num_examined, lowest_click = examine(session, slate_size, p), -1
    chosen = choose(session, items, slate, num_examined, p)
    if chosen < 0:
        respond_by_skip(session, p)
    while chosen >= 0:
        respond_to_choice(session, items[session.candidates[slate[chosen]]], chosen, slate_size, outcome, p)
        lowest_click = max(lowest_click, chosen)
        chosen = choose(session, items, slate, num_examined, p) if chooses_again(session, slate_size, p) else -1
    write_history(session, items, slate, lowest_click, p)


@compiled
def begin_response(session, slate_size, outcome):
    """Before the response to a slate: no slot is clicked, and all terms of the reward are 0."""
    outcome.rating, outcome.click, outcome.consumption, outcome.purchase, outcome.consumed = 0.0, 0.0, 0.0, 0.0, 0.0
    session.num_choices = 0
    for slot in range(slate_size):
        session.clicked[slot] = 0


@compiled
def respond_by_skip(session, p):
    """Part 4 without a choice."""
    decay(session, p)
    skip(session, p)


@compiled
def respond_to_choice(session, item, slot, slate_size, outcome, p):
    """Parts 3 and 4 for one choice: the user responds to the item in a slot, and changes."""
    affinity = effective_affinity(session, item, p)
    rating, consumption, purchase = respond(session, item, affinity, p)
    follow = follow_response(session, item, rating, p) if rating > 0.0 else 0.0
    record_response(session, item, slot, slate_size, affinity, rating, consumption, purchase, follow, outcome, p)


@compiled
def record_response(session, item, slot, slate_size, affinity, rating, consumption, purchase, follow, outcome, p):
    """Add a response to the terms of the reward and to the feedback on the slate, and change the user."""
    expectation, submitted = 0.0, 0.0
    if rating > 0.0:
        expectation = anticipated_rating(session, item, affinity, p)
        draw = uniform(session.noise_key, session.step, Purpose.RATING_SUBMITTED, session.num_choices)
        if draw < p.rating_probability:
            submitted = rating
            session.num_ratings += 1
            session.rating_sum += submitted
        outcome.consumed += 1.0 / slate_size
    outcome.rating += rating / slate_size
    outcome.click += 1.0 / slate_size
    outcome.consumption += consumption / slate_size
    outcome.purchase += purchase / slate_size
    if session.num_choices == 0:
        decay(session, p)
    change(session, item, rating, expectation, consumption, purchase, follow, p)
    if p.repeat_after > 0 and (purchase > 0.0 or not p.is_shop):
        remember_consumed(session, item.index)
    feedback = session.slot_feedback
    feedback[slot, 0], feedback[slot, 1], feedback[slot, 2], feedback[slot, 3] = (
        consumption,
        submitted,
        purchase,
        follow,
    )
    session.clicked[slot] = 1
    session.num_clicks += 1
    session.num_choices += 1


@compiled
def write_history(session, items, slate, lowest_click, p):
    """Enter the slate and its feedback into the history, and let the platform learn this user's tastes."""
    for slot in range(len(slate)):
        if not is_shown(session, slate, slot):
            continue
        row, is_clicked = session.num_shown % len(session.history_items), session.clicked[slot] == 1
        session.num_shown += 1
        session.history_items[row] = session.candidates[slate[slot]]
        submitted = session.slot_feedback[slot, 1] if is_clicked else 0.0
        if lowest_click < 0 or slot <= lowest_click:  # slots below the lowest click may not have been examined
            learn_from_answer(session, items[session.history_items[row]], answer_of(submitted), p)
        session.history_feedback[row, 0] = slot
        session.history_feedback[row, 1] = 1.0 if is_clicked else 0.0
        session.history_feedback[row, 2] = session.slot_feedback[slot, 0] if is_clicked else 0.0
        session.history_feedback[row, 3] = submitted
        session.history_feedback[row, 4] = session.slot_feedback[slot, 2] if is_clicked else 0.0
        session.history_feedback[row, 5] = session.slot_feedback[slot, 3] if is_clicked else 0.0


@compiled
def step_session(session, items, slate, outcome, p):
    """Show `slate` (S indices of candidates) to the user, and write the result of the step into `outcome`.

    Nothing happens in a session that is over: all of its outcome is 0.
    """
    if session.is_over:
        write_no_outcome(outcome)
        return
    respond_to_slate(session, items, slate, outcome, p)
    end_step(session, outcome, p)
    update_available_items(session, items, p)
    draw_candidates(session, items, p)
    arrange_candidates(session, items, p)


@compiled
def write_no_outcome(outcome):
    """The outcome of a step in a session that is over."""
    outcome.rating, outcome.click, outcome.consumption, outcome.purchase = 0.0, 0.0, 0.0, 0.0
    outcome.consumed, outcome.visit, outcome.active_day = 0.0, 0.0, 0.0
    outcome.reward, outcome.retention, outcome.terminated, outcome.truncated = 0.0, 0.0, False, False


@compiled
def end_step(session, outcome, p):
    """Parts 5 and 6: the end of the session, or of a visit, and the reward."""
    session.step += 1
    outcome.visit, outcome.active_day = 0.0, 0.0
    is_cut = session.step >= p.max_steps
    if p.num_days == 0:
        outcome.terminated = has_left(session, p)
    else:
        outcome.terminated = is_visit_over(session, p) and has_churned(session, outcome, p)
        is_cut = is_cut or session.start_step + session.step >= end_of_life(session, p)
    outcome.truncated = is_cut and not outcome.terminated
    session.is_over = outcome.terminated or outcome.truncated
    outcome.retention = 0.0 if outcome.terminated else 1.0
    outcome.reward = (
        p.reward_rating * (outcome.rating - p.reward_neutral_rating * outcome.consumed)
        + p.reward_click * outcome.click
        + p.reward_consumption * outcome.consumption
        + p.reward_purchase * outcome.purchase
        + p.reward_retention * outcome.retention
        + p.reward_visit * outcome.visit
        + p.reward_active_day * outcome.active_day
    )


@compiled
def end_of_life(session, p):
    """Platform time at which an episode of several visits is truncated."""
    return session.first_time + p.num_days * p.day_length


@compiled
def has_churned(session, outcome, p):
    """Part 5, between two visits: the user is absent, and returns or has churned; the platform's time moves on.

    A user whose absence lasts beyond the end of the episode has neither returned nor churned.
    """
    end_visit(session, p)
    absence = draw_absence(session, p)
    now = session.start_step + session.step
    is_churned = absence > p.churn_days
    session.start_step += max(np.int64(min(absence, p.churn_days) * p.day_length + 0.5), 1)
    later = session.start_step + session.step
    if later >= end_of_life(session, p):
        return False
    if is_churned:
        return True
    return_after(session, absence, p)
    session.absence = absence
    session.num_visits += 1
    session.visit_start = session.step
    outcome.visit = 1.0
    last_day, day = (now - 1 - session.first_time) // p.day_length, (later - session.first_time) // p.day_length
    outcome.active_day = 1.0 if day > last_day else 0.0
    return False
