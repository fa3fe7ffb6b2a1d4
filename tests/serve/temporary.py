"""An uploaded file lies in TMPDIR while it comes, without a name.

   temporary.py URL SCRIPT PID TMPDIR
"""

import os
import sys
import time

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
place = os.path.realpath(sys.argv[4])


def open_files():
    """Of the server: where they are or were."""
    links = []
    for number in os.listdir(f"/proc/{server.pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{server.pid}/fd/{number}"))
        except FileNotFoundError:
            pass
    return links


body = b"%PDF-1.4 " + b"x" * 300000
data = server.post("/v1/read?name=a.pdf", body)
with server.connect() as connection:
    connection.sendall(data[:-100000])
    for _ in range(1200):
        links = [link for link in open_files() if link.startswith(place + "/")]
        if links:
            break
        time.sleep(0.05)
    check(len(links) == 1 and links[0].endswith(" (deleted)"), links, open_files())
    check(os.listdir(place) == [], "it has a name", os.listdir(place))
