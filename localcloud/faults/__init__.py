"""What goes wrong on request, and how late the local cloud is."""
