"""What becomes of a release once it serves: its promise, the outcomes that come later, and what differs."""
