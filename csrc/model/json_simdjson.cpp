// SPDX-License-Identifier: Apache-2.0
#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string_view>
#include <vector>

extern "C" {
#include "model/json.h"
#include "model/json_scan.h"
#include "model/value.h"
}

namespace dom = simdjson::dom;

namespace {

/* Packed lengths have 32 bits, and packing makes a text at most nine times longer. */
constexpr size_t bytes_max = size_t{256} << 20;

struct member {
    std::string_view key;
    dom::element value;
};

} // namespace

struct mst_json_parser {
    dom::parser parser;
    std::vector<char> padded;
    std::vector<member> members; /* a stack: those of every object that is being packed */
};

namespace {

class packer {
public:
    packer(mst_json_parser &parser, const mst_json_limits &limits, unsigned depth, mst_buffer *out)
        : members(parser.members), limits(limits), depth(depth), out(out)
    {
        members.clear();
    }

    int pack(dom::element value, unsigned level);

    const char *duplicate = nullptr; /* start of the second key in the parser's memory */
    std::string_view duplicate_key;

private:
    int pack_array(dom::array array, unsigned level);
    int pack_object(dom::object object, unsigned level);
    int find_duplicate(size_t base);

    std::vector<member> &members;
    const mst_json_limits &limits;
    unsigned depth;
    uint64_t fields = 0;
    mst_buffer *out;
};

enum { refused_depth = 1, refused_fields, refused_duplicate };

int packer::pack(dom::element value, unsigned level)
{
    switch (value.type()) {
    case dom::element_type::ARRAY:
        return pack_array(value.get_array().value_unsafe(), level);
    case dom::element_type::OBJECT:
        return pack_object(value.get_object().value_unsafe(), level);
    case dom::element_type::STRING: {
        std::string_view text = value.get_string().value_unsafe();
        mst_value_put_string(out, text.data(), text.size());
        return 0;
    }
    case dom::element_type::INT64:
        mst_value_put_int(out, value.get_int64().value_unsafe());
        return 0;
    case dom::element_type::UINT64:
        mst_value_put_double(out, static_cast<double>(value.get_uint64().value_unsafe()));
        return 0;
    case dom::element_type::DOUBLE:
        mst_value_put_double(out, value.get_double().value_unsafe());
        return 0;
    case dom::element_type::BOOL:
        mst_value_put_bool(out, value.get_bool().value_unsafe());
        return 0;
    case dom::element_type::NULL_VALUE:
        break;
    }
    mst_value_put_null(out);
    return 0;
}

int packer::pack_array(dom::array array, unsigned level)
{
    if (level == depth)
        return refused_depth;
    size_t token = mst_value_begin(out, MST_ARRAY);
    uint32_t count = 0;
    for (dom::element element : array) {
        int status = pack(element, level + 1);
        if (status != 0)
            return status;
        count++;
    }
    mst_value_end(out, token, count);
    return 0;
}

/* Keys lie in the parser's memory in the order of the text, so addresses tell which of two equal keys comes second. */
int packer::find_duplicate(size_t base)
{
    for (size_t i = base + 1; i < members.size(); i++) {
        if (members[i].key != members[i - 1].key)
            continue;
        const char *second = std::max(members[i].key.data(), members[i - 1].key.data());
        if (!duplicate || second < duplicate) {
            duplicate = second;
            duplicate_key = members[i].key;
        }
    }
    return duplicate ? refused_duplicate : 0;
}

int packer::pack_object(dom::object object, unsigned level)
{
    if (level == depth)
        return refused_depth;
    size_t base = members.size();
    for (dom::key_value_pair field : object)
        members.push_back({field.key, field.value});
    fields += members.size() - base;
    if (limits.fields && fields > limits.fields)
        return refused_fields;
    /* std::string_view compares as unsigned bytes, which is the order packed objects keep. */
    std::sort(members.begin() + static_cast<std::ptrdiff_t>(base), members.end(),
              [](const member &a, const member &b) { return a.key < b.key; });
    int status = find_duplicate(base);
    size_t token = mst_value_begin(out, MST_OBJECT), end = members.size();
    for (size_t i = base; status == 0 && i < end; i++) {
        mst_value_put_key(out, members[i].key.data(), members[i].key.size());
        status = pack(members[i].value, level + 1);
    }
    mst_value_end(out, token, static_cast<uint32_t>(end - base));
    members.resize(base);
    return status;
}

/* Number of the key that lies at `wanted`, in the order of the text; true when it was found. */
bool number_key(dom::element value, const char *wanted, uint64_t &number)
{
    if (value.is_array()) {
        dom::array array = value.get_array().value_unsafe();
        for (dom::element element : array)
            if (number_key(element, wanted, number))
                return true;
    } else if (value.is_object()) {
        dom::object object = value.get_object().value_unsafe();
        for (dom::key_value_pair field : object) {
            if (field.key.data() == wanted)
                return true;
            number++;
            if (number_key(field.value, wanted, number))
                return true;
        }
    }
    return false;
}

simdjson::error_code read(mst_json_parser &parser, const char *text, size_t length, dom::element &root)
{
    parser.padded.resize(length + simdjson::SIMDJSON_PADDING);
    if (length)
        std::memcpy(parser.padded.data(), text, length);
    std::memset(parser.padded.data() + length, 0, simdjson::SIMDJSON_PADDING);
    return parser.parser.parse(parser.padded.data(), length, false).get(root);
}

/* simdjson knows no integers beyond 64 bits; such a text is parsed again with those written as doubles. */
simdjson::error_code read_wide(mst_json_parser &parser, const char *text, size_t length, dom::element &root)
{
    mst_buffer wide{};
    mst__json_widen(text, length, &wide);
    simdjson::error_code code = wide.failed ? simdjson::MEMALLOC : read(parser, wide.data, wide.length, root);
    mst_buffer_deinit(&wide);
    return code;
}

int refuse_syntax(const char *text, size_t length, unsigned depth, simdjson::error_code code, mst_error *error)
{
    if (code == simdjson::MEMALLOC)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    int status = mst__json_diagnose(text, length, depth, error);
    return status < 0 ? status : mst_error_set(error, MST_EJSON, "%s", simdjson::error_message(code));
}

int refuse_duplicate(const packer &packer, dom::element root, const char *text, size_t length, mst_error *error)
{
    uint64_t number = 0;
    number_key(root, packer.duplicate, number);
    size_t shown = std::min<size_t>(packer.duplicate_key.size(), 64);
    mst_buffer key{};
    mst_json_put_string(&key, packer.duplicate_key.data(), shown);
    mst_error_set(error, MST_EJSON, "duplicate key %.*s", static_cast<int>(key.length), key.data ? key.data : "");
    mst_buffer_deinit(&key);
    mst_error_at(error, text, length, mst__json_key_offset(text, length, number));
    return MST_EJSON;
}

int refuse_fields(uint32_t fields, const char *text, size_t length, mst_error *error)
{
    mst_error_set(error, MST_ETOOBIG, "more than %u fields", static_cast<unsigned>(fields));
    mst_error_at(error, text, length, mst__json_key_offset(text, length, fields));
    return MST_ETOOBIG;
}

int parse(mst_json_parser &parser, const char *text, size_t length, const mst_json_limits &limits, mst_buffer *out,
          mst_error *error)
{
    unsigned depth = std::min(limits.depth, MST__JSON_DEPTH_MAX);
    if (length > std::min(limits.bytes, bytes_max))
        return mst_error_set(error, MST_ETOOBIG, "text has %zu bytes; at most %zu are allowed", length,
                             std::min(limits.bytes, bytes_max));
    dom::element root;
    simdjson::error_code code = read(parser, text, length, root);
    if (code == simdjson::NUMBER_ERROR && mst__json_diagnose(text, length, depth, nullptr) == 0)
        code = read_wide(parser, text, length, root);
    if (code != simdjson::SUCCESS)
        return refuse_syntax(text, length, depth, code, error);
    packer packer(parser, limits, depth, out);
    switch (packer.pack(root, 0)) {
    case 0:
        break;
    case refused_fields:
        return refuse_fields(limits.fields, text, length, error);
    case refused_duplicate:
        return refuse_duplicate(packer, root, text, length, error);
    default:
        return refuse_syntax(text, length, depth, simdjson::DEPTH_ERROR, error);
    }
    if (!out->failed)
        return 0;
    int status = out->limit ? MST_ETOOBIG : MST_ENOMEM;
    return mst_error_set(error, status, "%s", mst_error_text(status));
}

} // namespace

extern "C" struct mst_json_parser *mst_json_parser_create(void)
{
    return new (std::nothrow) mst_json_parser();
}

extern "C" void mst_json_parser_destroy(struct mst_json_parser *parser)
{
    delete parser;
}

extern "C" int mst_json_parse(struct mst_json_parser *parser, const char *text, size_t length,
                              const struct mst_json_limits *limits, struct mst_buffer *out, struct mst_error *error)
{
    size_t before = out->length;
    bool failed = out->failed;
    int status;
    try {
        status = parse(*parser, text, length, *limits, out, error);
    } catch (const std::bad_alloc &) {
        status = mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    }
    if (status < 0) {
        out->length = before;
        out->failed = failed;
    }
    return status;
}
