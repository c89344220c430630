"""What a run did against what was expected of it."""
