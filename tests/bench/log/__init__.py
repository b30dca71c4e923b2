"""The part about the log: appending, sequencing and verifying, beside what the same rows and hashes cost by themselves."""
