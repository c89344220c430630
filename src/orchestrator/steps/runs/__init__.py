"""What the engine asks of the worker around a run, beside its steps."""
