"""Who may use the server: passwords, names and origins, and the size of what a client sends."""
