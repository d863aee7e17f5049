"""Jobs: large orders of pictures that wait in a queue, survive a restart, and are fetched when they are done."""
