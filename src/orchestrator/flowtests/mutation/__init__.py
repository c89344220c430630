"""Whether tests would notice a step that is missing."""
