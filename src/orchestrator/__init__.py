"""Orchestrator: business processes with Claude inside, written as YAML flows and run durably on Temporal."""
