"""Flight-delay prediction: the model's own code, one module per pipeline stage.

Given a request (what an airline knows of a flight before it leaves, with the weather of that hour), the probability
that it arrives 15 minutes late or more.
"""
