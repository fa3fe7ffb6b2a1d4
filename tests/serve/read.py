"""Files to /v1/read.

   read.py URL SCRIPT PID scripts|drained|programs

scripts: pdftotext is a script that does what the PDF says; drained: and SIGTERM comes; programs: the real ones.
"""

import json
import os
import shutil
import signal
import sys
import threading
import time

from documents import docx, odt, pdf, zipped
from raw import Server, body_of, check, status_of

URL, _, PID, WHAT = sys.argv[1:5]
KEY = "X-Api-Key: secret"
server = Server(URL, PID, "secret")


def read(name, content, timeout=60.0):
    """(status, JSON) of a file; `name` as it stands in the target."""
    answer = server.exchange(server.post("/v1/read?name=" + name, content, KEY, "Connection: close"), timeout)
    return status_of(answer), json.loads(body_of(answer) or b"null")


def children():
    """Processes of the server's."""
    with open(f"/proc/{PID}/task/{PID}/children", encoding="ascii") as file:
        found = set(file.read().split())
    for task in os.listdir(f"/proc/{PID}/task"):
        try:
            with open(f"/proc/{PID}/task/{task}/children", encoding="ascii") as file:
                found |= set(file.read().split())
        except FileNotFoundError:
            pass  # the thread has ended
    return found


def until(condition, what, timeout=30.0):
    end = time.time() + timeout
    while not condition():
        check(time.time() < end, what)
        time.sleep(0.02)


def refused(wanted, words, name, content):
    status, found = read(name, content)
    check(status == wanted and words in found["error"]["message"], status, found, words)


def begin_sleeping():
    """A connection whose PDF is never read to its end."""
    n_children = len(children())
    connection = server.connect(60.0)
    connection.sendall(server.post("/v1/read?name=a.pdf", b"%PDF-1.4 sleep", KEY))
    until(lambda: len(children()) > n_children, "no program was started")
    return connection


def test_pages():
    status, found = read("../../etc/passwd.pdf", b"%PDF-1.4 x")
    check(status == 200 and found["text"] == "one\ntwo\n\fThe third line is here.\n\f", found)
    check(found["n_pages"] == 2, found)
    check(found["name"] == "../../etc/passwd.pdf", found)
    status, cited = server.ask("POST", "/v1/cite",
                               {"reading": found["id"], "answer": '"third line is here"'}, KEY)
    check(status == 200, cited)
    one = cited["citations"][0]
    check((one["verified"], one["page"], one["last_page"], one["line"]) == (True, 2, 2, 1), one)


def test_what_it_sees():
    """A descriptor, and no name of the request's."""
    _, found = read("secret-name.pdf", b"%PDF-1.4 looks")
    words, where, descriptors = found["text"].strip("\f\n").split("|")
    check(words == "-enc UTF-8 /dev/fd/3 -" and where == "/", found)
    numbers = {int(one.rsplit("/", 1)[1]) for one in descriptors.split() if one.rsplit("/", 1)[1].isdigit()}
    check(numbers <= {0, 1, 2, 3, 4, 10, 11, 255}, numbers)  # and what the shell itself opens


def test_failures():
    refused(415, "a.pdf: child: pdftotext ended with 3: Syntax Error: all is lost", "a.pdf", b"%PDF-1.4 says")
    refused(415, "pdftotext writes more than 16777216 bytes", "a.pdf", b"%PDF-1.4 flood")
    refused(501, "a.docx is a Word document, and there is no pandoc to read it: apt-get install pandoc",
            "a.docx", docx(["x"]))
    refused(501, "apt-get install odt2txt", "a.odt", odt(["x"]))
    refused(415, "a.xlsx is an Office file that nothing here reads", "a.xlsx", zipped(("[Content_Types].xml", "x")))
    refused(415, "binary from byte 1 on", "a", b"a\0b")
    refused(415, "not UTF-8 from byte 3 on", "a", b"caf\xe9")
    refused(415, "holds nothing", "a", b"")
    refused(415, "holds nothing but white space", "a", b" \n\t\n")
    refused(400, "at least ", "a.txt", b"word " * 2000)
    refused(400, "name must hold characters", "%00a", b"text")
    refused(400, "name must hold characters", "", b"text")
    check(read("a.txt", b"plain text\n")[1]["text"] is None)
    check(read("caf%C3%A9%20%2B.txt", b"plain text\n")[1]["name"] == "caf\u00e9 +.txt")
    check(server.ask("POST", "/v1/read?name=x", b"text", "Connection: close")[0] == 401)
    head = server.head("POST", "/v1/read?name=x", KEY, f"Content-Length: {(64 << 20) + 1}")
    check(status_of(server.exchange(head)) == 413)


def test_others_go_on():
    """Four are read, a fifth is asked to wait; meanwhile everything else is answered at once."""
    n_descriptors = server.n_descriptors()
    asleep = [begin_sleeping() for _ in range(4)]
    refused(429, "4 files are being read", "b.txt", b"text")
    for _ in range(8):  # more than there are threads
        check(server.ask("GET", "/health", None, "Connection: close")[0] == 200)
    check(server.ask("POST", "/v1/read", {"name": "a", "text": "some text"}, KEY, "Connection: close")[0] == 200)
    for connection in asleep:  # the client goes, and so does what worked for it
        connection.close()
    until(lambda: not children(), "a program outlives its client")
    until(lambda: read("c.txt", b"text")[0] == 200, "its place is not free")
    server.rest(n_descriptors)


def test_cut_off():
    """A client that goes in the middle of its file leaves nothing behind."""
    n_descriptors = server.n_descriptors()
    for n in range(8):
        connection = server.connect()
        connection.sendall(server.post("/v1/read?name=a.txt", b"x" * 1000, KEY)[:-1 - 100 * n])
        connection.close()
    until(lambda: read("c.txt", b"text")[0] == 200, "its place is not free")
    server.rest(n_descriptors)
    body = b"".join(b"%x\r\n" % len(part) + part + b"\r\n" for part in (b"in two ", b"pieces")) + b"0\r\n\r\n"
    answer = server.exchange(server.head("POST", "/v1/read?name=a.txt", KEY, "Transfer-Encoding: chunked") + body)
    check(status_of(answer) == 200 and json.loads(body_of(answer))["n_bytes"] == 13, answer)


def test_drained():
    """The connection is woken, and told; by the signal, should it look in the moment in which no thread has taken it yet."""
    connection = begin_sleeping()
    answers = []

    def listen():
        data = b""
        while more := connection.recv(65536):
            data += more
        answers.append(data)

    thread = threading.Thread(target=listen)
    thread.start()
    os.kill(int(PID), signal.SIGTERM)
    thread.join(60.0)
    check(answers and status_of(answers[0]) == 503, answers)
    check(b"stopped while pdftotext ran" in answers[0] or b"interrupted while pdftotext ran" in answers[0], answers)


def test_asked():
    _, found = read("a.txt", b"some text")
    asked = server.exchange(server.post("/v1/ask", {"reading": found["id"], "question": "What is it?", "max_tokens": 2}, KEY))
    check(status_of(asked) == 200, asked)
    # What the prompt has no place for is refused, not passed over.
    message = {"role": "user", "content": "x"}
    for field, value in (("tools", [{"type": "function", "function": {"name": "f"}}]), ("messages", [message]), ("system", "x")):
        for nothing in (False, True):
            status, body = server.ask("POST", "/v1/ask", {
                "reading": found["id"], "question": "x", "max_tokens": 1, field: None if nothing else value}, KEY)
            named = not nothing and f"{field} is not supported" in body["error"]["message"]
            check(status == (200 if nothing else 400) and (nothing or named), field, status, body)


def test_programs():
    for tool, name, content, wanted, n_pages in (
            ("pdftotext", "a.pdf", pdf([["The first."], ["The sea is wide.", "And blue."]]), "The sea is wide.", 2),
            ("pandoc", "a.docx", docx(["The first.", "The sea is wide."]), "The sea is wide.", 0),
            ("odt2txt", "a.odt", odt(["The first.", "The sea is wide."]), "The sea is wide.", 0)):
        if not shutil.which(tool):
            print(f"{tool} is not installed: {name} is not read")
            continue
        status, found = read(name, content)
        check(status == 200 and wanted in found["text"] and found["n_pages"] == n_pages, name, found)
        _, cited = server.ask("POST", "/v1/cite", {"reading": found["id"], "answer": f'"{wanted}"'}, KEY)
        one = cited["citations"][0]
        check(one["verified"] and one["page"] == (n_pages or None), one)
        if not n_pages:
            check(found["text"].split("\n")[one["line"] - 1] == wanted, one, found)


if WHAT == "scripts":
    test_pages()
    test_what_it_sees()
    test_failures()
    test_others_go_on()
    test_cut_off()
elif WHAT == "drained":
    test_drained()
else:
    test_programs()
    test_asked()
