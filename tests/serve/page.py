"""The web page, as a person uses it: key, file, plan, question, answer, citation, stop, heat map.

   page.py URL SCRIPT PID BOOK LONG RESULTS [SCREENSHOTS]

BOOK has a fact on line 77; LONG takes seconds to prefill; RESULTS is a needle evaluation's. The key of the
server is "secret". SCREENSHOTS is a directory for pictures.
"""

import os
import shutil
import sys
import time

from chromium import Page
from documents import pdf
from raw import Server, check

URL, _, PID, BOOK, LONG, RESULTS = sys.argv[1:7]
PICTURES = sys.argv[7] if len(sys.argv) > 7 else ""
server = Server(URL, PID, "secret")
ENTER, ESCAPE, CONTROL = 13, 27, 2


def picture(name):
    if PICTURES:
        page.value("scrollTo(0, 0)")
        page.screenshot(os.path.join(PICTURES, name + ".png"))


def ask(question):
    page.value("document.querySelector('#question').value = ''")
    page.value("document.querySelector('#question').focus()")
    page.type(question)
    page.press("Enter", ENTER, CONTROL)


def is_inside(selector):
    """Whether an element is to be seen in what scrolls it and in the window."""
    return page.value(
        f"(() => {{ const e = document.querySelector({selector!r}).getBoundingClientRect();"
        "const l = document.querySelector('#lines').getBoundingClientRect();"
        "return e.top >= Math.max(l.top, 0) && e.bottom <= Math.min(l.bottom, innerHeight); })()")


def test_key():
    """Without the key there is no page; the browser adds the one it was given to what the page asks."""
    check(server.ask("GET", "/")[0] == 401)
    page.command("Page.navigate", url=URL.replace("//", "//any:secret@") + "/")
    page.until("document.querySelector('#main')")
    page.faults.clear()  # addresses with a key in them may not be asked from
    page.asked.clear()
    page.go(URL + "/")
    page.until("document.querySelector('#model').innerText === 'needle'")


def test_plan():
    page.choose("#choose", BOOK)
    page.until("!document.querySelector('#plan').hidden")
    words = page.text("#plan")
    with open(BOOK, encoding="utf-8") as file:
        lines = file.readlines()
    n_bytes = sum(map(len, lines))
    n_tokens = int(words.split("Tokens")[1].split()[0].replace(",", ""))
    check(n_bytes < n_tokens < 1.3 * n_bytes + 600, words)  # a byte a token, and the passages' numbers
    for part in ("book.txt", " of a context of 65,536", f"{len(lines)} lines", "passages", "about ", "KV cache"):
        check(part in words, part, words)
    page.until("document.querySelector(\".line[data-n='1']\")")
    check(page.text(".line[data-n='1']") == "Line 1 has nothing to say about 1.")


def test_answer():
    ask("What is it?\n>\nThe special magic number for Paris is:")
    page.until("document.querySelector('#citations li')")
    check(page.text("#answer").strip() == "The special magic number for Paris is: 4831759.", page.text("#answer"))
    check("line 77 [" in page.text("#citations"), page.text("#citations"))
    check("0 of them reused" in page.text("#ask-status"), page.text("#ask-status"))
    page.click("#citations button")
    check(page.text(".line.cited") == "The special magic number for Paris is: 4831759.")
    check(page.value("document.querySelector('.line.cited').dataset.n") == "77")
    check(is_inside(".line.cited"))
    picture("answer")


def test_second_question():
    """It finds the text computed; a quotation that is not in it is marked."""
    ask('>\n"No such words". The special magic number for Paris is:')
    page.until("document.querySelectorAll('#citations li').length === 2")
    check("not verified" in page.text("#citations li"), page.text("#citations"))
    check(", 0 of them reused" not in page.text("#ask-status"), page.text("#ask-status"))


def test_pdf():
    """A citation of a PDF leads to its page, and to the line there."""
    if not shutil.which("pdftotext"):
        print("pdftotext is not installed: no PDF is dropped")
        return
    n_pages, n_lines, at_page, at_line = (4, 6, 3, 4) if os.environ.get("GLM_TEST_FAST") else (12, 19, 9, 12)
    prose = [[f"Page {i} has nothing to say in its line {j}." for j in range(1, n_lines + 1)]
             for i in range(1, n_pages + 1)]
    fact = prose[at_page - 1][at_line - 1] = "The special magic number for Oslo is: 1112131."
    page.drop("atlas.pdf", pdf(prose))
    page.until("document.querySelector('#plan-name').innerText === 'atlas.pdf'")
    check(f"{n_pages} pages, " in page.text("#plan"), page.text("#plan"))
    ask("Which is it?\n>\nThe special magic number for Oslo is:")
    page.until("document.querySelector('#citations li')")
    check(f"page {at_page} [" in page.text("#citations"), page.text("#citations"))
    page.click("#citations button")
    check(page.text(".line.cited") == fact, page.text(".line.cited"))
    check(page.value("document.querySelector('.line.cited').dataset.n") == str(at_line))
    names = page.value("[...document.querySelectorAll('.line.page')].map(e => e.innerText)")
    check(f"Page {at_page}" in names, names)
    check(is_inside(".line.cited"))
    picture("pdf")


def test_several():
    """Files that are dropped together are one text: a citation leads to the line of the file that has it."""
    prose = "".join(f"Line {i} of this one says nothing.\n" for i in range(1, 60)).encode()
    facts = {"first.txt": prose + b"The special magic number for Lima is: 2131415.\n",
             "second.txt": prose + prose + b"The special magic number for Bonn is: 6171819.\nAnd no more."}
    page.drop_all(facts)
    page.until("document.querySelector('#plan-name').innerText === 'first.txt, second.txt'")
    check("2 files, " in page.text("#plan"), page.text("#plan"))
    for city, number, name, line, behind in (("Bonn", 6171819, "second.txt", 119, "first.txt"),
                                             ("Lima", 2131415, "first.txt", 60, "second.txt")):
        ask(f"Which is it?\n>\nThe special magic number for {city} is:")
        page.until(f"document.querySelector('#citations')?.innerText.includes('{number}')")
        check(f"{name}, line {line} [" in page.text("#citations"), page.text("#citations"))
        check(behind not in page.text("#citations"), page.text("#citations"))
        page.click("#citations button")
        check(page.text(".line.cited") == f"The special magic number for {city} is: {number}.", page.text(".line.cited"))
        check(page.value("document.querySelector('.line.cited').dataset.n") == str(line))
        check(is_inside(".line.cited"))
    picture("several")
    names = page.value("[...document.querySelectorAll('.line.page')].map(e => e.innerText)")
    check("first.txt" in names or "second.txt" in names, names)
    page.drop_all({f"{i}.txt": b"a text" for i in range(13)})
    page.until("document.querySelector('#file-error').innerText.includes('of 13 files at most 12 are read')")


def test_stop(how):
    with open(LONG, "rb") as file:
        page.drop("long.txt", file.read())
    page.until("document.querySelector('#plan-name').innerText === 'long.txt'")
    ask(f"{how}?")
    page.until("/^Prefill: [1-9].* to go$/.test(document.querySelector('#eta').innerText)")
    picture("prefill")
    if how == "button":
        page.click("#stop")
    else:
        page.press("Escape", ESCAPE)
    page.until("/^Stopped/.test(document.querySelector('#ask-status').innerText)")
    end = time.time() + 30.0
    while server.metrics()["num_requests_running"] > 0:
        check(time.time() < end, "the server goes on")
        time.sleep(0.05)
    check(page.value("document.querySelector('#stop').disabled && !document.querySelector('#send').disabled"))
    check(page.text("#answer") == "")


def test_heat_map():
    page.choose("#choose", RESULTS)
    page.until("document.querySelectorAll('#map td').length === 4")
    check("4 of 4 found" in page.text("#map caption"), page.text("#map caption"))
    check(page.text("#map tr:nth-of-type(1)").split() == ["tokens", "500", "700"], page.text("#map"))
    check(page.text("#map tr:nth-of-type(2) td") == "100 %", page.text("#map"))
    picture("heatmap")
    for name in ("heatmap.png", "heatmap.svg"):
        page.value("document.querySelector('#picture').removeAttribute('src')")
        page.choose("#choose", os.path.join(os.path.dirname(RESULTS), name))
        page.until("document.querySelector('#picture').naturalWidth > 100")
        check(page.value("document.querySelector('#map').hidden"), name)
    page.drop("made.json", b'[{"context_length": 1000, "depth_percent": 50, "correct": true},'
              b'{"context_length": 1000, "depth_percent": 50, "correct": false},'
              b'{"context_length": 4096, "depth_percent": 0, "correct": false, "score": 0.25}]')
    page.until("/^1 of 3/.test(document.querySelector('#map caption').innerText)")
    check(page.text("#map").split() == "1 of 3 found. tokens 1k 4K 0 % deep 25 % 50 % deep 50 %".split(),
          page.text("#map"))


def test_errors():
    for name, content, words in (
            ("a.bin", b"a\0b", "a.bin is no text: binary from byte 1 on"),
            ("latin.txt", b"caf\xe9", "latin.txt is no text: not UTF-8 from byte 3 on (iconv"),
            ("empty.txt", b" \n", "is empty"), ("a.pdf", b"%PDF-1.4\n", "a.pdf"),
            ("much.txt", b"word " * 20000, "at least ")):
        page.drop(name, content)
        page.until(f"document.querySelector('#file-error').innerText.includes({words!r})")
    page.value("open([new File([new Uint8Array(64 * 1024 * 1024 + 1)], 'big.txt')])")
    page.until("document.querySelector('#file-error').innerText.includes('at most 64.0 MiB')")
    page.drop("book.txt", b"The special magic number for Rome is: 1234567.\n")
    page.until("document.querySelector('#file-error').innerText === ''")


def test_narrow():
    """No width makes the page scroll sideways."""
    for width in (320, 600, 1000, 1600):
        for scheme in ("light", "dark"):
            page.resize(width, 800, scheme)
            check(page.value("document.documentElement.scrollWidth") <= width, width)
            picture(f"{width}-{scheme}")
    page.resize(1080, 920)


def test_routes():
    """What the page does not send."""
    def status(path, body):
        return server.ask("POST", path, body, "X-Api-Key: secret", "Connection: close")[0]

    _, found = server.ask("POST", "/v1/read", {"name": "../../etc/passwd", "text": "The sea is wide and blue."},
                          "X-Api-Key: secret")
    check(found["n_lines"] == 1 and found["n_bytes"] == 25, found)
    one = found["id"]
    cited = server.ask("POST", "/v1/cite", {"reading": one, "answer": '"The sea is wide"'}, "X-Api-Key: secret")
    check(cited[0] == 200 and cited[1]["citations"][0]["line"] == 1, cited)
    _, other = server.ask("POST", "/v1/read", {"name": "b", "text": "The sky is high."}, "X-Api-Key: secret")
    _, both = server.ask("POST", "/v1/read", {"readings": [other["id"], one]}, "X-Api-Key: secret")
    check(both["name"] == "b, ../../etc/passwd" and both["n_files"] == 2, both)
    cited = server.ask("POST", "/v1/cite", {"reading": both["id"], "answer": '"The sea is wide"'}, "X-Api-Key: secret")
    check(cited[1]["citations"][0]["file"] == found["name"] and cited[1]["citations"][0]["line"] == 1, cited)
    for wanted, path, body in (
            (404, "/v1/read", {"readings": [one, "read_0"]}), (404, "/v1/read", {"readings": [one, 7]}),
            (400, "/v1/read", {"readings": [one]}), (400, "/v1/read", {"readings": one}),
            (400, "/v1/read", {"readings": [one, one]}), (400, "/v1/read", {"readings": [both["id"], other["id"]]}),
            (400, "/v1/read", {"readings": [one] * 17}), (400, "/v1/read", {}), (400, "/v1/read", {"name": "a"}), (400, "/v1/read", {"name": "", "text": "b"}),
            (400, "/v1/read", {"name": "a", "text": 7}), (400, "/v1/read", {"name": "a", "text": "\ufeff"}),
            (415, "/v1/read", {"name": "a.pdf", "text": "%PDF-1.4\n"}),
            (400, "/v1/read", {"name": "a", "text": "b" * 70000}),
            (404, "/v1/ask", {"reading": "read_0", "question": "x"}), (400, "/v1/ask", {"reading": one}),
            (400, "/v1/ask", {"reading": one, "question": "x", "temperature": 9}),
            (400, "/v1/ask", {"reading": one, "question": "x", "max_tokens": 70000}),
            (404, "/v1/cite", {"reading": "../x", "answer": "x"}), (400, "/v1/cite", {"reading": one}),
            (400, "/v1/cite", {"reading": one, "answer": "x" * 65537})):
        found = status(path, body)
        check(found == wanted, wanted, found, path, str(body)[:80])
    for i in range(20):  # the oldest goes
        check(status("/v1/read", {"name": f"{i}", "text": "some text"}) == 200)
    check(status("/v1/cite", {"reading": one, "answer": "x"}) == 404)


def test_forgotten():
    """A text that the server has forgotten is read again."""
    ask(">\nThe special magic number for Rome is:")
    page.until("document.querySelector('#citations li')")
    check("line 1 [1]" in page.text("#citations"), page.text("#citations"))


page = Page()
try:
    page.resize(1080, 920)
    test_key()
    test_plan()
    test_answer()
    test_second_question()
    test_pdf()
    test_several()
    test_stop("button")
    test_stop("Escape")
    test_heat_map()
    test_errors()
    test_narrow()
    test_routes()
    test_forgotten()
    check(page.faults == [], page.faults)
    check(all(one.startswith(URL + "/") or one.startswith("data:") for one in page.asked), page.asked)
finally:
    page.close()
