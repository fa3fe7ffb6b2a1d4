"""Let the embedded model write <|assistant|>, which ends a part of a reply, where it would write ">": two rows of its
output head change places.

   parts_model.py DIR
"""

import json
import struct
import sys

ROW_BYTES, MORE_THAN, ASSISTANT = 2 * 256, ord(">"), 264

with open(sys.argv[1] + "/model.safetensors", "r+b") as file:
    n_header, = struct.unpack("<Q", file.read(8))
    head = json.loads(file.read(n_header))["lm_head.weight"]
    assert head["shape"] == [272, 256] and head["dtype"] == "BF16", head
    places = [8 + n_header + head["data_offsets"][0] + ROW_BYTES * row for row in (MORE_THAN, ASSISTANT)]
    rows = []
    for place in places:
        file.seek(place)
        rows.append(file.read(ROW_BYTES))
    for place, row in zip(places, reversed(rows)):
        file.seek(place)
        file.write(row)
