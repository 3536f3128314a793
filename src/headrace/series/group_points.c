/*
 * Points to the order of their tags, and of their times within each: tags are counted, as they are small numbers.
 *
 * Only `group_points` is called from outside.
 */

#include <stdint.h>

enum order { ORDERED, REPEATED, BACKWARDS };

/* Insertion moves each point so often on average before it is given up: times mostly go back little. */
enum { MOST_MOVES = 8 };

/* Sort points of a tag by time, equal ones as they are, in at most `*moves`; return whether that was enough. */
static int insert(int64_t *times, double *values, int64_t count, int64_t *moves) {
    for (int64_t point = 1; point < count; point++) {
        int64_t time = times[point], place = point;
        double value = values[point];
        for (; place > 0 && times[place - 1] > time; place--) {
            times[place] = times[place - 1];
            values[place] = values[place - 1];
        }
        times[place] = time;
        values[place] = value;
        *moves -= point - place;
        if (*moves < 0) return 0;
    }
    return 1;
}

static enum order order_of(const int64_t *times, int64_t count) {
    int same = 0, back = 0;
    for (int64_t point = 1; point < count; point++) {
        same |= times[point] == times[point - 1];
        back |= times[point] < times[point - 1];
    }
    return back ? BACKWARDS : same ? REPEATED : ORDERED;
}

/*
 * Put `count` points in the order of their tags and times; return whether times are repeated within a tag, or
 * go back so far that they are not in order. `ends` has a zero for each tag.
 */
int32_t group_points(const uint32_t *codes, const int64_t *times, const double *values, int64_t count,
                     int64_t *ends, int64_t tags, uint32_t *to_codes, int64_t *to_times, double *to_values) {
    for (int64_t point = 0; point < count; point++) ends[codes[point]]++;
    for (int64_t tag = 0, before = 0; tag < tags; tag++) {
        int64_t own = ends[tag];
        ends[tag] = before;
        before += own;
    }
    for (int64_t point = 0; point < count; point++) {
        int64_t place = ends[codes[point]]++;
        to_times[place] = times[point];
        to_values[place] = values[point];
    }
    enum order found = ORDERED;
    int64_t moves = MOST_MOVES * count;
    for (int64_t tag = 0, begin = 0; tag < tags; begin = ends[tag++]) {
        int64_t own = ends[tag] - begin;
        for (int64_t place = begin; place < ends[tag]; place++) to_codes[place] = (uint32_t)tag;
        enum order order = order_of(to_times + begin, own);
        if (order == BACKWARDS && insert(to_times + begin, to_values + begin, own, &moves))
            order = order_of(to_times + begin, own);
        if (order > found) found = order;
    }
    return (int32_t)found;
}
