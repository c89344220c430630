"""Flows run without effects, on answers that are made up."""
