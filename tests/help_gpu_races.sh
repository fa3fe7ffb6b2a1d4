# shellcheck shell=sh
# What tests/gpu.sh asks racecheck with, and what it makes of hazards. racecheck has been mistaken (bench/GPU.md): so it is first
# asked about rings of which it is known whether they have races (the part `races`, tests/gpu_races.sh).

# The compute-sanitizers there are: the one that --build-only has brought along (tests/sanitizer.txt), then the toolkit's.
brought=$BUILD/sanitizer/compute-sanitizer
sanitizers() {
    [ -x "$brought" ] || [ ! -e $BUILD/sanitizer.tar.xz ] || unpack $BUILD/sanitizer.tar.xz $BUILD
    [ ! -x "$brought" ] || echo "$brought"
    command -v compute-sanitizer
}
# More mbarriers than any kernel has: it counts what the compiler says there are, and may say afterwards that there were more.
n_mbarriers='--num-cuda-barriers 64'

# What the one is worth that is worth most, and its path, by `races`; or else the toolkit's, of which nothing is known.
racechecker() {
    {
        [ "$(last_result races)" = pass ] && for worth in believed warps lanes mistaken deaf; do
            sed -n "s/^# worth: \($worth [^ ]*\)$/\1/p" "$(log_of races)"
        done
    } | head -n 1 | grep . || sanitizers | sed -n '$s/^/unknown /p'
}

# kinds LOG: of hazards, without how many
kinds() {
    sed -n 's/^ *\(\(RAW\|WAR\|WAW\): .*\): by lane 0 .*/\1/p' "$1" 2>/dev/null | sort -u
}
# Whether all hazards of a part are shown, and of kinds that are reported in rings without a race, too.
is_as_in_rings() { # PART
    awk '/^[^ ]/ { is_right = $3 == "right" } is_right' "$(log_of races)" >"$(log_of "$1").rings"
    known=$(kinds "$(log_of "$1").rings")
    rm -f "$(log_of "$1").rings"
    [ -n "$(kinds "$(log_of "$1").kinds")" ] && ! grep -q '^shown' "$(log_of "$1").kinds" &&
        ! kinds "$(log_of "$1").kinds" | grep -qvxF -e "$known"
}

# More about the hazards of a part that has some: their kinds; and whether there are any where every lane arrives (EVERY_LANE).
ask_further() { # PART
    asked_of=$(racechecker)
    timeout -k 5 "$(limit_of "$1")" env GLM_TEST_FAST=2 "${asked_of#* }" --tool racecheck --racecheck-report hazard --show-backtrace no --print-limit 400000 \
        $n_mbarriers $BUILD/"${1#*:}" 2>&1 </dev/null | awk -f tests/hazards.awk >"$(log_of "$1").kinds" &
    asked=$!
    [ ! -x "$BUILD/${1#*:}_lanes_tried" ] || (run "$1_lanes_tried")
    wait $asked
    sed 's/^/#   /' "$(log_of "$1").kinds" | tee -a "$summary"
}

# What hazards that were reported come to:
#   wrong    there are none there: a fault of the tool's
#   unsure   neither passed nor failed: this racecheck reports such where there are none, in rings that hand over in the same way
#   seen     where every lane arrives: judged with what is shipped
result_of_hazards() { # PART
    worth=$(racechecker)
    case $1:${worth%% *} in
    racecheck:test_cuda_barriers:*) echo wrong ;;
    *_lanes_tried:*) echo seen ;;
    racecheck:*_sm90:lanes) is_silent_of_lanes "$1" && echo unsure || echo FAIL ;;
    racecheck:*_sm90:mistaken) { is_silent_of_lanes "$1" || is_as_in_rings "$1"; } && echo unsure || echo FAIL ;;
    *) echo FAIL ;;
    esac
}
is_silent_of_lanes() { # PART
    [ "$(last_result "$1_lanes_tried")" = pass ]
}
why_unsure() { # PART
    if is_silent_of_lanes "$1"; then
        echo 'hazards, but none where every lane arrives: this racecheck reports rings without a race where one does for its warp'
    else
        echo 'hazards, but only such as this racecheck reports in rings without a race, too'
    fi
}
