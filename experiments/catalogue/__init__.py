"""What there is to choose: games, methods, structures and partners, known without a computation."""
