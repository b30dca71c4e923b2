"""HTTP in: routes that declare who may call them, parse the body, and call one use case."""
