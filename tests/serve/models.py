"""The list of models in the shape of the API that asks: Anthropic's for those who send its header, OpenAI's else.

   models.py URL SCRIPT PID NAME CONTEXT [OTHER]
"""

import datetime
import sys

from raw import Server, check

server, name, context = Server(sys.argv[1], sys.argv[3]), sys.argv[4], int(sys.argv[5])
names = [name] + sys.argv[6:]
CLAUDE = "anthropic-version: 2023-06-01"

status, answer = server.ask("GET", "/v1/models", None, CLAUDE)
check(status == 200 and sorted(answer) == ["data", "first_id", "has_more", "last_id"], answer)
check(answer["has_more"] is False and answer["first_id"] == name and answer["last_id"] == names[-1], answer)
model = answer["data"][0]
check([other["id"] for other in answer["data"]] == names, answer)
check(model["type"] == "model" and model["id"] == model["display_name"] == name and "object" not in model, model)
check(model["lifecycle"] == "active" and model["max_input_tokens"] == context, model)
created = datetime.datetime.strptime(model["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
check(abs((datetime.datetime.now(datetime.timezone.utc) - created).total_seconds()) < 600, created)
check(server.ask("GET", f"/v1/models/{name}", None, CLAUDE) == (200, model))
for where in ("after_id", "before_id"):
    status, answer = server.ask("GET", f"/v1/models?limit=20&{where}={name}", None, CLAUDE)
    check(status == 200 and answer == {"data": [], "has_more": False, "first_id": None, "last_id": None}, answer)

status, answer = server.ask("GET", "/v1/models")
check(answer["object"] == "list" and answer["data"][0]["created"] == int(created.timestamp()), answer)
check(server.ask("GET", f"/v1/models/{name}") == (200, answer["data"][0]))

# Errors have the shape, too, also of a path that is not there.
for path in ("/v1/models/other", "/v1/files", "/v1"):
    status, answer = server.ask("GET", path, None, CLAUDE)
    check(status == 404 and answer["type"] == "error" and answer["error"]["type"] == "not_found_error", path, answer)
    check("code" in server.ask("GET", path)[1]["error"], path)

# Another name is the same model; answers have the first.
for other in names[1:]:
    for fields in ([], [CLAUDE]):
        status, answer = server.ask("GET", "/v1/models", None, *fields)
        check([model["id"] for model in answer["data"]] == names, answer)
        path = "/v1/models/" + other.replace("/", "%2F")
        check(server.ask("GET", path, None, *fields) == (200, answer["data"][1]), path)
    for asked in (name, other):
        for path in ("/v1/chat/completions", "/v1/messages"):
            status, answer = server.ask("POST", path, {"model": asked, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1})
            check(status == 200 and answer["model"] == name, asked, answer)
