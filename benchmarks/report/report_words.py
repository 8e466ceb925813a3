"""What the rows say, in words: who wins, by how much, how sure it is, and what did not work."""

from collections.abc import Iterable

from agents.registry import reads_evaluation_catalog
from benchmarks.analysis.bootstrap import Estimate, decimals
from benchmarks.analysis.leaderboard import LEARNING_FAMILIES, OBSERVED_ITEMS, POPULARITY, TOLD_ITEMS, Board, Standing
from benchmarks.analysis.scores import reference_seeds
from benchmarks.report.leaderboard_table import seeds_of
from benchmarks.suites import ONE, ZERO

CellKey = tuple[str, str, int]
"""Agent, scenario, seed."""

ENOUGH_SEEDS = 10


def counted(number: int, one: str, many: str = "") -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: Iterable[str]) -> str:
    """`a, b and c`."""
    names = list(names)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def answer(board: Board, missing: list[CellKey]) -> list[str]:
    """The first paragraphs: each can be read alone."""
    if not board.scored_scenarios:
        found = [_without_scores(board)]
    elif not board.deployable:
        found = ["No agent that could be deployed has runs in every scored scenario yet, so there is no winner."]
    else:
        found = [_winner(board), _between_references(board), _by_scenario(board), *_compared(board)]
    found += [*against_popularity(board)[:1], how_sure(board)]
    failed = sum(row["status"] == "failed" for row in board.rows)
    if failed or missing:
        found.append(
            f"Not all of it ran: {counted(failed, 'cell')} failed and {len(missing):,} "
            f"{'is' if len(missing) == 1 else 'are'} missing (named below)."
        )
    return [line for line in found if line]


def _without_scores(board: Board) -> str:
    return (
        f"There are no scores: no scenario has final rows of both references, `{ZERO}` and `{ONE}`, with the second "
        f"above the first. The returns of {counted(len(board.standings), 'agent')} are below, scenario by scenario."
    )


def _winner(board: Board) -> str:
    best = board.deployable[0]
    assert best.score is not None, "deployable agents are ranked"
    seeds = "seed" if set(best.num_seeds.values()) == {1} else "seeds"
    where = f"On {counted(len(board.scored_scenarios), 'scenario')} × {seeds_of(best)} {seeds}, "
    says = (
        f"{where}**{best.agent}** has the best score of the {counted(len(board.deployable), 'deployable agent')}: "
        f"interquartile mean **{decimals(best.score.value)}** (95% interval "
        f"{decimals(best.score.low)} to {decimals(best.score.high)})"
    )
    if len(board.deployable) == 1:
        return says + "; no other one has runs in every scenario."
    next_best = board.deployable[1]
    lead, chance = board.lead(best.agent, next_best.agent), board.improvement(best.agent, next_best.agent)
    if lead is None or chance is None:
        return f"{says}; it shares no seed with the next, {next_best.agent}."
    says += (
        f", {lead.text()} above the next, {next_best.agent}. The probability that a run of {best.agent} scores above "
        f"one of {next_best.agent} is {chance.text()}."
    )
    if lead.low <= 0.0 <= lead.high:
        says += " The interval of that lead holds 0: these runs do not tell the two apart."
    return says


def _between_references(board: Board) -> str:
    best = board.deployable[0]
    says = "Random is 0, the planning oracle, which reads the latent state, 1."
    observed = board.by_agent.get(OBSERVED_ITEMS)
    if observed and observed.score and best.score:
        says += (
            f" A Bayes-filter player, which knows how people behave, but sees of them and of items only what an agent "
            f"sees, has {observed.score.text()}{_share(best, observed.score)}."
        )
    told = board.by_agent.get(TOLD_ITEMS)
    if told and told.score:
        who = "One" if observed else "A Bayes-filter player"
        says += f" {who} that is told what every item is, but not who is visiting, has {told.score.text()}"
        says += f"{_share(best, told.score)}."
    baseline = board.best_baseline
    if baseline and baseline.score and baseline.agent != best.agent:
        says += f" The best rule or bandit, {baseline.agent}, has {baseline.score.text()}."
    return says


def _share(best: Standing, reference: Estimate) -> str:
    """`; ppo has 80% of that`; nothing unless both are above random, as a share would then be none."""
    if not best.score or best.score.value <= 0.0 or reference.low <= 0.0:
        return ""
    return f"; {best.agent} has {best.score.value / reference.value:.0%} of that"


def _compared(board: Board) -> list[str]:
    """Which seeds rank, where that is not all that the references have."""
    of_references = reference_seeds(board.rows)
    fewer = [
        f"{name} {len(seeds)} of {len(of_references[name])}"
        for name, seeds in board.compared_seeds.items()
        if len(seeds) < len(of_references[name])
    ]
    found = [f"Ranked by the seeds that every ranked agent has: {listed(fewer)}."] if fewer else []
    if board.unevenly_compared:
        where = listed(board.unevenly_compared)
        found.append(f"Ranked by runs that are not of the same seeds in {where}, as no seed that all have will do.")
    return found


def _by_scenario(board: Board) -> str:
    if len(board.scored_scenarios) == 1:
        return ""
    firsts = []
    for scenario in board.scored_scenarios:
        here = [each for each in board.standings if each.is_deployable and scenario in each.scores]
        if here:
            first = max(here, key=lambda each: each.scores[scenario].value)
            firsts.append(f"{scenario} {first.agent} ({decimals(first.scores[scenario].value)})")
    return f"Best by scenario: {', '.join(firsts)}."


def how_sure(board: Board) -> str:
    """What the number of seeds allows to say."""
    fewest = min(board.num_seeds.values(), default=ENOUGH_SEEDS)
    if fewest >= ENOUGH_SEEDS:
        return ""
    if fewest == 1:
        single = [name for name, number in board.num_seeds.items() if number == 1]
        are_all = len(single) == len(board.num_seeds)
        return (
            f"**Exploratory**: with one seed{'' if are_all else f', as in {listed(single)},'} nothing is known of how "
            f"much training varies; intervals are {'' if are_all else 'there '}over evaluation sessions alone."
        )
    return (
        f"**Exploratory**: {counted(fewest, 'seed')} are fewer than {ENOUGH_SEEDS}, and intervals from so few "
        "are too narrow. A nominal 95% bootstrap interval of the interquartile mean holds the truth in about 75% of "
        "the cases with 3 seeds of 1 scenario, 90% with 5 seeds of 4, 93% with 10 seeds of 4."
    )


def against_popularity(board: Board) -> list[str]:
    """Which learners return more than popularity, and where; first those that do so nowhere.

    Learners that share no scenario and seed with popularity are left out.
    """
    popular = board.by_agent.get(POPULARITY)
    learners = [each for each in board.standings if each.family in LEARNING_FAMILIES and each.returns]
    if popular is None or not popular.returns:
        return []
    leads = {each.agent: _leads(board, each, popular) for each in learners}
    above = {agent: [name for name, lead in of.items() if lead.low > 0.0] for agent, of in leads.items() if of}
    if not above:
        return []
    nowhere = [agent for agent, scenarios in above.items() if not scenarios]
    if nowhere:
        says = f"{listed(nowhere)} {'does' if len(nowhere) == 1 else 'do'} not beat popularity in any scenario."
    else:
        who = "Every learner" if len(above) == len(learners) else "Every learner that can be compared with it"
        says = f"{who} beats popularity in at least one scenario."
    everywhere = [agent for agent in above if above[agent] == list(popular.returns)]
    found = [says, f"Above popularity in every scenario: {listed(everywhere)}."]
    partly = [agent for agent, scenarios in above.items() if scenarios and agent not in everywhere]
    return found + [f"{agent}: above popularity in {listed(above[agent])} only." for agent in partly]


def _leads(board: Board, learner: Standing, popular: Standing) -> dict[str, Estimate]:
    """The difference in return, by scenario, where both have runs with the same seeds."""
    shared = [scenario for scenario in popular.returns if scenario in learner.returns]
    leads = {name: board.lead_in(name, learner.agent, popular.agent) for name in shared}
    return {name: lead for name, lead in leads.items() if lead}


def missing_cells(board: Board, expected: Iterable[CellKey] | None = None) -> list[CellKey]:
    """Which of the `expected` cells left no row; without them, each agent is expected in each scenario x seed."""
    found = {(row["agent"], row["scenario"], row["seed"]) for row in board.rows if row["is_final"]}
    if expected is None:
        seeds = sorted({row["seed"] for row in board.rows})
        expected = [(agent, name, seed) for agent in board.family_of for name in board.scenarios for seed in seeds]
    return [key for key in expected if key not in found]


def definitions(board: Board) -> list[str]:
    """What the figures mean."""
    readers = [agent for agent in board.family_of if reads_evaluation_catalog(agent)]
    except_for = f", except {listed(readers)}, which learnt from other people's answers about the evaluation's items"
    return [
        "**return**: sum of the rewards of a session; a step's reward is the mean rating, in stars, of what was shown; "
        "what was not consumed rates 0.",
        "**score**: (return − random) / (planning oracle − random), with the mean returns of both in the same "
        "scenario. 0 is random, 1 the planning oracle, which reads the latent state and tries out futures.",
        "**interquartile mean**: mean of the middle half of all runs, all scenarios × seeds together.",
        f"**95% interval**: bootstrap. {_drawn_again(board)}",
        "**probability of improvement**: how often a run scores above the other agent's run with the same seed, mean "
        "over scenarios.",
        "**regret**: what the planning oracle returns more, on the same sessions.",
        "**optimality gap**: mean of what lacks to score 1; what is above 1 counts nothing.",
        "**deployable**: needs no more than a recommender has. References are not: oracles read the latent state, the "
        "Bayes-filter and the history-blind players know the model of the world; random is the zero of the scale.",
        "**beats popularity**: the 95% interval of the difference in return, on the same sessions, is above 0.",
        "Every agent is evaluated on the same sessions, of users and items that training never saw"
        f"{except_for if readers else ''}.",
    ]


def _drawn_again(board: Board) -> str:
    """What the bootstrap draws, and so what its intervals speak of: with one seed less than with several."""
    numbers = set(board.num_seeds.values())
    found = []
    if numbers - {1}:
        found.append(
            "Seeds are drawn again within each scenario, the same ones for all agents, so that differences stay "
            "paired. It speaks of other seeds, users and catalogues of these scenarios, not of other scenarios."
        )
    if 1 in numbers:
        found.append(
            "With one seed its evaluation sessions are drawn again, the same ones for all agents. It then speaks of "
            "other sessions alone, not of other seeds or catalogues."
        )
    return " ".join(found)
