"""The command line: one module per noun; the only place that prints, and that sets exit codes."""
