#!/bin/sh
# presence_penalty, frequency_penalty and logit_bias do what OpenAI's API says of them: tokens that the answer has are less
# likely, given ids more or less; repetition_penalty what vLLM says, of the prompt's too. Each answer counts its own, and logprobs
# stay the model's.
#
# Method: a small random model, greedy: from the logprobs that come back the client chooses each token itself.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/help_cli.sh
. tests/help_serve.sh

make_small_model 3
start_server -m "$work/model" -c 1k
client bias.py "$server_pid"
stop_server
