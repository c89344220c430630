"""Where large values live: a history keeps a reference, a driver keeps the value. ``converter`` is the way in."""
