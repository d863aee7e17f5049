"""The running of the server: logs, metrics, health, and a stop that loses nothing."""
