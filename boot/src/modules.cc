#include <fmt/format.h>

#include <algorithm>

#include "little_endian.h"
#include "loaders.h"

namespace dualvm::boot {

Expected<std::vector<PlacedModule>> put_modules(const BootImage& image, LoadPlan& plan) {
    const AddressRange behind_kernel = {std::max(plan.end(), kExtendedMemory), kFourGibibytes};
    std::vector<PlacedModule> placed;
    for (std::size_t i = 0; i < image.modules.size(); ++i) {
        const BootModule& module = image.modules[i];
        const auto address = plan.put_anywhere(module.bytes, kPageSize, behind_kernel, Search::Upwards,
                                               fmt::format("module {} '{}'", i, module.text));
        if (!address) return tl::unexpected(address.error());
        const auto text = plan.put_anywhere(zero_terminated(module.text), 1, kForStructures, Search::Upwards,
                                            fmt::format("string of module {}", i));
        if (!text) return tl::unexpected(text.error());
        placed.push_back({.address = *address, .size = module.bytes.size(), .text_address = *text});
    }
    return placed;
}

}  // namespace dualvm::boot
