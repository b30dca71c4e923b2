"""The keys that users publish: a chain of statements for each user, every one of them an entry of the log."""
