"""Newer data, the whole pipeline run and locked, and a pull request that says whether it is worth merging."""
