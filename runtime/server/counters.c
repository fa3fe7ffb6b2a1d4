#include "counters.h"

double srv_histogram_bound(int bucket) {
    return 0.001 * (double)(1 << bucket);
}

void srv_histogram_add(srv_histogram *histogram, double seconds) {
    int bucket = 0;
    while (bucket < SRV_BUCKETS && seconds > srv_histogram_bound(bucket)) bucket++;
    histogram->counts[bucket]++;
    histogram->sum += seconds;
}
