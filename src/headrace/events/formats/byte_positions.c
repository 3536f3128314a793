/* Where a byte occurs in a text: sixteen bytes at a time, without the interpreter's lock. */

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * Write where a byte occurs from `*at` on, as far as there is `room`; return how many, and in `*at` where to go on.
 * The bits in `fold` are set in each byte before it is compared.
 */
size_t byte_positions(const uint8_t *text, size_t size, uint8_t byte, uint8_t fold, size_t *at, int64_t *found,
                      size_t room) {
    size_t count = 0, here = *at;
#if defined(__SSE2__)
    const __m128i wanted = _mm_set1_epi8((char)byte), folded = _mm_set1_epi8((char)fold);
    for (; size - here >= 16 && room - count >= 16; here += 16) {
        __m128i bytes = _mm_or_si128(_mm_loadu_si128((const __m128i *)(text + here)), folded);
        uint32_t places = (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted));
        for (; places; places &= places - 1) found[count++] = (int64_t)here + __builtin_ctz(places);
    }
#endif
    for (; here < size && count < room; here++)
        if ((uint8_t)(text[here] | fold) == byte) found[count++] = (int64_t)here;
    *at = here;
    return count;
}
