#include "dualvm/boot/acpi.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "dsdt.h"
#include "little_endian.h"

namespace dualvm::boot {

namespace {

// The header that all tables but the FACS share (5.2.6).
constexpr u32 kHeaderSize = 36, kLengthAt = 4, kRevisionAt = 8, kChecksumAt = 9, kOemAt = 10;

// What is added to `tables`, keeping account of where and of what is still to be filled in.
class Builder {
public:
    explicit Builder(AcpiTables& to) : to_(to) {}

    // Appends a table with this body behind its header; returns where it starts.
    u32 add(std::string_view signature, u8 revision, const std::vector<u8>& body) {
        const u32 at = align(16);
        std::vector<u8> header(kHeaderSize);
        copy(header, 0, signature);
        store(header, kLengthAt, static_cast<u32>(kHeaderSize + body.size()));
        header[kRevisionAt] = revision;
        copy(header, kOemAt, "DUALVM");
        copy(header, kOemAt + 6, "DUALVMPC");
        store(header, kOemAt + 14, u32{1});
        copy(header, kOemAt + 18, "DUAL");
        store(header, kOemAt + 22, u32{1});
        append(header);
        append(body);
        to_.checksums.push_back({.offset = at + kChecksumAt, .start = at, .length = kHeaderSize + size(body)});
        return at;
    }
    u32 add_without_header(const std::vector<u8>& bytes, u32 alignment) {
        const u32 at = align(alignment);
        append(bytes);
        return at;
    }
    void pointer(u32 offset, u32 bytes) { to_.pointers.push_back({.offset = offset, .size = bytes}); }

    static void copy(std::vector<u8>& to, std::size_t at, std::string_view text) {
        std::copy(text.begin(), text.end(), to.begin() + static_cast<std::ptrdiff_t>(at));
    }
    static u32 size(const std::vector<u8>& bytes) { return static_cast<u32>(bytes.size()); }

private:
    u32 align(u32 to) {
        to_.tables.resize((to_.tables.size() + to - 1) / to * to);
        return size(to_.tables);
    }
    void append(const std::vector<u8>& bytes) { to_.tables.insert(to_.tables.end(), bytes.begin(), bytes.end()); }

    AcpiTables& to_;
};

// Firmware ACPI Control Structure (5.2.10): nothing in it is used, as no state sleeps but S5.
std::vector<u8> facs() {
    std::vector<u8> bytes(64);
    Builder::copy(bytes, 0, "FACS");
    store(bytes, 4, static_cast<u32>(bytes.size()));
    bytes[32] = 1;  // version
    return bytes;
}

// Generic Address Structure (5.2.3.2): I/O space.
void put_port(std::vector<u8>& body, std::size_t at, u16 port, unsigned bytes, u8 access_size) {
    if (port == 0) return;
    body[at] = 1;
    body[at + 1] = static_cast<u8>(8 * bytes);
    body[at + 3] = access_size;
    store(body, at + 4, u64{port});
}

// Fixed ACPI Description Table, as of ACPI 2.0 (5.2.9). Offsets are the specification's, so from the header's start on.
constexpr u32 kFadtSize = 244, kFadtFacs = 36, kFadtDsdt = 40, kFadtXDsdt = 140;
std::vector<u8> fadt(const Platform& p, u32 facs_at, u32 dsdt_at) {
    enum : u32 {
        kWbinvd = 1u << 0,
        kC1 = 1u << 2,
        kNoFixedPowerButton = 1u << 4,
        kNoFixedSleepButton = 1u << 5,
        kNoFixedRtc = 1u << 6,
        kResetRegister = 1u << 10,
    };
    enum : u16 { kLegacyDevices = 1u << 0, k8042 = 1u << 1 };
    constexpr u8 kRtcCentury = 0x32;
    std::vector<u8> t(kFadtSize);  // with room for the header, so that offsets are right
    store(t, kFadtFacs, facs_at);
    store(t, kFadtDsdt, dsdt_at);
    store(t, 46, u16{p.sci});
    store(t, 56, u32{p.pm1_event});
    store(t, 64, u32{p.pm1_control});
    store(t, 76, u32{p.pm_timer});
    store(t, 80, u32{p.gpe0});
    t[88] = 4;  // lengths of the blocks
    t[89] = 2;
    t[91] = 4;
    t[92] = p.gpe0_size;
    store(t, 96, u16{0xfff});  // no C2,
    store(t, 98, u16{0xfff});  // no C3
    t[108] = kRtcCentury;
    store(t, 109, static_cast<u16>(kLegacyDevices | (p.keyboard ? u32{k8042} : 0)));
    store(t, 112,
          u32{kWbinvd | kC1 | kNoFixedPowerButton | kNoFixedSleepButton | kNoFixedRtc |
              (p.reset_port != 0 ? u32{kResetRegister} : 0)});
    put_port(t, 116, p.reset_port, 1, 1);
    t[128] = p.reset_value;
    store(t, kFadtXDsdt, u64{dsdt_at});
    put_port(t, 148, p.pm1_event, 4, 2);
    put_port(t, 172, p.pm1_control, 2, 2);
    put_port(t, 208, p.pm_timer, 4, 3);
    put_port(t, 220, p.gpe0, p.gpe0_size, 1);
    return {t.begin() + kHeaderSize, t.end()};
}

// Multiple APIC Description Table (5.2.12).
std::vector<u8> madt(const Platform& p) {
    constexpr u32 kPcAtCompatible = 1;
    std::vector<u8> t(8);
    store(t, 0, p.local_apic);
    store(t, 4, kPcAtCompatible);
    const auto grow = [&](u8 type, u8 length) {
        const std::size_t at = t.size();
        t.resize(at + length);
        t[at] = type;
        t[at + 1] = length;
        return at;
    };
    for (unsigned i = 0; i < p.processors; ++i) {
        const std::size_t at = grow(0, 8);  // processor local APIC
        t[at + 2] = t[at + 3] = static_cast<u8>(i);
        store(t, at + 4, u32{1});  // enabled
    }
    const std::size_t io = grow(1, 12);
    t[io + 2] = p.io_apic_id;
    store(t, io + 4, p.io_apic);
    // Interrupt source overrides (5.2.12.5): inputs that are not ISA's IRQ of that number, edge, active high.
    const auto override_source = [&](u8 irq, u32 input, u16 flags) {
        const std::size_t at = grow(2, 10);
        t[at + 3] = irq;
        store(t, at + 4, input);
        store(t, at + 8, flags);
    };
    constexpr u16 kActiveHighLevel = 1 | 3u << 2;
    if (p.timer_input != 0) override_source(0, p.timer_input, 0);
    for (u8 irq = 0; irq < 16; ++irq) {
        if ((p.level_inputs >> irq & 1) != 0) override_source(irq, irq, kActiveHighLevel);
    }
    const std::size_t nmi = grow(4, 6);  // all processors' LINT1 is NMI
    t[nmi + 2] = 0xff;
    t[nmi + 5] = 1;
    return t;
}

// Root System Description Table, extended or not: where the others are (5.2.7, 5.2.8).
template <class Address>
u32 add_root(Builder& builder, std::string_view signature, const std::vector<u32>& tables) {
    std::vector<u8> body(tables.size() * sizeof(Address));
    for (std::size_t i = 0; i < tables.size(); ++i) store(body, i * sizeof(Address), Address{tables[i]});
    const u32 at = builder.add(signature, 1, body);
    for (std::size_t i = 0; i < tables.size(); ++i) {
        builder.pointer(at + kHeaderSize + static_cast<u32>(i * sizeof(Address)), sizeof(Address));
    }
    return at;
}

// Root System Description Pointer (5.2.5.3), with the checksum of its first version and that of all of it.
void make_rsdp(AcpiTables& to, u32 rsdt, u32 xsdt) {
    constexpr u32 kSize = 36, kFirstVersionSize = 20;
    to.rsdp.resize(kSize);
    Builder::copy(to.rsdp, 0, "RSD PTR ");
    Builder::copy(to.rsdp, 9, "DUALVM");
    to.rsdp[15] = 2;  // revision
    store(to.rsdp, 16, rsdt);
    store(to.rsdp, 20, kSize);
    store(to.rsdp, 24, u64{xsdt});
    to.pointers.push_back({.in_rsdp = true, .offset = 16, .size = 4});
    to.pointers.push_back({.in_rsdp = true, .offset = 24, .size = 8});
    to.checksums.push_back({.in_rsdp = true, .offset = 8, .start = 0, .length = kFirstVersionSize});
    to.checksums.push_back({.in_rsdp = true, .offset = 32, .start = 0, .length = kSize});
}

}  // namespace

AcpiTables make_acpi_tables(const Platform& p) {
    AcpiTables all;
    Builder builder(all);
    const u32 facs_at = builder.add_without_header(facs(), kAcpiTablesAlignment);
    constexpr u8 k64BitIntegers = 2;  // of a DSDT: its revision says how wide numbers are
    const u32 dsdt_at = builder.add("DSDT", k64BitIntegers, dsdt_code(p));
    constexpr u8 kAcpi2 = 3;
    const u32 fadt_at = builder.add("FACP", kAcpi2, fadt(p, facs_at, dsdt_at));
    builder.pointer(fadt_at + kFadtFacs, 4);
    builder.pointer(fadt_at + kFadtDsdt, 4);
    builder.pointer(fadt_at + kFadtXDsdt, 8);
    const u32 madt_at = builder.add("APIC", 1, madt(p));
    const u32 rsdt_at = add_root<u32>(builder, "RSDT", {fadt_at, madt_at});
    const u32 xsdt_at = add_root<u64>(builder, "XSDT", {fadt_at, madt_at});
    make_rsdp(all, rsdt_at, xsdt_at);
    return all;
}

void relocate(AcpiTables& t, u64 tables_address) {
    const auto bytes_of = [&](bool in_rsdp) -> std::vector<u8>& { return in_rsdp ? t.rsdp : t.tables; };
    for (const AcpiTables::Pointer& p : t.pointers) {
        u8* field = bytes_of(p.in_rsdp).data() + p.offset;
        u64 value = 0;
        std::memcpy(&value, field, p.size);
        value += tables_address;
        std::memcpy(field, &value, p.size);
    }
    for (const AcpiTables::Checksum& c : t.checksums) {
        std::vector<u8>& bytes = bytes_of(c.in_rsdp);
        bytes[c.offset] = 0;
        const u8* from = bytes.data() + c.start;
        bytes[c.offset] = static_cast<u8>(-std::accumulate(from, from + c.length, 0));
    }
}

}  // namespace dualvm::boot
