"""What wgmma is at work with is left alone, on every path through a kernel's machine code.

    python3 tests/walk_wgmma.py LISTING...      of cuobjdump -sass

From an HGMMA to the wait that is past its group nothing else may touch its accumulators, and nothing may write its operand A.
PTX says so of registers that a program names; which those are, and what stands between, is ptxas's doing, and no
emulation of the source sees it. A group ends with the HGMMA that has gsb0; WARPGROUP.DEPBAR.LE gsb0, N waits for all but
the newest N; nobody calls or ends with groups under way. Prints what is found, and a line a kernel; exits 1 where something is.
"""

import re
import sys

# Instructions whose first register is no result.
NO_RESULT = set(
    "ST STG STS STL RED BAR BRA EXIT NOP SYNCS UBLKCP MEMBAR FENCE CCTL WARPSYNC BSSY BSYNC DEPBAR WARPGROUP USETMAXREG "
    "ERRBAR YIELD ACQBULK PREEXIT STSM LDGSTS R2UR R2P VOTEU ISETP FSETP PLOP3 BREAK NANOSLEEP".split()
)


def kernels(path):
    """(name, [(address, words)]) of a listing."""
    name, code = None, []
    for line in open(path):
        if "Function :" in line:
            if name:
                yield name, code
            name, code = line.split()[-1], []
        found = re.match(r"\s+/\*([0-9a-f]+)\*/\s+(.*?);", line)
        if found:
            code.append((int(found[1], 16), found[2].strip()))
    if name:
        yield name, code


def wide(operation):
    """Registers of a number, of an instruction that has more than one in a register's name."""
    if ".128" in operation or operation.startswith("LDSM") and ".4" in operation:
        return 4
    if operation.startswith("SYNCS.PHASECHK"):
        return 1  # a parity; 64 bits has the mbarrier
    return 2 if re.search(r"64|WIDE|^D(ADD|MUL|FMA)", operation) else 1


class Instruction:
    def __init__(self, address, words):
        found = re.match(r"(@!?U?P\w+\s+)?(\S+)\s*(.*)", words)
        self.address, self.words = address, words
        self.is_conditional = found[1] is not None
        self.operation, self.rest = found[2], found[3]
        self.base = self.operation.split(".")[0]
        operands = [text.strip() for text in re.split(r",(?![^\[]*\])", self.rest)]
        operands = [text for text in operands if not re.match(r"!?U?P[T\d]", text)]
        n = wide(self.operation)
        self.touched, self.written = set(), set()
        for i, text in enumerate(operands):
            for number, is_pair in re.findall(r"\bR(\d+)(\.64)?", text):
                whole = not text.startswith(("desc[", "["))
                self.touched.update(range(int(number), int(number) + (n if whole else 2 if is_pair else 1)))
            result = re.match(r"R(\d+)", text)
            if i == 0 and result and self.base not in NO_RESULT:
                self.written.update(range(int(result[1]), int(result[1]) + n))
        if self.base == "HGMMA":
            first = int(re.match(r"R(\d+)", operands[0])[1])
            columns = int(re.search(r"64x(\d+)x16", self.operation)[1])
            self.accumulators = frozenset(range(first, first + columns // 2))
            a = re.match(r"R(\d+)", operands[1])
            self.operand = frozenset(range(int(a[1]), int(a[1]) + 4)) if a else frozenset()

    def target(self):
        return int(re.search(r"0x([0-9a-f]+)", self.rest)[1], 16)

    def goes_on(self):
        return self.is_conditional or re.match(r"!?U?P\d", self.rest) is not None


def step(one, queue, under_way, found):
    """What is under way behind an instruction: groups (accumulators, operands), and the one that is not closed."""
    groups = queue + ((under_way,) if under_way else ())
    if one.base == "HGMMA":
        if any(one.operand & group[0] or one.accumulators & group[1] for group in groups):
            found.add((one.address, "an operand is under way", one.words))
        sums, operands = under_way or (frozenset(), frozenset())
        under_way = (sums | one.accumulators, operands | one.operand)
        return (queue + (under_way,), None) if "gsb0" in one.rest else (queue, under_way)
    if one.operation == "WARPGROUP.DEPBAR.LE":
        n = int(re.search(r"gsb0, 0x([0-9a-f]+)", one.rest)[1], 16)
        if under_way:
            found.add((one.address, "waits with a group that is not closed", one.words))
        return queue[max(0, len(queue) - n):], under_way
    if any(one.touched & group[0] for group in groups):
        found.add((one.address, "touches accumulators", one.words))
    if any(one.written & group[1] for group in groups):
        found.add((one.address, "writes an operand", one.words))
    if groups and one.base in ("CALL", "RET", "EXIT") and not one.is_conditional:
        found.add((one.address, "leaves with groups under way", one.words))
    return queue, under_way


def walk(code):
    """(findings, addresses that were reached)."""
    place = {address: i for i, (address, _) in enumerate(code)}
    code = [Instruction(*line) for line in code]
    todo, seen, found = [(0, (), None)], set(), set()
    while todo:
        at, queue, under_way = todo.pop()
        while at < len(code) and (at, queue, under_way) not in seen and len(queue) < 4:
            seen.add((at, queue, under_way))
            one = code[at]
            queue, under_way = step(one, queue, under_way, found)
            if one.base == "BRA":
                todo.append((place[one.target()], queue, under_way))
            if one.base in ("BRA", "EXIT", "RET") and not one.goes_on():
                break
            at += 1
    return found, {at for at, _, _ in seen}


def main():
    n_found = 0
    for path in sys.argv[1:]:
        for name, code in kernels(path):
            products = [i for i, (_, words) in enumerate(code) if "HGMMA" in words]
            if not products:
                continue
            found, reached = walk(code)
            if not reached.issuperset(products):
                found.add((0, "not every HGMMA was reached", ""))
            for address, what, words in sorted(found)[:20]:
                print(f"{path}: {name}: {address:#x}: {what}: {words}")
            print(f"# {name}: {len(products)} HGMMA, {len(found)} findings")
            n_found += len(found)
    return n_found > 0


if __name__ == "__main__":
    sys.exit(main())
