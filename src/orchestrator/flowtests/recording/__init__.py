"""Finished runs as cases of test files."""
