"""A small ratings log in the format of MovieLens, of people who like one of two genres and dislike the other."""

from pathlib import Path

import numpy as np

NUM_PEOPLE, NUM_FILMS = 40, 30


def ratings_of(person: int) -> dict[int, int]:
    """The ratings of one person by film: a random half of all films."""
    generator = np.random.default_rng([7, person])
    films = np.sort(generator.permutation(NUM_FILMS)[: NUM_FILMS // 2]).tolist()
    likes = [4 if film % 2 == person % 2 else 2 for film in films]
    return {film: int(like + generator.integers(-1, 2)) for film, like in zip(films, likes, strict=True)}


def write_log(folder: Path, ratings: dict[int, dict[int, int]] | None = None) -> Path:
    """Write the log of all people, or of the given ones, into a folder; returns it."""
    ratings = {person: ratings_of(person) for person in range(NUM_PEOPLE)} if ratings is None else ratings
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{person},{film},{rating},{1_000 * person + film}"
        for person, films in ratings.items()
        for film, rating in films.items()
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows]) + "\n")
    movies = [f"{film},Film {film} (1999),{('Comedy', 'Drama')[film % 2]}" for film in range(NUM_FILMS)]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *movies]) + "\n")
    return folder
