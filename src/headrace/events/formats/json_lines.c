/*
 * JSON objects, one a line, to columns: each value exactly, in the plane of its type.
 *
 * A line is read here when it is plain: an object whose keys are known, each given once, and whose values
 * a type of the language holds. Any other line is left whole, for a reader that says what is wrong with it;
 * nothing is guessed and nothing is lost. Planes are handed over as an array of the Arrow C data interface
 * (arrow.apache.org/docs/format/CDataInterface.html), of which the receiver owns every part by itself.
 *
 * Only `json_lines_read`, `json_lines_move` and `json_lines_free` are called from outside.
 */

#define _GNU_SOURCE /* strtod_l */

#include <float.h>
#include <locale.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

typedef const uint8_t *text;

/* ---- The Arrow C data interface ---- */

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

enum { NULLABLE = 2 };

/* ---- What is read ---- */

enum kind { BIT, BIGINT, FLOAT, TEXT, RECORD, ARRAY, KINDS };

static const char *const KIND_NAMES[KINDS] = {"bit", "bigint", "float", "text", "record", "array"};
static const char *const FORMATS[KINDS] = {"b", "l", "g", "vu", "vu", "vu"};

/* A text of a column: up to twelve bytes stand in it, more in the heap of its plane. */
struct view {
    uint32_t size;
    union {
        uint8_t inlined[12];
        struct {
            uint8_t prefix[4];
            uint32_t buffer, offset;
        } far;
    } at;
};

struct plane {
    void *values;    /* of the kind, one a row; bits are packed */
    uint8_t *valid;  /* a bit a row */
    int64_t count;   /* rows with a value */
    uint8_t *heap;   /* long texts */
    size_t heap_used, heap_size;
};

struct column {
    text name;
    size_t size;
    int64_t line; /* the last one that had its key, -1 before */
    struct plane planes[KINDS];
};

enum { OK, OUT_OF_MEMORY };

struct json_lines {
    int64_t rows, lines, left_count;
    int64_t *left; /* the numbers of the lines that are not rows */
    int32_t status;

    int64_t capacity, max_cells, planes_count;
    int32_t max_depth, columns_count;
    char *names; /* one behind the other */
    struct column *columns;
    uint32_t *slots; /* a hash table: numbers of columns, from 1 */
    uint32_t mask;
    struct plane **touched; /* of the row in hand */
    enum kind *touched_kinds;
    int32_t touched_count;
    int64_t left_size;
    uint8_t *closing; /* what ends each record and array that is open */
    locale_t plain;   /* where the point of a number is a point */
};

/* ---- Bytes ---- */

static inline bool is_space(uint8_t byte) { return byte == ' ' || byte == '\t' || byte == '\r'; }
static inline bool is_digit(uint8_t byte) { return (uint8_t)(byte - '0') <= 9; }

static inline text behind_space(text at, text end) {
    while (at < end && is_space(*at)) at++;
    return at;
}

/* Return the first quote, backslash or control byte of a string; `*ascii` is cleared by what is not ASCII. */
static inline text string_stop(text at, text end, bool *ascii) {
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1f);
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)at);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_max_epu8(bytes, control), control));
        uint32_t stops = (uint32_t)_mm_movemask_epi8(stop), high = (uint32_t)_mm_movemask_epi8(bytes);
        if (stops) {
            int first = __builtin_ctz(stops);
            if (high & ((1u << first) - 1)) *ascii = false;
            return at + first;
        }
        if (high) *ascii = false;
    }
#endif
    for (; at < end && *at != '"' && *at != '\\' && *at >= 0x20; at++)
        if (*at >= 0x80) *ascii = false;
    return at;
}

/* Tell whether bytes are UTF-8 (RFC 3629: no surrogates, nothing too long, nothing above U+10FFFF). */
static bool is_utf8(text at, text end) {
    while (at < end) {
        uint64_t word; /* letters outside ASCII stand among many that are not */
        for (; (size_t)(end - at) >= sizeof word; at += sizeof word) {
            memcpy(&word, at, sizeof word);
            if (word & 0x8080808080808080u) break;
        }
        if (at == end) break;
        uint8_t lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
        if ((lead == 0xe0 && *at < 0xa0) || (lead == 0xed && *at > 0x9f)) return false;
        if ((lead == 0xf0 && *at < 0x90) || (lead == 0xf4 && *at > 0x8f)) return false;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80) return false;
    }
    return true;
}

/* Return the number that four hexadecimal digits make, -1 if they are not that. */
static int32_t hex4(text at, text end) {
    int32_t value = 0;
    if (end - at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t digit = at[i], low = digit | 0x20;
        if (is_digit(digit)) value = value * 16 + (digit - '0');
        else if (low >= 'a' && low <= 'f') value = value * 16 + (low - 'a' + 10);
        else return -1;
    }
    return value;
}

/* Read what stands behind a backslash; return the byte behind it, NULL if it is no escape or half a character. */
static text escape(text at, text end, uint32_t *character) {
    static const char letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (at == end) return NULL;
    if (*at != 'u') {
        const char *found = *at ? strchr(letters, *at) : NULL;
        if (!found) return NULL;
        *character = (uint8_t)meant[found - letters];
        return at + 1;
    }
    int32_t unit = hex4(at + 1, end);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) return NULL;
    at += 5;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int32_t low = end - at >= 6 && at[0] == '\\' && at[1] == 'u' ? hex4(at + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) return NULL;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
    }
    *character = (uint32_t)unit;
    return at;
}

static size_t put_utf8(uint8_t *to, uint32_t character) {
    if (character < 0x80) return to[0] = (uint8_t)character, 1;
    if (character < 0x800) {
        to[0] = (uint8_t)(0xc0 | character >> 6);
        to[1] = (uint8_t)(0x80 | (character & 0x3f));
        return 2;
    }
    if (character < 0x10000) {
        to[0] = (uint8_t)(0xe0 | character >> 12);
        to[1] = (uint8_t)(0x80 | (character >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (character & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | character >> 18);
    to[1] = (uint8_t)(0x80 | (character >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (character >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (character & 0x3f));
    return 4;
}

/* ---- Planes ---- */

static bool is_text(enum kind kind) { return kind >= TEXT; }

static size_t values_size(enum kind kind, int64_t rows) {
    if (kind == BIT) return (size_t)(rows + 7) / 8;
    return (size_t)rows * (is_text(kind) ? sizeof(struct view) : 8);
}

/* Return the plane of a column for a value of the row in hand, NULL if there is no room: its line is left. */
static struct plane *plane_for(struct json_lines *self, struct column *column, enum kind kind) {
    struct plane *plane = &column->planes[kind];
    if (!plane->values) {
        if ((self->planes_count + 1) * self->capacity > self->max_cells) return NULL;
        /* A row without a value holds zeros, so that whoever looks at all rows sees a text of no bytes. */
        plane->values = calloc(values_size(kind, self->capacity), 1);
        plane->valid = calloc(values_size(BIT, self->capacity), 1);
        if (!plane->values || !plane->valid) {
            self->status = OUT_OF_MEMORY;
            return NULL;
        }
        self->planes_count++;
    }
    self->touched[self->touched_count] = plane;
    self->touched_kinds[self->touched_count++] = kind;
    plane->valid[self->rows >> 3] |= (uint8_t)(1u << (self->rows & 7));
    return plane;
}

/* Return `size` bytes behind what a heap holds, NULL if there is no room. */
static uint8_t *heap_room(struct json_lines *self, struct plane *plane, size_t size) {
    if (plane->heap_size - plane->heap_used <= size) {
        size_t needed = plane->heap_used + size + 1, wanted = needed * 2 + 4096;
        if (wanted > INT32_MAX) wanted = INT32_MAX; /* offsets have 31 bits */
        uint8_t *grown = needed > wanted ? NULL : realloc(plane->heap, wanted);
        if (!grown) {
            self->status = OUT_OF_MEMORY;
            return NULL;
        }
        plane->heap = grown;
        plane->heap_size = wanted;
    }
    return plane->heap + plane->heap_used;
}

/* Make the text that a heap has got behind what it held the value of the row in hand. */
static void view_of_heap(struct json_lines *self, struct plane *plane, size_t size) {
    struct view *view = (struct view *)plane->values + self->rows;
    uint8_t *bytes = plane->heap + plane->heap_used;
    view->size = (uint32_t)size;
    if (size <= sizeof view->at.inlined) {
        memset(view->at.inlined, 0, sizeof view->at.inlined);
        memcpy(view->at.inlined, bytes, size);
        return;
    }
    memcpy(view->at.far.prefix, bytes, 4);
    view->at.far.buffer = 0;
    view->at.far.offset = (uint32_t)plane->heap_used;
    plane->heap_used += size;
}

static bool put_text(struct json_lines *self, struct column *column, enum kind kind, text at, size_t size) {
    struct plane *plane = plane_for(self, column, kind);
    uint8_t *to = plane ? heap_room(self, plane, size) : NULL;
    if (!to) return false;
    memcpy(to, at, size);
    view_of_heap(self, plane, size);
    return true;
}

/* ---- Values; each returns the byte behind it, NULL where the line is to be left ---- */

static text read_escaped(struct json_lines *self, struct column *column, text begin, text end) {
    struct plane *plane = plane_for(self, column, TEXT);
    bool ascii;
    size_t size = 0;
    text at = begin;
    for (;;) {
        ascii = true;
        text stop = string_stop(at, end, &ascii);
        if (stop == end || (!ascii && !is_utf8(at, stop))) return NULL;
        size_t plain = (size_t)(stop - at);
        uint8_t *to = plane ? heap_room(self, plane, size + plain + 4) : NULL;
        if (!to) return NULL;
        memcpy(to + size, at, plain);
        size += plain;
        if (*stop == '"') {
            view_of_heap(self, plane, size);
            return stop + 1;
        }
        uint32_t character;
        at = *stop == '\\' ? escape(stop + 1, end, &character) : NULL;
        if (!at) return NULL;
        size += put_utf8(to + size, character);
    }
}

static text read_string(struct json_lines *self, struct column *column, text at, text end) {
    bool ascii = true;
    text stop = string_stop(at, end, &ascii);
    if (stop == end) return NULL;
    if (*stop == '\\') return read_escaped(self, column, at, end);
    if (*stop != '"' || (!ascii && !is_utf8(at, stop))) return NULL;
    return put_text(self, column, TEXT, at, (size_t)(stop - at)) ? stop + 1 : NULL;
}

static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MAX_POWER = 22, MAX_DIGITS = 19, MAX_EXPONENT_DIGITS = 5 };

/* A number of JSON: where it ends, and what its digits make. */
struct number {
    uint64_t digits; /* all of them as one number, if there are few enough */
    int32_t count, power;
    bool negative, whole;
};

/* Add a digit; those of leading zeros do not count. The number may wrap, and then the count is too high. */
static inline void add_digit(struct number *found, uint8_t byte) {
    found->digits = found->digits * 10 + (uint8_t)(byte - '0');
    found->count += found->digits > 0 || found->count > 0;
}

static text scan_number(text at, text end, struct number *found) {
    *found = (struct number){.whole = true};
    if (at < end && *at == '-') found->negative = true, at++;
    if (at == end || !is_digit(*at)) return NULL;
    if (*at == '0' && at + 1 < end && is_digit(at[1])) return NULL;
    for (; at < end && is_digit(*at); at++) add_digit(found, *at);
    if (at < end && *at == '.') {
        text point = at++;
        for (; at < end && is_digit(*at); at++) add_digit(found, *at);
        if (at == point + 1) return NULL;
        found->power = (int32_t)(point + 1 - at);
        found->whole = false;
    }
    if (at < end && (*at | 0x20) == 'e') {
        bool down = false;
        if (++at < end && (*at == '-' || *at == '+')) down = *at++ == '-';
        text first = at;
        int32_t exponent = 0;
        for (; at < end && is_digit(*at); at++)
            if (at - first < MAX_EXPONENT_DIGITS) exponent = exponent * 10 + (*at - '0');
            else found->count = MAX_DIGITS + 1;
        if (at == first) return NULL;
        found->power += down ? -exponent : exponent;
        found->whole = false;
    }
    return at;
}

static text read_number(struct json_lines *self, struct column *column, text begin, text end) {
    struct number number;
    text at = scan_number(begin, end, &number);
    if (!at) return NULL;
    if (number.whole) {
        uint64_t most = (uint64_t)INT64_MAX + number.negative;
        if (number.count > MAX_DIGITS || number.digits > most) return NULL;
        struct plane *plane = plane_for(self, column, BIGINT);
        if (!plane) return NULL;
        uint64_t bits = number.negative ? 0 - number.digits : number.digits;
        memcpy((int64_t *)plane->values + self->rows, &bits, sizeof bits);
        return at;
    }
    double value;
    /* Both factors are exact, so that one rounding makes the nearest number (Clinger, PLDI 1990). */
    if (FLT_EVAL_METHOD == 0 && number.count <= MAX_DIGITS && number.digits <= 1ull << 53 &&
        number.power >= -MAX_POWER && number.power <= MAX_POWER) {
        value = (double)number.digits;
        value = number.power < 0 ? value / POWERS[-number.power] : value * POWERS[number.power];
        if (number.negative) value = -value;
    } else {
        value = strtod_l((const char *)begin, NULL, self->plain);
        if (value - value != 0) return NULL; /* infinite */
    }
    struct plane *plane = plane_for(self, column, FLOAT);
    if (!plane) return NULL;
    ((double *)plane->values)[self->rows] = value;
    return at;
}

static text literal(text at, text end, const char *word, size_t size) {
    return (size_t)(end - at) >= size && memcmp(at, word, size) == 0 ? at + size : NULL;
}

static text read_bit(struct json_lines *self, struct column *column, text at, text end) {
    text behind = *at == 't' ? literal(at, end, "true", 4) : literal(at, end, "false", 5);
    struct plane *plane = behind ? plane_for(self, column, BIT) : NULL;
    if (!plane) return NULL;
    if (*at == 't') ((uint8_t *)plane->values)[self->rows >> 3] |= (uint8_t)(1u << (self->rows & 7));
    return behind;
}

/* Return the byte behind a string that is not kept. */
static text behind_string(text at, text end) {
    for (;;) {
        bool ascii = true;
        text stop = string_stop(at, end, &ascii);
        if (stop == end || (!ascii && !is_utf8(at, stop))) return NULL;
        if (*stop == '"') return stop + 1;
        uint32_t character;
        at = *stop == '\\' ? escape(stop + 1, end, &character) : NULL;
        if (!at) return NULL;
    }
}

static text behind_scalar(text at, text end) {
    struct number number;
    switch (*at) {
    case '"': return behind_string(at + 1, end);
    case 't': return literal(at, end, "true", 4);
    case 'f': return literal(at, end, "false", 5);
    case 'n': return literal(at, end, "null", 4);
    default: return scan_number(at, end, &number);
    }
}

static text behind_key(text at, text end) {
    if (at == end || *at != '"' || !(at = behind_string(at + 1, end))) return NULL;
    at = behind_space(at, end);
    return at < end && *at == ':' ? behind_space(at + 1, end) : NULL;
}

/* Return the byte behind a record or array, which may nest as deep as an event may: it is in one itself. */
static text behind_nested(struct json_lines *self, text at, text end) {
    uint8_t *closing = self->closing;
    int32_t depth = 0;
    for (;;) {
        /* Here a value begins. */
        if (at == end) return NULL;
        if (*at == '{' || *at == '[') {
            if (depth + 1 >= self->max_depth) return NULL;
            closing[depth++] = *at == '{' ? '}' : ']';
            at = behind_space(at + 1, end);
            if (at == end) return NULL;
            if (*at != closing[depth - 1]) {
                if (closing[depth - 1] == '}' && !(at = behind_key(at, end))) return NULL;
                continue;
            }
        } else if (!(at = behind_scalar(at, end))) {
            return NULL;
        } else {
            at = behind_space(at, end);
        }
        /* Here one has ended, or an empty record or array is about to. */
        while (at < end && *at == closing[depth - 1]) {
            if (--depth == 0) return at + 1;
            at = behind_space(at + 1, end);
        }
        if (at == end || *at != ',') return NULL;
        at = behind_space(at + 1, end);
        if (closing[depth - 1] == '}' && !(at = behind_key(at, end))) return NULL;
    }
}

static text read_nested(struct json_lines *self, struct column *column, text at, text end) {
    text behind = behind_nested(self, at, end);
    if (!behind) return NULL;
    return put_text(self, column, *at == '{' ? RECORD : ARRAY, at, (size_t)(behind - at)) ? behind : NULL;
}

static text read_value(struct json_lines *self, struct column *column, text at, text end) {
    if (at == end) return NULL;
    switch (*at) {
    case '"': return read_string(self, column, at + 1, end);
    case '{': case '[': return read_nested(self, column, at, end);
    case 't': case 'f': return read_bit(self, column, at, end);
    case 'n': return literal(at, end, "null", 4);
    default: return read_number(self, column, at, end);
    }
}

/* ---- Lines ---- */

static uint32_t hashed(text at, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; i++) hash = (hash ^ at[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static bool is_name(const struct column *column, text at, size_t size) {
    return column->size == size && memcmp(column->name, at, size) == 0;
}

/* Return the column whose key begins at a byte, trying the one that came next in other lines, or NULL. */
static struct column *column_at(struct json_lines *self, text at, text end, int32_t guess) {
    struct column *column = &self->columns[guess];
    if ((size_t)(end - at) > column->size && at[column->size] == '"' && is_name(column, at, column->size))
        return column;
    text stop = memchr(at, '"', (size_t)(end - at));
    if (!stop) return NULL;
    size_t size = (size_t)(stop - at);
    for (uint32_t slot = hashed(at, size) & self->mask; self->slots[slot]; slot = (slot + 1) & self->mask)
        if (is_name(&self->columns[self->slots[slot] - 1], at, size)) return &self->columns[self->slots[slot] - 1];
    return NULL;
}

/* Read the line that begins at a byte; return whether it is a row. `end` is that of the line. */
static bool read_line(struct json_lines *self, text at, text end) {
    int32_t guess = 0;
    at = behind_space(at, end);
    if (at == end || *at++ != '{') return false;
    at = behind_space(at, end);
    if (at < end && *at == '}') return behind_space(at + 1, end) == end;
    for (;;) {
        if (at == end || *at++ != '"') return false;
        struct column *column = column_at(self, at, end, guess);
        if (!column || column->line == self->lines) return false; /* unknown, or given twice */
        column->line = self->lines;
        at = behind_space(at + column->size + 1, end);
        if (at == end || *at++ != ':') return false;
        at = read_value(self, column, behind_space(at, end), end);
        if (!at) return false;
        at = behind_space(at, end);
        if (at == end) return false;
        if (*at == '}') return behind_space(at + 1, end) == end;
        if (*at++ != ',') return false;
        at = behind_space(at, end);
        guess = (int32_t)(column - self->columns) + 1;
        if (guess == self->columns_count) guess = 0;
    }
}

/* Take back what the line in hand has put into its row. */
static void undo(struct json_lines *self) {
    uint8_t others = (uint8_t)~(1u << (self->rows & 7));
    for (int32_t i = 0; i < self->touched_count; i++) {
        struct plane *plane = self->touched[i];
        enum kind kind = self->touched_kinds[i];
        plane->valid[self->rows >> 3] &= others;
        if (kind == BIT) ((uint8_t *)plane->values)[self->rows >> 3] &= others;
        else memset((uint8_t *)plane->values + values_size(kind, self->rows), 0, values_size(kind, 1));
    }
}

static bool leave(struct json_lines *self) {
    if (self->left_count == self->left_size) {
        int64_t size = self->left_size * 2 + 64;
        int64_t *grown = realloc(self->left, (size_t)size * sizeof *grown);
        if (!grown) return self->status = OUT_OF_MEMORY, false;
        self->left = grown;
        self->left_size = size;
    }
    self->left[self->left_count++] = self->lines;
    return true;
}

static void finish_row(struct json_lines *self) {
    for (int32_t i = 0; i < self->touched_count; i++) self->touched[i]->count++;
    self->rows++;
}

static void read_lines(struct json_lines *self, text at, size_t size) {
    text end = at + size;
    for (;;) {
        text stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        self->touched_count = 0;
        if (self->lines == self->capacity) { /* there are more than were told, and the caller sees it */
            self->lines++;
            return;
        }
        if (read_line(self, at, stop)) finish_row(self);
        else {
            undo(self);
            if (self->status != OK || !leave(self)) return;
        }
        self->lines++;
        if (stop == end) return;
        at = stop + 1;
    }
}

void json_lines_free(struct json_lines *self) {
    if (!self) return;
    for (int32_t i = 0; self->columns && i < self->columns_count; i++)
        for (int kind = 0; kind < KINDS; kind++) {
            struct plane *plane = &self->columns[i].planes[kind];
            free(plane->values);
            free(plane->valid);
            free(plane->heap);
        }
    if (self->plain) freelocale(self->plain);
    free(self->names);
    free(self->columns);
    free(self->slots);
    free(self->touched);
    free(self->touched_kinds);
    free(self->left);
    free(self->closing);
    free(self);
}

/*
 * Read `size` bytes, which are `count` lines parted by newlines, with a byte behind them that is no part of a
 * number. The names of the columns, at least one, stand in `names`, each before a newline; none has a quote, a
 * backslash or a control byte. Where planes would have more than `max_cells` rows in all, lines that need
 * another one are left. NULL where memory is short. The caller frees what is returned.
 */
struct json_lines *json_lines_read(text lines, size_t size, int64_t count, const char *names, int32_t columns,
                                   int32_t max_depth, int64_t max_cells) {
    struct json_lines *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    uint32_t slots = 2;
    while (slots < (uint32_t)columns * 2) slots *= 2;
    self->capacity = count;
    self->max_depth = max_depth;
    self->max_cells = max_cells;
    self->columns_count = columns;
    self->names = strdup(names);
    self->columns = calloc((size_t)columns, sizeof *self->columns);
    self->slots = calloc(slots, sizeof *self->slots);
    self->mask = slots - 1;
    self->touched = calloc((size_t)columns, sizeof *self->touched);
    self->touched_kinds = calloc((size_t)columns, sizeof *self->touched_kinds);
    self->closing = calloc((size_t)max_depth, 1);
    self->plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    bool whole = self->names && self->columns && self->slots && self->touched && self->touched_kinds;
    if (!whole || !self->closing || !self->plain) {
        json_lines_free(self);
        return NULL;
    }
    char *name = self->names;
    for (int32_t i = 0; i < columns; i++) {
        struct column *column = &self->columns[i];
        *column = (struct column){.name = (text)name, .size = strcspn(name, "\n"), .line = -1};
        uint32_t slot = hashed(column->name, column->size) & self->mask;
        while (self->slots[slot]) slot = (slot + 1) & self->mask;
        self->slots[slot] = (uint32_t)i + 1;
        name += column->size + 1;
    }
    read_lines(self, lines, size);
    return self;
}

/* ---- Handing over ---- */

static void release_schema(struct ArrowSchema *schema) {
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release) schema->children[i]->release(schema->children[i]);
        free(schema->children[i]);
    }
    free(schema->children);
    free(schema->private_data); /* the name */
    schema->release = NULL;
}

static void release_array(struct ArrowArray *array) {
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release) array->children[i]->release(array->children[i]);
        free(array->children[i]);
    }
    for (int64_t i = 0; i < array->n_buffers; i++) free((void *)array->buffers[i]);
    free(array->children);
    free(array->buffers);
    array->release = NULL;
}

static bool move_plane(struct json_lines *self, struct column *column, enum kind kind,
                       struct ArrowSchema *schema, struct ArrowArray *array) {
    struct plane *plane = &column->planes[kind];
    size_t size = strlen(KIND_NAMES[kind]) + 1 + column->size + 1;
    char *name = malloc(size);
    const void **buffers = calloc(4, sizeof *buffers);
    int64_t *heap_size = malloc(sizeof *heap_size);
    if (!name || !buffers || !heap_size) {
        free(name), free(buffers), free(heap_size);
        return false;
    }
    snprintf(name, size, "%s:%.*s", KIND_NAMES[kind], (int)column->size, (const char *)column->name);
    *schema = (struct ArrowSchema){
        .format = FORMATS[kind], .name = name, .flags = NULLABLE, .release = release_schema, .private_data = name};
    *array = (struct ArrowArray){.length = self->rows, .null_count = self->rows - plane->count, .n_buffers = 2,
                                 .buffers = buffers, .release = release_array};
    if (plane->count < self->rows) {
        buffers[0] = plane->valid;
    } else {
        free(plane->valid);
    }
    buffers[1] = plane->values;
    if (is_text(kind)) {
        *heap_size = (int64_t)plane->heap_used;
        uint8_t *shrunk = realloc(plane->heap, plane->heap_used + 1);
        buffers[2] = shrunk ? shrunk : plane->heap;
        buffers[3] = heap_size;
        array->n_buffers = 4;
    } else {
        free(heap_size);
    }
    *plane = (struct plane){0};
    return true;
}

/* Move the planes that hold a value into a struct of them; return their number, -1 where memory is short. */
int64_t json_lines_move(struct json_lines *self, struct ArrowSchema *schema, struct ArrowArray *array) {
    int64_t room = self->planes_count + 1;
    *schema = (struct ArrowSchema){.format = "+s", .name = "", .release = release_schema};
    *array = (struct ArrowArray){.length = self->rows, .release = release_array};
    schema->children = calloc((size_t)room, sizeof *schema->children);
    array->children = calloc((size_t)room, sizeof *array->children);
    array->buffers = calloc(1, sizeof *array->buffers);
    bool moved = schema->children && array->children && array->buffers;
    array->n_buffers = array->buffers ? 1 : 0; /* no row of the struct is NULL, so it is not filled */
    for (int32_t i = 0; moved && i < self->columns_count; i++)
        for (int kind = 0; moved && kind < KINDS; kind++) {
            if (!self->columns[i].planes[kind].count) continue;
            int64_t at = array->n_children;
            schema->children[at] = calloc(1, sizeof **schema->children);
            array->children[at] = calloc(1, sizeof **array->children);
            schema->n_children += schema->children[at] != NULL;
            array->n_children += array->children[at] != NULL;
            moved = schema->children[at] && array->children[at] &&
                    move_plane(self, &self->columns[i], (enum kind)kind, schema->children[at], array->children[at]);
        }
    if (moved) return array->n_children;
    release_schema(schema);
    release_array(array);
    return -1;
}
