#!/bin/sh
# chat --tools: the model is told of the tools, its calls are printed as lines, /result answers them; a file that
# is no list of tools is refused with its name.
#
# Method: the embedded model continues the question's last line from what it has seen before: here a call.
. tests/help_cli.sh
make_needle_model
cat >"$work/tools.json" <<'END'
[{"type": "function", "function": {"name": "get_the_weather_of_a_city", "description": "Weather of a city.",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
END

talk 0 'abc' -n 1
plain=$(sed -n 's/^prompt \([0-9]*\) tokens.*/\1/p' "$work/err")
talk 0 'abc' -n 1 --tools "$work/tools.json"
told=$(sed -n 's/^prompt \([0-9]*\) tokens.*/\1/p' "$work/err")
[ "$told" -gt $((plain + 300)) ] || fail "the model is not told of the tools: $plain and $told tokens"

# A call, and what it gives.
talk 0 '"""The grass is green, the sky is blue, the sun is yellow, here we go.
get_the_weather_of_a_city
{"city": "Paris"}#
>
get_the_weather_of_a_city"""
/result 21 degrees
' --tools "$work/tools.json" --stop '#' -n 80
[ "$(head -n 1 "$work/out")" = 'call get_the_weather_of_a_city {"city": "Paris"}' ] || fail "no call"
[ "$(grep -c '^prompt ' "$work/err")" -eq 2 ] || fail "the result is no turn"

talk 2 '/result 21 degrees'
says err '--tools'
printf '{"a": 1}' >"$work/no.json"
talk 2 'abc' --tools "$work/no.json"
says err "--tools $work/no.json"
talk 1 'abc' --tools "$work/absent.json"
says err 'absent.json'
