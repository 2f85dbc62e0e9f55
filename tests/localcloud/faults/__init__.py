"""What goes wrong on request, and how late things are."""
