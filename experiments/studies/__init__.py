"""The exact lab's commands: studies of tabular games that need no sampling."""
