"""One run of a flow in a test: who answers for its steps, what happens to it, what it did."""
