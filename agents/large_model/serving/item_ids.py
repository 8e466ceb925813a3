"""Ids of items for those who use the model: those of the ratings log or the table, otherwise positions."""

from collections.abc import Sequence

import numpy as np

from recsim_env.config import check_number
from recsim_env.world.catalog import Items


class ItemIds:
    """Maps the ids of a catalogue's items to their positions and back; ids are numbers if all of them are decimal."""

    def __init__(self, items: Items) -> None:
        self._num_items, self._ids = len(items), items.ids
        self._positions = {item: position for position, item in enumerate(items.ids or ())}
        self._are_numbers = all(each.isdecimal() for each in items.ids or ())

    def position(self, name: str, item: int | str) -> int:
        """The position of the item with that id, a number or text; `name` is that of the value in errors.

        Raises:
            ValueError: there is no such item; one line.
        """
        if self._ids is None:
            check_number(name, item, 0, self._num_items - 1, int)
            return int(item)
        if str(item) not in self._positions:
            raise ValueError(f"{name}={item!r}: not an item of the catalogue")
        return self._positions[str(item)]

    def positions(self, name: str, items: Sequence[int | str]) -> np.ndarray:
        """[n] int64: the positions of items that must differ; `name` is that of the list in errors.

        Raises:
            ValueError: there is no such item, or it occurs more than once; one line.
        """
        found = np.array([self._known(item) for item in items], np.int64)
        if found.min(initial=0) < 0:
            first = int((found < 0).argmax())
            self.position(f"{name}[{first}]", items[first])
        if len(set(found.tolist())) < len(found):
            values, counts = np.unique(found, return_counts=True)
            raise ValueError(f"{name}: {self[int(values[counts.argmax()])]} occurs more than once")
        return found

    def _known(self, item: int | str) -> int:
        """The position of an item, -1 if there is none."""
        if self._ids is not None:
            return self._positions.get(str(item), -1)
        return item if type(item) is int and 0 <= item < self._num_items else -1

    def __getitem__(self, position: int) -> int | str:
        """The id of the item at a position."""
        if self._ids is None:
            return position
        return int(self._ids[position]) if self._are_numbers else self._ids[position]
