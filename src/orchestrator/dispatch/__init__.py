"""What goes on behind the doors: accepted events, queues, folders and schedules become runs."""
