"""What trusted homeservers ask for their users: binding without a validation, keeping in step, lookups."""
