"""How a repository comes to use Lockgate: what it has is read, what it lacks is proposed, what is set up is tested."""
