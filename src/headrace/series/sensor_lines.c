/*
 * Lines of sensor files, `GUID,time,value`, to points: tags by number, times in microseconds, values as doubles.
 *
 * A line is read here when its GUID stands in five groups, its time is `yyyy-mm-ddThh:mm:ss` with up to nine
 * digits of a fraction and a Z, and its value is a number. Any other line is left whole, for a reader that
 * says what is wrong with it. Most are read without a branch that their digits decide.
 *
 * Only the functions at the end are called from outside.
 */

#define _GNU_SOURCE /* strtod_l */

#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words of text are taken for numbers whose first byte is the lowest"
#endif

typedef const uint8_t *text;
typedef unsigned __int128 wide;

enum {
    GUID_CHARS = 36,
    MOST_DIGITS = 15,  /* whole numbers of so many are below 2**53 */
    LONG_NUMBER = 64,  /* characters of a number that are looked at */
    PLAIN_BYTES = 96,  /* no more of a line is looked at without asking where the text ends */
    FIRST_TAGS = 1024,
    SLOTS_A_TAG = 4,
    WAITING = 64,      /* points whose tags are looked up together */
};

/* ---- What is read ---- */

struct guid {
    uint64_t words[2];
};

struct sensor_tags {
    int64_t count;
    struct guid *guids; /* in the order in which they were met */

    int64_t room;
    uint32_t *slots; /* a hash table: numbers of tags, from 1 */
    uint64_t mask, seeds[2];
    locale_t plain; /* where the point of a number is a point */
};

struct left {
    int64_t point; /* how many points are before it */
    int64_t begin, end, line;
};

struct sensor_pass {
    int64_t at, line; /* where it begins, and then where it has come to */
    int64_t room, points;
    uint32_t *codes;
    int64_t *times;
    double *values;
    int64_t left_room, left_count;
    struct left *left;
};

/* ---- Bytes ---- */

static inline uint64_t word(text at) {
    uint64_t found;
    memcpy(&found, at, sizeof found);
    return found;
}

static inline uint64_t half(text at) {
    uint32_t found;
    memcpy(&found, at, sizeof found);
    return found;
}

static inline bool is_digit(uint8_t byte) { return (uint8_t)(byte - '0') <= 9; }

/* Return a bit for each of sixteen bytes that is no digit. */
static inline uint32_t no_digits(text at) {
#if defined(__SSE2__)
    __m128i digits = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)at), _mm_set1_epi8('0'));
    __m128i small = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
    return (uint32_t)_mm_movemask_epi8(small) ^ 0xffff;
#else
    uint32_t found = 0;
    for (int i = 0; i < 16; i++) found |= (uint32_t)!is_digit(at[i]) << i;
    return found;
#endif
}

/* ---- Tags ---- */

#if defined(__SSE2__)
/* Return the numbers that sixteen hexadecimal digits are, two in the lower byte of each lane. */
static inline __m128i nibbles(__m128i chars, __m128i *all) {
    const __m128i nine = _mm_set1_epi8(9), five = _mm_set1_epi8(5);
    __m128i digits = _mm_sub_epi8(chars, _mm_set1_epi8('0'));
    __m128i letters = _mm_sub_epi8(_mm_or_si128(chars, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    __m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(digits, nine), digits);
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letters, five), letters);
    __m128i found = _mm_or_si128(_mm_and_si128(is_number, digits),
                                 _mm_and_si128(is_letter, _mm_add_epi8(letters, _mm_set1_epi8(10))));
    *all = _mm_and_si128(*all, _mm_or_si128(is_number, is_letter));
    __m128i high = _mm_and_si128(_mm_slli_epi16(found, 4), _mm_set1_epi16(0xf0));
    return _mm_or_si128(high, _mm_srli_epi16(found, 8));
}
#else
static int hex(uint8_t digit) {
    uint8_t letter = (digit | 0x20) - 'a';
    return is_digit(digit) ? digit - '0' : letter <= 5 ? letter + 10 : -1;
}
#endif

/* Read a GUID of 36 characters; return whether it is one. */
static inline bool read_guid(text at, struct guid *guid) {
    uint64_t second = word(at + 8), third = word(at + 16);
    if ((second & 0x0000ff00000000ff) != 0x00002d000000002d) return false;
    if ((third & 0xff00000000ff0000) != 0x2d000000002d0000) return false;
#if defined(__SSE2__)
    __m128i all = _mm_set1_epi8(-1);
    __m128i low = _mm_set_epi64x((int64_t)(half(at + 9) | half(at + 14) << 32), (int64_t)word(at));
    __m128i high = _mm_set_epi64x((int64_t)word(at + 28), (int64_t)(half(at + 19) | half(at + 24) << 32));
    __m128i packed = _mm_packus_epi16(nibbles(low, &all), nibbles(high, &all));
    _mm_storeu_si128((__m128i *)guid, packed);
    return _mm_movemask_epi8(all) == 0xffff;
#else
    static const uint8_t pairs[16] = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};
    uint8_t bytes[16];
    int every = 0;
    for (int i = 0; i < 16; i++) {
        int high = hex(at[pairs[i]]), low = hex(at[pairs[i] + 1]);
        every |= high | low;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    memcpy(guid, bytes, sizeof bytes);
    return every >= 0;
#endif
}

/* With seeds that nobody can know no file is made of tags that all meet in one slot. */
static inline uint64_t hashed(const struct sensor_tags *self, struct guid guid) {
    wide product = (wide)(guid.words[0] ^ self->seeds[0]) * (guid.words[1] ^ self->seeds[1]);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline bool is_same(struct guid one, struct guid other) {
    return one.words[0] == other.words[0] && one.words[1] == other.words[1];
}

/* Have room for twice as many tags. */
static bool grow(struct sensor_tags *self) {
    int64_t room = self->room ? self->room * 2 : FIRST_TAGS;
    if (room >= INT32_MAX) return false; /* slots hold 32 bits */
    struct guid *guids = realloc(self->guids, (size_t)room * sizeof *guids);
    if (!guids) return false;
    self->guids = guids;
    uint32_t *slots = calloc((size_t)room * SLOTS_A_TAG, sizeof *slots);
    if (!slots) return false;
    free(self->slots);
    self->slots = slots;
    self->room = room;
    self->mask = (uint64_t)room * SLOTS_A_TAG - 1;
    for (int64_t tag = 0; tag < self->count; tag++) {
        uint64_t slot = hashed(self, guids[tag]) & self->mask;
        while (slots[slot]) slot = (slot + 1) & self->mask;
        slots[slot] = (uint32_t)tag + 1;
    }
    return true;
}

/* Return the number of a tag, a new one if it was never met; -1 where memory is short. */
static inline int64_t code_of(struct sensor_tags *self, struct guid guid, uint64_t hash) {
    uint64_t slot = hash & self->mask;
    for (; self->slots[slot]; slot = (slot + 1) & self->mask)
        if (is_same(self->guids[self->slots[slot] - 1], guid)) return self->slots[slot] - 1;
    if (self->count == self->room) {
        if (!grow(self)) return -1;
        slot = hash & self->mask;
        while (self->slots[slot]) slot = (slot + 1) & self->mask;
    }
    self->guids[self->count] = guid;
    self->slots[slot] = (uint32_t)++self->count;
    return self->count - 1;
}

/* ---- Times ---- */

/* Return the number that two digits make, or something above 99. */
static inline int pair(text at) {
    return is_digit(at[0]) && is_digit(at[1]) ? (at[0] - '0') * 10 + (at[1] - '0') : 1000;
}

/* Read the minutes since 1970 that `yyyy-mm-ddThh:mm` is; return whether it is any. */
static bool read_minute(text at, int64_t *minutes) {
    static const int8_t lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century = pair(at), of_century = pair(at + 2), month = pair(at + 5), day = pair(at + 8);
    int hour = pair(at + 11), minute = pair(at + 14), year = century * 100 + of_century;
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':') return false;
    if (century > 99 || of_century > 99 || year == 0 || month < 1 || month > 12) return false;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || day > lengths[month - 1] + (month == 2 && leap) || hour > 23 || minute > 59) return false;
    /* Days from a civil date: years begin in March, so that a leap day is the last of its year. */
    int shifted = year - (month <= 2), era = shifted / 400, of_era = shifted % 400;
    int of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    int days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    *minutes = ((int64_t)days * 24 + hour) * 60 + minute;
    return true;
}

/* Read the microseconds of `:ss.fffZ,` with as many digits of the fraction as there are; return what is behind. */
static text read_any_second(text at, int64_t *micros) {
    int second = pair(at + 1);
    if (at[0] != ':' || second > 59) return NULL;
    at += 3;
    *micros = second * 1000000;
    if (*at == '.') {
        int scale = 100000;
        text first = ++at;
        for (; at < first + 9 && is_digit(*at); at++, scale /= 10) *micros += (*at - '0') * scale;
        if (at == first) return NULL;
    }
    return at[0] == 'Z' && at[1] == ',' ? at + 2 : NULL;
}

static inline text read_second(text at, int64_t *micros) {
    /* Digits become numbers and what stands between them zero; above nine, or five, they reach the next four bits. */
    uint64_t digits = word(at) ^ 0x5a3030302e30303a; /* ":00.000Z" */
    uint64_t above = digits | (digits + 0x0006060600060a00);
    if ((above & 0xfff0f0f0fff0f0ff) || at[8] != ',') return read_any_second(at, micros);
    *micros = (int64_t)((digits >> 8 & 15) * 10000000 + (digits >> 16 & 15) * 1000000 +
                        (digits >> 32 & 15) * 100000 + (digits >> 40 & 15) * 10000 + (digits >> 48 & 15) * 1000);
    return at + 9;
}

/* ---- Values ---- */

static const double POWERS[MOST_DIGITS + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

/* Return the number that eight digits make, each a byte, the first the highest. */
static inline uint64_t eight(uint64_t digits) {
    digits = (digits * (10 << 8 | 1)) >> 8;
    digits = ((digits & 0x00ff00ff00ff00ff) * (100 << 16 | 1)) >> 16;
    return ((digits & 0x0000ffff0000ffff) * (10000ull << 32 | 1)) >> 32;
}

static text digits_end(text at, text end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

static text behind_blanks(text at, text end) {
    while (at < end && (*at == ' ' || *at == '\t')) at++;
    return at;
}

/* Read a number that any double may be written as and that ends its line; return the byte behind, or NULL. */
static text read_any_number(text at, text end, locale_t plain, double *value) {
    char copy[LONG_NUMBER + 1];
    at = behind_blanks(at, end);
    text begin = at;
    if (at < end && (*at == '-' || *at == '+')) at++;
    text whole = at;
    at = digits_end(at, end);
    int64_t digits = at - whole;
    if (at < end && *at == '.') {
        text fraction = ++at;
        at = digits_end(at, end);
        digits += at - fraction;
    }
    if (!digits) return NULL;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < end && (*at == '-' || *at == '+')) at++;
        text exponent = at;
        at = digits_end(at, end);
        if (at == exponent) return NULL;
    }
    size_t size = (size_t)(at - begin);
    if (size > LONG_NUMBER) return NULL;
    at = behind_blanks(at, end);
    if (at < end && *at == '\r') at++;
    if (at == end || *at != '\n') return NULL;
    memcpy(copy, begin, size);
    copy[size] = 0;
    *value = strtod_l(copy, NULL, plain);
    return isfinite(*value) ? at + 1 : NULL;
}

/*
 * Read a number; see `read_any_number`. Its digits are a whole number, exact as a double like the power of ten
 * that it is divided by, so that it is rounded once.
 */
static inline text read_number(text at, text end, locale_t plain, double *value) {
    text first = at;
    uint64_t negative = *at == '-';
    at += negative;
    uint32_t others = no_digits(at) | 1 << 16;
    uint32_t point = (uint32_t)__builtin_ctz(others), pointed = at[point] == '.';
    uint32_t stop = pointed ? (uint32_t)__builtin_ctz((others & (others - 1)) | 1 << 17) : point;
    uint32_t count = stop - pointed, behind = pointed ? stop - point - 1 : 0;
    text ended = at + stop + (at[stop] == '\r');
    if (count - 1 >= MOST_DIGITS || stop >= 16 || *ended != '\n') return read_any_number(first, end, plain, value);
    wide digits = ((wide)word(at + 8) << 64 | word(at)), whole = ((wide)1 << 8 * point) - 1;
    digits = pointed ? (digits & whole) | (digits >> 8 & ~whole) : digits;
    /* What is behind the last digit falls out above it, and zeros come in before the first. */
    digits = (digits & ((wide)0x0f0f0f0f0f0f0f0f << 64 | 0x0f0f0f0f0f0f0f0f)) << 8 * (16 - count);
    uint64_t mantissa = eight((uint64_t)digits) * 100000000 + eight((uint64_t)(digits >> 64));
    double magnitude = (double)(int64_t)mantissa / POWERS[behind];
    *value = negative ? -magnitude : magnitude;
    return ended + 1;
}

/* ---- Lines ---- */

struct clock {
    uint64_t date, time; /* the text of the minute in hand */
    int64_t micros;
    bool known;
};

struct point {
    struct guid guid;
    int64_t time;
    double value;
};

/* Read a line of which PLAIN_BYTES can be looked at; return the byte behind it, or NULL if it is to be left. */
static inline text read_line(text at, text end, struct clock *clock, locale_t plain, struct point *point) {
    text stamp = at + GUID_CHARS + 1;
    uint64_t date = word(stamp), time = word(stamp + 8);
    if (__builtin_expect(date != clock->date || time != clock->time, 0)) {
        int64_t minutes = 0;
        clock->known = read_minute(stamp, &minutes);
        clock->date = date, clock->time = time, clock->micros = minutes * 60000000;
    }
    if (!clock->known || at[GUID_CHARS] != ',' || !read_guid(at, &point->guid)) return NULL;
    int64_t micros;
    text number = read_second(stamp + 16, &micros);
    if (!number) return NULL;
    point->time = clock->micros + micros;
    return read_number(number, end, plain, &point->value);
}

/* Read a line close to the end of the text, with zeros behind that. */
static text read_last(text at, text end, struct clock *clock, locale_t plain, struct point *point) {
    uint8_t copy[2 * PLAIN_BYTES] = {0};
    size_t size = (size_t)(end - at);
    memcpy(copy, at, size);
    text behind = read_line(copy, copy + size, clock, plain, point);
    return behind ? at + (behind - copy) : NULL;
}

struct waiting {
    struct guid guid;
    uint64_t hash;
};

/* Look up the tags of the last points; what they need comes from memory meanwhile. */
static bool number_tags(struct sensor_tags *self, const struct waiting *waiting, int64_t count, uint32_t *codes) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t tag = self->slots[waiting[i].hash & self->mask];
        if (tag) __builtin_prefetch(&self->guids[tag - 1]);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t code = code_of(self, waiting[i].guid, waiting[i].hash);
        if (code < 0) return false;
        codes[i] = (uint32_t)code;
    }
    return true;
}

/* ---- Called from outside ---- */

void sensor_tags_free(struct sensor_tags *self) {
    if (!self) return;
    if (self->plain) freelocale(self->plain);
    free(self->guids);
    free(self->slots);
    free(self);
}

/* Return a table of no tags, NULL where memory is short. The caller frees it. */
struct sensor_tags *sensor_tags_new(uint64_t seed, uint64_t other_seed) {
    struct sensor_tags *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->seeds[0] = seed, self->seeds[1] = other_seed;
    self->plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (self->plain && grow(self)) return self;
    sensor_tags_free(self);
    return NULL;
}

/* Return the number of a tag by its sixteen bytes, a new one if it was never met; -1 where memory is short. */
int64_t sensor_tags_code(struct sensor_tags *self, const uint8_t *bytes) {
    struct guid guid;
    memcpy(&guid, bytes, sizeof guid);
    return code_of(self, guid, hashed(self, guid));
}

/*
 * Read lines from a byte on, until the text ends or there is no more room for points or for lines that are left;
 * the last line may lack its end. Return whether there was memory for its tags.
 */
bool sensor_lines_read(struct sensor_tags *tags, text start, int64_t size, struct sensor_pass *pass) {
    text at = start + pass->at, end = start + size;
    struct clock clock = {0};
    struct waiting waiting[WAITING];
    int64_t first = 0; /* of the points whose tags wait */
    pass->points = pass->left_count = 0;
    while (at < end && pass->points < pass->room && pass->left_count < pass->left_room) {
        struct point point;
        text behind = end - at >= PLAIN_BYTES ? read_line(at, end, &clock, tags->plain, &point)
                                              : read_last(at, end, &clock, tags->plain, &point);
        if (behind) {
            struct waiting *own = &waiting[pass->points - first];
            own->guid = point.guid;
            own->hash = hashed(tags, point.guid);
            __builtin_prefetch(&tags->slots[own->hash & tags->mask]);
            pass->times[pass->points] = point.time;
            pass->values[pass->points++] = point.value;
            if (pass->points - first == WAITING) {
                if (!number_tags(tags, waiting, WAITING, pass->codes + first)) return false;
                first = pass->points;
            }
        } else {
            text stop = memchr(at, '\n', (size_t)(end - at));
            behind = stop ? stop + 1 : end;
            pass->left[pass->left_count++] =
                (struct left){pass->points, at - start, (stop ? stop : end) - start, pass->line};
        }
        at = behind;
        pass->line++;
    }
    pass->at = at - start;
    return number_tags(tags, waiting, pass->points - first, pass->codes + first);
}
