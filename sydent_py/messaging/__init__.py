"""What leaves this server for people: mail, and the words in it."""
