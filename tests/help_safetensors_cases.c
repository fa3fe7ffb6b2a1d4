/* Most cases are a header as text, in which for legibility
 *
 *   '  is written for "
 *   `  is written for '
 *   ~  marks the byte at which the reader must refuse, and is left out
 *
 * followed by n_data bytes of data. Where there is no ~ the refusal is at byte `at` of the data, or,
 * in a good file, `at` is the number of tensors. The others are made by functions. */
#include "help_safetensors.h"

#include <inttypes.h>
#include <string.h>

static void put_text(sth_file *file, const char *text) {
    sth_put(file, text, (int64_t)strlen(text));
}

/* One case as the tables have it. */
typedef struct row row;
typedef void make_file(sth_case *out, const row *from);
struct row {
    const char *name;
    const char *code;
    const char *text;
    size_t text_bytes;
    int64_t n_data;
    int64_t at;
    make_file *make; /* NULL: text is a header */
    uint64_t number; /* for make */
    bool is_large;
};

#define TEXT(literal) .text = (literal), .text_bytes = sizeof(literal) - 1

/* ---- headers as text ------------------------------------------------------------------------- */

static void make_header(sth_case *out, const row *from) {
    int64_t marked = 0;
    sth_fill(&out->file, 0, 8);
    for (size_t i = 0; i < from->text_bytes; i++) {
        const char c = from->text[i];
        if (c == '~')
            marked = out->file.n;
        else
            sth_fill(&out->file, c == '\'' ? '"' : c == '`' ? '\'' : c, 1);
    }
    const int64_t data_at = out->file.n;
    sth_set_length(&out->file, (uint64_t)(data_at - 8));
    sth_fill(&out->file, 0, from->n_data);
    if (from->code) out->at = marked ? marked : data_at + from->at;
    if (!from->code) out->n_tensors = (int32_t)from->at;
}

#define F32   "'dtype':'F32','shape':[1],'data_offsets':"
#define ONE   "{" F32 "[0,4]}"
#define OTHER "{" F32 "[4,8]}"

#define BAD(a_name, a_code, a_text, data, place) \
    { .name = (a_name), .code = (a_code), a_text, .n_data = (data), .at = (place) }
#define GOOD(a_name, a_text, data, n) \
    { .name = (a_name), a_text, .n_data = (data), .at = (n) }

static const row header_rows[] = {
        BAD("04 one byte of header", "ST_JSON_EOF", TEXT("{~"), 0, 0),
        BAD("10 byte FF in a name", "ST_UTF8", TEXT("{'~\xff':" ONE "}"), 4, 0),
        BAD("10 overlong C0 80 in a name", "ST_UTF8", TEXT("{'a~\xc0\x80':" ONE "}"), 4, 0),
        BAD("10 a surrogate ED A0 80 in a name", "ST_UTF8", TEXT("{'~\xed\xa0\x80':" ONE "}"), 4,
                0),
        BAD("10 F5 in a name", "ST_UTF8", TEXT("{'~\xf5\x80\x80\x80':" ONE "}"), 4, 0),
        BAD("10 a character that the header's end cuts", "ST_UTF8", TEXT("{'~\xe2\x82"), 0, 0),
        BAD("10 byte FF outside of strings", "ST_UTF8", TEXT("{~\xff}"), 0, 0),
        BAD("11 a byte order mark", "ST_NOT_OBJECT", TEXT("~\xef\xbb\xbf{}"), 0, 0),
        BAD("12 an array first", "ST_NOT_OBJECT", TEXT("~[]"), 0, 0),
        BAD("12 a string first", "ST_NOT_OBJECT", TEXT("~'a'"), 0, 0),
        BAD("12 a space first", "ST_NOT_OBJECT", TEXT("~ {}"), 0, 0),
        BAD("12 a tab first", "ST_NOT_OBJECT", TEXT("~\t{}"), 0, 0),
        BAD("12 a line feed first", "ST_NOT_OBJECT", TEXT("~\n{}"), 0, 0),
        BAD("13 garbage behind the object", "ST_TRAILING", TEXT("{}~x"), 0, 0),
        BAD("13 a second object behind the first", "ST_TRAILING", TEXT("{}  ~{}"), 0, 0),
        BAD("14 NUL padding", "ST_TRAILING", TEXT("{}~\0\0\0"), 0, 0),
        GOOD("15 no tensors and spaces", TEXT("{}      "), 0, 0),
        BAD("16 no tensors and a byte of data", "ST_DATA_EXTRA", TEXT("{}"), 1, 0),
        BAD("19 trailing comma in the object", "ST_JSON", TEXT("{'a':" ONE ",~}"), 4, 0),
        BAD("19 trailing comma in an entry", "ST_JSON", TEXT("{'a':{" F32 "[0,4],~}}"), 4, 0),
        BAD("19 missing colon", "ST_JSON", TEXT("{'a'~" ONE "}"), 4, 0),
        BAD("19 missing comma", "ST_JSON", TEXT("{'a':" ONE "~'b':" OTHER "}"), 8, 0),
        BAD("19 single quotes", "ST_JSON", TEXT("{~`a`:" ONE "}"), 4, 0),
        BAD("19 a comment", "ST_JSON", TEXT("{~/* */'a':" ONE "}"), 4, 0),
        BAD("19 a bad escape", "ST_JSON", TEXT("{'\\~x':" ONE "}"), 4, 0),
        BAD("19 NaN for an entry", "ST_ENTRY", TEXT("{'a':~NaN}"), 0, 0),
        BAD("19 NaN for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~NaN],'data_offsets':[0,4]}}"), 4, 0),
        BAD("20 a raw control character in a name", "ST_NAME", TEXT("{'a~\x01':" ONE "}"), 4, 0),
        BAD("20 a raw DEL in a name", "ST_NAME", TEXT("{'a~\x7f':" ONE "}"), 4, 0),
        BAD("20 an escaped NUL in a name", "ST_NAME", TEXT("{'a~\\u0000':" ONE "}"), 4, 0),
        BAD("20 an escaped line feed in a name", "ST_NAME", TEXT("{'a~\\n':" ONE "}"), 4, 0),
        BAD("20 a lone high surrogate", "ST_NAME", TEXT("{'~\\uD800':" ONE "}"), 4, 0),
        BAD("20 a lone low surrogate", "ST_NAME", TEXT("{'~\\uDC00':" ONE "}"), 4, 0),
        BAD("20 a high surrogate before a letter", "ST_NAME", TEXT("{'~\\uD800\\u0041':" ONE "}"),
                4, 0),
        GOOD("20 a pair of surrogates", TEXT("{'\\uD83D\\uDE00':" ONE "}"), 4, 1),
        BAD("21 a name and its unicode escape", "ST_DUP_NAME",
                TEXT("{'a':" ONE ",~'\\u0061':" OTHER "}"), 8, 0),
        BAD("21 a name and its escaped slash", "ST_DUP_NAME",
                TEXT("{'a/b':" ONE ",~'a\\/b':" OTHER "}"), 8, 0),
        BAD("22 the same tensor twice", "ST_DUP_NAME", TEXT("{'a':" ONE ",~'a':" ONE "}"), 4, 0),
        BAD("23 a second tensor of the name in the hole", "ST_DUP_NAME",
                TEXT("{'a':" ONE ",'b':{" F32 "[8,12]},~'a':" OTHER "}"), 12, 0),
        BAD("24 two __metadata__", "ST_DUP_NAME",
                TEXT("{'__metadata__':{},'a':" ONE ",~'__metadata__':{}}"), 4, 0),
        BAD("25 metadata: a number", "ST_META_TYPE", TEXT("{'__metadata__':{'k':~1},'a':" ONE "}"),
                4, 0),
        BAD("25 metadata: null", "ST_META_TYPE", TEXT("{'__metadata__':{'k':~null},'a':" ONE "}"),
                4, 0),
        BAD("25 metadata: an array", "ST_META_TYPE", TEXT("{'__metadata__':{'k':~[]},'a':" ONE "}"),
                4, 0),
        BAD("25 metadata: an object in it", "ST_META_TYPE",
                TEXT("{'__metadata__':{'k':~{}},'a':" ONE "}"), 4, 0),
        BAD("26 metadata is an array", "ST_META_TYPE", TEXT("{'__metadata__':~['k'],'a':" ONE "}"),
                4, 0),
        BAD("26 metadata like a tensor", "ST_META_TYPE",
                TEXT("{'__metadata__':{'dtype':'F32','shape':~[1],'data_offsets':[0,4]}}"), 4, 0),
        GOOD("27 metadata",
                TEXT("{'__metadata__':{'format':'pt','\\u0061':'','b':'\xc3\xa9'},'a':" ONE "}"), 4,
                1),
        BAD("28 an empty name", "ST_NAME", TEXT("{~'':" ONE "}"), 4, 0),
        GOOD("28 a name like a path", TEXT("{'../../x':" ONE "}"), 4, 1),
        GOOD("28 a name like a format", TEXT("{'%n%s%99999d':" ONE "}"), 4, 1),
        BAD("28 a format with a line feed", "ST_NAME", TEXT("{'%n~\n':" ONE "}"), 4, 0),
        BAD("29 no dtype", "ST_FIELD_MISSING", TEXT("{'a':{'shape':[1],'data_offsets':[0,4]~}}"), 4,
                0),
        BAD("29 no shape", "ST_FIELD_MISSING", TEXT("{'a':{'dtype':'F32','data_offsets':[0,4]~}}"),
                4, 0),
        BAD("29 no data_offsets", "ST_FIELD_MISSING", TEXT("{'a':{'dtype':'F32','shape':[1]~}}"), 4,
                0),
        BAD("29 an empty entry", "ST_FIELD_MISSING", TEXT("{'a':{~}}"), 0, 0),
        BAD("30 dtype twice", "ST_FIELD_DUP",
                TEXT("{'a':{'dtype':'F32',~'dtype':'F32','shape':[1],'data_offsets':[0,4]}}"), 4,
                0),
        BAD("30 shape twice", "ST_FIELD_DUP", TEXT("{'a':{" F32 "[0,4],~'shape':[1]}}"), 4, 0),
        BAD("30 data_offsets twice", "ST_FIELD_DUP",
                TEXT("{'a':{" F32 "[0,4],~'data_offsets':[0,4]}}"), 4, 0),
        BAD("31 an unknown field", "ST_FIELD_UNKNOWN", TEXT("{'a':{" F32 "[0,4],~'foo':1}}"), 4, 0),
        BAD("32 dtype in lower case", "ST_DTYPE",
                TEXT("{'a':{'dtype':~'f32','shape':[1],'data_offsets':[0,4]}}"), 4, 0),
        BAD("32 an unknown dtype", "ST_DTYPE",
                TEXT("{'a':{'dtype':~'F31','shape':[1],'data_offsets':[0,4]}}"), 4, 0),
        BAD("32 dtype is a number", "ST_DTYPE",
                TEXT("{'a':{'dtype':~32,'shape':[1],'data_offsets':[0,4]}}"), 4, 0),
        BAD("33 F64", "ST_DTYPE_UNSUPPORTED",
                TEXT("{'a':{'dtype':~'F64','shape':[1],'data_offsets':[0,8]}}"), 8, 0),
        BAD("33 F8", "ST_DTYPE_UNSUPPORTED",
                TEXT("{'a':{'dtype':~'F8_E4M3','shape':[1],'data_offsets':[0,1]}}"), 1, 0),
        BAD("33 F4", "ST_DTYPE_UNSUPPORTED",
                TEXT("{'a':{'dtype':~'F4','shape':[2],'data_offsets':[0,1]}}"), 1, 0),
        BAD("33 C64", "ST_DTYPE_UNSUPPORTED",
                TEXT("{'a':{'dtype':~'C64','shape':[1],'data_offsets':[0,8]}}"), 8, 0),
        BAD("34 three times half a byte", "ST_MISALIGNED",
                TEXT("{'a':{'dtype':'F4','shape':~[3],'data_offsets':[0,2]}}"), 2, 0),
        BAD("35 shape is a number", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':~1,'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 a string for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~'1'],'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 2.0 for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~2.0],'data_offsets':[0,8]}}"), 8, 0),
        BAD("35 1e3 for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~1e3],'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 -1 for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~-1],'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 -0 for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~-0],'data_offsets':[0,0]}}"), 0, 0),
        BAD("35 01 for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~01],'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 true for a dimension", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[~true],'data_offsets':[0,4]}}"), 4, 0),
        BAD("35 a trailing comma in a shape", "ST_SHAPE",
                TEXT("{'a':{'dtype':'F32','shape':[1,~],'data_offsets':[0,4]}}"), 4, 0),
        BAD("36 2^63 for a dimension", "ST_INT",
                TEXT("{'a':{'dtype':'F32','shape':[~9223372036854775808],'data_offsets':[0,4]}}"),
                4, 0),
        BAD("36 2^64 for a dimension", "ST_INT",
                TEXT("{'a':{'dtype':'F32','shape':[~18446744073709551616],'data_offsets':[0,4]}}"),
                4, 0),
        BAD("37 2 x (2^64 - 2) elements", "ST_INT",
                TEXT("{'a':{'dtype':'F32','shape':[2,~18446744073709551614],'data_offsets':[0,4]}"
                     "}"),
                4, 0),
        BAD("37 2 x (2^63 - 1) of I32", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'I32','shape':~[2,9223372036854775807],'data_offsets':[0,4]}}"),
                4, 0),
        BAD("38 2^32 x 2^32 elements", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'F32','shape':~[4294967296,4294967296],'data_offsets':[0,0]}}"),
                0, 0),
        BAD("38 2^48 x 2^48 x 0 elements", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'F32','shape':~[281474976710656,281474976710656,0],'data_"
                     "offsets':[0,0]}}"),
                0, 0),
        BAD("38 0 x 2^48 x 2^48 elements", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'F32','shape':~[0,281474976710656,281474976710656],'data_"
                     "offsets':[0,0]}}"),
                0, 0),
        GOOD("39 an empty tensor", TEXT("{'a':{'dtype':'F32','shape':[0,5],'data_offsets':[0,0]}}"),
                0, 1),
        GOOD("39 an empty tensor between two",
                TEXT("{'a':" ONE
                     ",'e':{'dtype':'BF16','shape':[5,0],'data_offsets':[4,4]},'b':" OTHER "}"),
                8, 3),
        GOOD("40 rank 0", TEXT("{'a':{'dtype':'F32','shape':[],'data_offsets':[0,4]}}"), 4, 1),
        GOOD("41 rank 8",
                TEXT("{'a':{'dtype':'F16','shape':[1,1,2,1,1,1,1,1],'data_offsets':[0,4]}}"), 4, 1),
        BAD("42 no offsets", "ST_OFFSETS", TEXT("{'a':{" F32 "[~]}}"), 4, 0),
        BAD("42 one offset", "ST_OFFSETS", TEXT("{'a':{" F32 "[0~]}}"), 4, 0),
        BAD("42 three offsets", "ST_OFFSETS", TEXT("{'a':{" F32 "[0,4~,8]}}"), 4, 0),
        BAD("42 a string for an offset", "ST_OFFSETS", TEXT("{'a':{" F32 "[0,~'4']}}"), 4, 0),
        BAD("42 a fraction for an offset", "ST_OFFSETS", TEXT("{'a':{" F32 "[~0.0,4]}}"), 4, 0),
        BAD("42 a negative offset", "ST_OFFSETS", TEXT("{'a':{" F32 "[~-4,0]}}"), 4, 0),
        BAD("42 offsets are an object", "ST_OFFSETS", TEXT("{'a':{" F32 "~{}}}"), 4, 0),
        BAD("43 begins behind its end", "ST_OFFSETS_ORDER", TEXT("{'a':{" F32 "~[4,0]}}"), 4, 0),
        BAD("44 a byte too many", "ST_SIZE", TEXT("{'a':{" F32 "~[0,5]}}"), 5, 0),
        BAD("44 a byte too few", "ST_SIZE", TEXT("{'a':{" F32 "~[0,3]}}"), 3, 0),
        BAD("45 the first tensor begins late", "ST_HOLE", TEXT("{'a':" OTHER "}"), 8, 0),
        BAD("46 a hole of a byte", "ST_HOLE", TEXT("{'a':" ONE ",'b':{" F32 "[5,9]}}"), 9, 4),
        BAD("47 an overlap of a byte", "ST_OVERLAP", TEXT("{'a':" ONE ",'b':{" F32 "[3,7]}}"), 7,
                3),
        BAD("47 an alias", "ST_OVERLAP", TEXT("{'a':" ONE ",'b':" ONE "}"), 4, 0),
        BAD("47 a tensor inside another", "ST_OVERLAP",
                TEXT("{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8]},'b':" OTHER "}"), 8, 4),
        BAD("50 the data ends one byte early", "ST_DATA_SHORT", TEXT("{'a':" ONE "}"), 3, 3),
        BAD("51 an end at 2^48", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'F32','shape':[70368744177664],'data_offsets':~[0,"
                     "281474976710656]}}"),
                4, 0),
        BAD("51 an end at 2^63 - 1", "ST_OVERFLOW",
                TEXT("{'a':{'dtype':'F32','shape':[0],'data_offsets':~[9223372036854775807,"
                     "9223372036854775807]}}"),
                0, 0),
        BAD("52 cut by a byte", "ST_DATA_SHORT", TEXT("{'a':" ONE ",'b':" OTHER "}"), 7, 7),
        BAD("52 cut by half", "ST_DATA_SHORT",
                TEXT("{'a':" ONE ",'b':{'dtype':'F32','shape':[3],'data_offsets':[4,16]}}"), 8, 8),
        BAD("52 cut behind the first tensor", "ST_DATA_SHORT", TEXT("{'a':" ONE ",'b':" OTHER "}"),
                4, 4),
        BAD("52 cut before the data", "ST_DATA_SHORT", TEXT("{'a':" ONE ",'b':" OTHER "}"), 0, 0),
        BAD("53 one extra byte", "ST_DATA_EXTRA", TEXT("{'a':" ONE "}"), 5, 4),
        BAD("53 4096 extra bytes", "ST_DATA_EXTRA", TEXT("{'a':" ONE "}"), 4100, 4),
        GOOD("54 tensors in reverse order", TEXT("{'z':{" F32 "[8,12]},'y':" OTHER ",'x':" ONE "}"),
                12, 3),
        GOOD("55 data that is not aligned", TEXT("{'a':" ONE "} "), 4, 1),
        GOOD("55 data that is aligned otherwise", TEXT("{ 'a' :\t{ " F32 "[ 0 , 4 ] }\r\n}   "), 4,
                1),
};

/* ---- files made otherwise -------------------------------------------------------------------- */

static void make_bytes(sth_case *out, const row *from) {
    sth_put(&out->file, from->text, (int64_t)from->text_bytes);
}

/* A length that claims `number` bytes, then n_data spaces. */
static void make_claim(sth_case *out, const row *from) {
    sth_fill(&out->file, 0, 8);
    sth_set_length(&out->file, from->number);
    sth_fill(&out->file, ' ', from->n_data);
}

/* Large or repetitive headers are written behind eight bytes, then the length is set. */

static void begin(sth_case *out) {
    sth_fill(&out->file, 0, 8);
}

static void end(sth_case *out, int64_t n_data) {
    sth_set_length(&out->file, (uint64_t)(out->file.n - 8));
    sth_fill(&out->file, 0, n_data);
}

static void make_deep(sth_case *out, const row *from) {
    begin(out);
    put_text(&out->file, from->text);
    out->at = out->file.n + 32;
    sth_fill(&out->file, '[', (int64_t)from->number);
    end(out, 0);
}

/* `text` and white space up to 100 MB, the largest header there may be. */
static void make_white(sth_case *out, const row *from) {
    const int64_t n_bytes = out->is_fast ? 1000000 : GLM_ST_HEADER_BYTES_MAX;
    begin(out);
    put_text(&out->file, from->text);
    sth_fill(&out->file, from->text_bytes ? '\n' : ' ', 8 + n_bytes - out->file.n);
    out->at = from->text_bytes ? out->file.n : 8;
    end(out, 0);
}

static void make_long_metadata(sth_case *out, const row *from) {
    begin(out);
    put_text(&out->file, "{\"__metadata__\":{\"k\":\"");
    out->at = out->file.n + GLM_ST_METADATA_BYTES_MAX + 1;
    sth_fill(&out->file, 'x', (int64_t)from->number);
    put_text(&out->file, "\"}}");
    end(out, 0);
}

static void make_much_metadata(sth_case *out, const row *from) {
    begin(out);
    put_text(&out->file, "{\"__metadata__\":");
    const int64_t at = out->file.n;
    for (int i = 0; out->file.n - at < (int64_t)from->number; i++) {
        char member[64];
        (void)snprintf(member, sizeof member, "%s\"%d\":\"%016d\"", i ? "," : "{", i, i);
        put_text(&out->file, member);
        if (out->at == 0 && out->file.n - at > GLM_ST_METADATA_BYTES_MAX) out->at = out->file.n;
    }
    put_text(&out->file, "}}");
    end(out, 0);
}

static void put_entry(sth_case *out, int64_t i, const char *name) {
    char text[GLM_ST_NAME_BYTES_MAX + 128];
    (void)snprintf(text, sizeof text,
            "%s\"%s%" PRId64 "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}",
            i ? "," : "{", name, i);
    put_text(&out->file, text);
}

/* The reference reader's attack: every tensor is the same four bytes. */
static void make_aliases(sth_case *out, const row *from) {
    const int64_t n =
            from->is_large && out->is_fast ? GLM_ST_TENSORS_MAX + 9 : (int64_t)from->number;
    begin(out);
    for (int64_t i = 0; i < n; i++) {
        put_entry(out, i, "t");
        if (i + 1 == GLM_ST_TENSORS_MAX) out->at = out->file.n + 1;
    }
    put_text(&out->file, "}");
    if (!from->is_large) out->at = out->file.n;
    end(out, 4);
}

/* A name of `number` bytes. */
static void make_long_name(sth_case *out, const row *from) {
    char name[GLM_ST_NAME_BYTES_MAX + 1] = "";
    memset(name, 'n', from->number - 1);
    begin(out);
    put_entry(out, 0, name); /* and a 0 */
    put_text(&out->file, "}");
    out->at = 8 + 2 + GLM_ST_NAME_BYTES_MAX + 1;
    out->n_tensors = 1;
    end(out, 4);
}

/* An entry of which some part is `number` times the text. */
static void make_long_part(sth_case *out, const char *before, const row *from, const char *after) {
    begin(out);
    put_text(&out->file, before);
    out->at = out->file.n + from->at;
    for (uint64_t i = 0; i < from->number; i++) put_text(&out->file, from->text);
    put_text(&out->file, after);
    end(out, 4);
}

static void make_long_dtype(sth_case *out, const row *from) {
    make_long_part(out, "{\"a\":{\"dtype\":\"", from, "\",\"shape\":[1],\"data_offsets\":[0,4]}}");
}

static void make_long_shape(sth_case *out, const row *from) {
    make_long_part(
            out, "{\"a\":{\"dtype\":\"F32\",\"shape\":[", from, "1],\"data_offsets\":[0,4]}}");
}

/* Tensors of 2^59 bytes: together `number` x 2^59. */
static void make_wrapping_sum(sth_case *out, const row *from) {
    begin(out);
    for (uint64_t i = 0; i < from->number; i++) {
        char text[256];
        (void)snprintf(text, sizeof text,
                "%s\"t%" PRIu64 "\":{\"dtype\":\"BF16\",\"shape\":[%" PRIu64
                ",2048],\"data_offsets\":",
                i ? "," : "{", i, UINT64_C(1) << 47);
        put_text(&out->file, text);
        if (i == 0) out->at = out->file.n;
        (void)snprintf(text, sizeof text, "[%" PRIu64 ",%" PRIu64 "]}", i << 59, (i + 1) << 59);
        put_text(&out->file, text);
    }
    put_text(&out->file, "}");
    end(out, 4);
}

/* A good file, and another kind of file behind it. */
static void make_polyglot(sth_case *out, const row *from) {
    begin(out);
    put_entry(out, 0, "a");
    put_text(&out->file, "}");
    end(out, 4);
    out->at = out->file.n;
    sth_put(&out->file, from->text, (int64_t)from->text_bytes);
    sth_fill(&out->file, 0, 18);
}

/* What people rename. */
static void make_renamed(sth_case *out, const row *from) {
    make_bytes(out, from);
    sth_fill(&out->file, 1, 100);
    out->at = from->at;
    out->hint = "not a safetensors file";
}

static void make_lfs_pointer(sth_case *out, const row *from) {
    make_bytes(out, from);
    out->hint = "this is a Git LFS pointer";
}

/* Refused because of the first eight bytes. */
#define CLAIM(a_name, a_code, length, n_more)                                       \
    {                                                                               \
        .name = (a_name), .code = (a_code), .make = make_claim, .number = (length), \
        .n_data = (n_more)                                                          \
    }
#define SHORT(a_name, a_text, n)                                                    \
    {                                                                               \
        .name = (a_name), .code = "ST_SHORT", .make = make_bytes, .text = (a_text), \
        .text_bytes = (n), .at = (n)                                                \
    }

static const row made_rows[] = {
        SHORT("01 an empty file", "", 0),
        SHORT("02 one byte", "\x02", 1),
        SHORT("02 two bytes", "\x02\0", 2),
        SHORT("02 three bytes", "\x02\0\0", 3),
        SHORT("02 four bytes", "\x02\0\0\0", 4),
        SHORT("02 five bytes", "\x02\0\0\0\0", 5),
        SHORT("02 six bytes", "\x02\0\0\0\0\0", 6),
        SHORT("02 seven bytes", "\x02\0\0\0\0\0\0", 7),
        CLAIM("03 a header of 0 bytes", "ST_HDR_EMPTY", 0, 0),
        CLAIM("05 a header of 60 bytes that are not there", "ST_HDR_PAST_EOF", 60, 0),
        CLAIM("06 a header one byte past the end", "ST_HDR_PAST_EOF", 101, 100),
        CLAIM("07 a header of 100,000,001 bytes", "ST_HDR_TOO_BIG", 100000001, 100),
        CLAIM("08 a header of 2^63 bytes", "ST_HDR_TOO_BIG", UINT64_C(1) << 63, 100),
        CLAIM("08 a header of 2^64 - 1 bytes", "ST_HDR_TOO_BIG", UINT64_MAX, 100),
        CLAIM("08 a header of 2^64 - 8 bytes", "ST_HDR_TOO_BIG", UINT64_MAX - 7, 100),
        CLAIM("09 a length of 2 bytes in big-endian", "ST_HDR_TOO_BIG", UINT64_C(2) << 56, 2),
        {.name = "17 100,000 brackets in a value",
                .code = "ST_JSON_DEPTH",
                .make = make_deep,
                TEXT("{\"a\":"),
                .number = 100000,
                .is_large = true},
        {.name = "17 100,000 brackets in a dimension",
                .code = "ST_JSON_DEPTH",
                .make = make_deep,
                TEXT("{\"a\":{\"shape\":["),
                .number = 100000,
                .is_large = true},
        {.name = "18 100 MB of white space",
                .code = "ST_NOT_OBJECT",
                .make = make_white,
                TEXT(""),
                .is_large = true},
        {.name = "18 100 MB of white space in an object",
                .code = "ST_JSON_EOF",
                .make = make_white,
                TEXT("{"),
                .is_large = true},
        {.name = "27 metadata of 2 MiB",
                .code = "ST_META_BIG",
                .make = make_long_metadata,
                .number = 2 << 20,
                .is_large = true},
        {.name = "27 metadata of 2 MiB in small members",
                .code = "ST_META_BIG",
                .make = make_much_metadata,
                .number = 2 << 20,
                .is_large = true},
        {.name = "28 a name of 257 bytes",
                .code = "ST_NAME",
                .make = make_long_name,
                .number = 257},
        {.name = "28 a name of 256 bytes", .make = make_long_name, .number = 256},
        {.name = "32 a dtype of 10,000 bytes",
                .code = "ST_DTYPE",
                .make = make_long_dtype,
                TEXT("F"),
                .number = 10000,
                .at = 17,
                .is_large = true},
        {.name = "36 10^400 for a dimension",
                .code = "ST_INT",
                .make = make_long_shape,
                TEXT("1"),
                .number = 400},
        {.name = "41 rank 9",
                .code = "ST_RANK",
                .make = make_long_shape,
                TEXT("1,"),
                .number = 8,
                .at = 16},
        {.name = "41 rank 10,001",
                .code = "ST_RANK",
                .make = make_long_shape,
                TEXT("1,"),
                .number = 10000,
                .at = 16,
                .is_large = true},
        {.name = "48 ten aliased tensors",
                .code = "ST_OVERLAP",
                .make = make_aliases,
                .number = 10},
        {.name = "49 a million aliased tensors",
                .code = "ST_TENSOR_COUNT",
                .make = make_aliases,
                .number = 1000000,
                .is_large = true},
        CLAIM("49 ten million tensors", "ST_HDR_TOO_BIG", 550000000, 100),
        {.name = "51 nine tensors whose sum passes 2^62",
                .code = "ST_OVERFLOW",
                .make = make_wrapping_sum,
                .number = 9},
        {.name = "51 sixteen tensors whose sum passes 2^63",
                .code = "ST_OVERFLOW",
                .make = make_wrapping_sum,
                .number = 16},
        {.name = "53 a zip archive appended",
                .code = "ST_DATA_EXTRA",
                .make = make_polyglot,
                TEXT("PK\x05\x06")},
        {.name = "53 a program appended",
                .code = "ST_DATA_EXTRA",
                .make = make_polyglot,
                TEXT("\x7f\x45LF\x02\x01\x01")},
        {.name = "56 a pickle",
                .code = "ST_HDR_TOO_BIG",
                .make = make_renamed,
                TEXT("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.")},
        {.name = "56 a newer pickle",
                .code = "ST_HDR_TOO_BIG",
                .make = make_renamed,
                TEXT("\x80\x04\x95\x1c\0\0\0\0\0\0\0}")},
        {.name = "56 GGUF",
                .code = "ST_HDR_TOO_BIG",
                .make = make_renamed,
                TEXT("GGUF\x03\0\0\0\x23\x01\0\0\0\0\0\0")},
        {.name = "56 a picture",
                .code = "ST_HDR_TOO_BIG",
                .make = make_renamed,
                TEXT("\x89PNG\r\n\x1a\n\0\0\0\rIHDR")},
        {.name = "56 a PyTorch archive",
                .code = "ST_HDR_TOO_BIG",
                .make = make_renamed,
                TEXT("PK\x03\x04\0\0\x08\x08\0\0")},
        {.name = "56 bytes of no known kind",
                .code = "ST_NOT_OBJECT",
                .make = make_renamed,
                TEXT("\x20\0\0\0\0\0\0\0GGML"),
                .at = 8},
        {.name = "57 a Git LFS pointer",
                .code = "ST_LFS_POINTER",
                .make = make_lfs_pointer,
                TEXT("version https://git-lfs.github.com/spec/v1\noid "
                     "sha256:"
                     "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize "
                     "4040\n")},
};

/* ---- all of them ----------------------------------------------------------------------------- */

#define N_ROWS(rows) ((int64_t)(sizeof(rows) / sizeof *(rows)))

int64_t sth_n_cases(void) {
    return N_ROWS(header_rows) + N_ROWS(made_rows);
}

void sth_make_case(int64_t i, bool is_fast, sth_case *out) {
    const bool is_header = i < N_ROWS(header_rows);
    const row *from = is_header ? &header_rows[i] : &made_rows[i - N_ROWS(header_rows)];
    *out = (sth_case){
            .name = from->name, .code = from->code, .is_large = from->is_large, .is_fast = is_fast};
    if (from->make == make_bytes) out->at = from->at;
    if (is_header)
        make_header(out, from);
    else
        from->make(out, from);
}
