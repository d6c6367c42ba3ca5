// A writer of AML, the byte code of ACPI's definition blocks (ACPI specification 6.3, chapter 20): one function a term,
// named as in ASL, each giving its bytes, so that a table reads like its source (dsdt.cc). Only what dsdt.cc uses.
#pragma once

#include <string_view>
#include <vector>

#include "dualvm/types.h"

namespace dualvm::boot::aml {

using Bytes = std::vector<u8>;

// Terms one after the other.
Bytes join(const std::vector<Bytes>& terms);

// --- names and data objects: 20.2.2, 20.2.3
// "\\_SB", "PCI0", "^ISA.PRQ0": segments are filled up to four characters.
Bytes path(std::string_view text);
Bytes integer(u64 value);
Bytes buffer(const Bytes& contents);
Bytes package(const std::vector<Bytes>& elements);
// "PNP0A03" as the number that it is compressed to (19.3.4).
Bytes eisa_id(std::string_view id);

// --- named objects: 20.2.5
Bytes name(std::string_view object, const Bytes& value);
Bytes scope(std::string_view object, const std::vector<Bytes>& terms);
Bytes device(std::string_view object, const std::vector<Bytes>& terms);
Bytes method(std::string_view object, unsigned arguments, const std::vector<Bytes>& terms);
enum class Space : u8 { SystemIo = 1, PciConfig = 2 };
Bytes operation_region(std::string_view object, Space space, u64 offset, u64 length);
struct FieldUnit {
    std::string_view name;
    unsigned bits;
};
Bytes byte_field(std::string_view region, const std::vector<FieldUnit>& units);

// --- in methods: 20.2.5.3, 20.2.5.4
inline const Bytes kArg0 = {0x68};
Bytes store(const Bytes& value, const Bytes& to);
Bytes bit_and(const Bytes& a, const Bytes& b);
Bytes bit_or(const Bytes& a, const Bytes& b, const Bytes& to);
Bytes less(const Bytes& a, const Bytes& b);
Bytes if_then(const Bytes& condition, const std::vector<Bytes>& terms);
Bytes give_back(const Bytes& value);  // Return
Bytes create_dword_field(const Bytes& of_buffer, u64 byte, std::string_view field);

// --- resources: 6.4. A template is a buffer with an end tag and no checksum.
Bytes resource_template(const std::vector<Bytes>& descriptors);
Bytes io_ports(u16 base, u8 length);                // I/O Port, fixed
Bytes irq(unsigned number);                         // IRQ, ISA's edge
Bytes dma(unsigned channel);                        // 8 bit
Bytes interrupts(const std::vector<u32>& numbers);  // Extended Interrupt: level, active high, shared
Bytes bus_numbers(u16 first, u16 last);             // Word Address Space: what a bridge passes on
Bytes io_window(u16 first, u16 last);
Bytes memory_window(u32 first, u32 last, bool cacheable);

}  // namespace dualvm::boot::aml
