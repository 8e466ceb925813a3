"""Nearest items to points in content space, among the candidates or among all available items.

Shape legend: N sessions, S slots of a slate, M candidates, F content features, I items.
"""

import numpy as np

from recsim_env.simulation.availability import was_consumed
from recsim_env.simulation.compilation import kernel
from recsim_env.simulation.records import NO_ITEM, PARAMETERS, SESSION

_BLOCK = 512


@kernel
def nearest_candidates(sessions, layout, features, points, slates):
    """Fill `slates` [N, S]: the nearest unused candidate to each of the points [N, S, F] (missing candidates last)."""
    sessions = SESSION(sessions, layout)
    for n in range(len(sessions)):
        candidates = sessions[n].candidates
        for slot in range(points.shape[1]):
            best, best_distance = -1, np.inf
            for m in range(len(candidates)):
                is_taken = False
                for earlier in range(slot):
                    is_taken = is_taken or slates[n, earlier] == m
                if is_taken or (best >= 0 and candidates[m] == NO_ITEM):
                    continue
                distance = 1e300
                if candidates[m] != NO_ITEM:
                    distance = 0.0
                    for f in range(points.shape[2]):
                        distance += (points[n, slot, f] - features[candidates[m], f]) ** 2
                if distance < best_distance:
                    best, best_distance = m, distance
            slates[n, slot] = best


@kernel
def show_nearest_items(sessions, layout, parameters, columns, points):
    """Make the available items nearest to the points [N, S, F] the first S candidates of each session.

    `columns` [F, I] are the features of the catalogue, feature by feature, so that the loop over items is vectorised.
    Items consumed less than `repeat_after` steps ago are left out. Where there are too few items, candidates are
    missing (`NO_ITEM`).
    """
    sessions, p = SESSION(sessions, layout), PARAMETERS(parameters, layout)[0]
    distances = np.empty(_BLOCK)
    for n in range(len(sessions)):
        session = sessions[n]
        for slot in range(points.shape[1]):
            best, best_distance = NO_ITEM, np.inf
            for start in range(session.first_item, session.end_item, _BLOCK):
                length = min(_BLOCK, session.end_item - start)
                block = distances[:length]
                block[:] = 0.0
                for f in range(len(columns)):
                    column, point = columns[f, start : start + length], points[n, slot, f]
                    for i in range(length):
                        block[i] += (column[i] - point) ** 2
                for i in range(length):
                    if block[i] < best_distance:
                        is_taken = was_consumed(session, start + i, p)
                        for earlier in range(slot):
                            is_taken = is_taken or session.candidates[earlier] == start + i
                        if not is_taken:
                            best, best_distance = start + i, block[i]
            session.candidates[slot] = best
        for m in range(points.shape[1], len(session.candidates)):  # no item is a candidate twice
            for slot in range(points.shape[1]):
                if session.candidates[m] == session.candidates[slot]:
                    session.candidates[m] = NO_ITEM
