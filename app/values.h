// Values as they are written on the command line. Each function says what is wrong with one it does not take.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dualvm/clock.h"
#include "dualvm/types.h"

namespace dualvm::app {

// Where firmware looks for what to boot: letters as Pc::set_boot_order() takes them.
struct BootOrder {
    std::string order = "cad";
    std::string once;  // the first time; empty: like the others
    bool menu = false;
};

template <class T>
using Parsed = tl::expected<T, std::string>;

// "384", "512M", "1G": MiB. A number too large to hold is taken as the largest, for the machine to refuse.
Parsed<u64> parse_memory_size(std::string_view text);
// "512", "10M", "1.5G": bytes, or units of 1024 (K), its square (M) and so on (G, T, P, E).
Parsed<u64> parse_disk_size(std::string_view text);
// "1000000", "0x10": a count or an address.
Parsed<u64> parse_number(std::string_view text);
// "10", "0.5": seconds, more than 0.
Parsed<Nanoseconds> parse_seconds(std::string_view text);
// -boot: "d", "cad", "d,menu=on", "order=cad,once=d,menu=on".
Parsed<BootOrder> parse_boot_order(std::string_view text);
// "0f a2", "0fa2", "0x0f,0xa2": bytes.
Parsed<std::vector<u8>> parse_hex_bytes(std::string_view text);

// What stands between the commas; of an empty text one empty word.
std::vector<std::string> comma_separated(std::string_view list);

// The candidate that is most like `word`; empty if none is like it.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace dualvm::app
