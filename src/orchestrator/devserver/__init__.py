"""The whole product in one process, for laptops, demos and tests: ``stack.Stack``."""
