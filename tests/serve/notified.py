"""What systemd would be told: prints each state that comes, and behind READY=1 how /health answers at that moment.

   notified.py SOCKET LOG        SOCKET with @ in front is a name in the abstract space; LOG says where the server listens
"""

import re
import socket
import sys
import urllib.request

name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\0" + name[1:] if name[0] == "@" else name)
listener.settimeout(100)
print("listening", flush=True)
while True:
    state = listener.recv(4096).decode()
    if state == "READY=1":
        url = re.search(r"^listening on (.*)$", open(sys.argv[2]).read(), re.M).group(1)
        state += " %d" % urllib.request.urlopen(url + "/health").status
    print(state, flush=True)
    if state == "STOPPING=1":
        break
