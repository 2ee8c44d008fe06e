"""The command line: one file a command group, one error boundary, one place that prints."""
