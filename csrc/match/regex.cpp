// SPDX-License-Identifier: Apache-2.0
#include "match/regex.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>

/* Half a megabyte holds the automaton of any pattern a person writes, and 64 of them still fit anywhere. */
static constexpr int64_t max_memory = 512 << 10;

struct mst_regex {
    RE2 re2;
    mst_regex(const re2::StringPiece &pattern, const RE2::Options &options) : re2(pattern, options) {}
};

static long find_offset(const RE2 &re2, const re2::StringPiece &pattern)
{
    const std::string &part = re2.error_arg();
    size_t at = part.empty() ? std::string::npos : std::string(pattern.data(), pattern.size()).find(part);
    return at == std::string::npos ? -1 : static_cast<long>(at);
}

mst__regex_status mst__regex_compile(mst_regex **regex, const char *pattern, size_t length, char *message, size_t size,
                                     long *offset)
try {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(max_memory);
    options.set_never_capture(true);
    re2::StringPiece piece(pattern, length);
    mst_regex *made = new mst_regex(piece, options);
    if (!made->re2.ok()) {
        snprintf(message, size, "%s", made->re2.error().c_str());
        *offset = find_offset(made->re2, piece);
        delete made;
        return MST__REGEX_BAD;
    }
    if (regex)
        *regex = made;
    else
        delete made;
    return MST__REGEX_OK;
} catch (...) {
    return MST__REGEX_NO_MEMORY;
}

void mst__regex_destroy(mst_regex *regex)
{
    delete regex;
}

bool mst__regex_search(const mst_regex *regex, const char *text, size_t length)
try {
    return regex->re2.Match(re2::StringPiece(text, length), 0, length, RE2::UNANCHORED, nullptr, 0);
} catch (...) {
    return false;
}
