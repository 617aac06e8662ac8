"""A port that swallows packets: what a lost region looks like from outside.

A closed port refuses at once, which no lost region does. Here a socket listens with an accept queue of the least size
that is then filled and never emptied: Linux drops every further SYN, so `connect` hangs until its own timeout.
"""

import errno
import socket
import time


class DarkPort:
    def __init__(self, host, port):
        self.fillers = []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(0)
        self.fill(host, port)

    def fill(self, host, port):
        """Connects until the kernel stops answering; a queue that never fills would be a lie, so that is an error."""
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            self.fillers.append(filler)
            code = filler.connect_ex((host, port))
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, f"{host}:{port} cannot be made dark")
            time.sleep(0.02)
            if filler.connect_ex((host, port)) in (errno.EALREADY, errno.EINPROGRESS):
                return
        raise OSError(f"{host}:{port}: the kernel still answers with the accept queue full")

    def close(self):
        for one in (self.listener, *self.fillers):
            one.close()
