"""HTTPS to servers that strangers name: one guarded transport, server discovery, and the questions asked of homeservers."""
