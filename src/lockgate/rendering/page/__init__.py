"""The style and the script of the page that `--format html` writes."""
