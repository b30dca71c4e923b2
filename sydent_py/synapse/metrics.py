"""What Synapse's metrics listener shows of the module."""

from prometheus_client import Counter, Gauge

WAITING = Gauge("sydent_py_module_queue_waiting", "Changes that the identity server has not been told")
OLDEST = Gauge("sydent_py_module_queue_oldest_seconds", "How long the oldest of them has waited")
OUTAGE = Gauge("sydent_py_module_outage", "1 while the identity server does not serve this homeserver")
CHANGES = Counter("sydent_py_module_changes", "Changes that the identity server has answered", ["action", "result"])
LOOKUPS = Counter("sydent_py_module_lookups", "Addresses that the identity server was asked about", ["purpose", "result"])
DRIFT = Counter("sydent_py_module_drift", "Bindings that reconciliation found to differ", ["direction"])
KEYS_DIFFERING = Gauge("sydent_py_module_keys_differing", "Users whose master keys are not those that they have published")
INVITES = Counter("sydent_py_module_invites", "Invitations refused, revoked and pulled", ["result"])
REGISTRATIONS = Counter("sydent_py_module_registrations", "Addresses refused for registration", ["reason"])
