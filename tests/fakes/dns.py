"""A DNS server on loopback that knows a handful of records."""

import socket
import socketserver
import threading
from types import TracebackType
from typing import Self

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset


class FakeDns:
    """``records`` maps ``(name, type)`` to the texts of its records: ``("a.example", "A"): ["192.0.2.1"]``."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.queries: list[tuple[str, str]] = []
        self._server = _Server(("127.0.0.1", 0), _Answer)
        self._server.dns = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def resolver(self) -> dns.resolver.Resolver:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self._server.server_address[1]
        return resolver

    def addresses(self, host: str) -> list[str]:
        """Like the system's resolver: every address of ``host``, or an ``OSError``."""
        found: list[str] = []
        for rdtype in ("A", "AAAA"):
            try:
                found += [record.to_text() for record in self.resolver().resolve(f"{host}.", rdtype, lifetime=2)]
            except dns.exception.DNSException:
                continue
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "unknown name")
        return found

    def answer(self, wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, rdtype = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.queries.append((name, rdtype))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if texts := self.records.get((name, rdtype)):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", rdtype, *texts))
        elif not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.UDPServer):
    dns: FakeDns


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        wire, sock = self.request
        sock.sendto(self.server.dns.answer(wire), self.client_address)
