// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <string.h>

#include "match/types.h"

/* The bytes of an address, 4 or 16; 0 if it is none. */
static unsigned parse_address(uint8_t address[16], const char *text, size_t length)
{
    char copy[INET6_ADDRSTRLEN];
    if (length >= sizeof copy || memchr(text, '\0', length))
        return 0;
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (inet_pton(AF_INET, copy, address) == 1)
        return 4;
    return inet_pton(AF_INET6, copy, address) == 1 ? 16 : 0;
}

static bool parse_bits(unsigned *bits, const char *text, size_t length)
{
    if (length == 0 || length > 3 || (text[0] == '0' && length > 1))
        return false;
    *bits = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *bits = *bits * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

bool mst__cidr_parse(struct mst__cidr *cidr, const char *text, size_t length)
{
    const char *slash = length ? memchr(text, '/', length) : NULL;
    size_t address = slash ? (size_t)(slash - text) : length;
    *cidr = (struct mst__cidr){0};
    cidr->bytes = length ? parse_address(cidr->address, text, address) : 0;
    if (cidr->bytes == 0)
        return false;
    cidr->bits = cidr->bytes * 8;
    unsigned bits;
    if (!slash)
        return true;
    if (!parse_bits(&bits, slash + 1, length - address - 1) || bits > cidr->bits)
        return false;
    cidr->bits = bits;
    return true;
}

bool mst__cidr_holds(const struct mst__cidr *cidr, const char *text, size_t length)
{
    uint8_t address[16];
    unsigned bytes = length ? parse_address(address, text, length) : 0;
    if (bytes == 0 || bytes != cidr->bytes)
        return false;
    unsigned whole = cidr->bits / 8, rest = cidr->bits % 8;
    if (memcmp(address, cidr->address, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ cidr->address[whole]) & (0xffu << (8 - rest) & 0xffu)) == 0;
}
