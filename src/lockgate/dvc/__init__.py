"""Reading and running DVC: pipelines, plans, stages, objects, remotes."""
