"""Training one class on a frozen base: hypernetwork or embedding."""
