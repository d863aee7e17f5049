"""Pages and plots made from measured records."""
