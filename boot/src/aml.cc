#include "aml.h"

#include <algorithm>
#include <cctype>

namespace dualvm::boot::aml {

namespace {

// Op codes (table 20-1).
enum : u8 {
    kZero = 0x00,
    kOne = 0x01,
    kName = 0x08,
    kBytePrefix = 0x0a,
    kWordPrefix = 0x0b,
    kDwordPrefix = 0x0c,
    kQwordPrefix = 0x0e,
    kScope = 0x10,
    kBuffer = 0x11,
    kPackage = 0x12,
    kMethod = 0x14,
    kDualName = 0x2e,
    kMultiName = 0x2f,
    kExtended = 0x5b,
    kStore = 0x70,
    kAnd = 0x7b,
    kOr = 0x7d,
    kCreateDwordField = 0x8a,
    kLess = 0x95,
    kIf = 0xa0,
    kReturn = 0xa4,
    // behind kExtended
    kOpRegion = 0x80,
    kField = 0x81,
    kDevice = 0x82,
};

template <class T>
void append(Bytes& to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) to.push_back(static_cast<u8>(static_cast<u64>(value) >> (8 * i)));
}
void append(Bytes& to, const Bytes& more) {
    for (const u8 byte : more) to.push_back(byte);
}

template <class T>
Bytes prefixed(u8 prefix, T value) {
    Bytes bytes;
    bytes.reserve(1 + sizeof(T));
    bytes.push_back(prefix);
    append(bytes, value);
    return bytes;
}

Bytes op(std::initializer_list<u8> code, const std::vector<Bytes>& operands) {
    Bytes bytes(code);
    append(bytes, join(operands));
    return bytes;
}

// The length of what follows, itself included: one byte up to 63, else four bits and up to three bytes (20.2.4).
Bytes package_length(std::size_t of) {
    if (of + 1 < 0x40) return {static_cast<u8>(of + 1)};
    for (unsigned more = 1;; ++more) {
        const std::size_t length = of + 1 + more;
        if (more < 3 && length >= std::size_t{1} << (4 + 8 * more)) continue;
        Bytes bytes = {static_cast<u8>(more << 6 | (length & 0xf))};
        for (unsigned i = 0; i < more; ++i) bytes.push_back(static_cast<u8>(length >> (4 + 8 * i)));
        return bytes;
    }
}

Bytes with_length(std::initializer_list<u8> code, const std::vector<Bytes>& contents) {
    const Bytes all = join(contents);
    return op(code, {package_length(all.size()), all});
}

Bytes segment(std::string_view text) {
    Bytes bytes(text.begin(), text.end());
    bytes.resize(4, '_');
    return bytes;
}

}  // namespace

Bytes join(const std::vector<Bytes>& terms) {
    Bytes all;
    for (const Bytes& term : terms) append(all, term);
    return all;
}

Bytes path(std::string_view text) {
    Bytes bytes;
    while (!text.empty() && (text[0] == '\\' || text[0] == '^')) {
        bytes.push_back(static_cast<u8>(text[0]));
        text.remove_prefix(1);
    }
    std::vector<Bytes> segments;
    while (!text.empty()) {
        const std::size_t dot = std::min(text.find('.'), text.size());
        segments.push_back(segment(text.substr(0, dot)));
        text.remove_prefix(std::min(dot + 1, text.size()));
    }
    if (segments.empty()) bytes.push_back(kZero);  // NullName
    if (segments.size() == 2) bytes.push_back(kDualName);
    if (segments.size() > 2) {
        bytes.push_back(kMultiName);
        bytes.push_back(static_cast<u8>(segments.size()));
    }
    append(bytes, join(segments));
    return bytes;
}

Bytes integer(u64 value) {
    if (value <= 1) return {value == 0 ? u8{kZero} : u8{kOne}};
    if (value <= 0xff) return prefixed(kBytePrefix, static_cast<u8>(value));
    if (value <= 0xffff) return prefixed(kWordPrefix, static_cast<u16>(value));
    if (value <= 0xffffffff) return prefixed(kDwordPrefix, static_cast<u32>(value));
    return prefixed(kQwordPrefix, value);
}

Bytes buffer(const Bytes& contents) { return with_length({kBuffer}, {integer(contents.size()), contents}); }

Bytes package(const std::vector<Bytes>& elements) {
    return with_length({kPackage}, {{static_cast<u8>(elements.size())}, join(elements)});
}

Bytes eisa_id(std::string_view id) {
    const auto digit = [&](std::size_t i) {
        const auto c = static_cast<unsigned char>(id[i]);
        return static_cast<u32>(std::isdigit(c) ? c - '0' : std::toupper(c) - 'A' + 10);
    };
    const auto letter = [&](std::size_t i) { return static_cast<u32>(id[i] - 0x40); };
    const u32 maker = letter(0) << 10 | letter(1) << 5 | letter(2);
    const u32 product = digit(3) << 12 | digit(4) << 8 | digit(5) << 4 | digit(6);
    // Big-endian, and so the bytes the other way round here.
    const u32 number = (maker >> 8 & 0xff) | (maker & 0xff) << 8 | (product >> 8 & 0xff) << 16 | (product & 0xff) << 24;
    return prefixed(kDwordPrefix, number);
}

Bytes name(std::string_view object, const Bytes& value) { return op({kName}, {path(object), value}); }

Bytes scope(std::string_view object, const std::vector<Bytes>& terms) {
    return with_length({kScope}, {path(object), join(terms)});
}

Bytes device(std::string_view object, const std::vector<Bytes>& terms) {
    return with_length({kExtended, kDevice}, {path(object), join(terms)});
}

Bytes method(std::string_view object, unsigned arguments, const std::vector<Bytes>& terms) {
    constexpr u8 kSerialized = 1u << 3;  // methods that make names must be
    return with_length({kMethod}, {path(object), {static_cast<u8>((arguments & 7) | kSerialized)}, join(terms)});
}

Bytes operation_region(std::string_view object, Space space, u64 offset, u64 length) {
    return op({kExtended, kOpRegion}, {path(object), {static_cast<u8>(space)}, integer(offset), integer(length)});
}

Bytes byte_field(std::string_view region, const std::vector<FieldUnit>& units) {
    constexpr u8 kByteAccess = 1;  // no lock; bits that are not written are preserved
    Bytes list;
    for (const FieldUnit& unit : units) {
        append(list, segment(unit.name));
        // A field's length is coded like a package's, but does not count itself.
        list.push_back(static_cast<u8>(unit.bits));
    }
    return with_length({kExtended, kField}, {path(region), {kByteAccess}, list});
}

Bytes store(const Bytes& value, const Bytes& to) { return op({kStore}, {value, to}); }
Bytes bit_and(const Bytes& a, const Bytes& b) { return op({kAnd}, {a, b, {kZero}}); }  // to nowhere
Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& to) { return op({kOr}, {a, b, to}); }
Bytes less(const Bytes& a, const Bytes& b) { return op({kLess}, {a, b}); }
Bytes if_then(const Bytes& condition, const std::vector<Bytes>& terms) {
    return with_length({kIf}, {condition, join(terms)});
}
Bytes give_back(const Bytes& value) { return op({kReturn}, {value}); }
Bytes create_dword_field(const Bytes& of_buffer, u64 byte, std::string_view field) {
    return op({kCreateDwordField}, {of_buffer, integer(byte), path(field)});
}

// --- resources --------------------------------------------------------------------------------------------------

Bytes resource_template(const std::vector<Bytes>& descriptors) {
    Bytes all = join(descriptors);
    append(all, Bytes{0x79, 0});  // end tag (6.4.2.9)
    return buffer(all);
}

Bytes io_ports(u16 base, u8 length) {  // 6.4.2.5
    Bytes bytes = {0x47, 1 /* decodes 16 bits */};
    append(bytes, base);
    append(bytes, base);
    bytes.push_back(1);  // alignment
    bytes.push_back(length);
    return bytes;
}

Bytes irq(unsigned number) {  // 6.4.2.1
    Bytes bytes = {0x22};
    append(bytes, static_cast<u16>(1u << number));
    return bytes;
}

Bytes dma(unsigned channel) { return {0x2a, static_cast<u8>(1u << channel), 0}; }  // 6.4.2.2

Bytes interrupts(const std::vector<u32>& numbers) {  // 6.4.3.6
    constexpr u8 kConsumerLevelHighShared = 1 | 1u << 3;
    Bytes bytes = {0x89};
    append(bytes, static_cast<u16>(2 + 4 * numbers.size()));
    bytes.push_back(kConsumerLevelHighShared);
    bytes.push_back(static_cast<u8>(numbers.size()));
    for (u32 number : numbers) append(bytes, number);
    return bytes;
}

namespace {

// Address space descriptors (6.4.3.5): produced by the bridge, minimum and maximum fixed, decoded positively.
template <class T>
Bytes window(u8 tag, u8 type, u8 type_flags, T first, T last) {
    constexpr u8 kMinimumMaximumFixed = 0x0c;
    Bytes bytes = {tag};
    append(bytes, static_cast<u16>(3 + 5 * sizeof(T)));
    append(bytes, Bytes{type, kMinimumMaximumFixed, type_flags});
    append(bytes, T{0});  // granularity
    append(bytes, first);
    append(bytes, last);
    append(bytes, T{0});  // no translation
    append(bytes, static_cast<T>(last - first + 1));
    return bytes;
}

constexpr u8 kWordSpace = 0x88, kDwordSpace = 0x87;
enum : u8 { kMemoryType = 0, kIoType = 1, kBusType = 2 };

}  // namespace

Bytes bus_numbers(u16 first, u16 last) { return window<u16>(kWordSpace, kBusType, 0, first, last); }

Bytes io_window(u16 first, u16 last) {
    constexpr u8 kEntireRange = 3;
    return window<u16>(kWordSpace, kIoType, kEntireRange, first, last);
}

Bytes memory_window(u32 first, u32 last, bool cacheable) {
    constexpr u8 kReadWrite = 1;
    return window<u32>(kDwordSpace, kMemoryType, static_cast<u8>(kReadWrite | (cacheable ? 2 : 0)), first, last);
}

}  // namespace dualvm::boot::aml
