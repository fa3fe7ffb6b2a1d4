"""DELETE /v1/jobs/ID: one that is under way is cancelled, and stays until it is deleted again; one that is over is forgotten.

   jobs.py URL SCRIPT PID
"""

import sys
import time

from raw import Server, check

server = Server(sys.argv[1], sys.argv[3])
CHAT, OLD = "/v1/chat/completions", "/v1/completions"


def submit(endpoint, **body):
    status, job = server.ask("POST", "/v1/jobs", {"endpoint": endpoint, "body": body})
    check(status == 202, job)
    return job["id"]


def over(name):
    while True:
        status, job = server.ask("GET", "/v1/jobs/" + name)
        check(status == 200, job)
        if job["status"] not in ("queued", "in_progress"):
            return job
        time.sleep(0.02)


def listed():
    return [job["id"] for job in server.ask("GET", "/v1/jobs")[1]["data"]]


def gone(name):
    for method in ("GET", "DELETE"):
        status, answer = server.ask(method, "/v1/jobs/" + name)
        check(status == 404 and answer["error"]["code"] == "job_not_found", method, answer)
    check(name not in listed(), name)


kept = submit(OLD, prompt="kept", max_tokens=2)
done = submit(OLD, prompt=["a", "b"], max_tokens=2, temperature=0)
answer = over(done)
check(answer["status"] == "completed" and len(answer["response"]["body"]["choices"]) == 2, answer)
# Its figures are of both, also before it is their turn.
usage, progress = answer["response"]["body"]["usage"], answer["prompt_progress"]
check(progress["total"] == progress["processed"] == usage["prompt_tokens"] == 6, progress, usage)
check(answer["generated_tokens"] == usage["completion_tokens"] == 4, answer)
check(progress["cache"] == usage["prompt_tokens_details"]["cached_tokens"], progress, usage)
check(listed() == [kept, done], listed())
status, deleted = server.ask("DELETE", "/v1/jobs/" + done)
check(status == 200 and deleted == {**answer, "deleted": True}, deleted)
gone(done)
check(listed() == [kept] and over(kept)["status"] == "completed")

# With the first prompt it is under way, long before the last one is.
several = submit(OLD, prompt=["x", "y", "z"], max_tokens=15000, ignore_eos=True)
while (job := server.ask("GET", "/v1/jobs/" + several)[1])["generated_tokens"] == 0:
    check(job["prompt_progress"]["total"] == 9, job)
check(job["status"] == "in_progress" and job["prompt_progress"]["total"] == 9, job)
server.ask("DELETE", "/v1/jobs/" + several)
answer = over(several)
check(answer["status"] == "cancelled" and answer["generated_tokens"] >= job["generated_tokens"], answer)
server.ask("DELETE", "/v1/jobs/" + several)
gone(several)

# Under way: it is cancelled, which GET then tells.
long = submit(CHAT, messages=[{"role": "user", "content": "x"}], max_tokens=15000, ignore_eos=True)
status, cancelled = server.ask("DELETE", "/v1/jobs/" + long)
check(status == 200 and "deleted" not in cancelled, cancelled)
answer = over(long)
check(answer["status"] == "cancelled" and "response" not in answer and long in listed(), answer)
check(server.ask("DELETE", "/v1/jobs/" + long)[1] == {**answer, "deleted": True})
gone(long)
