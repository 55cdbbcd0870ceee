"""GitOps for machine-learning models, on any DVC repository."""

__version__ = "0.1.0"
