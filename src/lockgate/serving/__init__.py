"""The model at work: what a build promises a service, its code in a process of its own, one release after another."""
