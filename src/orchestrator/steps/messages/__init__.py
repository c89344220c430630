"""What a flow tells other flows and whoever started it."""
