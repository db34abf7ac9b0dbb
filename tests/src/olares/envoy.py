"""Envoy as Olares' sandbox-webhook puts it into pods up to 1.12.6, as far as others notice it.

Every connection that comes into the pod is led here by the node's own iptables. It goes on to the
port that it was for, from inside the pod: the peer is loopback. What Envoy adds to a request's head
is added. Its log says which connections were captured.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import uuid

INBOUND = 15003
SO_ORIGINAL_DST = 80
# Where the platform runs a gateway of its own, its paths lead there.
GATEWAY = os.environ.get("GATEWAY_PORT")


def destination(writer):
    found = writer.get_extra_info("socket").getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    return struct.unpack_from("!2xH", found)[0]


def rewritten(head):
    """The head that goes on, and the path in it."""
    request, *headers = head.split(b"\r\n\r\n")[0].split(b"\r\n")
    path = request.split(b" ")[1].partition(b"?")[0].decode()
    names = [header.partition(b":")[0].lower() for header in headers]
    if b"upgrade" not in names:  # one request to a connection: none is missed
        headers = [header for header, name in zip(headers, names) if name != b"connection"]
        headers.append(b"connection: close")
    headers += [b"x-forwarded-proto: http", b"x-request-id: " + str(uuid.uuid4()).encode()]
    return b"\r\n".join([request, *headers, b"", b""]), path


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def capture(reader, writer):
    port = destination(writer)
    try:
        head, path = rewritten(await reader.readuntil(b"\r\n\r\n"))
    except (asyncio.IncompleteReadError, IndexError, OSError):  # a tcpSocket probe, or no HTTP
        print(json.dumps({"port": port, "path": None}), flush=True)
        return writer.close()
    print(json.dumps({"port": port, "path": path}), flush=True)
    if GATEWAY and (path == "/ws" or path.startswith("/ws/")):
        port = int(GATEWAY)
    try:
        if port == INBOUND:
            raise ConnectionRefusedError
        app, to_app = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nserver: envoy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return writer.close()
    to_app.write(head)
    await asyncio.gather(pump(reader, to_app), pump(app, writer))
    writer.close()
    to_app.close()


async def main():
    # The first process of a container hears SIGTERM only if it asks to.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    server = await asyncio.start_server(capture, "0.0.0.0", INBOUND)
    await server.serve_forever()


asyncio.run(main())
