"""Going on from an older run: what a retry, a re-run or a restart takes over from its journal. Pure."""
