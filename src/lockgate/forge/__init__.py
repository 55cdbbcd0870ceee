"""The forge behind one port: GitHub is its first side."""
