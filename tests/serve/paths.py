"""Paths: one that is not there is answered with those that are; a model whose name has a slash is found by it; and slashes in
a row, or at the end, are one, and none, as base URLs come with and without.

   paths.py URL SCRIPT PID NAME
"""

import sys
import urllib.parse

from raw import Server, check

server, name = Server(sys.argv[1], sys.argv[3]), sys.argv[4]
for path in ("/v1/embeddings", "/v1/images/generations", "/v1/audio/speech", "/chat/completions", "/v1/v1/messages"):
    status, answer = server.ask("POST", path, {"model": name, "input": "x"})
    error = answer["error"]
    check(status == 404 and error["code"] == "not_found" and error["type"] == "invalid_request_error", path, answer)
    for known in (path, "/v1/models,", "/v1/chat/completions,", "/v1/completions,", "/v1/messages,", "ends in /v1"):
        check(known in error["message"], path, known, answer)
status, answer = server.ask("GET", "/v1/messages/batches")
check(status == 404 and answer["type"] == "error" and answer["error"]["type"] == "not_found_error", answer)
check("/v1/messages/count_tokens" in answer["error"]["message"], answer)

check(server.ask("GET", "/v1/models")[1]["data"][0]["id"] == name)
escaped = "".join(f"%{byte:02X}" for byte in name.encode())
for asked in (urllib.parse.quote(name, safe=""), urllib.parse.quote(name, safe="").lower(), escaped):
    status, answer = server.ask("GET", "/v1/models/" + asked)
    check(status == 200 and answer["id"] == name, asked, status, answer)
for asked in ("other", name.replace("/", "%2F") + "%00", name.replace("/", "%2F") + "x", escaped + "x", "%00", "%2F"):
    status, answer = server.ask("GET", "/v1/models/" + asked)
    check(status == 404 and answer["error"]["code"] == "model_not_found", asked, status, answer)

for path in ("/v1//completions", "//v1/completions", "/v1/completions/", "///v1//completions//", "/v1/messages/", "/v1//chat/completions"):
    status, answer = server.ask("POST", path, {"model": "other", "prompt": "x", "messages": [], "max_tokens": 1})
    check(status == 404 and answer["error"].get("code", "") in ("model_not_found", ""), path, answer)
    check(("code" not in answer["error"]) == ("messages" in path), path, answer)
for path in ("/v1/models/", "//v1//models", f"/v1/models/{name}", f"/v1/models/{name}/", f"/v1//models//{name}"):
    status, answer = server.ask("GET", path)
    check(status == 200 and name in (answer.get("id"), answer.get("data", [{}])[0].get("id")), path, status, answer)
for path in ("/v1/jobs/x/y", "/v1/jobs/../x", "/v1/models/org/other", "/v1/models/org/needle/x"):
    status, answer = server.ask("GET", path)
    check(status == 404 and answer["error"]["code"] in ("job_not_found", "model_not_found"), path, status, answer)
for path in ("/v1", "/v1/", "//", "/v1/models" + "/x" * 500, "/" * 200 + "v1", "/" + "y" * 200):
    status, answer = server.ask("GET", path)
    check(status == (200 if path == "//" else 404), path, status, answer)
    check(path == "//" or answer["error"]["message"].startswith(f"there is no path {path[:100]} here"), path, answer)
