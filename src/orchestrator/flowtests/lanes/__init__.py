"""Where cases run: a test server with its clock, a worker and a store."""
