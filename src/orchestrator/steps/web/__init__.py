"""What goes over HTTP to other people's servers."""
