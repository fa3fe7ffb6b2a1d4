#!/bin/sh
# What ptxas says about the kernels: no stack frames, no spilled registers, nothing about wgmma being
# serialised or repaired, for every architecture. By a disassembler (cuobjdump and nvdisasm, in PATH, beside nvcc, or from PyPI, pinned, below the
# build directory; where none is to be had this is left out): no kernel touches local memory; Hopper's really use HGMMA and UBLKCP, and find a page's
# maxima between the wait for S and the wait for O, which ptxas would otherwise move in front of them; decode with
# one warpgroup, exponentials too; prefill, instead of maxima, a page's first weights between the two waits for O.
# Decode over e4m3 pages makes two codes operands by one instruction; who merges its states is let begin early, and waits. Registers that are dealt out anew (setmaxnreg) are there.
# Where prefill adds a ceiling's distance to a score, it is not fused with the product in front of it: fused in one place and rounded in
# another, a row's bits would depend on which of its block's tiles it is in.
# On no path through a kernel is anything written or read that wgmma is at work with (walk_wgmma.py).
# A toolkit before 12.8 spills up to 64 bytes in a kernel or two of Hopper's (tests/older_toolkits.sh): those are printed.
#
# Method: read the reports that the build left in cuda/*.ptxas, and the machine code of cuda/*.o. First planted
# ones in which each rule is broken once, so that a reader gone blind is noticed.
set -u
cd "$(dirname "$0")/.." || exit 1

# Print what is wrong in the reports given; $spilled_most bytes are let pass in a kernel of Hopper's.
complaints() {
    awk -v most="$spilled_most" '
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] " for " part[4] }
    /bytes stack frame/ && !/ 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads/ {
        if (kernel ~ / for sm_90a$/ && $1 == $5 && $1 <= most) next
        print FILENAME ": " kernel ": " $0
    }
    /C75[0-9][0-9]/ { print FILENAME ": " $0 }' "$@"
}

planted=$(mktemp -d) || exit 1
trap 'rm -rf "$planted"' EXIT
cat >"$planted/bad.ptxas" <<'END'
ptxas info    : Compiling entry function 'right' for 'sm_80'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'framed' for 'sm_80'
    8 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Compiling entry function 'spilling' for 'sm_90a'
    0 bytes stack frame, 4 bytes spill stores, 0 bytes spill loads
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized
END
spilled_most=0
[ "$(complaints "$planted/bad.ptxas" | wc -l)" -eq 3 ] || { echo "the reader is blind" && exit 1; }
cat >>"$planted/bad.ptxas" <<'END'
ptxas info    : Compiling entry function 'spills_little' for 'sm_90a'
    32 bytes stack frame, 32 bytes spill stores, 36 bytes spill loads
ptxas info    : Compiling entry function 'spills_much' for 'sm_90a'
    72 bytes stack frame, 72 bytes spill stores, 72 bytes spill loads
ptxas info    : Compiling entry function 'spills_on_ampere' for 'sm_80'
    32 bytes stack frame, 32 bytes spill stores, 36 bytes spill loads
END
spilled_most=64
[ "$(complaints "$planted/bad.ptxas" | wc -l)" -eq 5 ] || { echo "the reader is blind" && exit 1; }

build=$(dirname "$GLM1M")
if ! ls "$build"/cuda/*.ptxas >/dev/null 2>&1; then
    echo "no CUDA toolkit here: no kernels to look at"
    exit 77
fi
awk '/Compiling entry function/ { split($0, part, "\047"); kernel = part[2] " " part[4] }
    /bytes spill stores/ { spilled = $5 > 0 ? ", " $5 " bytes spilled" : "" }
    /Used [0-9]+ registers/ { print kernel ": " $5 " registers" spilled }' "$build"/cuda/*.ptxas | sort
for source in attention/*.cu runtime/*.cu; do
    report=$build/cuda/$(basename "$source" .cu).ptxas
    [ -e "$report" ] || { echo "no report of $source" && exit 1; }
    grep -q "bytes stack frame" "$report" || { echo "$report names no kernel" && exit 1; }
done
toolkit=$("$GLM1M" version | sed -n 's/^CUDA *toolkit \([0-9.]*\),.*/\1/p')
[ -n "$toolkit" ] || { echo "which toolkit it was is not known" && exit 1; }
spilled_most=$(echo "$toolkit" | awk -F. '{ print $1 < 12 || ($1 == 12 && $2 < 8) ? 64 : 0 }')
found=$(complaints "$build"/cuda/*.ptxas)
[ -z "$found" ] || { printf '%s\n' "$found" && exit 1; }

# ---- machine code ----

# Local memory that is used, in listings of any kernels.
local_memory() {
    awk '/Function :/ { kernel = $NF }
    /[ \t](STL|LDL)[. ]/ { print FILENAME ": " kernel ": local memory: " $0 }' "$@"
}

# What is not as it should be in a listing of Hopper's attention kernels, each of them. wgmma.wait_group N is
# WARPGROUP.DEPBAR.LE gsb0, N. (Decode of 128 rows over e4m3 pages overlaps by turns alone.)
hopper_complaints() {
    awk '
    function judge() {
        if (kernel == "") return
        if (kernel ~ /merge_kernel/) { # no products; launched early, it waits before it reads anything
            if (!waits || unwaited) print FILENAME ": " kernel ": memory is read in front of ACQBULK, or there is none"
            return
        }
        if (kernel ~ /decode/ && !lets) print FILENAME ": " kernel ": no PREEXIT, so that who merges begins late"
        if (!products) print FILENAME ": " kernel ": no HGMMA"
        if (!copies) print FILENAME ": " kernel ": no UBLKCP"
        if (kernel ~ /decode_codes/) { # operands by one instruction for two codes, a page 4 x 32 of them
            if (widened != 128) print FILENAME ": " kernel ": " widened " instructions that widen e4m3"
            return
        }
        if (!steps) print FILENAME ": " kernel ": no wait for S while O is computed"
        if (late) print FILENAME ": " kernel ": maxima or exponentials are behind the wait for O"
        if (kernel ~ /prefill/ && !first) print FILENAME ": " kernel ": no weights in front of the wait for all of O"
        if (kernel ~ /prefill/ && (fused || !lagging)) print FILENAME ": " kernel ": " fused " of " lagging " sums with MAX_LAG are of what is not rounded"
    }
    /Function :/ { judge(); kernel = $NF; waits = unwaited = lets = products = copies = widened = between = steps = late = first = lagging = fused = n_max = n_exp = 0 }
    /[ \t]HGMMA/ { products++ }
    /[ \t]UBLKCP/ { copies++ }
    /[ \t]ACQBULK/ { waits++ }
    /[ \t]PREEXIT/ { lets++ }
    /[ \t](LDG|LD|STG|ST|RED|ATOMG)[. ]/ && !waits { unwaited++ }
    /F2FP.F16.E4M3.UNPACK/ { widened++ }
    /WARPGROUP.DEPBAR.LE gsb0, 0x2 / { between = 2; n_max = n_exp = 0 } # prefill, whose O is two groups
    /WARPGROUP.DEPBAR.LE gsb0, 0x1 / { between = 1; n_max = n_exp = 0 }
    /WARPGROUP.DEPBAR.LE gsb0, 0x0 / && between {
        steps++
        if (kernel ~ /prefill/ && between == 1) first += n_exp >= 16
        else if (n_max < 60 || (kernel ~ /decode_sm90_kernelILi1E/ && n_exp < 60)) late++
        between = 0
    }
    /[ \t]FMNMX / { n_max++ }
    /[ \t](FFMA|FADD)(\.[A-Z]+)? .*, 8 ;/ { lagging++ } # MAX_LAG
    /[ \t]FFMA(\.[A-Z]+)? .*, 8 ;/ { fused++ }
    /MUFU.EX2/ { n_exp++ }
    END { judge() }' "$@"
}

# Kernels for Hopper, in reports, notes and listings, that deal registers out anew among their warpgroups, of which all but one take what
# one gives, without having had as many at the launch: whoever takes them would wait for ever. How many those are is ptxas's choice.
registers_missing() {
    awk '
    function number(hex,   i, n) {
        for (i = 3; i <= length(hex); i++) n = 16 * n + index("0123456789abcdef", substr(hex, i, 1)) - 1
        return n
    }
    function judge(   n) {
        n = groups[kernel]
        if (taken && (n < 2 || (n - 1) * taken + given > n * used[kernel]))
            print FILENAME ": " kernel ": " n - 1 " times " taken " and " given " registers of " n " times " used[kernel]
    }
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2] }
    /Used [0-9]+ registers/ { used[kernel] = $5 }
    /^\.nv\.info\./ { noted = substr($1, 10) }
    /EIATTR_MAX_THREADS/ { is_next = 1 }
    /Value:/ && is_next { groups[noted] = number($2) / 128; is_next = 0 }
    /Function :/ { judge(); kernel = $NF; taken = given = 0 }
    /USETMAXREG/ && match($0, /0x[0-9a-f]+ ;/) {
        n = number(substr($0, RSTART, RLENGTH - 2))
        if (/DEALLOC/) given = n
        else taken = n
    }
    END { judge() }' "$@"
}

cat >"$planted/bad.sass" <<'END'
    Function : late
  /*0000*/ HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4] ;
  /*0010*/ UBLKCP.S.G [UR6], [UR4], UR9 ;
  /*0020*/ WARPGROUP.DEPBAR.LE gsb0, 0x1 ;
  /*0030*/ WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
  /*0040*/ FMNMX R1, R1, R2, !PT ;
    Function : empty
  /*0000*/ STL [R1], R2 ;
  /*0010*/ LDL.64 R2, [R1] ;
END
{
    printf '    Function : decode_sm90_kernelILi1E\n HGMMA ;\n UBLKCP ;\n WARPGROUP.DEPBAR.LE gsb0, 0x1 ;\n'
    yes ' FMNMX R1, R1, R2, !PT ;' | head -n 64
    printf ' WARPGROUP.DEPBAR.LE gsb0, 0x0 ;\n    Function : prefill\n HGMMA ;\n UBLKCP ;\n WARPGROUP.DEPBAR.LE gsb0, 0x2 ;\n'
    yes ' FMNMX R1, R1, R2, !PT ;' | head -n 64
    printf ' WARPGROUP.DEPBAR.LE gsb0, 0x0 ;\n WARPGROUP.DEPBAR.LE gsb0, 0x1 ;\n MUFU.EX2 R1, R1 ;\n WARPGROUP.DEPBAR.LE gsb0, 0x0 ;\n'
    printf ' @!P2 FFMA R220, R189, R184.reuse, 8 ;\n FADD R188, R186.reuse, 8 ;\n'
    printf '    Function : decode_codes_kernel\n HGMMA ;\n UBLKCP ;\n F2FP.F16.E4M3.UNPACK_B R0, R1 ;\n'
    printf '    Function : merge_kernel_of_its_own\n ACQBULK ;\n LDG.E R9, desc[UR10][R60.64] ;\n'
    printf '    Function : merge_kernel_before_its_time\n LDG.E R9, desc[UR10][R60.64] ;\n ACQBULK ;\n'
} >>"$planted/bad.sass"
[ "$(hopper_complaints "$planted/bad.sass" | wc -l)" -eq 11 ] || { echo "the reader of machine code is blind" && exit 1; }
[ "$(local_memory "$planted/bad.sass" | wc -l)" -eq 2 ] || { echo "the reader of machine code is blind" && exit 1; }
cat >"$planted/dealt.sass" <<'END'
ptxas info    : Compiling entry function 'enough' for 'sm_90a'
ptxas info    : Used 168 registers, used 16 barriers
ptxas info    : Compiling entry function 'too_few' for 'sm_90a'
ptxas info    : Used 160 registers, used 16 barriers
ptxas info    : Compiling entry function 'enough_of_five' for 'sm_90a'
ptxas info    : Used 96 registers, used 16 barriers
.nv.info.enough
	Attribute:	EIATTR_MAX_THREADS
	Format:	EIFMT_SVAL
	Value:	0x180 0x1 0x1 
.nv.info.too_few
	Attribute:	EIATTR_MAX_THREADS
	Format:	EIFMT_SVAL
	Value:	0x180 0x1 0x1 
.nv.info.enough_of_five
	Attribute:	EIATTR_MAX_THREADS
	Format:	EIFMT_SVAL
	Value:	0x280 0x1 0x1 
    Function : enough_of_five
  /*0000*/ USETMAXREG.DEALLOC.CTAPOOL 0x18 ;
  /*0010*/ USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0x70 ;
    Function : enough
  /*0000*/ USETMAXREG.DEALLOC.CTAPOOL 0x18 ;
  /*0010*/ USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xf0 ;
    Function : too_few
  /*0000*/ USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xf0 ; /* 0x000000f0000079c8 */
  /*0010*/ USETMAXREG.DEALLOC.CTAPOOL 0x18 ;
END
[ "$(registers_missing "$planted/dealt.sass")" = "$planted/dealt.sass: too_few: 2 times 240 and 24 registers of 3 times 160" ] &&
    [ "$(sed 's/, 0x70/, 0x78/' "$planted/dealt.sass" | registers_missing - | wc -l)" -eq 2 ] ||
    { echo "the reader of machine code is blind" && exit 1; }

# disassembler DIR: one is in PATH now, made once in DIR if there was none
disassembler() {
    PATH=$PATH:/usr/local/cuda/bin
    ! command -v cuobjdump || ! command -v nvdisasm || return 0
    cmp -s tests/disassemblers.txt "$1/requirements.txt" || {
        rm -rf "$1"
        python3 -m venv "$1" && timeout 200 "$1/bin/pip" install -q --disable-pip-version-check --only-binary :all: \
            -r tests/disassemblers.txt && cp tests/disassemblers.txt "$1/requirements.txt" || return 1
    }
    PATH=$PATH:$(dirname "$(find "$PWD/$1" -name nvdisasm -type f)")
    chmod +x "$(command -v cuobjdump)" "$(command -v nvdisasm)"
}
disassembler build/tests/disassemblers >"$planted/made" 2>&1 || {
    echo "no disassembler here ($(tail -n 1 "$planted/made")): the machine code is not looked at" && exit 0
}
for object in "$build"/cuda/*.o; do
    listing=$planted/$(basename "$object" .o).sass
    cuobjdump -sass "$object" >"$listing" && cuobjdump -elf "$object" >"${listing%.sass}.notes" || exit 1
    grep -q "Function :" "$listing" || { echo "$object: no machine code" && exit 1; }
done
found=$([ "$spilled_most" -gt 0 ] || local_memory "$planted"/attn_*.sass && hopper_complaints "$planted"/attn_*_sm90.sass
    registers_missing "$build"/cuda/attn_*_sm90.ptxas "$planted"/attn_*_sm90.notes "$planted"/attn_*_sm90.sass)
[ -z "$found" ] || { printf '%s\n' "$found" && exit 1; }

# A loop that leaves wgmma alone, and is not that any more where a register is changed or a wait left out.
cat >"$planted/loop.sass" <<'END'
    Function : alone
  /*0000*/ HGMMA.64x16x16.F32 R24, R8, gdesc[UR4], RZ, !UPT ; /* 0x1 */
  /*0010*/ HGMMA.64x16x16.F32 R24, R12, gdesc[UR4], R24, gsb0 ;
  /*0020*/ HGMMA.64x16x16.F32 R32, R16, gdesc[UR4], R32, gsb0 ;
  /*0028*/ SYNCS.PHASECHK.TRANS64.TRYWAIT P1, [R2+UR4+0x34f60], R23 ;
  /*0030*/ WARPGROUP.DEPBAR.LE gsb0, 0x1 ;
  /*0040*/ FADD R8, R24, R31 ;
  /*0050*/ @!P0 BRA 0x0 ;
  /*0060*/ WARPGROUP.DEPBAR.LE gsb0, 0x0 ;
  /*0070*/ STG.E.64 desc[UR4][R2.64], R38 ;
  /*0080*/ EXIT ;
END
walk() { # LISTING...: what is found, in $planted/said
    python3 tests/walk_wgmma.py "$@" >"$planted/said" 2>&1
}
# changed WANTED SED: a finding of the loop, changed so
changed() {
    sed "$2" "$planted/loop.sass" >"$planted/changed.sass"
    if walk "$planted/changed.sass" || ! grep -q "$1" "$planted/said"; then
        cat "$planted/said" && echo "who walks is blind: $1" && exit 1
    fi
}
if command -v python3 >/dev/null; then
    walk "$planted/loop.sass" || { cat "$planted/said" && echo 'who walks sees what is not there' && exit 1; }
    changed '0x40: touches accumulators' 's/R31/R33/'
    changed '0x40: writes an operand' 's/FADD R8/FADD R16/'
    changed '0x80: leaves with groups under way' 's/WARPGROUP.DEPBAR.LE gsb0, 0x0/NOP/'
    changed 'not every HGMMA was reached' 's|^  /\*0000|  /*0000*/ EXIT ;\n&|'
    walk "$planted"/attn_*_sm90.sass || { cat "$planted/said" && exit 1; }
    cat "$planted/said"
fi
echo "machine code: as it should be"
