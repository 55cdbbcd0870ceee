"""One module a command: its arguments in, a wing asked, its words out."""
