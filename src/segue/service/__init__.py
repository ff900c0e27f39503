"""Answers over HTTP, the log of what people play and skip, and the page."""
