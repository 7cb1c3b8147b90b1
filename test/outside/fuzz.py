"""Sends malformed MQTT 3.1.1 packets: fuzz.py PORT CASES [FOLDER of a device: over TLS with its certificate]. Prints how many it sent."""

import os
import ssl
import sys
import tempfile

from boofuzz import BitField, Block, Byte, Bytes, Request, Session, Size, SSLSocketConnection, String, Target, TCPSocketConnection, Word


def remaining_length(body):
    """The body behind its length, as MQTT 2.2.3 writes it: what is inside is looked at only when this is right."""
    left, encoded = len(body), b""
    while True:
        left, digit = divmod(left, 128)
        encoded += bytes([digit | (128 if left else 0)])
        if not left:
            return encoded + body


def text(name, value):
    return [Size(name=name + " length", block_name=name, length=2, endian=">"), String(name=name, default_value=value)]


def packet(name, first, *children):
    return Request(name, children=(Byte(name="header", default_value=first), Block(name="body", children=children, encoder=remaining_length)))


def number(name, value):
    return Word(name=name, default_value=value, endian=">")


def requests(device):
    own = f"devices/{device}"
    connect = packet("CONNECT", 0x10, *text("protocol", "MQTT"), Byte(name="level", default_value=4), BitField(name="flags", default_value=0xF6, width=8), number("keep alive", 30),
                     *text("client id", device), *text("will topic", own + "/status"), *text("will message", "gone"), *text("user", "u"), *text("password", "p"))  # fmt: skip
    hello = Request("hello", children=(Bytes(name="hello", default_value=plain_connect(device), fuzzable=False),))
    after = [
        packet("PUBLISH", 0x32, *text("topic", own + "/telemetry"), number("id", 7), Bytes(name="payload", default_value=b'{"seq":1,"values":{"temperature":21.5}}')),
        packet("SUBSCRIBE", 0x82, number("id", 8), *text("filter", own + "/commands/+"), Byte(name="qos", default_value=1)),
        packet("UNSUBSCRIBE", 0xA2, number("id", 9), *text("filter", own + "/commands/+")),
        *(packet(name, first, number("id", 10)) for name, first in [("PUBACK", 0x40), ("PUBREC", 0x50), ("PUBREL", 0x62), ("PUBCOMP", 0x70)]),
        Request("any", children=(Byte(name="first", default_value=0x30), Bytes(name="rest", default_value=b"\x05\x00\x01tab"))),
    ]
    return connect, hello, after


def plain_connect(device):
    identifier = device.encode()
    return b"\x10" + bytes([12 + len(identifier)]) + b"\x00\x04MQTT\x04\x02\x00\x1e" + len(identifier).to_bytes(2, "big") + identifier


def connection(port, folder):
    limits = {"send_timeout": 5.0, "recv_timeout": 0.5}
    if folder is None:
        return TCPSocketConnection("127.0.0.1", port, **limits)
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return SSLSocketConnection("localhost", port, sslcontext=context, server_hostname="localhost", **limits)


def fuzz(port, cases, folder, path, log):
    """Fuzzes the last request of a path; answers how many cases were sent."""
    session = Session(
        target=Target(connection=connection(port, folder)),
        index_end=cases,
        fuzz_loggers=[],
        db_filename=log,
        fuzz_db_keep_only_n_pass_cases=1,
        web_port=None,
        keep_web_open=False,
        receive_data_after_each_request=False,
        receive_data_after_fuzz=False,
        ignore_connection_reset=True,
        ignore_connection_aborted=True,
        ignore_connection_ssl_errors=True,
        # Being thrown out is the answer that is hoped for: no number of them ends the run.
        crash_threshold_request=cases + 1,
        crash_threshold_element=cases + 1,
    )
    session.connect(path[0])
    for before, request in zip(path, path[1:]):
        session.connect(before, request)
    session.fuzz()
    return session.num_cases_actually_fuzzed


def main():
    port, cases = int(sys.argv[1]), int(sys.argv[2])
    folder = sys.argv[3] if len(sys.argv) > 3 else None
    connect, hello, after = requests(os.path.basename(folder) if folder else "fuzz-1")
    paths = [(connect,), *((hello, request) for request in after)]
    with tempfile.TemporaryDirectory() as logs:
        print(sum(fuzz(port, cases // len(paths), folder, path, f"{logs}/{i}.db") for i, path in enumerate(paths)))


main()
