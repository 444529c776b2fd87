"""What is described and counted, without torch: architectures, spaces, costs, fronts, tasks, results."""
