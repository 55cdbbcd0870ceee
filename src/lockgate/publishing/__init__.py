"""What the trusted half takes from a pull request, believes of it, and writes back."""
