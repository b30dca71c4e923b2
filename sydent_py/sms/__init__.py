"""Text messages cost money: what was sent, what came of it, and when to stop."""
