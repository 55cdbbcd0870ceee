"""The packages that a commit locks: what its lock says, and a Python environment that holds exactly that."""
