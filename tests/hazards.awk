# Kinds of hazards in what racecheck says (--racecheck-report hazard): a line each, "WAR: Read ptx_lds128 ptx.cuh:59, then Write
# ptx_sts32 ptx.cuh:53: by lane 0 12, by others 340", the earlier access first, which is by those lanes. Where fewer are shown than
# there are, it says so.
function place(line,   of, at) {
    of = line ~ / Write.* Thread / ? "Write" : "Read"
    at = line
    sub(/^.*\) at (void )?/, "", at)
    sub(/[(+].*/, "", at)
    if (match(line, /[^ \/]*:[0-9]+$/)) at = at " " substr(line, RSTART)
    return of " " at
}
{ sub(/[ \r]+$/, "") }
/Potential (RAW|WAR|WAW) hazard/ {
    match($0, /Potential ... hazard/)
    type = substr($0, RSTART + 10, 3)
    earlier = ""
    next
}
type != "" && / (Read|Write).* Thread \([0-9]+,/ {
    if (earlier == "") {
        earlier = place($0)
        match($0, /Thread \([0-9]+/)
        is_first = substr($0, RSTART + 8, RLENGTH - 8) % 32 == 0
        next
    }
    kind = type ": " earlier ", then " place($0)
    if (is_first) first[kind]++
    n[kind]++
    n_shown++
    type = ""
}
/RACECHECK SUMMARY:/ && match($0, /\([0-9]+ error/) { n_there = substr($0, RSTART + 1) + 0 }
END {
    for (kind in n) printf "%s: by lane 0 %d, by others %d\n", kind, first[kind], n[kind] - first[kind]
    if (n_there > n_shown) printf "shown %d of %d\n", n_shown, n_there
}
