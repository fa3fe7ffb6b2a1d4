/* Decode for Hopper, over bf16 and e4m3 pages, in which every lane arrives where one does for its warp, and behind its copies (EVERY_LANE): as right as
 * what is shipped. It is there to be asked about by racecheck, which may follow it where it does not follow that
 * (tests/gpu_races.sh).
 *
 * Method: the test of what is shipped, at its smallest shapes. */
#define EVERY_LANE_TRIED true
#define CUDA_IS_LEAST    true
#include "test_cuda_decode_sm90.cpp"
