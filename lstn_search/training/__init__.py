"""Training: the workbench a task is trained on, the recover and joint stages, early stopping, health."""
