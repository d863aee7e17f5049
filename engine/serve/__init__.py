"""The HTTP server: an API that clients of the WebUI know, jobs, and a page."""
