"""Output: tables in every format, the terminal, and figures of training runs."""
