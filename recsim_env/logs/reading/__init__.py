"""Real logs: ratings, and items shown with their clicks, from files."""
