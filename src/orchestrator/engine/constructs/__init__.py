"""The control constructs, one per file: each a function of the walk that reached it, the node, its frame, its path."""
