"""A headless Chromium, driven through its DevTools protocol. Standard library only.

   chromium.py    exits 0 where it starts

For root it is started as nobody, since it isolates its pages only for others. Files that it is to open must
be readable to all."""

import base64
import json
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

COMMAND = ["chromium", "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-extensions", "--disable-background-networking", "--disable-component-update",
           "--disable-sync", "--no-proxy-server", "--remote-debugging-port=0"]


class WebSocket:
    """A client's end: text messages, as RFC 6455 frames them."""

    def __init__(self, host, port, path):
        self.socket = socket.create_connection((host, port), 60.0)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        self.stream = self.socket.makefile("rb")
        if b" 101 " not in self.stream.readline():
            raise AssertionError("no WebSocket")
        while self.stream.readline() != b"\r\n":
            pass

    def send(self, text):
        data = text.encode()
        mask = os.urandom(4)
        head = struct.pack("!BBQ", 0x81, 0xFF, len(data)) + mask
        n_words = -(-len(data) // 4)
        masked = int.from_bytes(data.ljust(4 * n_words, b"\0"), "big") ^ int.from_bytes(mask * n_words, "big")
        self.socket.sendall(head + masked.to_bytes(4 * n_words, "big")[:len(data)])

    def receive(self):
        message, is_last = b"", False
        while not is_last:
            first, second = self.stream.read(2)
            n = second & 0x7F
            if n == 126:
                n = struct.unpack("!H", self.stream.read(2))[0]
            elif n == 127:
                n = struct.unpack("!Q", self.stream.read(8))[0]
            data = self.stream.read(n)
            if first & 0x0F in (0, 1):
                message, is_last = message + data, bool(first & 0x80)
        return message.decode()


class Page:
    """One page of a browser of its own. `faults` is what it complained about, `asked` each URL that it loaded."""

    def __init__(self, width=1200, height=900):
        self.directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        user = {}
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            shutil.chown(self.directory.name, nobody.pw_uid, nobody.pw_gid)
            user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.process = subprocess.Popen(
            COMMAND + [f"--user-data-dir={self.directory.name}", f"--window-size={width},{height}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
            env={"PATH": os.environ["PATH"], "HOME": self.directory.name}, **user)
        self.n_sent, self.faults, self.asked = 0, [], []
        try:
            self.connect()
        except BaseException:
            self.close()
            raise

    def connect(self):
        end = time.time() + 60.0
        port_file = os.path.join(self.directory.name, "DevToolsActivePort")
        while not os.path.exists(port_file) or os.path.getsize(port_file) == 0:
            if time.time() > end or self.process.poll() is not None:
                raise AssertionError("chromium does not start")
            time.sleep(0.05)
        with open(port_file, encoding="ascii") as file:
            port = int(file.readline())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=30.0) as answer:
            pages = [target for target in json.load(answer) if target["type"] == "page"]
        path = "/devtools/page/" + pages[0]["id"]
        self.socket = WebSocket("127.0.0.1", port, path)
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.command(domain + ".enable")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.directory.cleanup()

    def command(self, method, **parameters):
        self.n_sent += 1
        self.socket.send(json.dumps({"id": self.n_sent, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.receive())
            if message.get("id") == self.n_sent:
                if "error" in message:
                    raise AssertionError((method, message["error"]))
                return message["result"]
            self.note(message)

    def note(self, message):
        method, about = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.asked.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.faults.append(about["exceptionDetails"])
        elif method == "Log.entryAdded" and about["entry"]["source"] != "network":
            self.faults.append(about["entry"])

    def value(self, expression):
        """What a JavaScript expression is, awaited."""
        result = self.command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError((expression, result["exceptionDetails"]))
        return result["result"].get("value")

    def go(self, url):
        self.command("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def until(self, expression, timeout=60.0):
        end = time.time() + timeout
        while not self.value(f"Boolean({expression})"):
            if time.time() > end:
                raise AssertionError(("never true", expression, self.value("document.body.innerText")[:2000]))
            time.sleep(0.05)

    def text(self, selector):
        return self.value(f"document.querySelector({json.dumps(selector)}).innerText")

    def choose(self, selector, path):
        """What the dialog of a file input would do."""
        root = self.command("DOM.getDocument")["root"]["nodeId"]
        node = self.command("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.command("DOM.setFileInputFiles", nodeId=node, files=[path])

    def drop(self, name, content):
        """A file of that content falls on the page; content: bytes."""
        self.drop_all({name: content})

    def drop_all(self, files):
        """Several together, by name."""
        adding = "".join(
            f"data.items.add(new File([Uint8Array.from(atob('{base64.b64encode(content).decode()}'), c => c.charCodeAt(0))],"
            f" {json.dumps(name)}));" for name, content in files.items())
        self.value("(() => { const data = new DataTransfer();" + adding +
                   "document.body.dispatchEvent(new DragEvent('drop',"
                   " {dataTransfer: data, bubbles: true, cancelable: true})); })()")

    def type(self, text):
        self.command("Input.insertText", text=text)

    def press(self, key, code=0, modifiers=0):
        text = {"text": "\r"} if key == "Enter" else {}
        for kind, more in (("keyDown", text), ("keyUp", {})):
            self.command("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                         windowsVirtualKeyCode=code, modifiers=modifiers, **more)

    def click(self, selector):
        """With the mouse, where the element is."""
        at = self.value(f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
                        "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
                        "return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()")
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def resize(self, width, height, scheme="light"):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=False)
        self.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        data = self.command("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


if __name__ == "__main__":
    try:
        Page().close()
    except AssertionError as fault:
        sys.exit(str(fault))
