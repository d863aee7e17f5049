"""The HTTP API of AUTOMATIC1111's WebUI, as its clients use it."""
