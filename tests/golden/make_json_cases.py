#!/usr/bin/env python3
"""Named texts for a strict JSON parser -> tests/golden/json/cases.txt, a line each:

    VERDICT PLACE NAME HEX

VERDICT  y  RFC 8259 has it: to be accepted
         n  it has it not: to be refused
         a  it leaves it to the implementation, or gives it a meaning that ours does not take; ours accepts
         r  the same; ours refuses: out of range, unpaired surrogates, names that are there twice, NUL
PLACE    value  what stands for V in {"x":V};  text  all of it

Each verdict y and n is compared with Python's own parser, but for what that is known to be lax about.

    python3 tests/golden/make_json_cases.py
"""

import json
import os

cases = {}


def add(verdict, name, text, place="value"):
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    assert name not in cases, name
    cases[name] = (verdict, place, data)


def add_all(verdict, prefix, texts, place="value"):
    for i, text in enumerate(texts):
        add(verdict, f"{prefix}_{i}", text, place)


# ---- numbers -------------------------------------------------------------------------------------

add_all("y", "number", [
    "0", "-0", "1", "-1", "9", "10", "123", "-123", "0.0", "-0.0", "0.5", "1.5", "-1.5", "1.0", "10.01", "0e0", "0e1",
    "0E1", "0e+1", "0e-1", "1e0", "1E5", "1e5", "1e+5", "1e-5", "1E+5", "1E-5", "-1e5", "1.5e5", "1.5E-5", "0.1e1",
    "-0e-0", "-0.0e+0", "20e1", "123.456e-7", "9007199254740991", "9007199254740993", "-9007199254740993",
    "9223372036854775807", "-9223372036854775808", "1e308", "-1e308", "2.2250738585072014e-308", "5e-324",
    "123456789012345678.5", "0.30000000000000004", "1e00005", "1e-00005", "0.00000000000000000001"])
add_all("n", "number_no", [
    "00", "01", "-01", "-00", "012", "00.5", "-012.5", "-", "+", "+1", "+0", "++1", "--1", "-+1", "+-1", "- 1", "1 2",
    "1.", "-1.", "0.", ".", ".5", "-.5", "1..5", "1.2.3", "1.e5", "0.e1", "2.e-3", "2.e+3", "1.5.", "e5", "-e5", "E5",
    ".e5", "1e", "1E", "1e+", "1e-", "1E+", "0e", "0e+", "0E-", "9.5e+", "1ee5", "1e5e5", "1eE5", "1e+-5", "1e--5",
    "1e5.5", "1e.5", "1e 5", "1 e5", "1.5 e5", "1e+ 5", "0x1F", "0X1f", "0x", "0b1", "0o17", "1_000", "1'000",
    "1,000.5e", "1f", "1.0f", "1L", "1n", "1u", "1a", "a1", "1-2", "1+2", "1/2", "1*2", "1:2", "1%", "$1", "#1",
    "Infinity", "-Infinity", "+Infinity", "infinity", "inf", "-inf", "NaN", "-NaN", "nan", "1.#INF", "1.NaN",
    "\u0663", "\uff11", "1\u0663", "1e\u0663", "-\uff11", "\u22121", "1\u00a0", "\u00bd", "1\u20442", "1\x7f", "1\x0c"])
add_all("n", "number_bytes_no", [b"1\xff", b"1\xc3", b"-\x80", b"1e\xff", b"1.\xa0", b"1\x01", b"1\x1f"])
add_all("r", "number_range", [
    "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e309", "-1e309", "1e400", "123456789e999",
    "1e99999999999999999999", "9" * 33, "9" * 400, "0." + "3" * 400, "1e" + "0" * 40 + "1", "-" + "1" * 40])
add_all("a", "number_tiny", ["1e-400", "-1e-400", "5e-325", "1e-99999999999999999999"])

# ---- strings -------------------------------------------------------------------------------------

add_all("y", "string", [
    '""', '" "', '"a"', '"/"', '"hello world"', r'"\""', r'"\\"', r'"\/"', r'"\b"', r'"\f"', r'"\n"', r'"\r"', r'"\t"',
    r'"\\\\"', r'"\\\""', r'"\\n"', r'"\u0041"', r'"\u00e9"', r'"\u00E9"', r'"\u20aC"', r'"\ud83d\ude00"',
    r'"\uD834\uDD1E"', r'"\udbff\udfff"', r'"\ud800\udc00"', r'"a\ud83d\ude00b"', r'"\u007f"', r'"\u0080"', r'"\ufffe"',
    r'"\uffff"', r'"\ufdd0"', r'"\ufeff"', r'"\u2028\u2029"', r'"\u0022"', r'"\u005c"', r'"\u002f"', '"\u00e9"',
    '"\u20ac"', '"\U0001f600"', '"\U0010ffff"', '"\ud7ff"', '"\ue000"', '"\ufffd"', '"\ufffe"', '"\uffff"',
    '"\ufdd0"', '"\ufeff"', '"\x7f"', '"\u0080"', '"\u07ff\u0800"', '"\uffff\U00010000"', '"\u2028"', '"\u2029"',
    '"e\u0301"', '"\u05d0\u202e"', '"[1,2]{\'a\':3}"', '"// no comment"', '"/* */"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    '"' + "x" * 5000 + '"', '"' + "\u4e2d" * 500 + '"', '"null"', '"1"', '"\'"', '"`"', '"%s%n"', '"<script>"',
    '"<|user|>[gMASK]<sop>"'])
for code in range(1, 32):
    add("y", f"string_escaped_control_{code:02x}", f'"\\u{code:04x}"')
for code in range(32):
    add("n", f"string_raw_control_{code:02x}", b'"a' + bytes([code]) + b'b"')
add("r", "string_escaped_nul", r'"\u0000"')
add("r", "string_escaped_nul_inside", r'"a\u0000b"')
add_all("n", "string_no", [
    '"', '"a', 'a"', 'a', "'a'", "''", "`a`", "\u201ca\u201d", '"a" "b"', '"a"b', '"a""b"', '"\\"', '"\\\\\\"', '"a\\',
    r'"\a"', r'"\v"', r'"\e"', r'"\0"', r'"\1"', r'"\012"', r'"\x41"', r"""'\''""", r'''"\'"''', r'"\ "', '"\\\n"',
    '"\\\t"', r'"\U0041"', r'"\N"', r'"\B"', r'"\T"', r'"\u"', r'"\u1"', r'"\u12"', r'"\u123"', r'"\u123', r'"\u12G4"',
    r'"\uG234"', r'"\u 123"', r'"\u-123"', r'"\u+123"', r'"\u0x12"', r'"\u{41}"', r'"\ud83d\u"', r'"\ud83d\u1"',
    r'"\ud83d\u12"', r'"\ud83d\uqqqq"', '"\\u\uff10\uff10\uff14\uff11"', '"\\\u00e9"', '"\\\U0001f600"', r'\u0041',
    r'"\u00A"', r'"\&"', r'"\,"', r'"\]"', r'"\}"', r'"\:"'])
add_all("r", "string_surrogate", [
    r'"\ud800"', r'"\udbff"', r'"\udc00"', r'"\udfff"', r'"\ud800a"', r'"\ud800\n"', r'"\ud800\u0041"', r'"\ud800\ud800"',
    r'"\udc00\ud800"', r'"a\udc00"', r'"\ud800\ue000"', r'"\ud83d \ude00"', r'"\udc00\udc00"', r'"\uD83Dx\uDE00"'])
BROKEN = {
    "continuation": b"\x80", "last_continuation": b"\xbf", "two_continuations": b"\x80\x80", "overlong_nul": b"\xc0\x80",
    "overlong_slash_2": b"\xc0\xaf", "overlong_slash_3": b"\xe0\x80\xaf", "overlong_slash_4": b"\xf0\x80\x80\xaf",
    "overlong_7f": b"\xc1\xbf", "overlong_7ff": b"\xe0\x9f\xbf", "overlong_ffff": b"\xf0\x8f\xbf\xbf",
    "surrogate_low": b"\xed\xa0\x80", "surrogate_high": b"\xed\xbf\xbf", "surrogate_pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond": b"\xf4\x90\x80\x80", "far_beyond": b"\xf7\xbf\xbf\xbf", "f5": b"\xf5\x80\x80\x80",
    "five_bytes": b"\xf8\x88\x80\x80\x80", "six_bytes": b"\xfc\x84\x80\x80\x80\x80", "fe": b"\xfe", "ff": b"\xff",
    "fe_ff": b"\xfe\xff", "cut_2": b"\xc3", "cut_3": b"\xe2\x82", "cut_3_first": b"\xe2", "cut_4": b"\xf0\x9f\x98",
    "cut_4_first": b"\xf0", "latin1": b"caf\xe9", "two_for_one": b"\xc3\xc3", "four_for_three": b"\xe2\x82\xac\xac",
    "gbk": b"\xd6\xd0\xce\xc4", "shift_jis": b"\x93\xfa\x96\x7b"}
for name, data in BROKEN.items():
    add("n", f"utf8_{name}", b'"' + data + b'"')
    add("n", f"utf8_{name}_before_text", b'"' + data + b'abcd"')
    add("n", f"utf8_{name}_in_a_name", b'{"' + data + b'":1}')
    add("n", f"utf8_{name}_outside", data)

# ---- literals ------------------------------------------------------------------------------------

add_all("y", "literal", ["true", "false", "null", " true ", "\ttrue\r\n", "[true,false,null]"])
add_all("n", "literal_no", [
    "True", "TRUE", "tRUE", "False", "FALSE", "Null", "NULL", "None", "nil", "undefined", "yes", "no", "on", "t", "tr",
    "tru", "truee", "true1", "true true", "truefalse", "f", "fals", "falsee", "n", "nu", "nul", "nulll", "null0", "-true",
    "!true", "true.", "tr ue", "t\\u0072ue", "\\u0074rue", "\uff54rue", "<null>", "(true)", "true;", "*", "&", "@", "?",
    "x", "\u00e9", "\U0001f600", ""])

# ---- arrays and objects --------------------------------------------------------------------------

add_all("y", "array", [
    "[]", "[ ]", "[\n\t\r ]", "[[]]", "[[],[]]", "[{}]", "[1]", "[1,2,3]", '["a"]', '["a",1,null,true,{"b":[]}]',
    " [ 1 , 2 ] ", "[1\n,\r2\t]", "[-1,-0,0.5e1]", "[" * 30 + "]" * 30, "[" + ",".join("1" * 500) + "]",
    "[" + ",".join(['""'] * 500) + "]"])
add_all("y", "object", [
    "{}", "{ }", "{\n}", '{"a":1}', '{"":1}', '{" ":1}', '{"a":{}}', '{"a":1,"b":2}', '{"a":1,"A":2}', '{"a":[],"b":{}}',
    ' { "a" : 1 , "b" : 2 } ', '{"a"\n:\t1\r}', r'{"\u0061":1}', r'{"a\"b":1}', '{"\u00e9":1}', '{"a":{"a":{"a":1}}}',
    '{"a":1,"b":{"a":1}}', r'{"\\":1,"\/":2}', '{"1":1}', '{"null":null}', '{"__proto__":{}}', '{"\U0001f600":1}',
    '{"a":' * 30 + "1" + "}" * 30])
add_all("n", "array_no", [
    "[", "]", "[]]", "[[]", "[1", "[1,", "[,", "[,]", "[1,]", "[1,,2]", "[,1]", "[1,\n]", "[,,]", "[ , ]", "[1 2]", "[1;2]",
    "[1:2]", "[1 true]", '["a" "b"]', '["a":1]', "[1}", "(1)", "<1>", "[1)", "1]", "[*]", "[1,*]", "[a]", "['a']", "[1,]]",
    "[...]", "[1..2]", "[1]2", "[1][2]", "[1],[2]", "[1,2", '["a', '["a"', '["a",', "[\x0b]", "[\x0c]", "[\u00a0]",
    "[\u2060]", "[\u3000]", "[\ufeff]", "[\u2028]", r"[\n]", r"[\u0022a\u0022]", "[1\x00]", "[\x00]", '[""', '["",]',
    "[" * 20, "]" * 20, "[" * 10 + "]" * 9, "[" * 9 + "]" * 10, "[1,2}", "[{]", "[{]}", "[nul]", "[1,2,3,]", "[1 , , 2]"])
add_all("n", "object_no", [
    "{", "}", "{}}", "{{}", "{{}}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a"}', '{"a":}', '{"a",1}', '{"a" 1}',
    '{"a"=1}', '{"a"=>1}', '{"a"::1}', '{:1}', '{"a":1,}', '{,"a":1}', '{"a":1,,"b":2}', '{"a":1 "b":2}',
    '{"a":1;"b":2}', '{"a":1:2}', "{a:1}", "{'a':1}", "{`a`:1}", "{1:1}", "{1.5:1}", "{null:1}", "{true:1}", "{[]:1}",
    '{{}:1}', '{"a":1]', '{"a":1}}', '{"a":1}x', '{"a":1}{"b":2}', '{"a":1},', '{,}', '{"a",}', '{"a":1,"b"}',
    '{"a":1,"b":}', '{"a":1,b:2}', '{"a":"b}', '{"a:1}', '{a":1}', '{"a":\x00}', '{"a"\x0b:1}', '{"a":1}\x00', '{"a" b:1}',
    '{...}', '{"a":/**/}', '{"a":1,2}', '{"a":[}', '{"a":[1}', '{"a":{]}', r'{\"a\":1}', '{"a\n":1}', '{"a\t":1}', '{"":}',
    '{"\\u12":1}', '{"\\x41":1}'])
add_all("r", "object_twice", [
    '{"a":1,"a":1}', '{"a":1,"a":2}', '{"a":1,"b":2,"a":3}', '{"":1,"":2}', r'{"a":1,"\u0061":2}', r'{"/":1,"\/":2}',
    '{"b":{"a":1,"a":2}}', '[{"a":1,"a":2}]', '{"\u00e9":1,"\\u00e9":2}', '{"a":{},"a":{}}'])
add_all("r", "object_nul_in_a_name", [r'{"\u0000":1}', r'{"a\u0000b":1}', r'{"a\u0000":1,"a":2}'])
add_all("r", "deep", ["[" * 32 + "]" * 32, '{"a":' * 32 + "1" + "}" * 32, "[" * 500 + "]" * 500])
add_all("n", "comment", [
    "/**/1", "1/**/", "[1/**/]", "[/**/]", "//\n1", "1//", "[1,//\n2]", "#1\n1", "1#", "<!-- -->1", "--1", ";1", "1;",
    "(*1*)", "/1", "/*1", "[1]/", "'1'"])

# ---- whole texts ---------------------------------------------------------------------------------

add_all("y", "text", ["{}", " {}", "{} ", "\n\r\t {}\n\r\t ", '{"a":[1,{"b":null}]}', '{"a":"}"}', '{"a":"\\"}"}'], "text")
add_all("r", "text_no_object", ["[]", "[{}]", '"a"', "1", "-0", "true", "null", ' "x" ', "[1,2]"], "text")
add_all("n", "text_no", [
    "", " ", "\n", "\t\t\t", "{}{}", "{} {}", "{},", "{}x", "{}]", "x{}", ",{}", "{}\x0c", "{}\x0b", "\x0c{}", "{}\x00", "\x00{}",
    "{\x00}", "\ufeff", "\ufeff{}", "{}\ufeff", "{\ufeff}", "\u2060{}", "\u00a0{}", "{}\u00a0", "\u2028{}", "{}#", "{}//",
    "//\n{}", "/**/{}", "{}/**/", "#!/bin/sh\n{}", "<html>", "a=1&b=2", "--x\r\nContent-Type: text/plain\r\n\r\n{}",
    "%7B%7D", "eyJhIjoxfQ==", "{}\x1a", "({})", "x({});", ")]}',\n{}", "data: {}", "---\na: 1", "\\{\\}"], "text")
add("n", "text_utf16_le", '{"a":1}'.encode("utf-16-le"), "text")
add("n", "text_utf16_be", '{"a":1}'.encode("utf-16-be"), "text")
add("n", "text_utf16_le_bom", b"\xff\xfe" + '{"a":1}'.encode("utf-16-le"), "text")
add("n", "text_utf16_be_bom", b"\xfe\xff" + '{"a":1}'.encode("utf-16-be"), "text")
add("n", "text_utf32_le", '{"a":1}'.encode("utf-32-le"), "text")
add("n", "text_utf7", b'+AHsAIgBhACIAOgAxAH0-', "text")
add("n", "text_gzip", bytes.fromhex("1f8b0800000000000003ab56") + b"J\x04\x00", "text")
add("n", "text_cbor", bytes.fromhex("a1616101"), "text")


def python_accepts(data):
    def refuse(name):
        raise ValueError(name)
    try:
        json.loads(data.decode("utf-8"), parse_constant=refuse)
        return True
    except (ValueError, RecursionError):
        return False


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    for name, (verdict, place, data) in cases.items():
        text = data if place == "text" else b'{"x":' + data + b"}"
        if verdict in "yn" and python_accepts(text) != (verdict == "y"):
            raise SystemExit(f"{name}: {verdict}, but Python thinks otherwise: {text[:80]!r}")
    os.makedirs(os.path.join(here, "json"), exist_ok=True)
    with open(os.path.join(here, "json", "cases.txt"), "w", encoding="ascii", newline="\n") as file:
        for name, (verdict, place, data) in cases.items():
            file.write(f"{verdict} {place} {name} {data.hex() or '-'}\n")
    print(f"{len(cases)} cases")


main()
