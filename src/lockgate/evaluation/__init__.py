"""What changed, on the rows both sides have; what of it is noise; which gates hold. Nothing here writes anywhere."""
