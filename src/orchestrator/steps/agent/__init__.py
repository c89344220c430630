"""Agents: who one is, which tools it has, and each turn of its model."""
