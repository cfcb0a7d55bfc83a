"""A scheduler for AI jobs that lives inside your Python process."""
