"""The pytest plugin of dtf."""
