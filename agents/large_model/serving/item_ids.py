"""Ids of items for those who use the model: those of the ratings log, or positions in the catalogue without a log."""

from recsim_env.config import check_number
from recsim_env.world.catalog import Items


class ItemIds:
    """Maps the ids of a catalogue's items to their positions and back; ids are numbers if all of the log's are."""

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
            raise ValueError(f"{name}={item!r}: not an item of the ratings log")
        return self._positions[str(item)]

    def __getitem__(self, position: int) -> int | str:
        """The id of the item at a position."""
        if self._ids is None:
            return position
        return int(self._ids[position]) if self._are_numbers else self._ids[position]
