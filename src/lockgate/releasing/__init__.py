"""What a release is made of, how it is signed, and how the store keeps it."""
