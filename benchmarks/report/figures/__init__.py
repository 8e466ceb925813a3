"""Pictures of a board, a kind in each file; each is some small panels: side by side, or, on a phone, in a column."""
