"""A result as text, Markdown and a page: pure functions."""
